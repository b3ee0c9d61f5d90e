"""How tenants share what there is: no tenant waits longer because another one has much to do."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, zip_longest
from typing import TypeVar

from cloche.history import TenantId

T = TypeVar("T")


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


class Turns:
    """Places that are given out one by one, to the tenants that wait for one in turns. On the loop's thread alone."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[TenantId, deque[asyncio.Future[None]]] = OrderedDict()  # the next one first

    def wait(self, tenant: TenantId) -> asyncio.Future[None]:
        """Resolves when it is this one's turn."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(place)
        return place

    def give(self, may: Callable[[TenantId], bool] = lambda _: True) -> TenantId | None:
        """Give the next place to a tenant that `may` have one: which it was, or None if none of them waits."""
        for tenant, places in list(self._waiting.items()):
            while places and places[0].done():  # who gave up does not cost the tenant its turn
                places.popleft()
            if places and not may(tenant):
                continue
            place = places.popleft() if places else None
            if places:
                self._waiting.move_to_end(tenant)
            else:
                del self._waiting[tenant]
            if place is not None:
                place.set_result(None)
                return tenant
        return None
