"""How many runs of a tenant go on at a time, and how many may wait for their turn.

A run that finds no room is recorded and queued: it begins when runs of its tenant have ended, parked or been suspended, the
oldest first. A queue that is full refuses the next run with an error; that is the back-pressure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable

from cloche.history import TenantId
from cloche.tenancy import Policy

NARROW = Policy().concurrent_runs  # one that is as wide as by default holds in each worker, and costs no question
DRIVEN_MAX = 1_000  # runs that a worker takes from the store, of all tenants together, beside the even share of each


class Admission:
    """Counts the runs that this worker drives, by tenant, and holds them against `concurrent_runs` and `queued_runs`."""

    def __init__(
        self,
        policy_of: Callable[[TenantId], Policy],
        learn: Callable[[Iterable[TenantId]], Awaitable[None]] | None = None,
        elsewhere: Callable[[TenantId, int], Awaitable[int]] | None = None,
    ) -> None:
        """`policy_of` bounds all runs of a tenant together, as far as is known: `learn` is awaited before it is asked.

        `elsewhere` counts those of a tenant that other workers own, up to a number.
        """
        self._policy_of = policy_of
        self._learn = learn
        self._count_elsewhere = elsewhere
        self._elsewhere: Counter[TenantId] = Counter()  # as of the last look
        self.driven: Counter[TenantId] = Counter()
        self.claimed: Counter[TenantId] = (
            Counter()
        )  # places of runs that are being claimed, or were and are not driven yet

    async def learn(self, tenants: Iterable[TenantId]) -> None:
        """See to it that what is asked next of these tenants goes by what the store has."""
        tenants = list(tenants)
        if self._learn is not None:
            await self._learn(tenants)
        if self._count_elsewhere is None:
            return
        for tenant in tenants:
            most = self._policy_of(tenant).concurrent_runs
            count = await self._count_elsewhere(tenant, most) if most < NARROW else 0
            if count:
                self._elsewhere[tenant] = count
            else:
                self._elsewhere.pop(tenant, None)

    def entered(self, tenant: TenantId) -> None:
        self.driven[tenant] += 1

    def left(self, tenant: TenantId) -> None:
        self.driven[tenant] -= 1
        if not self.driven[tenant]:
            del self.driven[tenant]

    def room(self, tenant: TenantId, tenants: int) -> int:
        """How many more runs of a tenant this worker may drive. `tenants`: how many have some that are due.

        A worker that is full of the runs of one tenant has an even share of its places left for each of the others.
        """
        driven = self._taken(tenant)
        even = DRIVEN_MAX // max(len(self.driven), tenants, 1)
        places = max(DRIVEN_MAX - self.driven.total() - self.claimed.total(), even - driven)
        return max(0, min(places, self._left(tenant)))

    def excess(self, tenant: TenantId) -> int:
        """How many of the places that were taken here are too many."""
        return max(0, -self._left(tenant))

    def admits(self, tenant: TenantId) -> bool:
        """Whether a new run of a tenant may begin at once."""
        return self._left(tenant) > 0

    def _left(self, tenant: TenantId) -> int:
        return self._policy_of(tenant).concurrent_runs - self._elsewhere[tenant] - self._taken(tenant)

    def _taken(self, tenant: TenantId) -> int:
        return self.driven[tenant] + self.claimed[tenant]

    def queue_max(self, tenant: TenantId) -> int:
        """How many runs of a tenant may wait to begin. The store counts them, where it keeps the next one."""
        return self._policy_of(tenant).queued_runs
