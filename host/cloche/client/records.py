"""`RunRecord`: a record as streams and histories give it, with its path always there, and ready for JSON."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

from cloche.history import CallId, Path, Record
from cloche.history.reading import Message, message_of
from cloche.operations.forms import LAST_MS, record_body, record_head, to_json

PAGE_RECORDS = 500


@dataclass(frozen=True, slots=True)
class RunRecord(Record):
    """`path` is that of the step, timer, event or child that the record is about, also where it tells how that went on; "" of a
    record about the run itself.
    """

    path: Path

    @property
    def at(self) -> datetime:
        """When it was written, in UTC."""
        return datetime.fromtimestamp(min(self.time, LAST_MS) / 1000, UTC)

    @property
    def message(self) -> Message:
        """What it holds, as an object of a class of its own: `StepCompleted`, `AttemptFailed` …"""
        return message_of(self)

    def to_data(self) -> dict[str, Any]:
        """For JSON: seq, kind, time, call, path, size, hash, the body as it is stored, and `message`: what that says, by name.
        Bytes are `hex:…`, dates text."""
        parts = {"body": record_body(self), "message": _by_name(self.message)}
        whole: dict[str, Any] = json.loads(to_json({**record_head(self), **parts}))
        return whole


_OF_THE_ENVELOPE = ("time", "call", "path")


def _by_name(part: Any) -> dict[str, Any]:
    """The fields of a message, or of a failure in one, beside those of the envelope."""
    names = [one.name for one in fields(part) if one.name not in _OF_THE_ENVELOPE and not one.name.startswith("_")]
    return {name: _plain(getattr(part, name)) for name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):  # members and frames of a failure
        return [_plain(one) for one in value]
    return _by_name(value) if is_dataclass(value) and not isinstance(value, type) else value


class Places:
    """Gives each record of a run its path. `page` is asked for records after a number where a call is older than the first."""

    def __init__(self, page: Callable[[int, int], Awaitable[Sequence[Record]]]) -> None:
        self._page = page
        self._paths: dict[CallId, Path] = {}
        self._seen = 0

    async def placed(self, record: Record) -> RunRecord:
        if record.call is not None and record.path is None and record.call not in self._paths:
            await self._read_up_to(record.seq)
        self._see(record)
        path = record.path or (self._paths.get(record.call) if record.call is not None else None) or Path("")
        given = (record.seq, record.kind, record.time, record.call, path, record.inline, record.packed, record.hash)
        return RunRecord(*given, payload=record.payload)

    async def _read_up_to(self, seq: int) -> None:
        while self._seen < seq - 1 and (page := await self._page(self._seen, PAGE_RECORDS)):
            for record in page:
                self._see(record)

    def _see(self, record: Record) -> None:
        if record.call is not None and record.path is not None:
            self._paths.setdefault(record.call, record.path)
        if record.seq == self._seen + 1:
            self._seen = record.seq
