"""The end of a run that nobody drives: it follows from the run's records alone, so neither its code nor its steps are asked."""

from __future__ import annotations

from cloche.history import CallId, Failure, RunMachine, TimeMs
from cloche.history.calls import OpenCall
from cloche.history.lifecycles import RunPhase, StepPhase
from cloche.history.machine import CANCELED, Input
from cloche.history.messages import CancelRequested, ChildEnded, StepFailed
from cloche.history.notes import RunCanceled
from cloche.run.outcomes import unknown_outcome

_UNDER_WAY = (StepPhase.CALLED, StepPhase.QUEUED, StepPhase.RUNNING)


def cancellation(machine: RunMachine, reason: str, now: TimeMs) -> list[Input]:
    """What cancels the run of `machine` at once: `machine.accept` makes its last records of it.

    Its children are not waited for: whoever records this sees to it that they are canceled too.
    """
    if machine.phase is RunPhase.PENDING:
        return [RunCanceled(now)]
    inputs: list[Input] = []
    if machine.phase is not RunPhase.CANCELING:
        inputs.append(CancelRequested(now, reason, is_final=True))
    inputs += interrupted(machine, now, "the run was canceled while it was blocked; the step's outcome is unknown")
    left = Failure(CANCELED, "the run was canceled while it was blocked, and did not wait for this child")
    inputs += [ChildEnded.failed(now, call, left) for call in machine.open.children()]
    return inputs


def interrupted(machine: RunMachine, now: TimeMs, message: str) -> list[StepFailed]:
    """The ends of all steps that were under way where nothing waits for them any more."""
    return [StepFailed(now, id, _interruption(call, message)) for id, call in working(machine)]


def working(machine: RunMachine) -> list[tuple[CallId, OpenCall]]:
    """The steps that were asked for, and have neither ended nor wait."""
    return [(id, call) for id, call in machine.open.items() if call.phase in _UNDER_WAY]


def _interruption(call: OpenCall, message: str) -> Failure:
    if call.at_most_once and call.phase is StepPhase.RUNNING:
        return unknown_outcome(call.path)
    return Failure("Interrupted", message)
