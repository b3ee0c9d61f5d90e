"""Workers and the runs they own, in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from cloche.history.ids import RunKey, TenantId, TimeMs
from cloche.status import FINAL, RunStatus
from cloche.store.memory.data import Facet
from cloche.store.protocol import WorkerRow
from cloche.store.runs import Lease, RunRow


class MemoryLeases(Facet):
    """Implements `Leases`. A worker whose process has died is one that `vanish` was called for."""

    def vanish(self, worker: str) -> None:
        """What the end of its process is to a worker."""
        with self._data.workers_lock:
            if (row := self._data.workers.get(worker)) is not None:
                self._data.workers[worker] = replace(row, is_dead=True)
                self._connection.count_write()

    async def join(self, worker: str, offers: str | None = None) -> None:
        with self._data.workers_lock:
            self._data.workers[worker] = WorkerRow(worker, 0, offers=offers)

    async def publish(self, worker: str, offers: str) -> None:
        with self._data.workers_lock:
            if (row := self._data.workers.get(worker)) is not None:
                self._data.workers[worker] = replace(row, offers=offers)

    async def heartbeat(self, worker: str) -> bool:
        with self._data.workers_lock:  # from another thread: it must not bring back a worker that leaves meanwhile
            row = self._data.workers.get(worker)
            if row is not None:
                self._data.workers[worker] = replace(row, heartbeat=row.heartbeat + 1)
            return row is not None

    async def workers(self) -> list[WorkerRow]:
        with self._data.workers_lock:
            return list(self._data.workers.values())

    async def evict(self, worker: WorkerRow) -> bool:
        with self._data.workers_lock:
            known = self._data.workers.get(worker.id)
            if known is None or known.heartbeat != worker.heartbeat:
                return False
            self._leave(worker.id)
            return True

    async def leave(self, worker: str) -> None:
        self._leave(worker)

    def _leave(self, worker: str) -> None:
        with self._data.workers_lock:
            self._data.workers.pop(worker, None)
        for key, row in self._data.rows.items():
            if row.owner == worker:
                self._data.rows[key] = replace(row, owner=None, fence=row.fence + 1)
        self._data.departures += 1
        self._connection.count_write()

    async def claim(self, worker: str, key: RunKey) -> RunRow | None:
        row = self._data.rows.get(key)
        if row is None or row.owner not in (None, worker) or worker not in self._data.workers:
            return None
        if self._data.is_held(row):
            return None
        status = RunStatus.RUNNING if row.status == RunStatus.BLOCKED else row.status
        claimed = replace(row, owner=worker, fence=row.fence + 1, status=status, problem=None)
        self._data.rows[key] = claimed
        return claimed

    async def due_tenants(self, now: TimeMs) -> list[TenantId]:
        return sorted({row.key.tenant for row in self._free() if (row.wake_at or 0) <= now})

    async def claim_due(
        self, worker: str, now: TimeMs, shares: Mapping[TenantId, int], but: Collection[str] = ()
    ) -> list[RunRow]:
        taken: list[RunRow | None] = []
        for tenant, share in shares.items():
            due = [row for row in self._free() if row.key.tenant == tenant and (row.wake_at or 0) <= now]
            due = [row for row in due if row.workflow not in but]
            due.sort(key=lambda row: row.wake_at or 0)
            taken += [await self.claim(worker, row.key) for row in due[:share]]
        return [row for row in taken if row is not None]

    async def owned(self, worker: str) -> list[RunRow]:
        return [row for row in self._data.rows.values() if row.owner == worker and row.status not in FINAL]

    async def owned_by_others(self, worker: str, tenant: TenantId, most: int) -> int:
        rows = self._data.rows.values()
        others = [row for row in rows if row.key.tenant == tenant and row.owner not in (None, worker)]
        return min(most, sum(row.status not in FINAL for row in others))

    async def next_due(self) -> TimeMs | None:
        return min((row.wake_at for row in self._free() if row.wake_at is not None), default=None)

    async def release(self, key: RunKey, lease: Lease, status: RunStatus, wake_at: TimeMs | None) -> None:
        row = self._data.rows.get(key)
        if row is not None and row.lease == lease:
            self._data.rows[key] = replace(row, owner=None, status=status, wake_at=wake_at)
            self._connection.count_write()

    def _free(self) -> list[RunRow]:
        return [
            row
            for row in self._data.rows.values()
            if row.owner is None
            and not self._data.is_held(row)
            and (
                row.status in (RunStatus.RUNNING, RunStatus.PENDING)
                or (row.status == RunStatus.WAITING and row.wake_at is not None)
            )
        ]
