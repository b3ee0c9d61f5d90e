"""Schedules, in memory."""

from __future__ import annotations

from collections.abc import Sequence

from cloche.history.ids import TenantId, TimeMs
from cloche.store.inbox import START, Post
from cloche.store.memory.data import Facet
from cloche.store.schedules import FIRINGS_KEPT, Firing, ScheduleRow


class MemorySchedules(Facet):
    """Implements `Schedules`."""

    async def move_schedule(
        self, row: ScheduleRow, posts: Sequence[Post] = (), firings: Sequence[Firing] = (), *, at: TimeMs
    ) -> bool:
        key = row.tenant, row.id
        before = self._data.schedules.get(key)
        if (before.version if before is not None else 0) != row.version - 1:
            return False
        self._data.schedules[key] = row
        for post in posts:
            self._data.inbox.post(post, at, kept=post.kind == START)
        journal = self._data.firings.setdefault(key, [])
        journal += firings
        del journal[: len(journal) - FIRINGS_KEPT if len(journal) > FIRINGS_KEPT else 0]
        self._connection.count_write()
        return True

    async def delete_schedule(self, tenant: TenantId, id: str) -> bool:
        self._connection.count_write()
        self._data.firings.pop((tenant, id), None)
        return self._data.schedules.pop((tenant, id), None) is not None

    async def schedule(self, tenant: TenantId, id: str) -> ScheduleRow | None:
        return self._data.schedules.get((tenant, id))

    async def schedules(self, tenant: TenantId | None = None) -> list[ScheduleRow]:
        return [row for key, row in sorted(self._data.schedules.items()) if tenant in (None, key[0])]

    async def due_schedules(self, now: TimeMs) -> list[ScheduleRow]:
        waiting = [(row.due_at, key) for key, row in self._data.schedules.items() if row.due_at is not None]
        next_due = min((due for due, _ in waiting if due > now), default=now)
        return [self._data.schedules[key] for due, key in sorted(waiting) if due <= next_due]

    async def firings(self, tenant: TenantId, id: str, *, before: int | None = None, limit: int = 100) -> list[Firing]:
        journal = reversed(self._data.firings.get((tenant, id), []))
        return [one for one in journal if before is None or one.number < before][:limit]
