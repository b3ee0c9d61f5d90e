"""What arrives for a run: in which order it is taken, in which form it is recorded, and who waits for that."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

from cloche.history import CallId, RunMachine, TimeMs
from cloche.history.lifecycles import RunPhase
from cloche.history.machine import Input
from cloche.history.messages import (
    CancelRequested,
    HookFailed,
    HookReceived,
    StepBailed,
    StepCompleted,
    StepFailed,
    StepResumed,
    StepSuspended,
    TimerFired,
)
from cloche.history.notes import LateResult
from cloche.run.waiters import Waiters
from cloche.steps.context import StateChange, merged
from cloche.steps.failing import failure_of

T = TypeVar("T")

TAKEN_MAX = 500  # inputs in one turn: what they make of the log is made in one piece


@dataclass(frozen=True, slots=True)
class Deferred:
    """The end of a step whose state change depends on the state: made into an event when its turn comes."""

    call: CallId
    end: StepCompleted | StepBailed | StepSuspended
    changes: Sequence[StateChange]
    exceptions: frozenset[str] | None = None  # that the run's code holds: see `Failure.told_to`

    @property
    def time(self) -> TimeMs:
        return self.end.time

    def resolved(self, state: Mapping[str, Any]) -> Input:
        try:
            return replace(self.end, state=merged(state, self.changes))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # as in a step: whatever an author's function raises
            return StepFailed(self.end.time, self.call, failure_of(error).told_to(self.exceptions))


Incoming: TypeAlias = Input | Deferred


def normalize(machine: RunMachine, inputs: Sequence[Incoming]) -> list[Input]:
    """Inputs in the form in which they are recorded, without what nobody can use: the run has ended or is being canceled.

    State changes that depend on the state are made here, in the order in which they are recorded.
    """
    taken: list[Input] = []
    canceling, cleaning = machine.phase is RunPhase.CANCELING, machine.phase is RunPhase.CLEANING_UP
    state = dict(machine.state)
    for incoming in inputs:
        one = incoming.resolved(state) if isinstance(incoming, Deferred) else incoming
        call = getattr(one, "call", None)
        if machine.ended or (call is not None and call not in machine.open):
            taken += _late(one)
            continue
        if canceling and isinstance(one, CancelRequested | TimerFired | StepResumed | HookReceived | HookFailed):
            continue
        if isinstance(one, CancelRequested):
            if cleaning and not one.is_final:  # it was told already
                continue
            canceling = machine.stops_delivery(one)
            cleaning = not canceling
        if isinstance(one, StepCompleted | StepBailed | StepSuspended) and one.state:
            state.update(one.state)
        taken.append(one)
    return taken


def _late(one: Input) -> list[Input]:
    """The end of a step that nobody waited for any more, as a note."""
    match one:
        case StepCompleted() | StepBailed():
            return [LateResult(one.time, one.call, value=one.value)]
        case LateResult():
            return [one]
        case StepFailed():
            return [LateResult(one.time, one.call, failure=one.failure)]
    return []


class Inputs:
    """The inputs of one run that have not been taken into a turn, in the order in which they arrived."""

    def __init__(self, waiters: Waiters) -> None:
        self._waiters = waiters
        self.waiting: deque[Incoming] = deque()  # for whoever looks whether there are any
        self.beginning: list[
            Input
        ] = []  # calls and what came of them, that a run goes on from: one turn, before all else
        self._requests: list[tuple[Incoming, int]] = []  # inputs that accept a request, and its inbox row: one commit
        self._news = asyncio.Event()
        self._time = TimeMs(0)  # of the last one that was taken

    def not_before(self, time: TimeMs) -> None:
        """What is taken from now on is not of a time before this one: that of the run's last record."""
        self._time = max(self._time, time)

    def accept(self, one: Incoming, request: int) -> None:
        """The row `request` of the inbox is answered in the commit of this input."""
        self._requests.append((one, request))

    def add(self, one: Incoming, request: int | None = None) -> None:
        """An input has arrived; `request` is the inbox row that it accepts.

        A cancellation goes before what arrived with it: nothing new may start.
        """
        if request is not None:
            self.accept(one, request)
        if isinstance(one, CancelRequested):
            self.waiting.appendleft(one)
        else:
            self.waiting.append(one)
        self._news.set()

    def take(self) -> list[Incoming]:
        """What the next turn takes; what it does not take after all is given back with `put_back`.

        That is all that wait up to the next event from outside, which begins a turn of its own: only when the guest has seen
        what came before is it known whether the event's hook is still open. Else it stays in the inbox for another one.
        """
        taken = [self._timed(self.waiting.popleft())] if self.waiting else []
        for _ in range(TAKEN_MAX - 1):
            if not self.waiting or isinstance(self.waiting[0], HookReceived | HookFailed):
                break
            taken.append(self._timed(self.waiting.popleft()))
        return taken

    def _timed(self, one: Incoming) -> Incoming:
        """The same at a time that is not before that of what came before it, whatever is done to the clock."""
        if one.time >= self._time:
            self._time = one.time
            return one
        if isinstance(one, Deferred):
            return replace(one, end=replace(one.end, time=self._time))
        timed = replace(one, time=self._time)
        self._requests = [(timed if other is one else other, row) for other, row in self._requests]
        self._waiters.replace(one, timed)
        return timed

    def put_back(self, inputs: Sequence[Incoming]) -> None:
        """These come before all others."""
        self.waiting.extendleft(reversed(inputs))

    def committed(self, recorded: Sequence[Incoming]) -> None:
        """These are durable: who waits for one is told, and its request is accepted. The rest of a turn was dropped."""
        self._waiters.resolve(recorded)
        self.dropped()

    def dropped(self) -> None:
        """Nobody could use what was taken and not recorded: its request waits again, and who waits for it is told."""
        if self._requests:
            self._requests = [one for one in self._requests if is_in(one[0], self.waiting)]
        if not self.waiting:
            self._waiters.reject()

    def requests(self, inputs: Sequence[Incoming]) -> tuple[int, ...]:
        """The inbox rows that these inputs accept."""
        return tuple(row for one, row in self._requests if is_in(one, inputs)) if self._requests else ()

    def accepts(self, request: int) -> bool:
        """Whether an input that accepts this request is on its way into the log."""
        return any(row == request for _, row in self._requests)

    def of_kind(self, kind: type[T]) -> list[T]:
        """Those of one kind that wait."""
        return [one for one in self.waiting if isinstance(one, kind)]

    def wake(self) -> None:
        """Have `wait` return."""
        self._news.set()

    async def wait(self) -> None:
        """Until something arrives, or `wake` is called."""
        self._news.clear()
        await self._news.wait()


def is_in(one: Incoming, inputs: Iterable[Incoming]) -> bool:
    """Whether it is one of these, and not only equal to one."""
    return any(other is one for other in inputs)
