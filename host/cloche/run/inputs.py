"""What arrives for a run: in which order it is taken, in which form it is recorded, and who waits for that."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

from cloche.history import CallId, Failure, Kind, Note, RunMachine
from cloche.history.lifecycles import RunPhase
from cloche.history.machine import Fact
from cloche.history.messages import (
    CancelRequested,
    HookReceived,
    StepBailed,
    StepCompleted,
    StepFailed,
    StepResumed,
    TimerFired,
)
from cloche.run.waiters import Waiters
from cloche.steps.context import StateChange, merged
from cloche.steps.redaction import redact

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Deferred:
    """The end of a step whose state change depends on the state: made into an event when its turn comes."""

    call: CallId
    end: StepCompleted | StepBailed
    changes: Sequence[StateChange]

    def resolved(self, state: Mapping[str, Any]) -> Fact:
        try:
            return replace(self.end, state=merged(state, self.changes))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # as in a step: whatever an author's function raises
            return StepFailed(self.end.time, self.call, redact(Failure.from_exception(error)))


Input: TypeAlias = Fact | Deferred


def normalize(machine: RunMachine, inputs: Sequence[Input]) -> list[Fact]:
    """Inputs in the form in which they are recorded, without what nobody can use: the run has ended or is being canceled.

    State changes that depend on the state are made here, in the order in which they are recorded.
    """
    facts: list[Fact] = []
    canceling, cleaning = machine.phase is RunPhase.CANCELING, machine.phase is RunPhase.CLEANING
    state = dict(machine.state)
    for one in inputs:
        fact = one.resolved(state) if isinstance(one, Deferred) else one
        call = getattr(fact, "call", None)
        if machine.ended or (call is not None and call not in machine.open):
            facts += _late(fact)
            continue
        if canceling and isinstance(fact, CancelRequested | TimerFired | StepResumed | HookReceived):
            continue
        if isinstance(fact, CancelRequested):
            if cleaning and not fact.is_final:  # it was told already
                continue
            canceling = machine.ends_hearing(fact)
            cleaning = not canceling
        if isinstance(fact, StepCompleted | StepBailed) and fact.state:
            state.update(fact.state)
        facts.append(fact)
    return facts


def _late(fact: Fact) -> list[Fact]:
    """The end of a step that nobody waited for any more, as a note."""
    match fact:
        case StepCompleted() | StepBailed():
            return [Note(Kind.LATE_RESULT, fact.time, {"value": fact.value}, fact.call)]
        case StepFailed():
            return [Note(Kind.LATE_RESULT, fact.time, {"failure": fact.failure.to_wire()}, fact.call)]
    return []


class Inputs:
    """The inputs of one run that have not been taken into a turn, in the order in which they arrived."""

    def __init__(self, waiters: Waiters) -> None:
        self._waiters = waiters
        self._waiting: deque[Input] = deque()
        self._requests: list[tuple[Input, int]] = []  # inputs that accept a request, and its inbox row: one commit
        self._news = asyncio.Event()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def accept(self, one: Input, request: int) -> None:
        """The row `request` of the inbox is answered in the commit of this input."""
        self._requests.append((one, request))

    def add(self, one: Input, request: int | None = None) -> None:
        """An input has arrived; `request` is the inbox row that it accepts.

        A cancellation goes before what arrived with it: nothing new may start.
        """
        if request is not None:
            self.accept(one, request)
        if isinstance(one, CancelRequested):
            self._waiting.appendleft(one)
        else:
            self._waiting.append(one)
        self._news.set()

    def take(self) -> list[Input]:
        """All that wait; what a turn does not take is given back with `put_back`."""
        taken = list(self._waiting)
        self._waiting.clear()
        return taken

    def put_back(self, inputs: Sequence[Input]) -> None:
        """These come before all others."""
        self._waiting.extendleft(reversed(inputs))

    def committed(self, recorded: Sequence[Input]) -> None:
        """These are durable: who waits for one is told, and its request is accepted. The rest of a turn was dropped."""
        self._waiters.resolve(recorded)
        self.dropped()

    def dropped(self) -> None:
        """Nobody could use what was taken and not recorded: its request waits again, and who waits for it is told."""
        self._requests = [one for one in self._requests if is_in(one[0], self._waiting)]
        if not self._waiting:
            self._waiters.reject()

    def requests(self, inputs: Sequence[Input]) -> tuple[int, ...]:
        """The inbox rows that these inputs accept."""
        return tuple(row for one, row in self._requests if is_in(one, inputs))

    def accepts(self, request: int) -> bool:
        """Whether an input that accepts this request is on its way into the log."""
        return any(row == request for _, row in self._requests)

    def of_kind(self, kind: type[T]) -> list[T]:
        """Those of one kind that wait."""
        return [one for one in self._waiting if isinstance(one, kind)]

    def wake(self) -> None:
        """Have `wait` return."""
        self._news.set()

    async def wait(self) -> None:
        """Until something arrives, or `wake` is called."""
        self._news.clear()
        await self._news.wait()


def is_in(one: Input, inputs: Iterable[Input]) -> bool:
    """Whether it is one of these, and not only equal to one."""
    return any(other is one for other in inputs)
