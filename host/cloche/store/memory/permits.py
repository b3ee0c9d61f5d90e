"""Permits, in memory: the facet."""

from __future__ import annotations

from collections.abc import Sequence

from cloche.history.ids import CallId, RunKey, TenantId, TimeMs
from cloche.store.memory.data import Facet
from cloche.store.permits import LimitUse, PermitRow, freeing


class MemoryPermits(Facet):
    """Implements `Permits`."""

    async def permits_of(self, key: RunKey) -> list[PermitRow]:
        return [row for row in self._data.permits.permits.values() if row.key == key]

    async def permits(self, tenant: TenantId | None = None, limit: int = 10_000) -> list[PermitRow]:
        rows = self._data.permits.permits.values()
        return [row for row in rows if tenant in (None, row.key.tenant)][:limit]

    async def limit_uses(self, at: TimeMs) -> list[LimitUse]:
        found = []
        for name, uses in sorted(self._data.permits.uses.items()):
            untils = [until for _, until in uses if until > at]
            if untils:
                found.append(LimitUse(name, len(untils), min(untils)))
        return found

    async def free_permits(self, key: RunKey, calls: Sequence[CallId], at: TimeMs) -> None:
        self._connection.count_write()
        self._data.permits.free(key, calls, at)

    async def grant_due(self, at: TimeMs) -> TimeMs | None:
        data = self._data.permits
        for row in list(data.permits.values()):  # what went on in a worker that is gone has ended with it
            if row.holder is not None and row.holder not in self._data.workers:
                data.free(row.key, [row.call], at)
        names = [name for name, queue in data.queues.items() if queue.due is not None and queue.due <= at]
        if names:
            self._connection.count_write()
            data.decide(freeing(names, at))
        for name in list(data.uses):
            data.uses[name] = [use for use in data.uses[name] if use[1] > at]
            if not data.uses[name]:
                del data.uses[name]
        return min((queue.due for queue in data.queues.values() if queue.due is not None), default=None)
