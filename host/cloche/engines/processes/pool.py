"""Which process belongs to which tenant."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from cloche.engines.processes.child import Child
from cloche.errors import UsageError
from cloche.history.ids import TenantId


class Pool:
    """One process a tenant, and never one for two."""

    def __init__(self, most: int, start: Callable[[], Child]) -> None:
        self._most = most
        self._start = start
        self._children: OrderedDict[TenantId, Child] = OrderedDict()
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
                surplus = [child] if self._is_closed else self._surplus()
        for one in surplus:
            one.end()
        return child

    def living(self, tenant: TenantId) -> Child | None:
        """That of a tenant, if there is one."""
        with self._lock:
            child = self._children.get(tenant)
            if child is None or child.has_ended:
                return None
            self._children.move_to_end(tenant)
            return child

    def children(self) -> dict[TenantId, Child]:
        with self._lock:
            return {tenant: child for tenant, child in self._children.items() if not child.has_ended}

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            children = list(self._children.values())
        for child in children:
            child.end()

    def _surplus(self) -> list[Child]:
        """What there is too much of, longest unused first."""
        for tenant in [tenant for tenant, child in self._children.items() if child.has_ended]:
            del self._children[tenant]
        return [self._children.popitem(last=False)[1] for _ in range(len(self._children) - self._most)]
