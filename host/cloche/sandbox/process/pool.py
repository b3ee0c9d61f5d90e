"""The processes with cells of one engine: each belongs to one tenant, at most one to each, and there are so many at most.

Where more tenants want one than there may be, each has its share of time. A process that has rested for `REST_S`, or has
served its tenant for `share_s`, is ended for the tenant that has waited longest: it takes no more questions, and ends when
those under way are answered. Its runs are rebuilt when it is their tenant's turn again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from cloche.errors import UsageError
from cloche.history.ids import TenantId
from cloche.sandbox.process.child import Child

REST_S = 1.0  # who has asked nothing for so long is taken to rest
ASK_S = 0.05  # between two looks whether it is a tenant's turn
GONE_S = 5.0  # a tenant that has not asked for so long does not wait any more
TELL_EVERY_S = 60.0

log = logging.getLogger("cloche.sandbox")


class Pool:
    """One process a tenant, and never one for two; at most `most`. Safe to be used by any thread.

    `share_s`: what a tenant has of its process, in seconds since it was started, before others may have its place.
    """

    def __init__(self, most: int, start: Callable[[], Child], share_s: float = 0.0) -> None:
        self._most = most
        self._start = start
        self._share_s = share_s
        self._children: dict[TenantId, Child] = {}
        self._leaving: list[Child] = []  # that have still to answer: each has its place until it has ended
        self._places: dict[TenantId, float] = {}  # given, and not taken yet; since when
        self._waiting: OrderedDict[TenantId, float] = OrderedDict()  # who came first is first; when it asked last
        self._starting: dict[TenantId, threading.Lock] = {}
        self._lock = threading.Lock()
        self._is_closed = False
        self._told = -TELL_EVERY_S

    def place_in_s(self, tenant: TenantId) -> float:
        """0: the tenant has a process, or a place for one. Else it waits: ask again in so many seconds."""
        with self._lock:
            now = time.monotonic()
            if self._is_closed or self._has_place(tenant, now):
                return 0.0
            self._waiting[tenant] = now
            for other in [one for one, asked in self._waiting.items() if now - asked > GONE_S]:
                del self._waiting[other]
            place = list(self._waiting).index(tenant)
            ended = self._make_room(place + 1, now)
            is_free = place < self._most - len(self._children) - len(self._leaving) - len(self._places)
            if is_free:
                del self._waiting[tenant]
                self._places[tenant] = now
        for child in ended:
            child.end()
        if not is_free:
            self._tell(tenant, now)
        return 0.0 if is_free else ASK_S

    def child(self, tenant: TenantId) -> Child:
        """The process of a tenant, started if there is none. Waits for a place.

        Raises:
            GuestUnavailable: none can be started.
            UsageError: the pool was closed.
        """
        with self._lock:
            starting = self._starting.setdefault(tenant, threading.Lock())
        with starting:
            while wait_s := self.place_in_s(tenant):
                time.sleep(wait_s)
            if (found := self.living(tenant)) is not None:
                return found
            if self._is_closed:
                raise UsageError("this ProcessEngine was closed: its cells cannot be made any more")
            return self._started(tenant)

    def _started(self, tenant: TenantId) -> Child:
        child = None
        try:
            child = self._start()
        finally:
            with self._lock:
                self._places.pop(tenant, None)
                if child is not None:
                    self._children[tenant] = child
        if self._is_closed:
            child.end()
        return child

    def living(self, tenant: TenantId) -> Child | None:
        """The process of a tenant, if one runs."""
        with self._lock:
            child = self._children.get(tenant)
            return None if child is None or child.has_ended else child

    def children(self) -> dict[TenantId, Child]:
        """The processes that run, by tenant."""
        with self._lock:
            return {tenant: child for tenant, child in self._children.items() if not child.has_ended}

    def waiting(self) -> list[TenantId]:
        """The tenants that wait for a place, the next one first."""
        with self._lock:
            return list(self._waiting)

    def close(self) -> None:
        """End all of them; none is started any more."""
        with self._lock:
            self._is_closed = True
            children = [*self._children.values(), *self._leaving]
        for child in children:
            child.end()

    def _has_place(self, tenant: TenantId, now: float) -> bool:
        for other in [other for other, since in self._places.items() if now - since > GONE_S]:
            del self._places[other]  # its run was canceled before it could take it
        for other in [other for other, child in self._children.items() if child.has_ended]:
            del self._children[other]
        if tenant in self._children or tenant in self._places:
            self._waiting.pop(tenant, None)
            return True
        return False

    def _make_room(self, wanted: int, now: float) -> list[Child]:
        """Have processes leave until `wanted` places are free or becoming free; those that can be ended now."""
        missing = wanted - (self._most - len(self._children) - len(self._places))
        for tenant in sorted(self._children, key=lambda one: self._rank(one, now))[: max(0, missing)]:
            if self._rank(tenant, now)[0] < 2:
                child = self._children.pop(tenant)
                child.leave()
                self._leaving.append(child)
        ended = [child for child in self._leaving if not child.is_at_work]
        self._leaving = [child for child in self._leaving if child.is_at_work]
        return ended

    def _rank(self, tenant: TenantId, now: float) -> tuple[int, float]:
        """Who gives its place first: who has rested for longest, then who has served for longest. 2: it keeps it."""
        child = self._children[tenant]
        if not child.is_at_work and now - child.used_at >= min(REST_S, self._share_s):
            return 0, child.used_at
        has_had_its_share = self._share_s > 0 and now - child.started_at >= self._share_s
        return (1 if has_had_its_share else 2), child.started_at

    def _tell(self, tenant: TenantId, now: float) -> None:
        if now - self._told >= TELL_EVERY_S:
            self._told = now
            log.warning(
                "tenant %s waits for a process: all %d are at work; tenants have theirs in turns, %g s each, unless there "
                "may be more (ProcessEngine(processes=…), about 35 MB each)",
                *(tenant, self._most, self._share_s),
            )
