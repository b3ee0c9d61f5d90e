"""Permits: what holds a limit over all workers of a store, and the facet of a store for them.

A call that a limit holds for asks for permits in the commit of its record, and has all of them or none. Where none is free it
waits at the limit that had none. The commit that frees one gives it to whoever waits, and leaves a request for that run in
its inbox. An attempt's place in a window of time is used up by its beginning, and comes back when the window has passed.

What is decided is decided here once, for every store, by generators: they ask for what they need of the tables (`Look`) and say
what changes (`Change`), and a store answers within its transaction. A store decides one at a time: SQLite by its one writer,
PostgreSQL by one lock.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

from cloche.history.ids import CallId, Path, RunKey, TenantId, TimeMs
from cloche.history.permitted import WHOLE_RUN
from cloche.history.values import encode_plain
from cloche.store.inbox import Post

PERMIT = "permit"  # the kind of the request that says that a call has its permits
HELD_BACK = TimeMs(
    253_402_300_799_999
)  # when a run is due that waits for permits to begin: at the end of the year 9999
WAITERS_READ = 20  # of each tenant, at a time
_SEPARATOR = "\x1f"


class LimitName(NamedTuple):
    """What is limited, in full: equal names are one limit. `per_ms` is its window, 0 for one of what is under way at once.

    `tenant` is empty where all tenants share it, `key` where it has none.
    """

    name: str
    per_ms: int = 0
    tenant: str = ""
    key: str = ""

    def pack(self) -> str:
        """As one text, by which it is stored."""
        return _SEPARATOR.join((self.name, str(self.per_ms), self.tenant, self.key))

    @classmethod
    def unpack(cls, text: str) -> LimitName:
        name, per_ms, tenant, key = text.split(_SEPARATOR)
        return cls(name, int(per_ms), tenant, key)


class Limit(NamedTuple):
    """`name` is a packed `LimitName`. `per_ms` 0: `most` at once; else `most` begin in any so many ms."""

    name: str
    most: int
    per_ms: int = 0


@dataclass(frozen=True, slots=True)
class PermitAsk:
    """What a call asks for: a permit of each of these limits."""

    call: CallId
    step: str
    path: Path
    limits: Sequence[Limit]


@dataclass(frozen=True, slots=True)
class PermitRow:
    """A call that has permits, or waits for them. `waits_for` is the limit that has none free, None once it has them.

    `id` grows: who asked first has the smaller one. `is_posted`: a request in the inbox of its run says, or said, that it has
    them. `holder` is the worker in which an attempt goes on that its run waits for no more: what it has is free when the
    attempt has ended, or that worker. Times in ms since 1970.
    """

    id: int
    key: RunKey
    call: CallId
    step: str
    path: Path
    limits: tuple[Limit, ...]
    asked_at: TimeMs
    granted_at: TimeMs | None = None
    waits_for: str | None = None
    holder: str | None = None
    is_posted: bool = False

    def limit(self, name: str) -> Limit:
        return next(one for one in self.limits if one.name == name)


@dataclass(frozen=True, slots=True)
class LimitUse:
    """How many beginnings are counted in the window of a limit, and when the first of them leaves it."""

    name: str
    used: int
    until: TimeMs


@dataclass(frozen=True, slots=True)
class LimitQueue:
    """`due` is when to look again whether one who waits may go on: for what time alone frees. `turns`: whose turn was when."""

    name: str
    due: TimeMs | None = None
    turns: Mapping[str, int] = field(default_factory=dict)


class Permits(Protocol):
    """Raises as `Store`. Permits are asked for and freed by `Log.commit` (`Append.asks`, `.freed`, `.detached`)."""

    async def permits_of(self, key: RunKey) -> list[PermitRow]:
        """Those of the calls of a run."""

    async def permits(self, tenant: TenantId | None = None, limit: int = 10_000) -> list[PermitRow]:
        """Who has permits and who waits, the oldest first: of a tenant, or all."""

    async def limit_uses(self, at: TimeMs) -> list[LimitUse]:
        """What is used of the limits that have a window."""

    async def free_permits(self, key: RunKey, calls: Sequence[CallId], at: TimeMs) -> None:
        """These calls have no use for theirs any more."""

    async def grant_due(self, at: TimeMs) -> TimeMs | None:
        """Give what time has freed since to those who wait; when to look again. None: nobody waits for time."""


# ---- what is decided ----


@dataclass(frozen=True, slots=True)
class Waiters:
    """-> list[PermitRow]: the oldest who wait at this limit, up to `WAITERS_READ` of each tenant, in the order of their ids."""

    name: str


@dataclass(frozen=True, slots=True)
class Queue:
    """-> LimitQueue | None."""

    name: str


@dataclass(frozen=True, slots=True)
class Held:
    """-> int: how many permits are given of a limit of what is under way at once."""

    name: str


@dataclass(frozen=True, slots=True)
class Used:
    """-> (int, TimeMs, TimeMs): how many beginnings are in the window at `at`, when the `most`-th newest of them leaves it (0:
    there are not so many), and the time of the newest ever kept."""

    name: str
    most: int
    at: TimeMs


@dataclass(frozen=True, slots=True)
class Grant:
    """It has them from `at` on. `post` is left for its run; None: whoever asks sees it."""

    row: PermitRow
    at: TimeMs
    post: Post | None


@dataclass(frozen=True, slots=True)
class Wait:
    """It waits at the limit `name`."""

    row: PermitRow
    name: str


@dataclass(frozen=True, slots=True)
class PutQueue:
    queue: LimitQueue


@dataclass(frozen=True, slots=True)
class DropQueue:
    name: str


Look: TypeAlias = Waiters | Queue | Held | Used
Change: TypeAlias = Grant | Wait | PutQueue | DropQueue
Deciding: TypeAlias = Generator[Look | Change, Any, None]


def answered(deciding: Deciding, answer: Callable[[Look | Change], Any]) -> None:
    """Take a decision to its end, by a table that answers at once."""
    try:
        asked = next(deciding)
        while True:
            asked = deciding.send(answer(asked))
    except StopIteration:
        return


def asking(rows: Iterable[PermitRow], at: TimeMs) -> Deciding:
    """Calls that are in the table since now: each has its permits, or waits. Who waited longer goes first."""
    for row in rows:
        for limit in row.limits:
            if limit.per_ms:  # time may have freed some since somebody looked
                yield from _give(limit.name, at)
        blocker = yield from _blocker(row, at)
        if blocker is None:  # a run that is to begin is told in any case: whoever asked for it may be gone by then
            yield Grant(row, at, granted_post(row) if row.call == WHOLE_RUN else None)
        else:
            yield from _queue_up(row, *blocker)


def kept(rows: Iterable[PermitRow], ask: PermitAsk) -> PermitRow | None:
    """What a run has already of what it asks for as a run: the history before it has handed that on."""
    names = {limit.name for limit in ask.limits}
    return next(
        (
            row
            for row in rows
            if row.call == ask.call == WHOLE_RUN
            and row.granted_at is not None
            and {limit.name for limit in row.limits} == names
        ),
        None,
    )


def freeing(names: Iterable[str], at: TimeMs) -> Deciding:
    """Permits of these limits were given back, or time has freed some: who waits has them."""
    for name in dict.fromkeys(names):
        yield from _give(name, at)


def _give(name: str, at: TimeMs) -> Deciding:
    queue: LimitQueue | None = yield Queue(name)
    if queue is None:
        return
    turns, due = dict(queue.turns), None
    waiters: list[PermitRow] = yield Waiters(name)
    while waiters:
        # One tenant after the other; of one tenant, who asked first.
        row = min(waiters, key=lambda one: (turns.get(one.key.tenant, 0), one.id))
        due = yield from _free_from(row.limit(name), at)
        if due is None or due > at:
            break
        blocker = yield from _blocker(row, at, but=name)
        if blocker is None:
            turns[row.key.tenant] = max(turns.values(), default=0) + 1
            yield Grant(row, at, granted_post(row))
        else:
            yield from _queue_up(row, *blocker)
        waiters.remove(row)
        if not any(one.key.tenant == row.key.tenant for one in waiters):
            waiters = yield Waiters(name)
    if waiters:
        yield PutQueue(LimitQueue(name, due, turns))
    else:
        yield DropQueue(name)


def _queue_up(row: PermitRow, name: str, due: TimeMs | None) -> Deciding:
    queue: LimitQueue | None = yield Queue(name)
    yield PutQueue(LimitQueue(name, due, queue.turns if queue is not None else {}))
    yield Wait(row, name)


def _blocker(
    row: PermitRow, at: TimeMs, but: str = ""
) -> Generator[Look | Change, Any, tuple[str, TimeMs | None] | None]:
    """The first limit that has nothing free, and when time frees something; None: all have."""
    for limit in row.limits:
        if limit.name != but:
            due = yield from _free_from(limit, at)
            if due is None or due > at:
                return limit.name, due
    return None


def _free_from(limit: Limit, at: TimeMs) -> Generator[Look | Change, Any, TimeMs | None]:
    """From when on a permit is free: `at`, or later; None: when one is given back."""
    if not limit.per_ms:
        held: int = yield Held(limit.name)
        return at if held < limit.most else None
    used: int
    leaves: TimeMs
    newest: TimeMs
    used, leaves, newest = yield Used(limit.name, limit.most, at)
    if newest > at:  # the clock was set back: a window does not begin before the last one that was counted
        used, leaves, _ = yield Used(limit.name, limit.most, newest)
        return newest if used < limit.most else leaves
    return at if used < limit.most else leaves


def granted_post(row: PermitRow) -> Post:
    """What tells a run that one of its calls has its permits."""
    return Post(row.key, PERMIT, encode_plain([row.call, row.id]), f"{row.key.token}:{PERMIT}:{row.id}")


# ---- how it is stored ----


def pack_limits(limits: Sequence[Limit]) -> str:
    return json.dumps([list(limit) for limit in limits], ensure_ascii=False, separators=(",", ":"))


def unpack_limits(text: str) -> tuple[Limit, ...]:
    return tuple(Limit(*limit) for limit in json.loads(text))
