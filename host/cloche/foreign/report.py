"""What a run on a foreign engine looks like to its owner: a `RunResult`, folded from the records that cloche would have kept.

A conductor makes it beside its turns where it was asked for. It crosses the engine as text.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from copy import copy, deepcopy
from dataclasses import fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cloche.engines import is_native
from cloche.history import DEFAULT_TENANT, Failure, RunKey, RunMachine
from cloche.history.ids import RunId
from cloche.history.machine import Input
from cloche.history.messages import Event, Started, StepBailed, StepCompleted, StepFailed, StepSuspended
from cloche.history.notes import AttemptStarted, RunCreated
from cloche.history.values import decode, encode
from cloche.run.results import Folding, RunResult, StepResult, outline_of, revive
from cloche.status import RunStatus

if TYPE_CHECKING:
    from cloche.foreign.hosted import Hosted
    from cloche_codegen import Workflow

_OF_ATTEMPTS = (StepCompleted, StepFailed, StepBailed, StepSuspended)
_TIMES = ("started_at", "ended_at")


class Report:
    """The result of a run as it grows."""

    def __init__(self, hosted: Hosted, run_id: str) -> None:
        self._key = RunKey(DEFAULT_TENANT, RunId(run_id))
        self._machine = RunMachine(self._key)
        self._machine.handles_cancel = is_native(hosted.code)
        self._outline = outline_of(hosted.code)
        self._folding = Folding(RunResult(run_id, hosted.id, RunStatus.RUNNING), RunMachine(self._key), self._outline)

    def take(self, events: Sequence[Event], attempts: Sequence[int], output: bytes) -> None:
        """The events of a turn, the number of the attempt that each one ends, and what the guest answered."""
        inputs: list[Input] = []
        for event, attempt in zip(events, attempts, strict=True):
            if isinstance(event, Started):
                inputs.append(RunCreated(event.time))
            elif isinstance(event, _OF_ATTEMPTS):
                inputs.append(AttemptStarted(event.time, event.call, attempt))
            inputs.append(event)
        for record in self._machine.accept(inputs, output, events[-1].time).records:
            self._folding.take(record)

    @property
    def status(self) -> RunStatus:
        """Of the run as it stands."""
        return self._machine.status

    def result(self, status: str | None = None, failure: Failure | None = None) -> RunResult:
        """The run as it stands; with `status` as it ended, and `failure` if its code has not said that itself."""
        folding = copy(self._folding)
        out = folding.out = deepcopy(folding.out)  # what is suspended now may not be so later
        out.status = RunStatus(status) if status else self._machine.status
        out.error = out.error or failure
        out.result = out.result if out.error is None else None
        folding.finish()
        return out

    def saved(self) -> list[Any]:
        """All that `restored` needs, as plain data."""
        folding = self._folding
        return [_data_of(folding.out), self._machine.saved(), list(folding.paths.items()), sorted(folding.entered)]

    @classmethod
    def restored(cls, hosted: Hosted, data: list[Any]) -> Report:
        result, machine, paths, entered = data
        out = _result_of(result)
        report = cls(hosted, out.run_id)
        report._machine.restore(machine)
        report._folding = Folding(out, RunMachine(report._key), report._outline)
        report._folding.machine.restore(machine)
        report._folding.paths, report._folding.entered = dict(paths), set(entered)
        return report


def to_text(result: RunResult) -> str:
    """A result as text that JSON carries, with all its types."""
    return base64.b64encode(encode(_data_of(result))).decode()


def from_text(text: str, workflow: Workflow | None = None) -> RunResult:
    """The result of `to_text`; values have the types of the workflow's schemas, where they fit."""
    out = _result_of(decode(base64.b64decode(text)))
    if workflow is None:
        return out
    steps = {id: adapter for id, step in workflow.steps.items() if (adapter := step.output_adapter())}
    return revive(out, workflow.output_adapter(), steps)


# Results as plain data: failures as on the wire, times as text.


def _data_of(result: RunResult) -> dict[str, Any]:
    data = {one.name: getattr(result, one.name) for one in fields(RunResult)}
    data["error"] = _failure_data(result.error)
    data["steps"] = [[id, _step_data(step)] for id, step in result.steps.items()]
    return data


def _step_data(step: StepResult) -> dict[str, Any]:
    data = {one.name: getattr(step, one.name) for one in fields(StepResult)}
    data["error"] = _failure_data(step.error)
    return data | {name: time.isoformat() if (time := data[name]) is not None else None for name in _TIMES}


def _failure_data(failure: Failure | None) -> list[Any] | None:
    return [failure.to_wire(), failure.step] if failure is not None else None


def _result_of(data: dict[str, Any]) -> RunResult:
    steps = {id: _step_of(step) for id, step in data["steps"]}
    status = RunStatus(data["status"])
    return RunResult(**{**data, "status": status, "error": _failure_of(data["error"]), "steps": steps})


def _step_of(data: dict[str, Any]) -> StepResult:
    times = {name: datetime.fromisoformat(data[name]) if data[name] is not None else None for name in _TIMES}
    return StepResult(**{**data, **times, "status": RunStatus(data["status"]), "error": _failure_of(data["error"])})


def _failure_of(data: list[Any] | None) -> Failure | None:
    if data is None:
        return None
    wire, step = data
    return replace(Failure.from_wire(wire), step=step)
