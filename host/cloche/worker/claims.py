"""Which runs this worker takes: those that no worker owns and that can go on, a page at a time, so that workers share the work.

A run that waits (for data, for an event, for a time far away) is nobody's, and costs a worker nothing: it is found by index
when data for it arrives, or when it is due.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from cloche.errors import StoreError
from cloche.history import RunKey, TenantId, TimeMs
from cloche.tenancy.fairness import divided, in_turns

if TYPE_CHECKING:
    from cloche.run.clock import Timers, World
    from cloche.run.ports import Tasks
    from cloche.store import RunRow, Store
    from cloche.worker.admission import Admission
    from cloche.worker.membership import Membership
    from cloche.worker.ports import Work

PAGE = 64  # runs taken at once: what a worker has taken, another one does not get
STORE_RETRY_MS = 1_000
CLAIM_RETRY_MS = 100

log = logging.getLogger("cloche")


class Claims:
    """Looks for work when others wrote, when this worker evicted another one, and when a run that no worker owns is due.

    Implements `Ownership` of `run.ports`.
    """

    def __init__(
        self,
        store: Store,
        world: World,
        timers: Timers,
        tasks: Tasks,
        membership: Membership,
        admission: Admission,
        work: Work,
    ) -> None:
        self.held: set[TenantId] = set()  # of whom there may be more than was taken
        self._store = store
        self._world = world
        self._timers = timers
        self._tasks = tasks
        self._membership = membership
        self._admission = admission
        self._work = work
        self._mark: int | None = None  # of the store's news, as of the last look
        self._changes = -1  # of the membership, likewise
        self._due: TimeMs | None = None  # when a look is planned
        self._last: TenantId | None = None  # whose turn it was last
        self._watcher: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Join the workers and take what there is; from then on by itself.

        Raises:
            StoreError: the store did not answer.
        """
        await self._membership.join()
        await self._look()
        self._watcher = asyncio.create_task(self._watch(), name="cloche-claims")
        self._membership.start_heartbeat()

    def stop(self) -> list[asyncio.Task[None]]:
        """Look for nothing more; what is left to be waited for."""
        if self._watcher is None:
            return []
        self._watcher.cancel()
        return [self._watcher]

    @property
    def is_idle(self) -> bool:
        """Whether the last look found no more than was taken."""
        return not self.held

    # ---- as the owner of runs ----

    @property
    def worker(self) -> str:
        return self._membership.worker

    async def is_safe(self) -> bool:
        """Whether no other worker can have taken the runs of this one; after a long silence a heartbeat is sent first."""
        try:
            return self._membership.is_safe or await self._keep()
        except StoreError:
            return False

    async def claim(self, key: RunKey) -> RunRow | None:
        """Own the run, if no other worker does; None otherwise."""
        return await self._store.leases.claim(self._membership.worker, key)

    def expect(self, due: int | None) -> None:
        """Look again at `due` (ms since 1970), when a run that no worker owns can go on."""
        if due is None or (self._due is not None and self._due <= due):
            return
        self._due = TimeMs(due)
        self._timers.at(self._due, lambda: self._tasks.spawn(self._look_when_due()))

    def room_again(self) -> None:
        """A run has left this worker: there may be room for others."""
        if self.held:
            self.expect(self._world.now())

    def queued(self, tenant: TenantId) -> None:
        """A run of this tenant waits to begin. The store does not tell of own writes, and the last run may have ended."""
        self.held.add(tenant)
        self.room_again()

    # ---- looking ----

    async def _keep(self) -> bool:
        alive = await self._membership.keep()
        if not alive:
            self._work.lose_all()
        return alive

    async def _watch(self) -> None:
        while True:
            await self._world.pause(self._store.news_every_s)
            try:
                await self._keep()
                if await self._has_news():
                    await self._look()
            except StoreError as error:
                log.warning("the store did not say what there is to do: %s", error.message)
            except Exception:
                log.exception("a look for work failed by a fault of cloche itself")

    async def _has_news(self) -> bool:
        """Whether others wrote, or this worker freed the runs of one it evicted: a store does not tell of own writes."""
        return self._membership.changes != self._changes or (await self._store.news(self._mark)).is_any

    async def _look_when_due(self) -> None:
        self._due = None
        try:
            await self._look()
        except StoreError as error:
            log.warning("the store did not say what is due: %s", error.message)
            self.expect(self._world.now() + STORE_RETRY_MS)

    async def _look(self) -> None:
        leases, now = self._store.leases, self._world.now()
        mark, changes = (await self._store.news(None)).mark, self._membership.changes
        if await self._take(now):  # the rest in a moment: what was taken runs first, and others take their share
            self.expect(now + 1)
        if (due := await leases.next_due()) is not None:
            # One that is due already was not to be had just now.
            self.expect(due if due > now else now + CLAIM_RETRY_MS)
        await self._work.look()
        self._mark, self._changes = mark, changes

    async def _take(self, now: TimeMs) -> bool:
        """Take a page of the runs that are due, the tenants in turns; whether there is room for what may be left."""
        leases, admission = self._store.leases, self._admission
        due = await leases.due_tenants(now)
        shares = divided(PAGE, {tenant: await admission.room(tenant, len(due)) for tenant in due}, self._last)
        rows = await leases.claim_due(self._membership.worker, now, shares) if shares else []
        taken: dict[TenantId, list[RunRow]] = {tenant: [] for tenant in shares}
        for row in rows:
            taken[row.key.tenant].append(row)
        for row in in_turns(taken.values()):
            await self._work.adopt(row)
        self._last = next(reversed(shares), self._last)
        self.held = {tenant for tenant in due if len(taken.get(tenant, ())) >= shares.get(tenant, 0)}
        return any(tenant in shares for tenant in self.held)
