"""What of a run that failed or was canceled goes on in another one: all that was done, without the failure.

The calls that had failed, and those that were under way, are made again there; what completed is not. A call keeps the
idempotency key that it had: it is named by the run that made it first (`KeyOwners`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cloche.errors import UsageError
from cloche.history.ids import CallId, RunId, RunKey
from cloche.history.machine import Input
from cloche.history.messages import EVENTS, ChildEnded, StepCompleted, unpack_event
from cloche.history.notes import AttemptSent, AttemptStarted, LateResult, unpack_note
from cloche.history.reading import message_of
from cloche.history.records import Kind, Record

_OPENING = frozenset({Kind.STEP_CALLED, Kind.TIMER_SET, Kind.HOOK_OPENED, Kind.CHILD_STARTED})
_BEGUN = (Kind.ATTEMPT_STARTED, Kind.ATTEMPT_SENT)
_ATTEMPTS = frozenset({*_BEGUN, Kind.ATTEMPT_FAILED})
COPIED = frozenset({*_ATTEMPTS, Kind.STEP_WROTE, Kind.STEP_LOGGED, Kind.ATTEMPT_QUEUED, Kind.TAGS_SET})
_CANCELS = frozenset({Kind.CANCEL_REQUESTED, Kind.CANCEL_DELIVERED})
_WAITS = frozenset({Kind.STEP_SUSPENDED, Kind.STEP_RESUMED})
_ENDINGS = frozenset({Kind.STEP_COMPLETED, Kind.STEP_FAILED, Kind.STEP_BAILED, Kind.CHILD_ENDED})


@dataclass(frozen=True, slots=True)
class KeyOwners:
    """Whose idempotency keys the calls of a run have: `[number, run]` in the order of the numbers, for those up to a number."""

    run: RunKey
    before: Sequence[Sequence[Any]] = ()
    retried: str | None = None  # the run that it goes on from

    @classmethod
    def of(cls, run: RunKey, retry_of: Mapping[str, Any]) -> KeyOwners:
        """By the first record of a run."""
        return cls(run, retry_of.get("keys", ()), retry_of.get("run"))

    def made_before(self, call: CallId) -> RunKey | None:
        """The run that this one goes on from, if that has made this call."""
        is_before = self.retried is not None and bool(self.before) and call <= self.before[-1][0]
        return RunKey(self.run.tenant, RunId(str(self.retried))) if is_before else None

    def of_call(self, call: CallId) -> RunKey:
        """The run that made this call first."""
        for last, run in self.before:
            if call <= last:
                return RunKey(self.run.tenant, RunId(run))
        return self.run

    def passed_on(self, last_call: int) -> list[list[Any]]:
        """Those of a run that goes on from this one, which has made calls up to `last_call`."""
        known = [list(one) for one in self.before if one[0] < last_call]
        covered = len(known) < len(self.before)
        owner = self.before[len(known)][1] if covered else self.run.run
        return [*known, [last_call, owner]] if last_call else known


@dataclass(frozen=True, slots=True)
class Resumption:
    """`inputs` are what the new run begins with, `again` the paths of the calls that are made again, `completed` how many steps
    are not. `cleaned_up` are steps that completed after the failure and are not part of the new run, `uncertain` calls of
    at-most-once steps whose outcome nobody knows."""

    inputs: list[Input]
    again: list[str]
    completed: int
    last_call: int
    cleaned_up: list[str] = field(default_factory=list)
    uncertain: list[str] = field(default_factory=list)


def resumption(records: Sequence[Record], from_step: str | None = None) -> Resumption:
    """What goes on of a run that failed or was canceled. `from_step`: all that was done before its last call of this step.

    Raises:
        UsageError: it has failed by itself, at no step; or it was upgraded to other code.
    """
    if any(record.kind is Kind.RUN_UPGRADED for record in records):
        raise UsageError("the run was upgraded to other code on its way: retry it onto today's code")
    first = _cut(records) if from_step is None else _call_of(records, from_step)
    open_calls = _open_before(records, first)
    named = {records[first].call or 0: from_step} if from_step is not None else {}
    kept, tail = records[:first], records[first:]
    late = [event for record in tail if (event := _completed(record, open_calls)) is not None]
    closed = {event.call for event in late}
    again = {call: path for call, path in open_calls.items() if call not in closed}
    # Its attempts up to there led to a suspension, which stays.
    resumed = {record.call: record.seq for record in kept if record.kind in _WAITS}
    inputs = [
        one
        for record in kept
        if (one := _input(record, is_again=record.call in again and record.seq > resumed.get(record.call, 0)))
        is not None
    ]
    steps = [record for record in (*kept, *tail) if record.kind is Kind.STEP_COMPLETED]
    cleaned = [record for record in tail if record.kind is Kind.STEP_COMPLETED and record.call not in open_calls]
    return Resumption(
        [*inputs, *_with_their_attempts(late, kept)],
        [*again.values(), *named.values()],
        len(steps) - len(cleaned),
        max([record.call or 0 for record in kept if record.kind in _OPENING] + [*named], default=0),
        [record.path or "" for record in cleaned] if from_step is None else [],
        _uncertain(kept, again),
    )


class Retriable:
    """Whether a run can go on from where it failed under its own code, told by its records one after another. If not, its code
    has failed by itself, or was another one on the way."""

    def __init__(self) -> None:
        self.goes_on = False
        self._is_upgraded = False

    def take(self, record: Record) -> None:
        self._is_upgraded = self._is_upgraded or record.kind is Kind.RUN_UPGRADED
        if not self.goes_on and record.kind in (*_CANCELS, Kind.RUN_STOPPED, Kind.STEP_FAILED, Kind.CHILD_ENDED):
            self.goes_on = record.kind is not Kind.CHILD_ENDED or _is_failure(record)
        self.goes_on = self.goes_on and not self._is_upgraded


def _cut(records: Sequence[Record]) -> int:
    """The place of the first record that is left out."""
    cancels = [place for place, record in enumerate(records) if record.kind in _CANCELS]
    if records[-1].kind is Kind.RUN_STOPPED or any(record.kind is Kind.RUN_STOPPED for record in records[-8:]):
        return next(place for place, record in enumerate(records) if record.kind is Kind.RUN_STOPPED)
    if cancels:
        return cancels[0]
    failed = [place for place, record in enumerate(records) if _is_failure(record)]
    if not failed:
        raise UsageError(
            "the workflow's own code failed, and no step: mend it, then retry the run onto today's code ('--onto')"
        )
    # All that failed since a call was last made: two arms of a block, of which the first was told.
    opened = [place for place, record in enumerate(records[: failed[-1]]) if record.kind in _OPENING]
    return next(place for place in failed if not opened or place > opened[-1])


def _call_of(records: Sequence[Record], step: str) -> int:
    """The place of the last call of this step."""
    places = [place for place, one in enumerate(records) if one.kind is Kind.STEP_CALLED and one.path == step]
    if not places:
        called = sorted({one.path or "" for one in records if one.kind is Kind.STEP_CALLED})
        raise UsageError(f"the run never called a step at '{step}'; it called: {', '.join(called) or 'none'}")
    return places[-1]


def _is_failure(record: Record) -> bool:
    if record.kind is Kind.CHILD_ENDED:
        event = message_of(record)
        return isinstance(event, ChildEnded) and event.outcome[0] == 1
    return record.kind is Kind.STEP_FAILED


def _open_before(records: Sequence[Record], end: int) -> dict[int, str]:
    """The calls of steps and children that are open there, by number, with their paths."""
    calls: dict[int, str] = {}
    for record in records[:end]:
        if record.kind in (Kind.STEP_CALLED, Kind.CHILD_STARTED):
            calls[record.call or 0] = record.path or ""
        elif record.kind in _ENDINGS or record.kind is Kind.CALL_ABANDONED:
            calls.pop(record.call or 0, None)
    return calls


def _completed(record: Record, calls: Mapping[int, str]) -> StepCompleted | ChildEnded | None:
    """The end of one of these calls that came after the failure, if it is a success."""
    if record.call not in calls:
        return None
    match message_of(record) if record.kind in (*_ENDINGS, Kind.LATE_RESULT) else None:
        case StepCompleted() as done:
            return done
        case ChildEnded(outcome=[0, _]) as ended:
            return ended
        case LateResult(time=time, call=call, value=value, failure=None):
            return StepCompleted(time, call, value)
    return None


def _with_their_attempts(late: Sequence[StepCompleted | ChildEnded], kept: Sequence[Record]) -> list[Input]:
    """Each end of a step after the beginning of its attempt, which may have been recorded after the failure."""
    attempts = {record.call: record.kind for record in kept if record.kind in _ATTEMPTS}
    inputs: list[Input] = []
    for event in late:
        if isinstance(event, StepCompleted) and attempts.get(event.call) not in _BEGUN:
            inputs.append(AttemptStarted(event.time, event.call, 1))
        inputs.append(event)
    return inputs


def _input(record: Record, *, is_again: bool) -> Input | None:
    if record.kind in EVENTS:
        return unpack_event(record.body)
    if record.kind not in COPIED:
        return None
    note = unpack_note(record)
    if record.kind in _ATTEMPTS and is_again:
        # It is made again from its first attempt, with the input that was drawn for it.
        if isinstance(note, AttemptStarted) and note.filled is not None:
            return AttemptStarted(note.time, note.call, 1, filled=note.filled)
        return None
    return note.begun() if isinstance(note, AttemptSent) else note


def _uncertain(records: Sequence[Record], again: Mapping[int, str]) -> list[str]:
    found: dict[int, str] = {}
    for record in records:
        note = unpack_note(record) if record.kind in _BEGUN and record.call in again else None
        if isinstance(note, AttemptStarted) and note.at_most_once:
            found[record.call or 0] = again[record.call or 0]
    return list(found.values())
