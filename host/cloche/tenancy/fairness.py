"""How tenants share what there is: no tenant waits longer because another one has much to do."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heappop, heappush, heapreplace
from itertools import chain, count, zip_longest
from typing import Protocol, TypeVar

from cloche.history import TenantId

T = TypeVar("T")

QUANTUM_NS = 10_000_000  # tenants whose use differs by less take turns one by one
DEBT_NS = 1_000_000_000  # no more than this is ever held against a tenant
TENANTS_MAX = 10_000  # whose use is remembered


def divided(room: int, wants: Mapping[TenantId, int], after: TenantId | None = None) -> dict[TenantId, int]:
    """`room` places shared out one by one, in turns that begin after the tenant `after`, each up to what it wants.

    Tenants that got a place are in the order of their turns.
    """
    order = [tenant for tenant in _turned(sorted(wants), after) if wants[tenant] > 0]
    shares: dict[TenantId, int] = {}
    while order and room > 0:
        each = max(1, room // len(order))
        for tenant in order[:room]:
            share = min(each, wants[tenant] - shares.get(tenant, 0))
            shares[tenant] = shares.get(tenant, 0) + share
            room -= share
        order = [tenant for tenant in order if wants[tenant] > shares.get(tenant, 0)]
    return shares


def _turned(order: Sequence[TenantId], after: TenantId | None) -> list[TenantId]:
    if after is None:
        return list(order)
    return [*(one for one in order if one > after), *(one for one in order if one <= after)]


def in_turns(groups: Iterable[Sequence[T]]) -> list[T]:
    """One of each group, then the next of each …"""
    gone = object()
    return [one for one in chain.from_iterable(zip_longest(*groups, fillvalue=gone)) if one is not gone]  # type: ignore[misc]


class HostTime:
    """How much of the host's time each tenant has used, as far as it decides whose turn is next. On the loop's thread alone.

    This is start-time fair queueing: a tenant that begins to wait stands at least where the last turn was given, so nobody
    saves up turns while it wants none; and at most `DEBT_NS` behind, so nobody is shut out for what it used when nobody waited.
    """

    def __init__(self) -> None:
        self._used: dict[TenantId, int] = {}  # ns
        self._last = 0  # where the tenant stood that was given the last turn

    def charge(self, tenant: TenantId, ns: int) -> None:
        """The host has worked so long for this tenant."""
        self._used[tenant] = self._used.get(tenant, 0) + ns

    def stands(self, tenant: TenantId) -> int:
        """Where it stands, in quanta: those with less come first."""
        return self._bounded(tenant) // QUANTUM_NS

    def begins(self, tenant: TenantId) -> None:
        """It waits for a turn, and did not before."""
        if len(self._used) > TENANTS_MAX:
            self._used.clear()
        self._used[tenant] = self._bounded(tenant)

    def given(self, tenant: TenantId) -> None:
        """It is given a turn."""
        self._last = max(self._last, self._bounded(tenant))

    def _bounded(self, tenant: TenantId) -> int:
        return min(max(self._used.get(tenant, 0), self._last), self._last + DEBT_NS)


class Standing(Protocol):
    """Where tenants stand: those with less come first."""

    def stands(self, tenant: TenantId) -> int: ...

    def begins(self, tenant: TenantId) -> None: ...

    def given(self, tenant: TenantId) -> None: ...


class Turns:
    """Places that are given out one by one, to the tenants that wait for one: in turns, and first to those that have used
    less of the host's time. On the loop's thread alone.
    """

    def __init__(self, time: Standing | None = None) -> None:
        self._time: Standing = time or HostTime()
        self._waiting: dict[TenantId, deque[asyncio.Future[None]]] = {}
        self._order: list[
            tuple[int, int, TenantId]
        ] = []  # a heap of those that wait: where each stands, and since when
        self._numbers = count()

    def wait(self, tenant: TenantId) -> asyncio.Future[None]:
        """Resolves when it is this one's turn."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if tenant not in self._waiting:
            self._waiting[tenant] = deque()
            self._time.begins(tenant)
            self._enlist(tenant)
        self._waiting[tenant].append(place)
        return place

    def first_again(self, tenant: TenantId, place: asyncio.Future[None]) -> None:
        """It was this one's turn, and it could not take it: it is the next of its tenant."""
        if tenant not in self._waiting:
            self._waiting[tenant] = deque()
            self._enlist(tenant)
        self._waiting[tenant].appendleft(place)

    def first(self) -> int | None:
        """Where the tenant stands whose turn is next; None: nobody waits."""
        while self._order:
            stood, number, tenant = self._order[0]
            stands, places = self._time.stands(tenant), self._places(tenant)
            if not places:
                heappop(self._order)
                del self._waiting[tenant]
            elif stands > stood:
                heapreplace(self._order, (stands, number, tenant))
            else:
                return stood
        return None

    def give(self, may: Callable[[TenantId], bool] = lambda _: True) -> TenantId | None:
        """Give the next place to a tenant that `may` have one: which it was, or None if none of them waits."""
        passed_over: list[tuple[int, int, TenantId]] = []
        try:
            while self._order:
                stood, number, tenant = heappop(self._order)
                stands, places = self._time.stands(tenant), self._places(tenant)
                if not places:
                    del self._waiting[tenant]
                elif stands > stood:  # it has used more meanwhile
                    heappush(self._order, (stands, number, tenant))
                elif not may(tenant):
                    passed_over.append((stood, number, tenant))
                else:
                    self._give(tenant, places)
                    return tenant
            return None
        finally:
            for entry in passed_over:
                heappush(self._order, entry)

    def _places(self, tenant: TenantId) -> deque[asyncio.Future[None]]:
        """Those that wait: who gave up does not cost the tenant its turn."""
        places = self._waiting[tenant]
        while places and places[0].done():
            places.popleft()
        return places

    def _give(self, tenant: TenantId, places: deque[asyncio.Future[None]]) -> None:
        self._time.given(tenant)
        places.popleft().set_result(None)
        if places:
            self._enlist(tenant)
        else:
            del self._waiting[tenant]

    def _enlist(self, tenant: TenantId) -> None:
        heappush(self._order, (self._time.stands(tenant), next(self._numbers), tenant))
