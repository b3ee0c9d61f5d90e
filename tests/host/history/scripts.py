"""Scripted guests that the tests of the machine share, by what they answer to which event."""

from __future__ import annotations

from support.histories import (
    Answers,
    abandon,
    at,
    result,
    step,
    timer,
)

from cloche.history import CallId, Failure, Path, TimeMs
from cloche.history.machine import StartStep
from cloche.history.messages import FailRun

ONE_STEP: Answers = {
    "start": [step(1, "add", 2, 3)],
    "done 1": [result(5)],
    "failed 1": [FailRun(Failure("Error", "no"))],
}
TWO_STEPS: Answers = {"start": [step(1, "add", 1)], "done 1": [step(2, "double", 4)], "done 2": [result(8)]}
TWO_AT_ONCE: Answers = {"start": [step(1, "a"), step(2, "b")]}
NAP: Answers = {"start": [timer(1, at(500))], "fired 1": [result()]}
A_STEP_OR_A_NAP: Answers = {
    "start": [step(1), timer(2, at(500))],
    "done 1": [abandon(2), result(1)],
    "fired 2": [abandon(1), result(2)],
}


def wish(
    call: int, name: str = "add", *arguments: object, attempt: int = 1, not_before: int | None = None
) -> StartStep:
    due = TimeMs(0) if not_before is None else at(not_before)
    return StartStep(CallId(call), Path(name), name, list(arguments), attempt, due)
