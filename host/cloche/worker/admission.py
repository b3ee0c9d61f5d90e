"""How many runs of a tenant go on at a time, and how many may wait for their turn.

A run that finds no room is recorded and queued: it begins when runs of its tenant have ended, parked or been suspended, the
oldest first. A queue that is full refuses the next run with an error; that is the back-pressure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cloche.errors import QueueFull
from cloche.history import TenantId
from cloche.store import Store

if TYPE_CHECKING:
    from cloche.worker.holds import Holds
    from cloche.worker.policies import Policies

DRIVEN_MAX = 1_000  # runs that a worker takes from the store, of all tenants together, beside the even share of each


class Admission:
    """Counts the runs that this worker drives, by tenant, and holds them against `concurrent_runs` and `queued_runs`."""

    def __init__(self, store: Store, policies: Policies, holds: Holds) -> None:
        self._store = store
        self.holds = holds
        self.policies = policies
        self.driven: Counter[TenantId] = Counter()
        self._on_their_way: Counter[TenantId] = Counter()  # into the queue: not in the store yet

    def entered(self, tenant: TenantId) -> None:
        self.driven[tenant] += 1

    def left(self, tenant: TenantId) -> None:
        self.driven[tenant] -= 1
        if not self.driven[tenant]:
            del self.driven[tenant]

    async def room(self, tenant: TenantId, tenants: int) -> int:
        """How many more runs of a tenant this worker may drive. `tenants`: how many have some that are due.

        A worker that is full of the runs of one tenant has an even share of its places left for each of the others.
        """
        most = (await self.policies.of_tenant(tenant)).concurrent_runs
        driven = self.driven[tenant]
        even = DRIVEN_MAX // max(len(self.driven), tenants, 1)
        places = max(DRIVEN_MAX - self.driven.total(), even - driven)
        return max(0, min(places, most - driven))

    async def admits(self, tenant: TenantId) -> bool:
        """Whether a new run of a tenant may begin at once."""
        return self.driven[tenant] < (await self.policies.of_tenant(tenant)).concurrent_runs

    @asynccontextmanager
    async def queueing(self, tenant: TenantId) -> AsyncIterator[None]:
        """While one more run is put in the queue.

        Raises:
            QueueFull: it has no room; nothing was done.
        """
        most = (await self.policies.of_tenant(tenant)).queued_runs
        waiting = await self._store.queued(tenant) + self._on_their_way[tenant]
        if waiting >= most:
            raise QueueFull(
                f"tenant {tenant} has {waiting} runs that wait to begin, and {most} may: try again when some have begun",
                tenant=tenant,
                limit="queued_runs",
                value=most,
                asked=waiting + 1,
            )
        self._on_their_way[tenant] += 1
        try:
            yield
        finally:
            self._on_their_way[tenant] -= 1
