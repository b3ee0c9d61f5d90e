"""The processes with cells of one engine: each belongs to one tenant, at most one to each."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cloche.errors import UsageError
from cloche.history.ids import TenantId
from cloche.sandbox.process.child import Child


class Pool:
    """One process a tenant, and never one for two. `most` is how many may rest. Safe to be used by any thread."""

    def __init__(self, most: int, start: Callable[[], Child]) -> None:
        self._most = most
        self._start = start
        self._children: dict[TenantId, Child] = {}
        self._starting: dict[TenantId, threading.Lock] = {}
        self._lock = threading.Lock()
        self._is_closed = False

    def child(self, tenant: TenantId) -> Child:
        """The process of a tenant, started if there is none.

        Raises:
            GuestUnavailable: none can be started.
            UsageError: the pool was closed.
        """
        with self._lock:
            if self._is_closed:
                raise UsageError("this ProcessEngine was closed: its cells cannot be made any more")
            starting = self._starting.setdefault(tenant, threading.Lock())
        with starting:
            if (found := self.living(tenant)) is not None:
                return found
            child = self._start()
            with self._lock:
                self._children[tenant] = child
                surplus = [child] if self._is_closed else self._surplus(child)
        for one in surplus:
            one.end()
        return child

    def living(self, tenant: TenantId) -> Child | None:
        """The process of a tenant, if one runs."""
        with self._lock:
            child = self._children.get(tenant)
            if child is None or child.has_ended:
                return None
            return child

    def children(self) -> dict[TenantId, Child]:
        """The processes that run, by tenant."""
        with self._lock:
            return {tenant: child for tenant, child in self._children.items() if not child.has_ended}

    def close(self) -> None:
        """End all of them; none is started any more."""
        with self._lock:
            self._is_closed = True
            children = list(self._children.values())
        for child in children:
            child.end()

    def _surplus(self, new: Child) -> list[Child]:
        """What there is too much of besides the new one, longest unused first. One at work stays: its turn would be lost."""
        for tenant in [tenant for tenant, child in self._children.items() if child.has_ended]:
            del self._children[tenant]
        idle = [tenant for tenant, child in self._children.items() if child is not new and not child.is_at_work]
        idle.sort(key=lambda tenant: self._children[tenant].used_at)
        too_many = max(0, len(self._children) - self._most)
        return [self._children.pop(tenant) for tenant in idle[:too_many]]
