"""Permits, in PostgreSQL: whoever decides holds one lock of the store until its transaction ends, and takes it before any row.

Whether somebody has a permit follows from what others have committed: so each statement here sees what was committed before it,
and nobody else decides meanwhile. A commit that asks for no permit, and gives none back, takes no lock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
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
    asking,
    freeing,
    granted_post,
    pack_limits,
    unpack_limits,
)
from cloche.store.postgres.database import Facet, Transaction
from cloche.store.protocol import Append

_ROW = "id, tenant, run, call, step, path, limits, asked_at, granted_at, waits_for, holder, is_posted"
_OF_CALLS = "WHERE tenant = $1 AND run = $2 AND call = ANY($3::bigint[])"
# The schema is in its number: two stores of one database do not wait for each other.
_LOCK = (
    "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now "
    "FROM (SELECT pg_advisory_xact_lock(hashtextextended('permits ' || 'cloche.permits'::regclass::oid::text, 0))) AS held"
)
_WAITERS = f"""
WITH RECURSIVE tenants(tenant) AS (
    (SELECT tenant FROM cloche.permits WHERE waits_for = $1 ORDER BY tenant LIMIT 1)
    UNION ALL
    SELECT (
        SELECT tenant FROM cloche.permits WHERE waits_for = $1 AND permits.tenant > tenants.tenant ORDER BY tenant LIMIT 1
    )
    FROM tenants WHERE tenants.tenant IS NOT NULL
)
SELECT one.* FROM tenants CROSS JOIN LATERAL (
    SELECT {_ROW} FROM cloche.permits WHERE waits_for = $1 AND permits.tenant = tenants.tenant
    ORDER BY id LIMIT {of.WAITERS_READ}
) AS one ORDER BY one.id
"""
_USED = (
    "SELECT count(*) FILTER (WHERE until > $2) AS used, coalesce(max(at), 0) AS newest, coalesce((SELECT until FROM "
    "cloche.limit_uses WHERE name = $1 ORDER BY at DESC, permit DESC LIMIT 1 OFFSET $3::bigint - 1), 0) AS leaves "
    "FROM cloche.limit_uses WHERE name = $1"
)
_PUT_QUEUE = (
    "INSERT INTO cloche.limit_queues (name, due_at, turns) VALUES ($1, $2, $3) "
    "ON CONFLICT (name) DO UPDATE SET due_at = excluded.due_at, turns = excluded.turns"
)
# Attempts that went on in a worker that is gone, and nowhere else: they have ended with it.
_OF_THE_GONE = (
    "SELECT tenant, run, call FROM cloche.permits "
    "WHERE holder IS NOT NULL AND NOT EXISTS (SELECT FROM cloche.workers WHERE workers.id = holder)"
)
_LOOK = (
    "SELECT (SELECT min(due_at) FROM cloche.limit_queues WHERE due_at IS NOT NULL) AS due, "
    "(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now, "
    "EXISTS (SELECT FROM cloche.limit_uses WHERE until <= (extract(epoch FROM clock_timestamp()) * 1000)::bigint) "
    f"OR EXISTS ({_OF_THE_GONE}) AS is_any"
)
_FORGOTTEN_AT_ONCE = 1_000
_FORGET = (
    "DELETE FROM cloche.limit_uses WHERE ctid IN "
    f"(SELECT ctid FROM cloche.limit_uses WHERE until <= $1 LIMIT {_FORGOTTEN_AT_ONCE})"
)


class PostgresPermits(Facet):
    """Implements `Permits`. Times are the server's, whatever `at` is given."""

    async def permits_of(self, key: RunKey) -> list[PermitRow]:
        sql = f"SELECT {_ROW} FROM cloche.permits WHERE tenant = $1 AND run = $2 ORDER BY id"
        return [_row(row) for row in await self._database.read(sql, key.tenant, key.run)]

    async def permits(self, tenant: TenantId | None = None, limit: int = 10_000) -> list[PermitRow]:
        sql = f"SELECT {_ROW} FROM cloche.permits WHERE $1::text IS NULL OR tenant = $1 ORDER BY id LIMIT $2"
        return [_row(row) for row in await self._database.read(sql, tenant, limit)]

    async def limit_uses(self, at: TimeMs) -> list[LimitUse]:
        sql = (
            "SELECT name, count(*) AS used, min(until) AS until FROM cloche.limit_uses "
            "WHERE until > (extract(epoch FROM clock_timestamp()) * 1000)::bigint GROUP BY name ORDER BY name"
        )
        return [LimitUse(row["name"], row["used"], TimeMs(row["until"])) for row in await self._database.read(sql)]

    async def free_permits(self, key: RunKey, calls: Sequence[CallId], at: TimeMs) -> None:
        async with self._database.transaction() as transaction:
            now = await lock(transaction)
            await _free(transaction, key, calls, now)

    async def grant_due(self, at: TimeMs) -> TimeMs | None:
        [found] = await self._database.read(_LOOK)
        if not found["is_any"] and (found["due"] is None or found["due"] > found["now"]):
            return _by_the_clock_of(at, found["due"], found["now"])
        async with self._database.transaction() as transaction:
            now = await lock(transaction)
            for row in await transaction.fetch(_OF_THE_GONE):
                await _free(transaction, RunKey(TenantId(row["tenant"]), RunId(row["run"])), [row["call"]], now)
            due = await transaction.fetch("SELECT name FROM cloche.limit_queues WHERE due_at <= $1", now)
            await _decide(transaction, freeing([row["name"] for row in due], now))
            await transaction.fetch(_FORGET, now)
            [left] = await transaction.fetch(
                "SELECT min(due_at) AS due FROM cloche.limit_queues WHERE due_at IS NOT NULL"
            )
        return _by_the_clock_of(at, left["due"], now)


