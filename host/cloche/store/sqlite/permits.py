"""Permits, in SQLite: the one writer decides."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, assert_never

from cloche.history.ids import CallId, Path, RunId, RunKey, TenantId, TimeMs
from cloche.history.permitted import WHOLE_RUN
from cloche.store import permits as of
from cloche.store.inbox import Post
from cloche.store.permits import (
    LimitQueue,
    LimitUse,
    PermitAsk,
    PermitRow,
    answered,
    asking,
    freeing,
    granted_post,
    pack_limits,
    unpack_limits,
)
from cloche.store.protocol import Append
from cloche.store.sqlite.database import Facet

_ROW = "id, tenant, run, call, step, path, limits, asked_at, granted_at, waits_for, holder, is_posted"
_OF_CALL = "WHERE tenant = ? AND run = ? AND call = ?"
# Of each tenant the oldest, from one tenant to the next by index, however many wait.
_WAITERS = f"""
WITH RECURSIVE tenants(tenant) AS (
    SELECT min(tenant) FROM permits WHERE waits_for = ?1
    UNION ALL
    SELECT (SELECT min(tenant) FROM permits WHERE waits_for = ?1 AND tenant > tenants.tenant)
    FROM tenants WHERE tenants.tenant IS NOT NULL
)
SELECT {_ROW} FROM permits WHERE id IN (
    SELECT one.id FROM tenants, permits AS one WHERE one.id IN (
        SELECT id FROM permits WHERE waits_for = ?1 AND permits.tenant = tenants.tenant ORDER BY id LIMIT {of.WAITERS_READ}
    )
) ORDER BY id
"""
_USED = (
    "SELECT count(*), (SELECT max(at) FROM limit_uses WHERE name = ?1) FROM limit_uses WHERE name = ?1 AND until > ?2"
)
_LEAVES = "SELECT until FROM limit_uses WHERE name = ?1 ORDER BY at DESC, permit DESC LIMIT 1 OFFSET ?2 - 1"
# Attempts that went on in a worker that is gone, and nowhere else: they have ended with it.
_OF_THE_GONE = (
    "SELECT tenant, run, call FROM permits WHERE holder IS NOT NULL AND holder NOT IN (SELECT id FROM workers)"
)
_FORGOTTEN_AT_ONCE = 1_000


class SqlitePermits(Facet):
    """Implements `Permits` on a connection."""

    async def permits_of(self, key: RunKey) -> list[PermitRow]:
        sql = f"SELECT {_ROW} FROM permits WHERE tenant = ? AND run = ? ORDER BY id"
        return [_row(row) for row in await self._database.select(sql, (key.tenant, key.run))]

    async def permits(self, tenant: TenantId | None = None, limit: int = 10_000) -> list[PermitRow]:
        sql = f"SELECT {_ROW} FROM permits WHERE ?1 IS NULL OR tenant = ?1 ORDER BY id LIMIT ?2"
        return await self._database.read(lambda db: [_row(row) for row in db.execute(sql, (tenant, limit))])

    async def limit_uses(self, at: TimeMs) -> list[LimitUse]:
        sql = "SELECT name, count(*), min(until) FROM limit_uses WHERE until > ? GROUP BY name ORDER BY name"
        return await self._database.read(lambda db: [LimitUse(*row) for row in db.execute(sql, (at,))])

    async def free_permits(self, key: RunKey, calls: Sequence[CallId], at: TimeMs) -> None:
        await self._database.write(lambda db: _free(db, key, calls, at))

    async def grant_due(self, at: TimeMs) -> TimeMs | None:
        def is_there(db: sqlite3.Connection) -> tuple[bool, TimeMs | None]:
            [due] = db.execute("SELECT min(due_at) FROM limit_queues WHERE due_at IS NOT NULL").fetchone()
            old = db.execute("SELECT 1 FROM limit_uses WHERE until <= ? LIMIT 1", (at,)).fetchone()
            old = old or db.execute(f"{_OF_THE_GONE} LIMIT 1").fetchone()
            return bool(old) or (due is not None and due <= at), due

        def write(db: sqlite3.Connection) -> TimeMs | None:
            for tenant, run, call in db.execute(_OF_THE_GONE).fetchall():
                _free(db, RunKey(TenantId(tenant), RunId(run)), [CallId(call)], at)
            names = [name for (name,) in db.execute("SELECT name FROM limit_queues WHERE due_at <= ?", (at,))]
            _decide(db, freeing(names, at))
            db.execute(
                "DELETE FROM limit_uses WHERE (name, at, permit) IN "
                f"(SELECT name, at, permit FROM limit_uses WHERE until <= ? LIMIT {_FORGOTTEN_AT_ONCE})",
                (at,),
            )
            return is_there(db)[1]

        is_any, due = await self._database.look(is_there)
        return await self._database.write(write) if is_any else due


def follow_permits(db: sqlite3.Connection, append: Append) -> None:
    """Within a commit: the permits that it gives back, and those that it asks for."""
    key, at = append.key, append.at
    if append.detached:
        worker = append.lease.worker if append.lease is not None else None
        rows = [(worker, key.tenant, key.run, call) for call in append.detached]
        db.executemany(f"UPDATE permits SET holder = ? {_OF_CALL}", rows)
    if append.handed_to is not None:
        db.execute(f"UPDATE permits SET run = ? {_OF_CALL}", (append.handed_to.run, key.tenant, key.run, WHOLE_RUN))
    asks = [ask for ask in append.asks if not _keeps(db, key, ask, at)]
    asking_again = [ask.call for ask in asks]
    if append.freed or asking_again:
        _free(db, key, [*append.freed, *asking_again], at)
    asked = []
    for ask in asks:
        values = (key.tenant, key.run, ask.call, ask.step, ask.path, pack_limits(ask.limits), at)
        insert = (
            "INSERT INTO permits (tenant, run, call, step, path, limits, asked_at) VALUES (?, ?, ?, ?, ?, ?, ?) "
            f"RETURNING {_ROW}"
        )
        asked += [_row(row) for row in db.execute(insert, values).fetchall()]
    _decide(db, asking(asked, at))


def _keeps(db: sqlite3.Connection, key: RunKey, ask: PermitAsk, at: TimeMs) -> bool:
    """Whether it has what it asks for; then it is told so."""
    if ask.call != WHOLE_RUN:
        return False
    rows = db.execute(f"SELECT {_ROW} FROM permits {_OF_CALL}", (key.tenant, key.run, ask.call)).fetchall()
    row = of.kept(map(_row, rows), ask)
    if row is not None:
        _post(db, granted_post(row), at)
    return row is not None


def free_all_of_run(db: sqlite3.Connection, key: RunKey) -> None:
    """Within a transaction: the run goes on nowhere. It keeps a place that it has as a run."""
    sql = "SELECT call FROM permits WHERE tenant = ? AND run = ? AND call <> 0 AND holder IS NULL"
    calls = [CallId(call) for (call,) in db.execute(sql, (key.tenant, key.run))]
    if calls:
        _free(db, key, calls, TimeMs(0))


def _free(db: sqlite3.Connection, key: RunKey, calls: Sequence[CallId], at: TimeMs) -> None:
    names: list[str] = []
    for call in calls:
        gone = f"DELETE FROM permits {_OF_CALL} RETURNING id, waits_for"
        for permit, waits_for in db.execute(gone, (key.tenant, key.run, call)).fetchall():
            names += [] if waits_for is None else [waits_for]
            held = db.execute("DELETE FROM held WHERE permit = ? RETURNING name", (permit,)).fetchall()
            names += [name for (name,) in held]
    if names:
        _decide(db, freeing(names, at))


def _decide(db: sqlite3.Connection, deciding: of.Deciding) -> None:
    answered(deciding, lambda asked: _answer(db, asked))


def _answer(db: sqlite3.Connection, asked: of.Look | of.Change) -> Any:
    match asked:
        case of.Waiters(name):
            return [_row(row) for row in db.execute(_WAITERS, (name,))]
        case of.Queue(name):
            row = db.execute("SELECT name, due_at, turns FROM limit_queues WHERE name = ?", (name,)).fetchone()
            return LimitQueue(row[0], row[1], json.loads(row[2])) if row else None
        case of.Held(name):
            return db.execute("SELECT count(*) FROM held WHERE name = ?", (name,)).fetchone()[0]
        case of.Used(name, most, at):
            count, newest = db.execute(_USED, (name, at)).fetchone()
            leaves = db.execute(_LEAVES, (name, most)).fetchone() if count >= most else None
            return count, leaves[0] if leaves else 0, newest or 0
        case of.Grant():
            _grant(db, asked)
        case of.Wait(row, name):
            db.execute("UPDATE permits SET waits_for = ? WHERE id = ?", (name, row.id))
        case of.PutQueue(queue):
            db.execute(
                "INSERT INTO limit_queues (name, due_at, turns) VALUES (?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET due_at = excluded.due_at, turns = excluded.turns",
                (queue.name, queue.due, json.dumps(queue.turns)),
            )
        case of.DropQueue(name):
            db.execute("DELETE FROM limit_queues WHERE name = ?", (name,))
        case _:
            assert_never(asked)
    return None


def _grant(db: sqlite3.Connection, grant: of.Grant) -> None:
    row, at = grant.row, max(grant.at, grant.row.asked_at)
    db.execute(
        "UPDATE permits SET granted_at = ?, waits_for = NULL, is_posted = ? WHERE id = ?",
        (at, grant.post is not None, row.id),
    )
    for limit in row.limits:
        if limit.per_ms:
            uses = (limit.name, at, row.id, at + limit.per_ms)
            db.execute("INSERT INTO limit_uses (name, at, permit, until) VALUES (?, ?, ?, ?)", uses)
        else:
            db.execute("INSERT INTO held (name, permit) VALUES (?, ?)", (limit.name, row.id))
    if grant.post is not None:
        _post(db, grant.post, at)


def _post(db: sqlite3.Connection, post: Post, at: TimeMs) -> None:
    db.execute(
        "INSERT INTO inbox (tenant, run, kind, body, token, posted_at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (post.key.tenant, post.key.run, post.kind, post.body, post.token, at),
    )


def _row(row: Sequence[Any]) -> PermitRow:
    id, tenant, run, call, step, path, limits, asked_at, granted_at, waits_for, holder, posted = row
    key = RunKey(TenantId(tenant), RunId(run))
    times = (TimeMs(asked_at), None if granted_at is None else TimeMs(granted_at))
    return PermitRow(
        id, key, CallId(call), step, Path(path), unpack_limits(limits), *times, waits_for, holder, bool(posted)
    )
