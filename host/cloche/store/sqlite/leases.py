"""Workers and the runs they own, in SQLite. Each change of owner is one transaction, and makes the run's fence grow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import NoneType
from typing import TYPE_CHECKING, Any

from cloche.history.ids import RunId, RunKey, Seq, TenantId, TimeMs
from cloche.history.lifecycles import RunPhase
from cloche.store.protocol import Lease, RunRow, WorkerRow
from cloche.store.sqlite.lock import Presence

if TYPE_CHECKING:
    from cloche.store.sqlite.store import SqliteStore

ROW = "tenant, run, workflow, code, status, wake_at, created_at, updated_at, head_seq, head_hash, problem, owner, fence"
# By its number, so that the names are those of the row: SQLite would take them from the index, which may be damaged.
BY_KEY = "WHERE id = (SELECT id FROM runs WHERE tenant = ? AND run = ?)"
_OR_NOT = (str, NoneType)
_TYPES: tuple[type | tuple[type, ...], ...] = (
    str,
    str,
    str,
    str,
    str,
    (int, NoneType),
    int,
    int,
    int,
    bytes,
    _OR_NOT,
    _OR_NOT,
    int,
)
_STATUSES = frozenset({*(phase.value for phase in RunPhase), "suspended", "waiting", "blocked"})
# As the index runs_free has it, word for word.
_FREE = "owner IS NULL AND (status IN ('running', 'pending') OR (status = 'waiting' AND wake_at IS NOT NULL))"
_DUE = f"{_FREE} AND coalesce(wake_at, 0) <= ?2"
_LIVES = (
    "EXISTS (SELECT 1 FROM workers WHERE id = ?1)"  # a worker that was buried gets nothing, or nobody would free it
)
_LET_GO = "UPDATE runs SET owner = NULL, fence = fence + 1"
# From one tenant to the next by index, however many runs each has.
_DUE_TENANTS = (
    f"WITH RECURSIVE due(tenant) AS (SELECT (SELECT min(tenant) FROM runs WHERE {_FREE}) UNION ALL "
    f"SELECT (SELECT min(tenant) FROM runs WHERE {_FREE} AND runs.tenant > due.tenant) FROM due WHERE due.tenant IS NOT NULL) "
    f"SELECT tenant FROM due WHERE tenant IS NOT NULL AND ?1 IS NULL "
    f"AND EXISTS (SELECT 1 FROM runs WHERE runs.tenant = due.tenant AND {_DUE}) ORDER BY tenant"
)
_TAKE = (
    "UPDATE runs SET owner = ?1, fence = fence + 1, problem = NULL, "
    "status = CASE status WHEN 'blocked' THEN 'running' ELSE status END "
)


class SqliteLeases:
    """Implements `Leases` on a store's connection."""

    def __init__(self, store: SqliteStore) -> None:
        self._db = store._db
        self._path = store.path
        self._transaction = store._transaction
        self._select = store._select
        self._presence: Presence | None = None

    def join(self, worker: str, offers: str | None = None) -> None:
        if self._presence is None:
            self._presence = Presence(self._path)
        with self._transaction():
            taken = {slot for (slot,) in self._db.execute("SELECT slot FROM workers")}
            slot = self._presence.hold(taken)
            row = (worker, slot, offers)
            self._db.execute("INSERT INTO workers (id, slot, beat, offers) VALUES (?, ?, 0, ?)", row)
            # Whose owner is no worker (the file was damaged): nobody would ever bury it.
            self._db.execute(f"{_LET_GO} WHERE owner IS NOT NULL AND owner NOT IN (SELECT id FROM workers)")

    def publish(self, worker: str, offers: str) -> None:
        with self._transaction():
            self._db.execute("UPDATE workers SET offers = ? WHERE id = ?", (offers, worker))

    def beat(self, worker: str) -> bool:
        with self._transaction():
            return self._db.execute("UPDATE workers SET beat = beat + 1 WHERE id = ?", (worker,)).rowcount == 1

    def workers(self) -> list[WorkerRow]:
        rows = self._select("SELECT id, slot, beat, offers FROM workers ORDER BY slot", ())
        presence = self._presence or Presence(self._path)
        found = [WorkerRow(id, beat, presence.has_gone(slot), offers) for id, slot, beat, offers in rows]
        if presence is not self._presence:
            presence.release()
        return found

    def bury(self, worker: WorkerRow) -> bool:
        with self._transaction():
            gone = self._db.execute("DELETE FROM workers WHERE id = ? AND beat = ?", (worker.id, worker.beat))
            if gone.rowcount:
                self._free(worker.id)
        return gone.rowcount == 1

    def leave(self, worker: str) -> None:
        with self._transaction():
            self._db.execute("DELETE FROM workers WHERE id = ?", (worker,))
            self._free(worker)
        self.close()

    def _free(self, worker: str) -> None:
        self._db.execute(f"{_LET_GO} WHERE owner = ?", (worker,))

    def claim(self, worker: str, key: RunKey) -> RunRow | None:
        with self._transaction():
            found = self._db.execute(
                f"{_TAKE} WHERE id = (SELECT id FROM runs WHERE tenant = ?2 AND run = ?3) AND tenant = ?2 AND run = ?3 "
                f"AND (owner IS NULL OR owner = ?1) AND {_LIVES} RETURNING {ROW}",
                (worker, key.tenant, key.run),
            ).fetchone()
        return row_of(found) if found else None

    def due_tenants(self, now: TimeMs) -> list[TenantId]:
        return [tenant for (tenant,) in self._select(_DUE_TENANTS, (None, now))]

    def claim_due(self, worker: str, now: TimeMs, shares: Mapping[TenantId, int]) -> list[RunRow]:
        rows: list[RunRow] = []
        if not any(shares.values()):
            return rows
        with self._transaction():
            for tenant, share in shares.items():
                taken = self._db.execute(
                    f"{_TAKE} WHERE id IN (SELECT id FROM runs WHERE tenant = ?3 AND {_DUE} "
                    f"ORDER BY coalesce(wake_at, 0), id LIMIT ?4) AND {_LIVES} RETURNING {ROW}, id",
                    (worker, now, tenant, share),
                ).fetchall()
                taken.sort(key=lambda row: (row[5] or 0, row[-1]))  # what RETURNING gives is in no order
                rows += [row_of(row[:-1]) for row in taken]
        return rows

    def next_due(self) -> TimeMs | None:
        [[found]] = self._select(
            f"SELECT min(coalesce(wake_at, 0)) FROM runs WHERE {_FREE} AND coalesce(wake_at, 0) > 0", ()
        )
        return None if found is None else TimeMs(found)

    def release(self, key: RunKey, lease: Lease, status: str, wake_at: TimeMs | None) -> None:
        with self._transaction():
            self._db.execute(
                "UPDATE runs SET owner = NULL, status = ?, wake_at = ? "
                "WHERE tenant = ? AND run = ? AND owner = ? AND fence = ?",
                (status, wake_at, key.tenant, key.run, lease.worker, lease.fence),
            )

    def close(self) -> None:
        """Let go of the byte that says that this process lives."""
        if self._presence is not None:
            self._presence.release()
            self._presence = None


def row_of(row: tuple[Any, ...]) -> RunRow:
    """A row of `ROW`. One that a damaged file gives otherwise than it was written is that of a blocked run."""
    tenant, run, workflow, code, status, wake_at, created_at, updated_at, head_seq, head_hash, problem, *owned = row
    if not all(isinstance(one, kind) for one, kind in zip(row, _TYPES, strict=True)) or status not in _STATUSES:
        return _damaged(row)
    key = RunKey(TenantId(tenant), RunId(run))
    return RunRow(key, workflow, code, status, wake_at, created_at, updated_at, head_seq, head_hash, problem, *owned)


def _damaged(row: tuple[Any, ...]) -> RunRow:
    """What can be said of it: its names, and that it is set aside."""
    tenant, run, workflow, code = map(str, row[:4])
    problem = {
        "reason": "damaged-store",
        "message": f"the entry of run {run} is not as it was written",
        "what_to_do": "keep a copy of the file, then run 'cloche verify' on it: its records may be whole",
    }
    key, never = RunKey(TenantId(tenant), RunId(run)), TimeMs(0)
    return RunRow(key, workflow, code, "blocked", None, never, never, Seq(0), b"", json.dumps(problem), None, 0)
