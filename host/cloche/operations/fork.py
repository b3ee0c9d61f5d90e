"""A new run from a part of an old one (Mastra's time travel, without overwriting): the same events up to a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cloche.errors import UsageError
from cloche.history import Kind, Record
from cloche.history.machine import Input
from cloche.history.messages import EVENTS, CallStep, Started, StepBailed, StepCompleted, unpack_event
from cloche.history.notes import AttemptSent, unpack_note
from cloche.history.reading import message_of
from cloche.history.values import plain
from cloche.text import quoted

NAMES_SHOWN_MAX = 20
SAME = object()  # the step gets what it got then
_COPIED_NOTES = (
    Kind.ATTEMPT_STARTED,
    Kind.ATTEMPT_SENT,
    Kind.ATTEMPT_FAILED,
    Kind.STEP_WROTE,
    Kind.STEP_LOGGED,
    Kind.ATTEMPT_QUEUED,
)


def inputs_before(records: Sequence[Record], at: str, input_data: Any = SAME) -> list[Input]:
    """The inputs of a run up to its last call of step `at`, to be recorded again under another run.

    With `input_data` the step gets that instead: it replaces the output of the step before it (or the run's input).

    Raises:
        UsageError: the run never called such a step, or its input is not simply what the step before gave.
    """
    if any(record.kind is Kind.RUN_UPGRADED for record in records):
        raise UsageError("the run was upgraded to other code: what happened before that cannot be taken into a new run")
    places = [index for index, record in enumerate(records) if record.kind is Kind.STEP_CALLED and record.path == at]
    if not places:
        called = sorted({record.path or "" for record in records if record.kind is Kind.STEP_CALLED})
        more = f", … ({len(called):,} in all)" if len(called) > NAMES_SHOWN_MAX else ""
        listed = ", ".join(called[:NAMES_SHOWN_MAX]) + more
        raise UsageError(f"the run never called a step at {quoted(at)}; it called: {listed or 'none'}")
    target = records[places[-1]]
    if any(record.kind is Kind.CANCEL_DELIVERED for record in records[: places[-1]]):
        raise UsageError(f"the run was canceled before it called '{at}', to clean up: fork it at a step before that")
    inputs: list[Input] = []
    for record in records[: places[-1]]:
        if record.kind in EVENTS:
            inputs.append(unpack_event(record.body))
        elif record.kind in _COPIED_NOTES:
            note = unpack_note(record)
            inputs.append(note.begun() if isinstance(note, AttemptSent) else note)
    if input_data is not SAME:
        inputs[-1] = _with_value(inputs[-1], target, plain(input_data, "input_data"), at)
    return inputs


def _with_value(last: Input, target: Record, value: Any, at: str) -> Input:
    call = message_of(target)
    passed = call.arguments if isinstance(call, CallStep) else None
    match last:
        case StepCompleted(value=was) | StepBailed(value=was) if passed == [was]:
            return replace(last, value=value)
        case Started(input=was) if passed == [was]:
            return replace(last, input=value)
    raise UsageError(
        f"the input of '{at}' was made by more than the step before it (a map, or several arms): "
        "fork at that step, or without input_data"
    )
