"""`RunRecord`: a record as streams and histories give it, with its path always there, and ready for JSON."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, datetime
from typing import Any

from cloche.history import CallId, Kind, Path, Record, RunKey
from cloche.history.ids import history_number
from cloche.history.reading import Message, is_tagged, message_of, unpack_started
from cloche.history.timing import CallTimes, Times, Timing
from cloche.history.values import encode_plain
from cloche.operations.forms import LAST_MS, record_body, record_head, to_json
from cloche.steps.sdk_values import ended

PAGE_RECORDS = 500
_TAG = encode_plain("~")
_STARTS_WITHIN = 8  # records: the first says what the run is pinned to, then it may wait for permits
OPENS = (Kind.STEP_CALLED, Kind.TIMER_SET, Kind.HOOK_OPENED, Kind.CHILD_STARTED)  # what begins a call


@dataclass(frozen=True, slots=True)
class RunRecord(Record):
    """`path` is that of the step, timer, event or child that the record is about, also where it tells how that went on; "" of a
    record about the run itself. `times`, where it is about a step's call: how long that has been in the queue, worked, waited
    to be tried again and been suspended so far.
    """

    path: Path
    times: Times | None = None
    history: int = 0  # which one of its run, from 0: `continue_as_new` begins the next
    is_tagged: bool = False  # its values are as JavaScript has them, and `message` has them as Python does

    @property
    def position(self) -> tuple[int, int]:
        """What `stream` goes on from after this record."""
        return self.history, self.seq

    @property
    def at(self) -> datetime:
        """When it was written, in UTC."""
        return datetime.fromtimestamp(min(self.time, LAST_MS) / 1000, UTC)

    @property
    def message(self) -> Message:
        """What it holds, as an object of a class of its own: `StepCompleted`, `AttemptFailed` …"""
        return untagged(message_of(self)) if self.is_tagged else message_of(self)

    def to_data(self) -> dict[str, Any]:
        """For JSON: seq, kind, time, call, path, size, hash, times, the body as it is stored, and `message`: what that says, by
        name. Bytes are `hex:…`, dates text."""
        times = None if self.times is None else self.times.to_data()
        parts = {"times": times, "body": record_body(self), "message": by_name(self.message)}
        whole: dict[str, Any] = json.loads(to_json({**record_head(self), **parts}))
        return whole


_VALUES = ("input", "arguments", "keywords", "value", "payload", "data", "outcome")


def untagged(message: Message) -> Message:
    """A message of code that knows values as JavaScript has them, with those as Python has them."""
    values = {name: ended(getattr(message, name)) for name in _VALUES if hasattr(message, name)}
    return replace(message, **values)


def may_be_tagged(record: Record) -> bool:
    """Whether there may be such values in it. Most records say no at once, and nobody has to look what their run is of."""
    return record.payload is not None or _TAG in record.inline


async def are_tagged(page: Callable[[int, int], Awaitable[Sequence[Record]]]) -> bool:
    """Whether values of the run are as JavaScript has them. `page` is asked for its first records."""
    started = [one for one in await page(0, _STARTS_WITHIN) if one.kind is Kind.RUN_STARTED]
    return bool(started) and is_tagged(unpack_started(started[0].body))


def history_of(key: RunKey) -> int:
    """Which history of its run this is, from 0."""
    return history_number(key)


def position_text(history: int, seq: int) -> str:
    """A position as it is written over HTTP: the number alone in the first history."""
    return f"{history}.{seq}" if history else str(seq)


def position_of(text: str) -> tuple[int, int] | None:
    """What `position_text` has written; None if it is none."""
    history, _, seq = text.rpartition(".")
    if not seq.isdecimal() or not (history.isdecimal() or not history):
        return None
    return min(int(history[:18] or 0), 2**53), min(int(seq[:18]), 2**53)


_OF_THE_ENVELOPE = ("time", "call", "path")


def by_name(part: Any) -> dict[str, Any]:
    """The fields of a message, or of a failure in one, beside those of the envelope."""
    names = [one.name for one in fields(part) if one.name not in _OF_THE_ENVELOPE and not one.name.startswith("_")]
    return {name: _plain(getattr(part, name)) for name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):  # members and frames of a failure
        return [_plain(one) for one in value]
    return by_name(value) if is_dataclass(value) and not isinstance(value, type) else value


class Places:
    """Gives each record of a run its path. `page` is asked for records after a number where a call is older than the first."""

    def __init__(self, page: Callable[[int, int], Awaitable[Sequence[Record]]], history: int = 0) -> None:
        self._page = page
        self._history = history
        self._paths: dict[CallId, Path] = {}
        self._timing = Timing()
        self._seen = 0
        self._tagged: bool | None = None  # not known yet

    async def placed(self, record: Record) -> RunRecord:
        if record.call is not None and record.kind not in OPENS and record.call not in self._paths:
            await self._read_up_to(record.seq)
        call = self._see(record)
        path = record.path or (self._paths.get(record.call) if record.call is not None else None) or Path("")
        given = (record.seq, record.kind, record.time, record.call, path, record.inline, record.packed, record.hash)
        times = None if call is None else call.until(record.time)
        whole = RunRecord(*given, payload=record.payload, times=times, history=self._history)
        return replace(whole, is_tagged=True) if may_be_tagged(record) and await self._are_tagged() else whole

    async def _are_tagged(self) -> bool:
        if self._tagged is None:
            self._tagged = await are_tagged(self._page)
        return self._tagged

    async def _read_up_to(self, seq: int) -> None:
        if not self._seen:  # what was seen so far comes again
            self._timing = Timing()
        while (left := seq - 1 - self._seen) > 0 and (page := await self._page(self._seen, min(left, PAGE_RECORDS))):
            for record in page:
                self._see(record)

    def _see(self, record: Record) -> CallTimes | None:
        if record.call is not None and record.path is not None:
            self._paths.setdefault(record.call, record.path)
        if record.seq == self._seen + 1:
            self._seen = record.seq
        return self._timing.take(record)
