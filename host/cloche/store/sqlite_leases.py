"""Workers and the runs they own, in SQLite. Each change of owner is one transaction, and makes the run's fence grow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.history.ids import RunId, RunKey, TenantId, TimeMs
from cloche.store.lock import Presence
from cloche.store.protocol import Lease, RunRow, WorkerRow

if TYPE_CHECKING:
    from cloche.store.sqlite import SqliteStore

ROW = "tenant, run, workflow, code, status, wake_at, created_at, updated_at, head_seq, head_hash, problem, owner, fence"
# As the index runs_free has it, word for word.
_FREE = "owner IS NULL AND (status = 'running' OR (status = 'waiting' AND wake_at IS NOT NULL))"
_LIVES = (
    "EXISTS (SELECT 1 FROM workers WHERE id = ?1)"  # a worker that was buried gets nothing, or nobody would free it
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

    def join(self, worker: str) -> None:
        if self._presence is None:
            self._presence = Presence(self._path)
        with self._transaction():
            taken = {slot for (slot,) in self._db.execute("SELECT slot FROM workers")}
            slot = self._presence.hold(taken)
            self._db.execute("INSERT INTO workers (id, slot, beat) VALUES (?, ?, 0)", (worker, slot))

    def beat(self, worker: str) -> bool:
        with self._transaction():
            return self._db.execute("UPDATE workers SET beat = beat + 1 WHERE id = ?", (worker,)).rowcount == 1

    def workers(self) -> list[WorkerRow]:
        rows = self._select("SELECT id, slot, beat FROM workers ORDER BY slot", ())
        presence = self._presence or Presence(self._path)
        found = [WorkerRow(id, beat, presence.has_gone(slot)) for id, slot, beat in rows]
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
        self._db.execute("UPDATE runs SET owner = NULL, fence = fence + 1 WHERE owner = ?", (worker,))

    def claim(self, worker: str, key: RunKey) -> RunRow | None:
        with self._transaction():
            found = self._db.execute(
                f"{_TAKE} WHERE tenant = ?2 AND run = ?3 AND (owner IS NULL OR owner = ?1) AND {_LIVES} RETURNING {ROW}",
                (worker, key.tenant, key.run),
            ).fetchone()
        return row_of(found) if found else None

    def claim_due(self, worker: str, now: TimeMs, limit: int) -> list[RunRow]:
        due = f"SELECT id FROM runs WHERE {_FREE} AND coalesce(wake_at, 0) <= ?2"
        if not self._select(f"{due} AND ?1 = ?1 LIMIT 1", (worker, now)):
            return []  # the usual answer needs no write
        with self._transaction():
            rows = self._db.execute(
                f"{_TAKE} WHERE id IN ({due} ORDER BY coalesce(wake_at, 0) LIMIT ?3) AND {_LIVES} RETURNING {ROW}",
                (worker, now, limit),
            ).fetchall()
        return [row_of(row) for row in rows]

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


def row_of(row: tuple[object, ...]) -> RunRow:
    """A row of `ROW`."""
    tenant, run, workflow, code, status, wake_at, created_at, updated_at, head_seq, head_hash, problem, *owned = row
    key = RunKey(TenantId(tenant), RunId(run))  # type: ignore[arg-type]
    return RunRow(key, workflow, code, status, wake_at, created_at, updated_at, head_seq, head_hash, problem, *owned)  # type: ignore[arg-type]
