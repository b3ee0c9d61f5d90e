"""Schedules, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cloche.history.ids import TenantId, TimeMs
from cloche.store.inbox import START, Post
from cloche.store.postgres.database import Facet, Transaction
from cloche.store.postgres.statements import XID
from cloche.store.schedules import FIRINGS_KEPT, Firing, ScheduleRow

_ROW = "tenant, id, spec, version, created_at, updated_at, next_at, due_at, is_paused, queued, last_run, firings"
_INSERT = (
    f"INSERT INTO cloche.schedules ({_ROW}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) "
    "ON CONFLICT DO NOTHING RETURNING version"
)
_CHANGE = (
    "UPDATE cloche.schedules SET spec = $3, version = $4, created_at = $5, updated_at = $6, next_at = $7, due_at = $8, "
    "is_paused = $9, queued = $10, last_run = $11, firings = $12 WHERE tenant = $1 AND id = $2 AND version = $4 - 1 "
    "RETURNING version"
)
_FIRING = "number, instant, at, run, reason, until, count"
_POSTS = (
    "INSERT INTO cloche.inbox (tenant, run, kind, body, token, posted_at, kept) "
    "SELECT p.tenant, p.run, p.kind, p.body, p.token, $6, p.kind = $7 "
    "FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::text[]) AS p(tenant, run, kind, body, token) "
    "ON CONFLICT (token) DO NOTHING"
)


class PostgresSchedules(Facet):
    """Implements `Schedules`."""

    async def move_schedule(
        self, row: ScheduleRow, posts: Sequence[Post] = (), firings: Sequence[Firing] = (), *, at: TimeMs
    ) -> bool:
        async with self._database.transaction() as transaction:
            if not await transaction.fetch(_INSERT if row.version == 1 else _CHANGE, *_values(row)):
                return False
            if posts:
                texts = zip(*((p.key.tenant, p.key.run, p.kind, p.body, p.token) for p in posts), strict=True)
                await transaction.fetch(_POSTS, *(list(column) for column in texts), at, START)
                await transaction.fetch("SELECT pg_notify($1, $2)", self._database.channel, self._database.name)
            if firings:
                await _write(transaction, row, firings)
            return True

    async def delete_schedule(self, tenant: TenantId, id: str) -> bool:
        return (
            await self._database.change(
                "WITH journal AS (DELETE FROM cloche.firings WHERE tenant = $1 AND schedule = $2) "
                f"DELETE FROM cloche.schedules WHERE tenant = $1 AND id = $2 RETURNING {XID}",
                tenant,
                id,
            )
            == 1
        )

    async def schedule(self, tenant: TenantId, id: str) -> ScheduleRow | None:
        sql = f"SELECT {_ROW} FROM cloche.schedules WHERE tenant = $1 AND id = $2"
        rows = await self._database.read(sql, tenant, id)
        return _row(rows[0]) if rows else None

    async def schedules(self, tenant: TenantId | None = None) -> list[ScheduleRow]:
        sql = f"SELECT {_ROW} FROM cloche.schedules WHERE $1::text IS NULL OR tenant = $1 ORDER BY tenant, id"
        return [_row(row) for row in await self._database.read(sql, tenant)]

    async def due_schedules(self, now: TimeMs) -> list[ScheduleRow]:
        sql = (
            f"SELECT {_ROW} FROM cloche.schedules WHERE due_at <= "
            "(SELECT coalesce(min(due_at), $1) FROM cloche.schedules WHERE due_at > $1) ORDER BY due_at, tenant, id"
        )
        return [_row(row) for row in await self._database.read(sql, now)]

    async def firings(self, tenant: TenantId, id: str, *, before: int | None = None, limit: int = 100) -> list[Firing]:
        sql = (
            f"SELECT {_FIRING} FROM cloche.firings WHERE tenant = $1 AND schedule = $2 "
            "AND ($3::bigint IS NULL OR number < $3) ORDER BY number DESC LIMIT $4"
        )
        return [Firing(*row) for row in await self._database.read(sql, tenant, id, before, limit)]


async def _write(transaction: Transaction, row: ScheduleRow, firings: Sequence[Firing]) -> None:
    """Within the commit that moves a schedule: its journal, of which the oldest entries go."""
    columns = zip(*((f.number, f.instant, f.at, f.run, f.reason, f.until, f.count) for f in firings), strict=True)
    await transaction.fetch(
        f"INSERT INTO cloche.firings (tenant, schedule, {_FIRING}) SELECT $1, $2, f.* FROM "
        "unnest($3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::bigint[], $9::bigint[]) AS f",
        *(row.tenant, row.id),
        *(list(column) for column in columns),
    )
    await transaction.fetch(
        "DELETE FROM cloche.firings WHERE tenant = $1 AND schedule = $2 AND number <= $3",
        *(row.tenant, row.id, row.firings - FIRINGS_KEPT),
    )


def _values(row: ScheduleRow) -> tuple[Any, ...]:
    times = (row.created_at, row.updated_at, row.next_at, row.due_at)
    rest = (row.is_paused, list(row.queued), row.last_run, row.firings)
    return (row.tenant, row.id, row.spec, row.version, *times, *rest)


def _row(row: Any) -> ScheduleRow:
    tenant, id, spec, version, created_at, updated_at, next_at, due_at, is_paused, queued, last_run, firings = row
    times = (created_at, updated_at, next_at, due_at)
    return ScheduleRow(tenant, id, spec, version, *times, is_paused, tuple(queued), last_run, firings)
