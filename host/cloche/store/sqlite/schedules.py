"""Schedules, in SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from cloche.history.ids import TenantId, TimeMs
from cloche.store.inbox import START, Post
from cloche.store.schedules import FIRINGS_KEPT, Firing, ScheduleRow
from cloche.store.sqlite.database import Facet

_ROW = "tenant, id, spec, version, created_at, updated_at, next_at, due_at, is_paused, queued, last_run, firings"
_CHANGE = (
    "UPDATE schedules SET spec = ?3, version = ?4, created_at = ?5, updated_at = ?6, next_at = ?7, due_at = ?8, "
    "is_paused = ?9, queued = ?10, last_run = ?11, firings = ?12 WHERE tenant = ?1 AND id = ?2 AND version = ?4 - 1"
)
_FIRING = "number, instant, at, run, reason, until, count"
_LAST = (1 << 63) - 1


class SqliteSchedules(Facet):
    """Implements `Schedules` on a connection."""

    async def move_schedule(
        self, row: ScheduleRow, posts: Sequence[Post] = (), firings: Sequence[Firing] = (), *, at: TimeMs
    ) -> bool:
        def write(db: sqlite3.Connection) -> bool:
            insert = (
                f"INSERT INTO schedules ({_ROW}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
            )
            if db.execute(insert if row.version == 1 else _CHANGE, _values(row)).rowcount != 1:
                return False
            of_run = [(p.key.tenant, p.key.run, p.kind, p.body, p.token, at, p.kind == START) for p in posts]
            db.executemany(
                "INSERT INTO inbox (tenant, run, kind, body, token, posted_at, kept) VALUES (?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT DO NOTHING",
                of_run,
            )
            entries = [
                (row.tenant, row.id, f.number, f.instant, f.at, f.run, f.reason, f.until, f.count) for f in firings
            ]
            if entries:
                db.executemany(
                    f"INSERT INTO firings (tenant, schedule, {_FIRING}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", entries
                )
                oldest = row.firings - FIRINGS_KEPT
                db.execute(
                    "DELETE FROM firings WHERE tenant = ? AND schedule = ? AND number <= ?",
                    (row.tenant, row.id, oldest),
                )
            return True

        return await self._database.write(write)

    async def delete_schedule(self, tenant: TenantId, id: str) -> bool:
        def write(db: sqlite3.Connection) -> bool:
            db.execute("DELETE FROM firings WHERE tenant = ? AND schedule = ?", (tenant, id))
            return db.execute("DELETE FROM schedules WHERE tenant = ? AND id = ?", (tenant, id)).rowcount == 1

        return await self._database.write(write)

    async def schedule(self, tenant: TenantId, id: str) -> ScheduleRow | None:
        sql = f"SELECT {_ROW} FROM schedules WHERE tenant = ? AND id = ?"
        rows = await self._database.select(sql, (tenant, id))
        return _row(rows[0]) if rows else None

    async def schedules(self, tenant: TenantId | None = None) -> list[ScheduleRow]:
        sql = f"SELECT {_ROW} FROM schedules WHERE ?1 IS NULL OR tenant = ?1 ORDER BY tenant, id"
        return [_row(row) for row in await self._database.select(sql, (tenant,))]

    async def due_schedules(self, now: TimeMs) -> list[ScheduleRow]:
        sql = (
            f"SELECT {_ROW} FROM schedules WHERE due_at <= "
            "(SELECT ifnull(min(due_at), ?1) FROM schedules WHERE due_at > ?1) ORDER BY due_at, tenant, id"
        )
        return [_row(row) for row in await self._database.select(sql, (now,))]

    async def firings(self, tenant: TenantId, id: str, *, before: int | None = None, limit: int = 100) -> list[Firing]:
        sql = f"SELECT {_FIRING} FROM firings WHERE tenant = ? AND schedule = ? AND number < ? ORDER BY number DESC LIMIT ?"
        rows = await self._database.select(sql, (tenant, id, _LAST if before is None else before, limit))
        return [Firing(*row) for row in rows]


def _values(row: ScheduleRow) -> tuple[Any, ...]:
    times = (row.created_at, row.updated_at, row.next_at, row.due_at)
    rest = (row.is_paused, json.dumps(row.queued), row.last_run, row.firings)
    return (row.tenant, row.id, row.spec, row.version, *times, *rest)


def _row(row: Sequence[Any]) -> ScheduleRow:
    tenant, id, spec, version, created_at, updated_at, next_at, due_at, is_paused, queued, last_run, firings = row
    times = (created_at, updated_at, next_at, due_at)
    return ScheduleRow(tenant, id, spec, version, *times, bool(is_paused), tuple(json.loads(queued)), last_run, firings)
