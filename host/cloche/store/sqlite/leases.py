"""Workers and the runs they own, in SQLite. Each change of owner is one transaction, and makes the run's fence grow."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping

from cloche.history.ids import RunKey, TenantId, TimeMs
from cloche.status import FINAL, RunStatus
from cloche.store.protocol import WorkerRow
from cloche.store.runs import Lease, RunRow
from cloche.store.sqlite.database import Database, Facet
from cloche.store.sqlite.lock import Presence
from cloche.store.sqlite.operators import NOT_HELD
from cloche.store.sqlite.rows import ROW, row_of

# As the index runs_free has it, word for word.
FREE = "owner IS NULL AND (status IN ('running', 'pending') OR (status = 'waiting' AND wake_at IS NOT NULL))"
_DUE = f"{FREE} AND coalesce(wake_at, 0) <= ?2"
_LIVES = (
    "EXISTS (SELECT 1 FROM workers WHERE id = ?1)"  # a worker that was evicted gets nothing, or no worker would free it
)
_LET_GO = "UPDATE runs SET owner = NULL, fence = fence + 1"
# From one tenant to the next by index, however many runs each has.
_DUE_TENANTS = (
    f"WITH RECURSIVE due(tenant) AS (SELECT (SELECT min(tenant) FROM runs WHERE {FREE}) UNION ALL "
    f"SELECT (SELECT min(tenant) FROM runs WHERE {FREE} AND runs.tenant > due.tenant) FROM due WHERE due.tenant IS NOT NULL) "
    f"SELECT tenant FROM due WHERE tenant IS NOT NULL AND ?1 IS NULL "
    f"AND EXISTS (SELECT 1 FROM runs WHERE runs.tenant = due.tenant AND {_DUE} AND {NOT_HELD}) ORDER BY tenant"
)
_FINAL = ", ".join(f"'{status}'" for status in FINAL)
_TAKE = (
    "UPDATE runs SET owner = ?1, fence = fence + 1, problem = NULL, "
    "status = CASE status WHEN 'blocked' THEN 'running' ELSE status END "
)


class SqliteLeases(Facet):
    """Implements `Leases` on a connection."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._presence: Presence | None = None

    async def join(self, worker: str, offers: str | None = None) -> None:
        if self._presence is None:
            self._presence = Presence(self._database.path)
        presence = self._presence

        def write(db: sqlite3.Connection) -> None:
            taken = {slot for (slot,) in db.execute("SELECT slot FROM workers")}
            row = (worker, presence.hold(taken), offers)
            db.execute("INSERT INTO workers (id, slot, beat, offers) VALUES (?, ?, 0, ?)", row)
            # Whose owner is no worker (the file was damaged): no worker would ever evict it.
            db.execute(f"{_LET_GO} WHERE owner IS NOT NULL AND owner NOT IN (SELECT id FROM workers)")

        await self._database.write(write)

    async def publish(self, worker: str, offers: str) -> None:
        await self._database.change("UPDATE workers SET offers = ? WHERE id = ?", (offers, worker))

    async def heartbeat(self, worker: str) -> bool:
        return await self._database.change("UPDATE workers SET beat = beat + 1 WHERE id = ?", (worker,)) == 1

    async def workers(self) -> list[WorkerRow]:
        rows = await self._database.select("SELECT id, slot, beat, offers FROM workers ORDER BY slot", ())
        presence = self._presence or Presence(self._database.path)
        found = [WorkerRow(id, beat, presence.is_dead(slot), offers) for id, slot, beat, offers in rows]
        if presence is not self._presence:
            presence.release()
        return found

    async def evict(self, worker: WorkerRow) -> bool:
        def write(db: sqlite3.Connection) -> bool:
            gone = db.execute("DELETE FROM workers WHERE id = ? AND beat = ?", (worker.id, worker.heartbeat))
            if gone.rowcount:
                _free(db, worker.id)
            return gone.rowcount == 1

        return await self._database.write(write)

    async def leave(self, worker: str) -> None:
        def write(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM workers WHERE id = ?", (worker,))
            _free(db, worker)

        await self._database.write(write)
        self.let_go()

    async def claim(self, worker: str, key: RunKey) -> RunRow | None:
        take = (
            f"{_TAKE} WHERE id = (SELECT id FROM runs WHERE tenant = ?2 AND run = ?3) AND tenant = ?2 AND run = ?3 "
            f"AND (owner IS NULL OR owner = ?1) AND {_LIVES} AND {NOT_HELD} RETURNING {ROW}"
        )
        found = await self._database.write(lambda db: db.execute(take, (worker, key.tenant, key.run)).fetchone())
        return row_of(found) if found else None

    async def due_tenants(self, now: TimeMs) -> list[TenantId]:
        return [tenant for (tenant,) in await self._database.select(_DUE_TENANTS, (None, now))]

    async def claim_due(
        self, worker: str, now: TimeMs, shares: Mapping[TenantId, int], but: Collection[str] = ()
    ) -> list[RunRow]:
        if not any(shares.values()):
            return []
        numbered = ", ".join(f"?{number}" for number in range(5, 5 + len(but)))
        others = f"AND workflow NOT IN ({numbered}) " if but else ""

        def write(db: sqlite3.Connection) -> list[RunRow]:
            rows: list[RunRow] = []
            for tenant, share in shares.items():
                taken = db.execute(
                    f"{_TAKE} WHERE id IN (SELECT id FROM runs WHERE tenant = ?3 AND {_DUE} AND {NOT_HELD} {others}"
                    f"ORDER BY coalesce(wake_at, 0), id LIMIT ?4) AND {_LIVES} RETURNING {ROW}, id",
                    (worker, now, tenant, share, *sorted(but)),
                ).fetchall()
                taken.sort(key=lambda row: (row[5] or 0, row[-1]))  # what RETURNING gives is in no order
                rows += [row_of(row[:-1]) for row in taken]
            return rows

        return await self._database.write(write)

    async def owned(self, worker: str) -> list[RunRow]:
        rows = await self._database.select(f"SELECT {ROW} FROM runs WHERE owner = ? ORDER BY id", (worker,))
        return [run for run in map(row_of, rows) if run.status not in FINAL]

    async def owned_by_others(self, worker: str, tenant: TenantId, most: int) -> int:
        owned = f"SELECT 1 FROM runs WHERE owner IS NOT NULL AND owner <> ? AND tenant = ? AND status NOT IN ({_FINAL}) LIMIT ?"
        [[count]] = await self._database.select(f"SELECT count(*) FROM ({owned})", (worker, tenant, most))
        return int(count)

    async def next_due(self) -> TimeMs | None:
        found = await self._database.select(
            f"SELECT wake_at FROM runs WHERE {FREE} AND coalesce(wake_at, 0) > 0 AND {NOT_HELD} "
            "ORDER BY coalesce(wake_at, 0) LIMIT 1",
            (),
        )
        return TimeMs(found[0][0]) if found else None

    async def release(self, key: RunKey, lease: Lease, status: RunStatus, wake_at: TimeMs | None) -> None:
        await self._database.change(
            "UPDATE runs SET owner = NULL, status = ?, wake_at = ? "
            "WHERE tenant = ? AND run = ? AND owner = ? AND fence = ?",
            (str(status), wake_at, key.tenant, key.run, lease.worker, lease.fence),
        )

    def let_go(self) -> None:
        """Let go of the byte that says that this process lives."""
        if self._presence is not None:
            self._presence.release()
            self._presence = None


def _free(db: sqlite3.Connection, worker: str) -> None:
    db.execute(f"{_LET_GO} WHERE owner = ?", (worker,))
    db.execute("UPDATE departures SET number = number + 1")
