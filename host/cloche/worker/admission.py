"""How many runs of a tenant go on at a time, and how many may wait for their turn.

A run that finds no room is recorded and queued: it begins when runs of its tenant have ended, parked or been suspended, the
oldest first. A queue that is full refuses the next run with an error; that is the back-pressure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable

from cloche.history import TenantId
from cloche.tenancy import Policy

DRIVEN_MAX = 1_000  # runs that a worker takes from the store, of all tenants together, beside the even share of each


class Admission:
    """Counts the runs that this worker drives, by tenant, and holds them against `concurrent_runs` and `queued_runs`."""

    def __init__(
        self,
        policy_of: Callable[[TenantId], Policy],
        learn: Callable[[Iterable[TenantId]], Awaitable[None]] | None = None,
    ) -> None:
        """`policy_of` bounds all runs of a tenant together, as far as is known: `learn` is awaited before it is asked."""
        self._policy_of = policy_of
        self._learn = learn
        self.driven: Counter[TenantId] = Counter()
        self.claimed: Counter[TenantId] = (
            Counter()
        )  # places of runs that are being claimed, or were and are not driven yet

    async def learn(self, tenants: Iterable[TenantId]) -> None:
        """See to it that what is asked next of these tenants goes by what the store has."""
        if self._learn is not None:
            await self._learn(tenants)

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
        return max(0, min(places, self._policy_of(tenant).concurrent_runs - driven))

    def admits(self, tenant: TenantId) -> bool:
        """Whether a new run of a tenant may begin at once."""
        return self._taken(tenant) < self._policy_of(tenant).concurrent_runs

    def _taken(self, tenant: TenantId) -> int:
        return self.driven[tenant] + self.claimed[tenant]

    def queue_max(self, tenant: TenantId) -> int:
        """How many runs of a tenant may wait to begin. The store counts them, where it keeps the next one."""
        return self._policy_of(tenant).queued_runs
