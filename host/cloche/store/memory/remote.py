"""Attempts of remote steps, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cloche.history.ids import RunKey, TenantId, TimeMs
from cloche.store.memory.data import Facet
from cloche.store.remote import AttemptName, GivenBack, RemoteTask


class MemoryRemoteTasks(Facet):
    """Implements `RemoteTasks`."""

    async def remote_waiting(self) -> list[tuple[TenantId, str]]:
        found = (one for one in self._data.remote.tasks.values() if one.holder is None)
        return sorted({(one.key.tenant, one.step) for one in found})

    async def take_remote(
        self,
        steps: Sequence[str],
        most: int,
        holder: str,
        at: TimeMs,
        *,
        tenant: TenantId | None = None,
        pushed: bool = False,
    ) -> list[RemoteTask]:
        tasks = self._data.remote.tasks
        found = [
            one
            for one in tasks.values()
            if one.holder is None and one.step in steps and tenant in (None, one.key.tenant)
            if not pushed or one.given_back is None or one.given_back.due_at <= at
        ]
        taken = [replace(one, holder=holder, taken_at=at, is_pushed=pushed, beat=0) for one in found[:most]]
        for one in taken:
            tasks[one.key, one.call] = one
        if taken:
            self._connection.count_write()
        return taken

    async def give_back_remote(self, name: AttemptName, due_at: TimeMs, problem: str) -> bool:
        tasks = self._data.remote.tasks
        found = tasks.get((name.key, name.call))
        if found is None or found.name != name or found.holder is None or not found.is_pushed:
            return False
        free = replace(found, holder=None, taken_at=None, is_pushed=False, beat=0)
        tries = found.given_back.tries if found.given_back is not None else 0
        tasks[name.key, name.call] = replace(free, given_back=GivenBack(due_at, tries + 1, problem))
        self._connection.count_write()
        return True

    async def beat_remote(self, name: AttemptName) -> bool:
        tasks = self._data.remote.tasks
        found = tasks.get((name.key, name.call))
        if found is None or found.name != name or found.holder is None:
            return False
        tasks[name.key, name.call] = replace(found, beat=found.beat + 1)
        return True

    async def remote_tasks(
        self, *, tenant: TenantId | None = None, key: RunKey | None = None, taken: bool = False
    ) -> list[RemoteTask]:
        return [
            replace(one, body=b"")
            for one in self._data.remote.tasks.values()
            if tenant in (None, one.key.tenant) and key in (None, one.key) and (one.holder is not None or not taken)
        ]

    async def remote_secret(self, proposed: bytes) -> bytes:
        if self._data.remote.secret is None:
            self._data.remote.secret = proposed
            self._connection.count_write()
        return self._data.remote.secret
