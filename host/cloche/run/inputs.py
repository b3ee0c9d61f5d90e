"""What arrives for a run, and the form in which it is recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

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
from cloche.steps.context import StateChange, merged
from cloche.steps.redaction import without_places


@dataclass(frozen=True, slots=True)
class Deferred:
    """The end of a step whose state change depends on the state: made into an event when its turn comes."""

    call: CallId
    end: StepCompleted | StepBailed
    changes: Sequence[StateChange]

    def settled(self, state: Mapping[str, Any]) -> Fact:
        try:
            return replace(self.end, state=merged(state, self.changes))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # as in a step: whatever an author's function raises
            return StepFailed(self.end.time, self.call, without_places(Failure.from_exception(error)))


Arrival: TypeAlias = Fact | Deferred


def awaited(machine: RunMachine, arrivals: Sequence[Arrival]) -> list[Fact]:
    """Facts in the form in which they are recorded, without what nobody can use: the run has ended or is being canceled.

    State changes that depend on the state are made here, in the order in which they are recorded.
    """
    facts: list[Fact] = []
    canceling, cleaning = machine.phase is RunPhase.CANCELING, machine.phase is RunPhase.CLEANING
    state = dict(machine.state)
    for arrival in arrivals:
        fact = arrival.settled(state) if isinstance(arrival, Deferred) else arrival
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
