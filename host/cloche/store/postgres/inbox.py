"""Requests of other processes in PostgreSQL. `Log.commit` takes those that its records accept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cloche.history.ids import RunId, RunKey, TenantId, TimeMs
from cloche.status import FINAL
from cloche.store.inbox import (
    GRANTED,
    START,
    Granted,
    InboxBounds,
    InboxMark,
    InboxRow,
    NewRequests,
    WaitingEvent,
    tokens_of,
)
from cloche.store.postgres.database import Facet, Transaction
from cloche.store.postgres.statements import EPOCH, XID
from cloche.store.refusals import check_room, no_event_any_more

_REQUEST = "id, tenant, run, kind, body, name, posted_at, token, kept"
# By another worker than $1.
_UNTAKEN = "(taker IS NULL OR taker IS NOT DISTINCT FROM $1 OR taker NOT IN (SELECT workers.id FROM cloche.workers))"
# Below this number no transaction is under way: nothing can appear there any more.
_MARK = f"SELECT number, pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS row, {EPOCH} FROM cloche.departures"
_OTHERS = (
    f"SELECT {_REQUEST} FROM cloche.inbox WHERE answer IS NULL AND name IS NULL AND xid > 0 AND xid >= $2 "
    f"AND CASE WHEN kind = '{START}' THEN {_UNTAKEN} ELSE $1 = coalesce((SELECT owner FROM cloche.runs "
    "WHERE runs.tenant = inbox.tenant AND runs.run = inbox.run), $1) END ORDER BY id"
)
_EVENTS = (
    "SELECT DISTINCT i.tenant, i.run, i.name FROM cloche.inbox AS i JOIN cloche.runs AS r USING (tenant, run) "
    "WHERE i.answer IS NULL AND i.name IS NOT NULL AND i.xid > 0 AND i.xid >= $2 "
    "AND coalesce(r.owner, $1) = $1 AND r.status <> 'blocked' "
    "AND EXISTS (SELECT FROM cloche.awaited AS a WHERE a.tenant = i.tenant AND a.run = i.run AND a.name IN (i.name, ''))"
)
_FIRST = (
    "SELECT first.id, first.name, first.posted_at FROM unnest($3::text[]) AS wanted(name) CROSS JOIN LATERAL ("
    "SELECT id, name, posted_at FROM cloche.inbox WHERE answer IS NULL AND tenant = $1 AND run = $2 AND name = wanted.name "
    "ORDER BY id LIMIT 1) AS first ORDER BY first.id"
)

# Known by its token alone: it is no request, and was never one.
_NOTE = (
    "INSERT INTO cloche.inbox (tenant, run, kind, body, token, posted_at, kept, answer) "
    "SELECT tenant, run, kind, '', $2, posted_at, true, $3 FROM cloche.inbox WHERE id = $1 AND answer IS NULL "
    "ON CONFLICT (token) DO UPDATE SET answer = excluded.answer, posted_at = excluded.posted_at "
    f"RETURNING {XID}"
)


class PostgresInbox(Facet):
    """Implements `Inbox`."""

    async def post(
        self,
        key: RunKey,
        kind: str,
        body: bytes,
        token: str,
        at: TimeMs,
        *,
        kept: bool = False,
        name: str | None = None,
        bounds: InboxBounds | None = None,
    ) -> None:
        async with self._database.transaction() as transaction:
            # Posts of events to one run go one after the other, so that their numbers are in the order in which they are seen.
            status = await _count_post(transaction, key) if name is not None else None
            if not await _is_new(transaction, token):
                return
            if name is not None:
                if status in FINAL:
                    raise no_event_any_more(key, str(status))
                if bounds is not None:
                    await _check_bounds(transaction, key, bounds, len(body))
            await transaction.fetch(
                "INSERT INTO cloche.inbox (tenant, run, kind, body, token, posted_at, kept, name) VALUES ($1, $2, $3, $4, $5, "
                "greatest($6, CASE WHEN $8::text IS NOT NULL THEN (SELECT posted_at FROM cloche.waiting_events AS w "
                "WHERE w.tenant = $1 AND w.run = $2) END), $7, $8) ON CONFLICT (token) DO NOTHING",
                *(key.tenant, key.run, kind, body, token, at, kept, name),
            )
            # Only here, where a person or another program waits: commits that notify go one after the other.
            await transaction.fetch("SELECT pg_notify($1, $2)", self._database.channel, self._database.name)

    async def new_requests(self, worker: str, after: InboxMark | None) -> NewRequests:
        found = await self._database.read_in_epoch(_MARK)
        mark = InboxMark(found["number"], found["row"], found["epoch"])
        is_same = after is not None and (after.departures, after.epoch) == (mark.departures, mark.epoch)
        begin = after.row if after is not None and is_same else 0
        requests = await self._database.read(_OTHERS, worker, begin)
        events = await self._database.read(_EVENTS, worker, begin)
        return NewRequests([_request_of(row) for row in requests], [(_key(row), row["name"]) for row in events], mark)

    async def requests(self, key: RunKey | None = None, *, events: bool = True) -> list[InboxRow]:
        which = "" if events else "AND name IS NULL "
        of_run, values = ("AND tenant = $1 AND run = $2 ", (key.tenant, key.run)) if key else ("", ())
        sql = f"SELECT {_REQUEST} FROM cloche.inbox WHERE answer IS NULL {of_run}{which}ORDER BY id"
        return [_request_of(row) for row in await self._database.read(sql, *values)]

    async def waiting_starts(self, tenant: TenantId | None, limit: int) -> list[InboxRow]:
        newest = (
            f"SELECT {_REQUEST} FROM cloche.inbox WHERE answer IS NULL AND xid > 0 AND name IS NULL AND kind = '{START}' "
            "AND ($1::text IS NULL OR tenant = $1) ORDER BY id DESC LIMIT $2"
        )
        return [_request_of(row) for row in await self._database.read(newest, tenant, limit)]

    async def first_events(self, key: RunKey, names: Sequence[str]) -> list[WaitingEvent]:
        rows = await self._database.read(_FIRST, key.tenant, key.run, list(names))
        return [WaitingEvent(row["id"], row["name"], TimeMs(row["posted_at"])) for row in rows]

    async def has_events(self, key: RunKey) -> bool:
        waiting = "SELECT 1 FROM cloche.waiting_events WHERE tenant = $1 AND run = $2"
        return bool(await self._database.read(waiting, key.tenant, key.run))

    async def body(self, inbox_id: int) -> bytes | None:
        rows = await self._database.read("SELECT body FROM cloche.inbox WHERE id = $1 AND answer IS NULL", inbox_id)
        return rows[0]["body"] if rows else None

    async def request(self, token: str) -> InboxRow | None:
        sql = f"SELECT {_REQUEST} FROM cloche.inbox WHERE token = $1 AND answer IS NULL"
        rows = await self._database.read(sql, token)
        return _request_of(rows[0]) if rows else None

    async def take(self, inbox_id: int, worker: str) -> bool:
        lives = "EXISTS (SELECT FROM cloche.workers WHERE workers.id = $1)"
        update = f"UPDATE cloche.inbox SET taker = $1 WHERE id = $2 AND answer IS NULL AND {_UNTAKEN} AND {lives}"
        return await self._database.change(f"{update} RETURNING {XID}", worker, inbox_id) == 1

    async def withdraw_request(self, inbox_id: int, answer: str) -> bool:
        untaken = "(taker IS NULL OR taker NOT IN (SELECT workers.id FROM cloche.workers))"
        update = f"UPDATE cloche.inbox SET answer = $2, body = '' WHERE id = $1 AND answer IS NULL AND {untaken}"
        return await self._database.change(f"{update} RETURNING {XID}", inbox_id, answer) == 1

    async def answer(self, token: str) -> str | None:
        rows = await self._database.read("SELECT answer FROM cloche.inbox WHERE token = $1", token)
        return rows[0]["answer"] if rows else None

    async def is_waiting(self, inbox_id: int) -> bool:
        sql = "SELECT 1 FROM cloche.inbox WHERE id = $1 AND answer IS NULL"
        return bool(await self._database.read(sql, inbox_id))

    async def resolve(self, inbox_id: int, answer: str, *, noted: str | None = None) -> None:
        if noted is not None:
            await self._database.change(_NOTE, inbox_id, noted, answer)
        await self._database.change(
            "WITH gone AS (DELETE FROM cloche.inbox WHERE id = $1 AND NOT kept RETURNING id), "
            "kept AS (UPDATE cloche.inbox SET answer = $2, body = '' WHERE id = $1 AND kept AND answer IS NULL RETURNING id) "
            f"SELECT {XID} FROM (SELECT id FROM gone UNION ALL SELECT id FROM kept) AS changed",
            *(inbox_id, answer),
        )

    async def forget(self, token: str) -> None:
        delete = f"DELETE FROM cloche.inbox WHERE token = $1 AND answer IS NOT NULL RETURNING {XID}"
        await self._database.change(delete, token)

    async def granted(self, key: RunKey) -> list[Granted]:
        rows = await self._database.read(
            "SELECT kind, token, posted_at FROM cloche.inbox WHERE token > $1 AND token < $2 "
            f"AND tenant = $3 AND kept AND answer = '{GRANTED}' ORDER BY token",
            *(*tokens_of(key), key.tenant),
        )
        return [Granted(row["kind"], row["token"], TimeMs(row["posted_at"])) for row in rows]

    async def remember(self, key: RunKey, granted: Sequence[Granted]) -> None:
        await self._database.change(
            "INSERT INTO cloche.inbox (tenant, run, kind, body, token, posted_at, kept, answer) "
            f"SELECT $1, $2, kind, '', token, at, true, '{GRANTED}' "
            "FROM unnest($3::text[], $4::text[], $5::bigint[]) AS g(kind, token, at) "
            f"ON CONFLICT (token) DO NOTHING RETURNING {XID}",
            *(key.tenant, key.run),
            *([one.kind for one in granted], [one.token for one in granted], [one.posted_at for one in granted]),
        )

    async def awaited(self, key: RunKey) -> list[str]:
        names = "SELECT name FROM cloche.awaited WHERE tenant = $1 AND run = $2 ORDER BY name"
        return [row["name"] for row in await self._database.read(names, key.tenant, key.run)]

    async def waiting_for(self, tenant: TenantId, name: str) -> list[RunKey]:
        runs = 'SELECT run FROM cloche.awaited WHERE tenant = $1 AND name = $2 ORDER BY run COLLATE "C"'
        return [RunKey(tenant, RunId(row["run"])) for row in await self._database.read(runs, tenant, name)]


async def _count_post(transaction: Transaction, key: RunKey) -> str | None:
    """The status of the run, whose row is another one now; see `write_all`. None: there is no such run yet."""
    sql = "UPDATE cloche.runs SET posts = posts + 1 WHERE tenant = $1 AND run = $2 RETURNING status"
    rows = await transaction.fetch(sql, key.tenant, key.run)
    return rows[0]["status"] if rows else None


async def _is_new(transaction: Transaction, token: str) -> bool:
    """Whether nobody has made this request before. One that was refused is a new one, and has its place at the end."""
    before = await transaction.fetch("SELECT answer FROM cloche.inbox WHERE token = $1 FOR UPDATE", token)
    if before and before[0]["answer"] in (None, GRANTED):
        return False
    if before:
        await transaction.fetch("DELETE FROM cloche.inbox WHERE token = $1", token)
    return True


async def _check_bounds(transaction: Transaction, key: RunKey, bounds: InboxBounds, size: int) -> None:
    sums = (
        "SELECT coalesce(sum(events) FILTER (WHERE run = $2), 0)::bigint, "
        "coalesce(sum(bytes) FILTER (WHERE run = $2), 0)::bigint, coalesce(sum(events), 0)::bigint, "
        "coalesce(sum(bytes), 0)::bigint FROM cloche.waiting_events WHERE tenant = $1"
    )
    [[events, held, all_events, all_held]] = await transaction.fetch(sums, key.tenant, key.run)
    check_room(key, bounds, (events, held), (all_events, all_held), size)


def _key(row: Any) -> RunKey:
    return RunKey(TenantId(row["tenant"]), RunId(row["run"]))


def _request_of(row: Any) -> InboxRow:
    return InboxRow(
        row["id"],
        _key(row),
        row["kind"],
        row["body"],
        row["name"],
        TimeMs(row["posted_at"]),
        row["token"],
        row["kept"],
    )
