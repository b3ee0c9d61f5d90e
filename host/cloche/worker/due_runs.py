"""Taking runs that are due and that no worker owns: a page at a time, the tenants in turns, as many as there are places for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from cloche.history import TenantId, TimeMs
from cloche.tenancy.fairness import divided, in_turns

if TYPE_CHECKING:
    from cloche.store import Leases, RunRow
    from cloche.worker.admission import Admission
    from cloche.worker.others import Others
    from cloche.worker.ports import Work

PAGE = 64  # runs taken at once: what a worker has taken, another one does not get


class DueRuns:
    """Of one worker, whose name `worker` gives: it may change."""

    def __init__(
        self, leases: Leases, admission: Admission, work: Work, worker: Callable[[], str], others: Others
    ) -> None:
        self.held: set[TenantId] = set()  # of whom there may be more than was taken
        self._leases = leases
        self._admission = admission
        self._work = work
        self._worker = worker
        self._others = others
        self._last: TenantId | None = None  # whose turn it was last
        self._rooms = 0  # how often a run has left

    @property
    def leaves_some(self) -> bool:
        """Whether there are runs that are left to other workers."""
        return bool(self._others.names)

    def room_again(self) -> None:
        """A run has left this worker: there may be room for others, also for those that are just being looked for."""
        self._rooms += 1

    async def take(self, now: TimeMs) -> bool:
        """Take a page of them; whether there is room for what may be left. Called once at a time.

        Raises:
            StoreError: the store did not answer; it may have been done.
        """
        rooms = self._rooms
        if self._others.names:
            await self._others.look()
        due = await self._leases.due_tenants(now)
        await self._admission.learn(due)
        shares = divided(PAGE, {tenant: self._admission.room(tenant, len(due)) for tenant in due}, self._last)
        taken = await self._claim(now, shares) if shares else Counter()
        self._last = next(reversed(shares), self._last)
        self.held = {tenant for tenant in due if taken[tenant] >= shares.get(tenant, 0)}
        return any(tenant in shares or rooms != self._rooms for tenant in self.held)

    async def drive_strays(self) -> None:
        """Have those runs driven that the worker owns and does not drive, for the answer to its claim was lost; as `take`."""
        for row in await self._leases.owned(self._worker()):
            await self._work.adopt(row)

    async def _claim(self, now: TimeMs, shares: Mapping[TenantId, int]) -> Counter[TenantId]:
        """Claim runs and have them driven: how many of each tenant. Their places are nobody else's from the question on."""
        claimed = self._admission.claimed
        places = Counter(shares)
        claimed.update(places)
        try:
            rows = await self._leases.claim_due(self._worker(), now, shares, **self._but())
            taken: dict[TenantId, list[RunRow]] = {tenant: [] for tenant in shares}
            for row in rows:
                taken[row.key.tenant].append(row)
            await self._give_back(taken, places)
            for row in in_turns(taken.values()):
                await self._work.adopt(row)
                places[row.key.tenant] -= 1
                claimed[row.key.tenant] -= 1
        finally:
            claimed.subtract(places)
        return Counter(row.key.tenant for row in rows)

    def _but(self) -> dict[str, frozenset[str]]:
        """Nothing, while no run was met that is for others."""
        return {"but": frozenset(self._others.names)} if self._others.names else {}

    async def _give_back(self, taken: Mapping[TenantId, list[RunRow]], places: Counter[TenantId]) -> None:
        """Let go of those that are too many: another worker has taken some in the same moment.

        Each looks when its own are in the store, so that of two at least the later one sees those of the other.
        """
        claimed = self._admission.claimed
        for tenant, rows in taken.items():
            unused, places[tenant] = places[tenant] - len(rows), len(rows)
            claimed[tenant] -= unused
        await self._admission.learn(taken)
        for tenant, rows in taken.items():
            for row in [rows.pop() for _ in range(min(self._admission.excess(tenant), len(rows)))]:
                if row.lease is not None:
                    await self._leases.release(row.key, row.lease, row.status, row.wake_at)
                places[tenant] -= 1
                claimed[tenant] -= 1
