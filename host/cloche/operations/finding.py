"""Finding runs by what they are, by their tags, and by text in what they were given and gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cloche.errors import UsageError
from cloche.history import Kind, Seq, TimeMs
from cloche.history.ids import TenantId, check_named, tenant_id
from cloche.history.marks import ERROR, STEP, checked_tags, tag_marks
from cloche.history.messages import CompleteRun, FailRun, Started
from cloche.history.notes import RunCreated, RunStopped
from cloche.history.reading import message_of, unpack_started
from cloche.operations.filters import count_of, statuses_of
from cloche.operations.forms import to_json
from cloche.store import RunFilter, RunRow

if TYPE_CHECKING:
    from cloche.history import Record
    from cloche.store import Store

TEXT_RUNS_MAX = 5_000  # that one page of a search for text reads
TEXT_PAGE = 200
_HEAD, _TAIL = 2, 4  # records of a run that hold its input, and its end
_HOLDS_TEXT = frozenset({Kind.RUN_CREATED, Kind.RUN_STARTED, Kind.RUN_COMPLETED, Kind.RUN_FAILED, Kind.RUN_STOPPED})


class RunList(list[RunRow]):
    """Runs, newest first. `next` is the cursor of the page that follows; None: there is none.

    A page may have fewer than were asked for, or none, and a next one: it has looked at as many as a page may
    (`TEXT_RUNS_MAX`, and where no text is looked for `store.LOOKED_AT_MAX` beyond what was found).
    """

    def __init__(self, rows: list[RunRow], next: str | None = None) -> None:
        super().__init__(rows)
        self.next = next


def filter_of(
    tenant: str | None,
    *,
    status: str | Sequence[str] | None = None,
    workflow: str | None = None,
    version: str | None = None,
    since: datetime | int | None = None,
    until: datetime | int | None = None,
    error: str | None = None,
    step: str | None = None,
    tags: Mapping[str, str] | None = None,
    is_retried: bool | None = None,
) -> RunFilter:
    """What `list`, `failures` and `bulk` are asked for.

    Raises:
        UsageError: there is no such status, or a name is no text.
        InvalidInput: the tags are none.
    """
    for what, name in (("workflow", workflow), ("version", version), ("error", error), ("step", step)):
        if name is not None:
            check_named(what, name)
    marks = tag_marks(checked_tags(tags or {}))
    if step is not None:
        marks[STEP] = step
    if error is not None:
        marks[ERROR] = error
    return RunFilter(
        TenantId(tenant_id(tenant)) if tenant is not None else None,
        statuses_of(status),
        workflow,
        version,
        _ms(since),
        _ms(until),
        dict(sorted(marks.items())),
        is_retried,
    )


def before(now: TimeMs, age: timedelta | float | None, until: datetime | int | None) -> TimeMs | None:
    """By when a run must have written its last record, which is older than `age`, and from before `until`.

    Raises:
        UsageError: the age is negative.
    """
    last = _ms(until)
    if age is None:
        return last
    seconds = age.total_seconds() if isinstance(age, timedelta) else age
    if not 0 <= seconds < float("inf"):
        raise UsageError(f"an age is a number of seconds from 0, not {seconds!r}")
    aged = TimeMs(max(0, now - int(seconds * 1000)))
    return aged if last is None else min(last, aged)


async def find(store: Store, filter: RunFilter, text: str | None, limit: int | None, cursor: str | None) -> RunList:
    """Up to `limit` runs (None: all of them), as far as a page looks.

    Raises:
        UsageError: no page has given this cursor.
        HistoryError: a run that was to be read is damaged.
    """
    before = _place(cursor)
    filter = await _by_version(store, filter)
    rows: list[RunRow] = []
    looked = 0
    while True:
        size = TEXT_PAGE if limit is None else min(limit - len(rows), TEXT_PAGE)
        if text is not None:
            size = min(size, TEXT_RUNS_MAX - looked)
        if size <= 0:
            break
        page = await store.find(filter, limit=size, before=before)
        looked += len(page.rows)
        rows += [row for row in page.rows if text is None or await _has_text(store, row, text.casefold())]
        before = page.next
        if before is None or (not page.rows and text is not None and looked >= TEXT_RUNS_MAX):
            break
        if limit is not None and text is None and len(page.rows) < size:  # the store has looked at as many as it may
            break
    return RunList(rows, str(before) if before is not None else None)


async def _by_version(store: Store, filter: RunFilter) -> RunFilter:
    """A version may be named by its id: what is sought is the digest of its code."""
    if filter.code is None or filter.tenant is None:
        return filter
    version = await store.version_of(filter.tenant, filter.code)
    return replace(filter, code=version.digest) if version is not None else filter


async def _has_text(store: Store, row: RunRow, text: str) -> bool:
    records = await store.records(row.key, limit=_HEAD)
    if row.head_seq > _HEAD:
        records += await store.records(row.key, Seq(max(_HEAD, row.head_seq - _TAIL)), _TAIL)
    return any(text in _told(record).casefold() for record in records if record.kind in _HOLDS_TEXT)


def _told(record: Record) -> str:
    """What its run was given, or came to. Neither times nor the seed, in which any digits may stand."""
    match message_of(record):
        case RunCreated(queued=queued):  # of a run that waits to begin, its start
            return to_json(unpack_started(queued).input) if queued else ""
        case Started(input=value) | CompleteRun(value):
            return to_json(value)
        case FailRun(failure) | RunStopped(failure=failure):
            return to_json([failure.name, failure.message, failure.data])
    return ""


def _ms(time: datetime | int | None) -> TimeMs | None:
    """
    Raises:
        UsageError: it is no time that runs have.
    """
    try:
        ms = int(time.timestamp() * 1000) if isinstance(time, datetime) else time
    except (ValueError, OverflowError, OSError):
        ms = -1
    return TimeMs(count_of("a time in ms since 1970, or as a datetime,", ms)) if ms is not None else None


def _place(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise UsageError(f"no page has given the cursor {cursor[:40]!r}")
    return int(cursor)