def _by_the_clock_of(at: TimeMs, due: int | None, now: int) -> TimeMs | None:
    """When that is by the clock of whoever asks, whose time is `at` while the server's is `now`."""
    return None if due is None else TimeMs(at + due - now)


async def lock(transaction: Transaction) -> TimeMs:
    """From now on nobody else decides, until this transaction ends; the time. Before it the transaction locks no row."""
    [row] = await transaction.fetch(_LOCK)
    return TimeMs(row["now"])


async def follow_permits(transaction: Transaction, appends: Iterable[Append], now: TimeMs) -> None:
    """Within a commit, under the lock: the permits that these give back, and those that they ask for."""
    for append in appends:
        key = append.key
        if append.detached:
            worker = append.lease.worker if append.lease is not None else None
            update = f"UPDATE cloche.permits SET holder = $4 {_OF_CALLS}"
            await transaction.fetch(update, key.tenant, key.run, list(append.detached), worker)
        if (to := append.handed_to) is not None:
            update = f"UPDATE cloche.permits SET run = $4 {_OF_CALLS}"
            await transaction.fetch(update, key.tenant, key.run, [WHOLE_RUN], to.run)
        asks = [ask for ask in append.asks if not await _keeps(transaction, key, ask, now)]
        await _free(transaction, key, [*append.freed, *(ask.call for ask in asks)], now)
        asked = []
        for ask in asks:
            insert = (
                "INSERT INTO cloche.permits (tenant, run, call, step, path, limits, asked_at) "
                f"VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING {_ROW}"
            )
            values = (key.tenant, key.run, ask.call, ask.step, ask.path.encode(), pack_limits(ask.limits), now)
            asked += [_row(row) for row in await transaction.fetch(insert, *values)]
        await _decide(transaction, asking(asked, now))


async def _keeps(transaction: Transaction, key: RunKey, ask: PermitAsk, now: TimeMs) -> bool:
    """Whether it has what it asks for; then it is told so."""
    if ask.call != WHOLE_RUN:
        return False
    rows = await transaction.fetch(f"SELECT {_ROW} FROM cloche.permits {_OF_CALLS}", key.tenant, key.run, [ask.call])
    row = of.kept(map(_row, rows), ask)
    if row is not None:
        await _post(transaction, granted_post(row), now)
    return row is not None


async def free_all_of_run(transaction: Transaction, key: RunKey, now: TimeMs) -> None:
    """Under the lock: the run goes on nowhere. It keeps a place that it has as a run."""
    sql = "SELECT call FROM cloche.permits WHERE tenant = $1 AND run = $2 AND call <> 0 AND holder IS NULL"
    calls = [CallId(row["call"]) for row in await transaction.fetch(sql, key.tenant, key.run)]
    await _free(transaction, key, calls, now)


