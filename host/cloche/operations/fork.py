"""A new run from a part of an old one (Mastra's time travel, without overwriting): the same events up to a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cloche.errors import UsageError
from cloche.history import Kind, Note, Record
from cloche.history.machine import Fact
from cloche.history.messages import Started, StepBailed, StepCompleted, unpack_event
from cloche.history.records import EVENTS
from cloche.history.values import plain

SAME = object()  # the step gets what it got then
_COPIED_NOTES = (Kind.ATTEMPT_STARTED, Kind.ATTEMPT_FAILED, Kind.STEP_WROTE)


def facts_before(records: Sequence[Record], at: str, input_data: Any = SAME) -> list[Fact]:
    """The facts of a run that lead to its last call of step `at`, to be recorded again under another run.

    With `input_data` the step gets that instead: it replaces the output of the step before it (or the run's input).

    Raises:
        UsageError: the run never called such a step, or its input is not simply what the step before gave.
    """
    if any(record.kind is Kind.RUN_UPGRADED for record in records):
        raise UsageError("the run was upgraded to other code: what happened before that cannot be led into a new run")
    places = [index for index, record in enumerate(records) if record.kind is Kind.STEP_CALLED and record.path == at]
    if not places:
        called = sorted({record.path or "" for record in records if record.kind is Kind.STEP_CALLED})
        raise UsageError(f"the run never called a step at '{at}'; it called: {', '.join(called) or 'none'}")
    target = records[places[-1]]
    if any(record.kind is Kind.CANCEL_DELIVERED for record in records[: places[-1]]):
        raise UsageError(f"the run was canceled before it called '{at}', to clean up: fork it at a step before that")
    facts: list[Fact] = []
    for record in records[: places[-1]]:
        if record.kind in EVENTS:
            facts.append(unpack_event(record.body))
        elif record.kind in _COPIED_NOTES:
            facts.append(Note(record.kind, record.time, record.content(), record.call))
    if input_data is not SAME:
        facts[-1] = _with_value(facts[-1], target, plain(input_data, "input_data"), at)
    return facts


def _with_value(fact: Fact, target: Record, value: Any, at: str) -> Fact:
    passed = target.content()[4]
    match fact:
        case StepCompleted(value=was) | StepBailed(value=was) if passed == [was]:
            return replace(fact, value=value)
        case Started(input=was) if passed == [was]:
            return replace(fact, input=value)
    raise UsageError(
        f"the input of '{at}' was made by more than the step before it (a map, or several arms): "
        "fork at that step, or without input_data"
    )
