"""How a run begins and ends on an engine: options beside its input, and an end as JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from cloche.errors import ClocheError, Divergence, RunFailed
from cloche.foreign.conductor import Conductor, RunCanceled
from cloche.foreign.hosted import Hosted
from cloche.foreign.report import Report, to_text
from cloche.history import Failure
from cloche.history.messages import CompleteRun, FailRun

REPORT = "cloche.report"  # the key of a result that has all of a run, where it was asked for


def begun(hosted: Hosted, *, run_id: str, identity: str, now: int, input: Any, options: Mapping[str, Any]) -> Conductor:
    """A run at its beginning. Options: `state` and `context`, and `report`, if its end is to be told in full.

    Raises:
        InvalidInput: input or state do not fit the workflow's schemas.
    """
    run = Conductor(hosted)
    if options.get("report"):
        run.report = Report(hosted, run_id)
    given = {
        "state": hosted.checked_state(options.get("state") or {}),
        "context": options.get("context") or {},
    }
    run.begin(identity, now, hosted.checked_input(input), given)
    return run


def frozen_text(run: Conductor) -> str | None:
    """A frozen run as text that JSON carries; None where its cell cannot be frozen."""
    frozen = run.freeze()
    return base64.b64encode(frozen).decode() if frozen is not None else None


def thawed(hosted: Hosted, text: str) -> Conductor:
    """The run of `frozen_text`. Raises as `Conductor.thaw`."""
    return Conductor.thaw(hosted, base64.b64decode(text))


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


def end_of(run: Conductor) -> dict[str, Any]:
    """How a run ended, as JSON: {"value"}, {"failure"} or {"canceled"}; a report is its value."""
    if run.report is not None:
        return {"value": report_of(run)}
    match run.outcome:
        case CompleteRun(value):
            return {"value": value}
        case FailRun(failure):
            return {"failure": failure.to_wire()}
        case RunCanceled(reason):
            return {"canceled": reason}
    raise AssertionError("a run that was led to its end has an outcome")


def ended_by_engine(engine: str, run_id: str, failure: Failure, status: str = "failed") -> ClocheError:
    """What to raise for a run that the engine itself has ended: its own code has not said how."""
    if failure.name == Divergence.__name__:
        return Divergence(failure.message, report=None)
    return RunFailed(f"{engine} ended run {run_id}: {failure}", run_id=run_id, status=status, error=failure)


def failure_in(message: str, otherwise: str) -> Failure:
    """The failure whose text came through an engine; one named `otherwise` if the engine itself has said this."""
    name, colon, rest = message.partition(": ")
    return Failure(name, rest) if colon and name.isidentifier() else Failure(otherwise, message)


def child_outcome(end: Mapping[str, Any]) -> list[Any]:
    """What the run that started a child is told of its end: [0, value] or [1, failure]."""
    if "value" in end:
        return [0, end["value"]]
    if "failure" in end:
        return [1, end["failure"]]
    return [1, Failure("Canceled", "the child run was canceled").to_wire()]
