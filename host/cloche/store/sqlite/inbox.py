"""Requests of other processes in SQLite. `Log.commit` takes those that its records accept."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from cloche.history.ids import RunId, RunKey, TenantId, TimeMs
from cloche.status import FINAL
from cloche.store.inbox import (
    ENDED,
    GRANTED,
    START,
    Granted,
    InboxBounds,
    InboxMark,
    InboxRow,
    NewRequests,
    Post,
    WaitingEvent,
    tokens_of,
)
from cloche.store.refusals import check_room, no_event_any_more
from cloche.store.sqlite.database import Facet

_REQUEST = "id, tenant, run, kind, body, name, posted_at, token, kept"
_UNTAKEN = "(taker IS NULL OR taker IS ?1 OR taker NOT IN (SELECT id FROM workers))"  # by another one than ?1
_OF_RUN = "FROM inbox WHERE answer IS NULL AND tenant = ?1 AND run = ?2"
# The index by name: it has the names in it, so that the table with the bodies is not touched. `+` keeps the filter from others.
_EVENTS = (
    "SELECT DISTINCT i.tenant, i.run, i.name FROM inbox i INDEXED BY inbox_waiting JOIN runs r USING (tenant, run) "
    "WHERE i.answer IS NULL AND i.id > ?2 AND i.name IS NOT NULL AND ifnull(r.owner, ?1) = ?1 AND r.status <> 'blocked' "
    "AND EXISTS (SELECT 1 FROM awaited a WHERE a.tenant = i.tenant AND a.run = i.run AND a.name IN (i.name, ''))"
)
_OTHERS = (
    f"SELECT {_REQUEST} FROM inbox WHERE answer IS NULL AND name IS NULL AND id IN "
    "(SELECT id FROM inbox INDEXED BY inbox_waiting WHERE answer IS NULL AND id > ?2 AND name IS NULL) "
    f"AND iif(kind = '{START}', {_UNTAKEN}, ?1 = ifnull((SELECT owner FROM runs "
    "WHERE runs.tenant = inbox.tenant AND runs.run = inbox.run), ?1)) ORDER BY id"
)

# Known by its token alone: it is no request, and was never one.
_NOTE = (
    "INSERT INTO inbox (tenant, run, kind, body, token, posted_at, kept, answer) "
    "SELECT tenant, run, kind, x'', ?2, posted_at, 1, ?3 FROM inbox WHERE id = ?1 AND answer IS NULL "
    "ON CONFLICT (token) DO UPDATE SET answer = excluded.answer, posted_at = excluded.posted_at"
)


class SqliteInbox(Facet):
    """Implements `Inbox` on a connection."""

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
        def write(db: sqlite3.Connection) -> None:
            if not _is_new(db, token):
                return
            if name is not None:
                _check_event(db, key, len(body), bounds)
            db.execute(
                "INSERT INTO inbox (tenant, run, kind, body, token, posted_at, kept, name) VALUES (?1, ?2, ?3, ?4, ?5, "
                "max(?6, ifnull((SELECT posted_at FROM waiting_events WHERE tenant = ?1 AND run = ?2), 0)), ?7, ?8)",
                (key.tenant, key.run, kind, body, token, at, kept, name),
            )

        await self._database.write(write)

    async def new_requests(self, worker: str, after: InboxMark | None) -> NewRequests:
        def look(db: sqlite3.Connection) -> NewRequests:
            [departures, last] = db.execute(
                "SELECT number, (SELECT ifnull(max(id), 0) FROM inbox) FROM departures"
            ).fetchone()
            begin = after.row if after is not None and after.departures == departures else 0
            mark = InboxMark(departures, max(begin, last))
            if last <= begin:
                return NewRequests([], [], mark)
            requests = [_request_of(row) for row in db.execute(_OTHERS, (worker, begin))]
            events = [(_key(tenant, run), name) for tenant, run, name in db.execute(_EVENTS, (worker, begin))]
            return NewRequests(requests, events, mark)

        return await self._database.look(look)

    async def requests(self, key: RunKey | None = None, *, events: bool = True) -> list[InboxRow]:
        which = "" if events else "AND name IS NULL "
        if key is None:
            rows = await self._database.select(f"SELECT {_REQUEST} FROM inbox WHERE answer IS NULL {which}ORDER BY id")
        else:
            rows = await self._database.select(f"SELECT {_REQUEST} {_OF_RUN} {which}ORDER BY id", (key.tenant, key.run))
        return [_request_of(row) for row in rows]

    async def waiting_starts(self, tenant: TenantId | None, limit: int) -> list[InboxRow]:
        newest = (
            f"SELECT {_REQUEST} FROM inbox INDEXED BY inbox_waiting WHERE answer IS NULL AND name IS NULL "
            f"AND kind = '{START}' AND (?1 IS NULL OR tenant = ?1) ORDER BY id DESC LIMIT ?2"
        )
        return [_request_of(row) for row in await self._database.select(newest, (tenant, limit))]

    async def first_events(self, key: RunKey, names: Sequence[str]) -> list[WaitingEvent]:
        def look(db: sqlite3.Connection) -> list[WaitingEvent]:
            of_run = (key.tenant, key.run)
            first = f"SELECT id, name, posted_at {_OF_RUN} AND name = ?3 ORDER BY id LIMIT 1"
            if not db.execute("SELECT 1 FROM waiting_events WHERE tenant = ? AND run = ?", of_run).fetchone():
                return []
            found = [db.execute(first, (*of_run, name)).fetchone() for name in names]
            return sorted((WaitingEvent(*row) for row in found if row), key=lambda event: event.id)

        return await self._database.look(look)

    async def has_events(self, key: RunKey) -> bool:
        waiting = "SELECT 1 FROM waiting_events WHERE tenant = ? AND run = ?"
        return bool(await self._database.select(waiting, (key.tenant, key.run)))

    async def body(self, inbox_id: int) -> bytes | None:
        rows = await self._database.select("SELECT body FROM inbox WHERE id = ? AND answer IS NULL", (inbox_id,))
        return rows[0][0] if rows else None

    async def request(self, token: str) -> InboxRow | None:
        rows = await self._database.select(f"SELECT {_REQUEST} FROM inbox WHERE token = ? AND answer IS NULL", (token,))
        return _request_of(rows[0]) if rows else None

    async def take(self, inbox_id: int, worker: str) -> bool:
        lives = "EXISTS (SELECT 1 FROM workers WHERE id = ?1)"
        update = f"UPDATE inbox SET taker = ?1 WHERE id = ?2 AND answer IS NULL AND {_UNTAKEN} AND {lives}"
        return await self._database.change(update, (worker, inbox_id)) == 1

    async def withdraw_request(self, inbox_id: int, answer: str) -> bool:
        update = (
            f"UPDATE inbox SET answer = ?3, body = x'' WHERE id = ?2 AND answer IS NULL AND {_UNTAKEN} AND ?1 IS ?1"
        )
        return await self._database.change(update, (None, inbox_id, answer)) == 1

    async def answer(self, token: str) -> str | None:
        rows = await self._database.select("SELECT answer FROM inbox WHERE token = ?", (token,))
        return rows[0][0] if rows else None

    async def is_waiting(self, inbox_id: int) -> bool:
        return bool(await self._database.select("SELECT 1 FROM inbox WHERE id = ? AND answer IS NULL", (inbox_id,)))

    async def resolve(self, inbox_id: int, answer: str, *, noted: str | None = None) -> None:
        def write(db: sqlite3.Connection) -> None:
            if noted is not None:
                db.execute(_NOTE, (inbox_id, noted, answer))
            db.execute("DELETE FROM inbox WHERE id = ? AND NOT kept", (inbox_id,))
            update = "UPDATE inbox SET answer = ?, body = x'' WHERE id = ? AND answer IS NULL"
            db.execute(update, (answer, inbox_id))

        await self._database.write(write)

    async def forget(self, token: str) -> None:
        await self._database.change("DELETE FROM inbox WHERE token = ? AND answer IS NOT NULL", (token,))

    async def granted(self, key: RunKey) -> list[Granted]:
        rows = await self._database.select(
            f"SELECT kind, token, posted_at FROM inbox WHERE token > ? AND token < ? AND kept AND answer = '{GRANTED}' "
            "ORDER BY token",
            tokens_of(key),
        )
        return [Granted(*row) for row in rows]

    async def remember(self, key: RunKey, granted: Sequence[Granted]) -> None:
        rows = [(key.tenant, key.run, one.kind, one.token, one.posted_at) for one in granted]
        insert = (
            "INSERT INTO inbox (tenant, run, kind, body, token, posted_at, kept, answer) "
            f"VALUES (?, ?, ?, x'', ?, ?, 1, '{GRANTED}') ON CONFLICT DO NOTHING"
        )
        await self._database.write(lambda db: db.executemany(insert, rows))

    async def awaited(self, key: RunKey) -> list[str]:
        names = "SELECT name FROM awaited WHERE tenant = ? AND run = ? ORDER BY name"
        return [name for (name,) in await self._database.select(names, (key.tenant, key.run))]

    async def waiting_for(self, tenant: TenantId, name: str) -> list[RunKey]:
        runs = "SELECT run FROM awaited WHERE tenant = ? AND name = ? ORDER BY run"
        return [_key(tenant, run) for (run,) in await self._database.select(runs, (tenant, name))]


def leave(db: sqlite3.Connection, posts: Sequence[Post], at: TimeMs) -> None:
    """Within a commit: what it leaves for other runs."""
    rows = [(post.key.tenant, post.key.run, post.kind, post.body, post.token, at) for post in posts]
    db.executemany(
        "INSERT INTO inbox (tenant, run, kind, body, token, posted_at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        rows,
    )


def follow_hooks(db: sqlite3.Connection, key: RunKey, awaited: Sequence[str], unawaited: Sequence[str]) -> None:
    """Within a commit: the names of events that the run waits for from now on, and those that it waits for no more."""
    if unawaited:
        rows = [(key.tenant, key.run, name) for name in unawaited]
        db.executemany("DELETE FROM awaited WHERE tenant = ? AND run = ? AND name = ?", rows)
    if awaited:
        rows = [(key.tenant, key.run, name) for name in awaited]
        db.executemany("INSERT INTO awaited (tenant, run, name) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", rows)


def end_events(db: sqlite3.Connection, key: RunKey) -> None:
    """Within the commit that ends a run: nobody will wait for an event of it."""
    of_run = (key.tenant, key.run)
    db.execute("DELETE FROM awaited WHERE tenant = ? AND run = ?", of_run)
    if db.execute("SELECT 1 FROM waiting_events WHERE tenant = ? AND run = ?", of_run).fetchone():
        where = "WHERE answer IS NULL AND tenant = ?1 AND run = ?2 AND name IS NOT NULL"
        db.execute(f"DELETE FROM inbox {where} AND NOT kept", of_run)
        db.execute(f"UPDATE inbox SET answer = ?3, body = x'' {where}", (*of_run, ENDED))


def _is_new(db: sqlite3.Connection, token: str) -> bool:
    """Whether nobody has made this request before. One that was refused is a new one, and has its place at the end."""
    before = db.execute("SELECT answer FROM inbox WHERE token = ?", (token,)).fetchone()
    if before is None:
        return True
    if before[0] in (None, GRANTED):
        return False
    db.execute("DELETE FROM inbox WHERE token = ?", (token,))
    return True


def _check_event(db: sqlite3.Connection, key: RunKey, size: int, bounds: InboxBounds | None) -> None:
    row = db.execute("SELECT status FROM runs WHERE tenant = ? AND run = ?", (key.tenant, key.run)).fetchone()
    if row is not None and row[0] in FINAL:
        raise no_event_any_more(key, row[0])
    if bounds is not None:
        found = db.execute(
            "SELECT run, events, bytes FROM waiting_events WHERE tenant = ? AND run IN (?, '')", (key.tenant, key.run)
        )
        totals = {run: (events, held) for run, events, held in found}
        check_room(key, bounds, totals.get(key.run, (0, 0)), totals.get("", (0, 0)), size)


def _key(tenant: str, run: str) -> RunKey:
    return RunKey(TenantId(tenant), RunId(run))


def _request_of(row: Sequence[Any]) -> InboxRow:
    id, tenant, run, kind, body, name, posted_at, token, kept = row
    return InboxRow(id, _key(tenant, run), kind, body, name, TimeMs(posted_at), token, bool(kept))