async def _free(transaction: Transaction, key: RunKey, calls: Sequence[CallId], now: TimeMs) -> None:
    if not calls:
        return
    gone = await transaction.fetch(
        f"DELETE FROM cloche.permits {_OF_CALLS} RETURNING id, waits_for", key.tenant, key.run, list(calls)
    )
    names = [row["waits_for"] for row in gone if row["waits_for"] is not None]
    if gone:
        held = "DELETE FROM cloche.held WHERE permit = ANY($1::bigint[]) RETURNING name"
        names += [row["name"] for row in await transaction.fetch(held, [row["id"] for row in gone])]
    await _decide(transaction, freeing(sorted(names), now))


async def _decide(transaction: Transaction, deciding: of.Deciding) -> None:
    """As `permits.answered`, by a table that has to be asked."""
    try:
        asked = next(deciding)
        while True:
            asked = deciding.send(await _answer(transaction, asked))
    except StopIteration:
        return


async def _answer(transaction: Transaction, asked: of.Look | of.Change) -> Any:
    match asked:
        case of.Waiters(name):
            return [_row(row) for row in await transaction.fetch(_WAITERS, name)]
        case of.Queue(name):
            rows = await transaction.fetch("SELECT due_at, turns FROM cloche.limit_queues WHERE name = $1", name)
            return LimitQueue(name, rows[0]["due_at"], json.loads(rows[0]["turns"])) if rows else None
        case of.Held(name):
            return (await transaction.fetch("SELECT count(*) FROM cloche.held WHERE name = $1", name))[0]["count"]
        case of.Used(name, most, at):
            [row] = await transaction.fetch(_USED, name, at, most)
            return row["used"], row["leaves"], row["newest"]
        case of.Grant():
            await _grant(transaction, asked)
        case of.Wait(row, name):
            await transaction.fetch("UPDATE cloche.permits SET waits_for = $1 WHERE id = $2", name, row.id)
        case of.PutQueue(queue):
            await transaction.fetch(_PUT_QUEUE, queue.name, queue.due, json.dumps(dict(queue.turns)))
        case of.DropQueue(name):
            await transaction.fetch("DELETE FROM cloche.limit_queues WHERE name = $1", name)
        case _:
            assert_never(asked)
    return None


async def _grant(transaction: Transaction, grant: of.Grant) -> None:
    row, at = grant.row, max(grant.at, grant.row.asked_at)
    update = "UPDATE cloche.permits SET granted_at = $1, waits_for = NULL, is_posted = $3 WHERE id = $2"
    await transaction.fetch(update, at, row.id, grant.post is not None)
    held = [limit.name for limit in row.limits if not limit.per_ms]
    if held:
        await transaction.fetch(
            "INSERT INTO cloche.held (name, permit) SELECT name, $2 FROM unnest($1::text[]) AS n(name)", held, row.id
        )
    uses = [limit for limit in row.limits if limit.per_ms]
    if uses:
        await transaction.fetch(
            "INSERT INTO cloche.limit_uses (name, at, permit, until) "
            "SELECT name, $3, $4, until FROM unnest($1::text[], $2::bigint[]) AS u(name, until)",
            *([limit.name for limit in uses], [at + limit.per_ms for limit in uses], at, row.id),
        )
    if grant.post is not None:
        await _post(transaction, grant.post, at)


async def _post(transaction: Transaction, post: Post, at: TimeMs) -> None:
    await transaction.fetch(
        "INSERT INTO cloche.inbox (tenant, run, kind, body, token, posted_at) VALUES ($1, $2, $3, $4, $5, $6) "
        "ON CONFLICT (token) DO NOTHING",
        *(post.key.tenant, post.key.run, post.kind, post.body, post.token, at),
    )


def _row(row: Any) -> PermitRow:
    return PermitRow(
        row["id"],
        RunKey(TenantId(row["tenant"]), RunId(row["run"])),
        CallId(row["call"]),
        row["step"],
        Path(bytes(row["path"]).decode()),
        unpack_limits(row["limits"]),
        TimeMs(row["asked_at"]),
        None if row["granted_at"] is None else TimeMs(row["granted_at"]),
        row["waits_for"],
        row["holder"],
        row["is_posted"],
    )
