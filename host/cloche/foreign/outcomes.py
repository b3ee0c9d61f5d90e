"""How a run ended, in the words that engines use: a value, a failure, or canceled."""

from __future__ import annotations

from typing import Any

from cloche.foreign.conductor import Conductor, RunCanceled
from cloche.foreign.report import to_text
from cloche.history import Failure
from cloche.history.messages import CompleteRun, FailRun

REPORT = "cloche.report"  # the key of a result that has all of a run, where it was asked for


def report_of(run: Conductor) -> dict[str, str]:
    """The whole result of a run that was asked for a report, as JSON: as it stands, or as it ended."""
    assert run.report is not None
    match run.outcome:
        case CompleteRun():
            result = run.report.result("success")
        case FailRun(failure):
            result = run.report.result("failed", failure)
        case RunCanceled():
            result = run.report.result("canceled")
        case None:
            result = run.report.result()
    return {REPORT: to_text(result)}


def child_outcome(run: Conductor) -> list[Any]:
    """What the run that started this one is told: [0, value] or [1, failure]."""
    match run.outcome:
        case CompleteRun(value):
            return [0, value]
        case FailRun(failure):
            return [1, failure.to_wire()]
    return [1, Failure("Canceled", f"the child run of workflow '{run.hosted.id}' was canceled").to_wire()]
