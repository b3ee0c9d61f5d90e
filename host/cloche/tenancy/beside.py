"""Work for tenants that is too long for the event loop: in threads, which they share in turns.

What is read, fed, folded or hashed again for whoever asks takes as long as histories are. In the loop's own pool of threads it
would be first come, first served: a tenant that asks for many long ones would have all of them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import perf_counter_ns
from typing import Any, Final, Generic, TypeVar
from weakref import WeakKeyDictionary

from cloche.history import TenantId
from cloche.tenancy.fairness import HostTime, Turns

T = TypeVar("T")

PLACES: Final = (os.cpu_count() or 2) + 2
EACH: Final = PLACES // 2  # of a tenant: the rest is for others


async def beside(tenant: TenantId, work: Callable[[], T]) -> T:
    """What `work` gives, made in a thread when it is the tenant's turn; raises what it raises."""
    loop = asyncio.get_running_loop()
    lane = _lanes.get(loop)
    if lane is None:  # in turns one by one: how long each took would be another order in each simulation
        lane = _lanes[loop] = Lane(_pool, PLACES, EACH, HostTime(), lambda tenant, ns: None)
    return await lane.call(tenant, work)


class Lane:
    """Threads that tenants share: each has at most `each` of `places` at a time, the rest is for others.

    `charge` is told how long each was at work, in nanoseconds.
    """

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        places: int,
        each: int,
        time: HostTime,
        charge: Callable[[TenantId, int], None],
    ) -> None:
        self.free = places
        self.turns = Turns(time)
        self._charge = charge
        self._pool = pool
        self._each = each
        self._busy: dict[TenantId, int] = {}

    async def call(self, tenant: TenantId, action: Callable[[], T]) -> T:
        """Call `action` in a thread, when it is the tenant's turn."""
        if self.free and self._may_have_more(tenant):
            self._take(tenant)
        else:
            await self._turn(tenant)
        work = _Timed(action)
        done = asyncio.get_running_loop().run_in_executor(self._pool, work)
        # Not before it is done: who gives up waiting does not end what the thread does.
        done.add_done_callback(partial(self._is_done, tenant, work))
        return await asyncio.shield(done)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _turn(self, tenant: TenantId) -> None:
        place = self.turns.wait(tenant)
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():  # it was given, and nobody takes it
                self._give_back(tenant)
            raise

    def _is_done(self, tenant: TenantId, work: _Timed[Any], done: asyncio.Future[Any]) -> None:
        self._charge(tenant, work.ns)
        if not done.cancelled():
            done.exception()  # whoever asked has the error already, or does not wait any more
        self._give_back(tenant)

    def _give_back(self, tenant: TenantId) -> None:
        self.free += 1
        left = self._busy.pop(tenant) - 1
        if left:
            self._busy[tenant] = left
        if (following := self.turns.give(self._may_have_more)) is not None:
            self._take(following)

    def _take(self, tenant: TenantId) -> None:
        self.free -= 1
        self._busy[tenant] = self._busy.get(tenant, 0) + 1

    def _may_have_more(self, tenant: TenantId) -> bool:
        return self._busy.get(tenant, 0) < self._each


class _Timed(Generic[T]):
    """An action, and the nanoseconds that it took."""

    __slots__ = ("_action", "ns")

    def __init__(self, action: Callable[[], T]) -> None:
        self._action = action
        self.ns = 0

    def __call__(self) -> T:
        began = perf_counter_ns()
        try:
            return self._action()
        finally:
            self.ns = perf_counter_ns() - began


_pool = ThreadPoolExecutor(PLACES, "cloche-beside")
_lanes: WeakKeyDictionary[asyncio.AbstractEventLoop, Lane] = WeakKeyDictionary()
