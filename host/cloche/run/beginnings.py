"""How attempts begin: the call that they are of, the input as their step's schema fills it, and the note of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloche.history import TimeMs
from cloche.history.effects import StartStep
from cloche.history.notes import AttemptSent, AttemptStarted
from cloche.run.remote import is_remote
from cloche.steps.context import AbortSignal
from cloche.steps.filling import filled

if TYPE_CHECKING:
    from cloche.run.live_run import LiveRun
    from cloche.run.ports import RunServices
    from cloche_codegen import Step


@dataclass(slots=True, eq=False)
class StepCall:
    """One call of a step while it is open here.

    `start` is what was asked for, in its newest attempt. `is_announced`: the attempt begins in a moment, when the record of its
    beginning, which is on its way, is in the log, or when its tenant may begin another one.
    """

    start: StartStep
    signal: AbortSignal | None = None  # of the attempts that are under way
    attempts: int = 0  # under way; more than one only if a call is repeated while its process hangs on an old attempt
    is_announced: bool = False
    queued_from: TimeMs | None = None  # since when the attempt that comes could begin, and waits for its turn


def filled_input(services: RunServices, run: LiveRun, step: Step, start: StartStep) -> Any:
    checks = services.registry.checks(run.code)
    is_one = not (step.parameters.is_by_name and checks.calls == "call")  # else the schema is of all arguments together
    return filled(step, start.arguments, run.limits.policy.payload_bytes) if checks.inputs and is_one else None


def note_of_beginning(step: Step, start: StartStep, now: TimeMs, queued: int = 0) -> AttemptStarted:
    once, kind = bool(step.at_most_once), AttemptSent if is_remote(step) else AttemptStarted
    return kind(now, start.call, start.attempt, start.redispatched, once, start.filled, queued)


def queued_ms(call: StepCall, start: StartStep, now: TimeMs) -> int:
    """How many ms an attempt that begins now has waited for its turn; no time of a guest is in it."""
    since, call.queued_from = call.queued_from or start.not_before, None
    return max(0, now - since) if since else 0
