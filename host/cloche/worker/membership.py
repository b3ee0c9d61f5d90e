"""This process among the workers of a store: it sends heartbeats while it lives, and evicts workers that have fallen silent.

In real time a thread sends them (`heartbeat`), for a step may block the event loop. In virtual time the loop does: no time
passes there while it stands still, and a test goes the same way each time.

No two wall clocks are compared. A worker is dead when its process is known to have ended, or when its heartbeat has not changed
for `lease_ttl_s` of the *observer's* monotonic clock; then its runs are free. A heartbeat was sent before the observer saw
it, so a worker that counts from its own last one knows first that its leases may be taken: past three quarters of the time it
begins nothing more until it has sent another. If it was evicted meanwhile, every append it tries is refused by its fence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from cloche.errors import StoreError
from cloche.worker.heartbeat import LOOP_STALL_MAX_S, Heartbeat

if TYPE_CHECKING:
    from cloche.run.clock import World
    from cloche.store import Leases

LEASE_TTL_S = 15.0
HEARTBEATS_PER_TTL = 4
LOOKS_PER_TTL = 16  # for dead workers; a process that was killed is noticed at the next one
SAFE_SHARE = 0.75

log = logging.getLogger("cloche")


class Membership:
    """One worker's life on a store. `keep` is called again and again, several times between two heartbeats, one call at a time.

    `offers` gives what it can start, as `worker.offers` has it; `heartbeat` sends one from a thread, as `Leases.heartbeat`.
    """

    def __init__(
        self,
        leases: Leases,
        world: World,
        ttl_s: float = LEASE_TTL_S,
        loop_stall_max_s: float = LOOP_STALL_MAX_S,
        offers: Callable[[], str | None] = lambda: None,
        heartbeat: Callable[[str], bool] = lambda worker: True,
    ) -> None:
        self.worker = world.worker_id()
        self._leases = leases
        self._world = world
        self._ttl_s = ttl_s
        self._loop_stall_max_s = loop_stall_max_s
        self._thread: Heartbeat | None = None
        self._offers = offers
        self._heartbeat = heartbeat
        self._has_more_offers = False
        self._evicted: str | None = None  # the name under which others evicted this worker
        self.changes = 0  # how often it joined or evicted another: runs are to be had, and no store tells of own writes
        self._renewed = self._looked = 0.0
        self._seen: dict[str, tuple[int, float]] = {}  # the heartbeat of each other worker, and since when it is that

    async def join(self) -> None:
        """Take part from now on, under the name `worker`.

        Raises:
            StoreError: the store did not take it.
        """
        await self._join(self.worker)
        await self._look(self._world.monotonic())

    def publish_soon(self) -> None:
        """What it can start has changed: say so in a moment (`keep`), not in a commit that somebody waits for."""
        self._has_more_offers = True

    async def _join(self, worker: str) -> None:
        began = self._world.monotonic()
        await self._leases.join(worker, self._offers())
        self._has_more_offers = False
        self.worker, self._renewed = worker, began
        self.changes += 1

    def start_heartbeat(self) -> None:
        """Send heartbeats from a thread, if time passes while the event loop stands still. Called after `join`."""
        if self._world.is_real_time and self._thread is None:
            self._thread = Heartbeat(self._renew_in_thread, self._world.monotonic, self._loop_stall_max_s)
            self._thread.start()

    async def stop_heartbeat(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:  # it may wait for the store
            await asyncio.get_running_loop().run_in_executor(None, thread.stop)

    async def keep(self) -> bool:
        """Look for dead workers and send a heartbeat, each when it is time. False: it was evicted, and has joined anew.

        Raises:
            StoreError: the store did not answer.
        """
        if self._thread is None:
            if self._is_due:
                await self._renew()
        elif not self.is_safe:  # the thread could not: the store did not answer it, or the process stood still
            await self._renew()
        if self._evicted == self.worker:
            log.warning("worker '%s' was silent for too long: its runs belong to others", self.worker)
            await self._join(self._world.worker_id())
            return False  # at once: nothing more may be done in the old name
        if self._has_more_offers:
            await self._publish()
        now = self._world.monotonic()
        if now - self._looked >= self._ttl_s / LOOKS_PER_TTL:
            await self._look(now)
        return True

    async def _publish(self) -> None:
        self._has_more_offers = False  # before: more may come while the store takes these
        try:
            await self._leases.publish(self.worker, self._offers() or "[]")
        except StoreError:
            self._has_more_offers = True
            raise

    @property
    def _is_due(self) -> bool:
        return self._world.monotonic() - self._renewed >= self._ttl_s / HEARTBEATS_PER_TTL

    async def _renew(self) -> None:
        """Send a heartbeat."""
        worker, began = self.worker, self._world.monotonic()
        self._renewed_since(worker, began, lives=await self._leases.heartbeat(worker))

    def _renew_in_thread(self) -> None:
        """Send one if it is time, in the heartbeat's thread. At worst `keep` sees an eviction one call later."""
        if self._is_due:
            worker, began = self.worker, self._world.monotonic()
            self._renewed_since(worker, began, lives=self._heartbeat(worker))

    def _renewed_since(self, worker: str, began: float, *, lives: bool) -> None:
        if lives:
            self._renewed = max(self._renewed, began)
        else:
            self._evicted = worker

    def count(self) -> int:
        """How many workers there were at the last look, with this one."""
        return len(self._seen) + 1

    @property
    def is_safe(self) -> bool:
        """Whether no other worker can have taken the runs of this one because it was silent."""
        return self._world.monotonic() - self._renewed < self._ttl_s * SAFE_SHARE

    async def leave(self) -> None:
        """Free all runs of this worker at once."""
        await self.stop_heartbeat()
        try:
            await self._leases.leave(self.worker)
        except StoreError as error:
            log.warning("worker '%s' could not say that it ends: %s", self.worker, error.message)

    async def _look(self, now: float) -> None:
        self._looked = now
        others = [row for row in await self._leases.workers() if row.id != self.worker]
        for row in others:
            heartbeat, since = self._seen.get(row.id, (-1, now))
            if heartbeat != row.heartbeat:
                self._seen[row.id] = (row.heartbeat, now)
            if row.is_dead or (heartbeat == row.heartbeat and now - since >= self._ttl_s):
                self.changes += 1  # before it is known: the answer may be lost
                if await self._leases.evict(row):
                    log.info("worker %s is dead: its runs are taken over", row.id)
        left = {row.id for row in others}
        self._seen = {id: seen for id, seen in self._seen.items() if id in left}
