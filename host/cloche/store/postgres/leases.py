"""Workers and the runs they own, in PostgreSQL. Each change of owner makes the run's fence grow.

A worker's row is locked by whoever makes it the owner of a run (FOR KEY SHARE), so that it is not evicted in between: no run is
ever owned by a worker that is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from cloche.history.ids import RunKey, TenantId, TimeMs
from cloche.status import FINAL, RunStatus
from cloche.store.postgres.database import Database, Facet, Transaction
from cloche.store.postgres.presence import Presence
from cloche.store.postgres.rows import row_of
from cloche.store.postgres.statements import FREE, NOT_HELD, ROW, XID, XID_NOW, statement
from cloche.store.protocol import WorkerRow
from cloche.store.runs import Lease, RunRow

# A lock that is not held may belong to a process whose connection was cut, and which is about to hold it again.
SECOND_LOOK_S = 0.25
_IN_TURN = "ORDER BY coalesce(wake_at, 0), id LIMIT"  # as claim_due has it
_LET_GO = "UPDATE cloche.runs SET owner = NULL, fence = fence + 1"
_LIVES = "EXISTS (SELECT FROM cloche.workers WHERE workers.id = $1 FOR KEY SHARE)"


class PostgresLeases(Facet):
    """Implements `Leases`."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._presence = Presence(database)

    async def join(self, worker: str, offers: str | None = None) -> None:
        lock, epoch = await self._presence.hold(worker)
        async with self._database.transaction() as transaction:
            insert = "INSERT INTO cloche.workers (id, offers, lock, epoch) VALUES ($1, $2, $3, $4)"
            await transaction.fetch(insert, worker, offers, lock, epoch)
            # Whose owner is no worker (the store was restored, or changed by hand): no worker would ever evict it.
            await transaction.fetch(
                f"{_LET_GO} WHERE owner IS NOT NULL AND owner NOT IN (SELECT id FROM cloche.workers)"
            )

    async def publish(self, worker: str, offers: str) -> None:
        await self._database.change(
            f"UPDATE cloche.workers SET offers = $2 WHERE id = $1 RETURNING {XID}", worker, offers
        )

    async def heartbeat(self, worker: str) -> bool:
        beat = f"UPDATE cloche.workers SET beat = beat + 1, beat_xid = {XID_NOW} WHERE id = $1 RETURNING {XID}"
        return await self._database.change(beat, worker) == 1

    async def workers(self) -> list[WorkerRow]:
        rows = await self._database.read(statement("workers"))
        if any(row["is_unlocked"] for row in rows):
            before = {row["id"]: row["beat"] for row in rows if row["is_unlocked"]}
            await asyncio.sleep(SECOND_LOOK_S)
            rows = await self._database.read(statement("workers"))
        else:
            before = {}
        return [
            WorkerRow(
                row["id"], row["beat"], row["is_unlocked"] and before.get(row["id"]) == row["beat"], row["offers"]
            )
            for row in rows
        ]

    async def evict(self, worker: WorkerRow) -> bool:
        async with self._database.transaction() as transaction:
            delete = "DELETE FROM cloche.workers WHERE id = $1 AND beat = $2 RETURNING id"
            is_gone = bool(await transaction.fetch(delete, worker.id, worker.heartbeat))
            if is_gone:
                await _free(transaction, worker.id)
        return is_gone

    async def leave(self, worker: str) -> None:
        async with self._database.transaction() as transaction:
            await transaction.fetch("DELETE FROM cloche.workers WHERE id = $1", worker)
            await _free(transaction, worker)
        await self._presence.release(worker)

    async def claim(self, worker: str, key: RunKey) -> RunRow | None:
        take = (
            "UPDATE cloche.runs SET owner = $1, fence = fence + 1, problem = NULL, "
            "status = CASE status WHEN 'blocked' THEN 'running' ELSE status END "
            f"WHERE tenant = $2 AND run = $3 AND (owner IS NULL OR owner = $1) AND {_LIVES} "
            f"AND {NOT_HELD} RETURNING {ROW}, {XID}"
        )
        rows = await self._database.write(take, worker, key.tenant, key.run)
        return row_of(rows[0]) if rows else None

    async def due_tenants(self, now: TimeMs) -> list[TenantId]:
        return [row["tenant"] for row in await self._database.read(statement("due_tenants"), now)]

    async def claim_due(
        self, worker: str, now: TimeMs, shares: Mapping[TenantId, int], but: Collection[str] = ()
    ) -> list[RunRow]:
        if not any(shares.values()):
            return []
        values: tuple[Any, ...] = (worker, now, list(shares), list(shares.values()))
        sql = statement("claim_due")
        if but:
            sql = sql.replace(_IN_TURN, f"AND workflow <> ALL($5::text[]) {_IN_TURN}", 1)
            values = (*values, sorted(but))
        return [row_of(row) for row in await self._database.write(sql, *values)]

    async def owned(self, worker: str) -> list[RunRow]:
        rows = await self._database.read(f"SELECT {ROW} FROM cloche.runs WHERE owner = $1 ORDER BY id", worker)
        return [run for run in map(row_of, rows) if run.status not in FINAL]

    async def owned_by_others(self, worker: str, tenant: TenantId, most: int) -> int:
        owned = (
            "SELECT FROM cloche.runs WHERE owner IS NOT NULL AND owner <> $1 AND tenant = $2 "
            "AND status <> ALL($4::text[]) LIMIT $3"
        )
        count = f"SELECT count(*) FROM ({owned}) AS owned"
        rows = await self._database.read(count, worker, tenant, most, sorted(FINAL))
        return int(rows[0][0])

    async def next_due(self) -> TimeMs | None:
        sql = f"SELECT wake_at FROM cloche.runs WHERE wake_at > 0 AND {FREE} AND {NOT_HELD} ORDER BY wake_at LIMIT 1"
        rows = await self._database.read(sql)
        return TimeMs(rows[0]["wake_at"]) if rows else None

    async def release(self, key: RunKey, lease: Lease, status: RunStatus, wake_at: TimeMs | None) -> None:
        await self._database.change(
            # Not `owner = $3`: that would be looked up in the index of owners while the table is small, and ever after.
            "UPDATE cloche.runs SET owner = NULL, status = $5, wake_at = $6 "
            f"WHERE tenant = $1 AND run = $2 AND owner IS NOT DISTINCT FROM $3 AND fence = $4 RETURNING {XID}",
            *(key.tenant, key.run, lease.worker, lease.fence, str(status), wake_at),
        )

    def let_go(self) -> None:
        """Let go of the locks that say that this process lives."""
        self._presence.let_go()


async def _free(transaction: Transaction, worker: str) -> None:
    await transaction.fetch(f"{_LET_GO} WHERE owner = $1", worker)
    await transaction.fetch("UPDATE cloche.departures SET number = number + 1")
