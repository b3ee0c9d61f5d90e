"""Which runs this worker takes: those that no worker owns and that can go on, a page at a time, so that workers share the work.

A run that waits (for data, for an event, for a time far away) is nobody's, and costs a worker nothing: it is found by index
when data for it arrives, or when it is due.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from cloche.errors import StoreError
from cloche.history import RunKey, TenantId, TimeMs
from cloche.worker.due_runs import DueRuns
from cloche.worker.looks import OneAtATime
from cloche.worker.skew import SKEW_MAX_S, Skew

if TYPE_CHECKING:
    from cloche.run.clock import Timers, World
    from cloche.run.ports import Tasks
    from cloche.store import News, RunRow, Store
    from cloche.worker.admission import Admission
    from cloche.worker.membership import Membership
    from cloche.worker.others import Others
    from cloche.worker.ports import Work

STORE_RETRY_MS = 1_000
CLAIM_RETRY_MS = 100
OTHERS_MS = 1_000  # after which runs that were left to other workers are looked at again
LATE_CLAIM_MS = (
    60_000  # a store that has lost the way to its worker has done, or dropped, by then what it was asked for
)
HINTS_EVERY_S = 0.02  # however often somebody says that there is something to see

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
        others: Others,
        skew_max_s: float = SKEW_MAX_S,
    ) -> None:
        self._store = store
        self._world = world
        self._timers = timers
        self._tasks = tasks
        self._membership = membership
        self._work = work
        self._due_runs = DueRuns(store.leases, admission, work, lambda: membership.worker, others)
        self._skew = Skew(skew_max_s)
        self._mark: int | None = None  # of the store's news, as of the last look
        self._changes = -1  # of the membership, likewise
        self._due: TimeMs | None = None  # when a look is planned
        self._may_have_strays = False  # runs that are this worker's and that nobody drives: an answer was lost
        self._claim_more = OneAtATime(self._claim_what_is_due)
        self._keep = OneAtATime(self._stay)
        self._watcher: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Join the workers and take what there is; from then on by itself.

        Raises:
            StoreError: the store did not answer.
        """
        await self._membership.join()
        await self.look()
        self._watcher = asyncio.create_task(self._watch(), name="cloche-claims")
        self._membership.start_heartbeat()

    def stop(self) -> list[asyncio.Task[None]]:
        """Look for nothing more; what is left to be waited for."""
        if self._watcher is None:
            return []
        self._watcher.cancel()
        return [self._watcher]

    @property
    def held(self) -> set[TenantId]:
        """The tenants that may have more runs that are due than were taken."""
        return self._due_runs.held

    @property
    def takes_runs(self) -> bool:
        """Whether its clock is near enough to the store's."""
        return not self._skew.is_too_large

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
        worker = self.worker
        try:
            if not self._membership.is_safe:
                await self._keep()
        except StoreError:
            return False
        return self.worker == worker

    async def claim(self, key: RunKey) -> RunRow | None:
        """Own the run, if no other worker does; None otherwise, and if this one was evicted meanwhile.

        Raises:
            StoreUnavailable: the clock of this machine is wrong; or the store did not answer.
        """
        self._skew.check()
        worker = self.worker
        try:
            row = await self._store.leases.claim(worker, key)
        except StoreError:
            self._look_for_strays()
            raise
        return row if worker == self.worker else None

    def expect(self, due: int | None) -> None:
        """Look again at `due` (ms since 1970), when a run that no worker owns can go on."""
        if due is None or (self._due is not None and self._due <= due):
            return
        self._due = TimeMs(due)
        self._timers.at(self._due, lambda: self._tasks.spawn(self._look_when_due()))

    def room_again(self) -> None:
        """A run has left this worker: there may be room for others."""
        self._due_runs.room_again()
        if self.held:
            self.expect(self._world.now())

    def queued(self, tenant: TenantId) -> None:
        """A run of this tenant waits to begin. The store does not tell of own writes, and the last run may have ended."""
        self.held.add(tenant)
        self.room_again()

    # ---- looking ----

    async def _stay(self) -> None:
        if not await self._membership.keep():
            self._work.lose_all()

    async def _watch(self) -> None:
        while True:
            await self._pause()
            try:
                await self._keep()
                if await self._has_news():
                    await self.look()
            except StoreError as error:
                log.warning("the store did not say what there is to do: %s", error.message)
            except Exception:
                log.exception("a look for work failed by a fault of cloche itself")

    async def _pause(self) -> None:
        """Until it is time for a look, or somebody says that there is something to see."""
        hint = self._store.hint
        if hint is None or not self._world.is_real_time:
            await self._world.pause(self._store.news_every_s)
            return
        await self._world.pause(HINTS_EVERY_S)
        with suppress(TimeoutError):
            await asyncio.wait_for(hint.wait(), self._store.news_every_s - HINTS_EVERY_S)
        hint.clear()

    async def _has_news(self) -> bool:
        """Whether others wrote, or this worker freed the runs of one it evicted: a store does not tell of own writes."""
        if self._membership.changes != self._changes:
            return True
        news = await self._store.news(self._mark)
        if not news.is_any:
            self._mark = news.mark  # a store knows its last marks best
        return news.is_any

    async def _look_when_due(self) -> None:
        self._due = None
        try:
            await self.look()
        except StoreError as error:
            log.warning("the store did not say what is due: %s", error.message)
            self.expect(self._world.now() + STORE_RETRY_MS)

    async def look(self) -> None:
        """Take what there is to do.

        Raises:
            StoreError: the store did not answer.
        """
        asked = self._world.now()
        news, changes = await self._store.news(None), self._membership.changes
        self._compare_clocks(news, asked)
        if self.takes_runs:
            await self._claim_more()
        else:
            self.expect(asked + STORE_RETRY_MS)
        await self._work.look()
        self._mark, self._changes = news.mark, changes

    def _compare_clocks(self, news: News, asked: TimeMs) -> None:
        if self._world.is_real_time:
            self._skew.compare(news.time, asked, self._world.now())

    async def _claim_what_is_due(self) -> None:
        now = self._world.now()
        try:
            if self._may_have_strays:
                await self._due_runs.drive_strays()
                self._may_have_strays = False
            if await self._due_runs.take(now):
                self.expect(now + 1)  # the rest in a moment: what was taken runs first, and others take their share
            if self._due_runs.leaves_some:  # who has them may go, and says nothing then
                self.expect(now + OTHERS_MS)
        except BaseException:
            self._look_for_strays()
            raise
        if (due := await self._store.leases.next_due()) is not None:
            # One that is due already was not to be had just now.
            self.expect(due if due > now else now + CLAIM_RETRY_MS)

    # ---- when an answer was lost ----

    def _look_for_strays(self) -> None:
        """What was asked of the store may have been done, or be done yet: see soon, and when that must have ended."""
        if self._may_have_strays:
            return
        self._may_have_strays = True
        for wait_ms in (STORE_RETRY_MS, LATE_CLAIM_MS):
            self._timers.at(TimeMs(self._world.now() + wait_ms), self._expect_strays)

    def _expect_strays(self) -> None:
        self._may_have_strays = True
        self.expect(self._world.now())
