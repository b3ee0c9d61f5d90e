"""This process among the workers of a store: it beats while it lives, and buries those that have fallen silent.

In real time a thread beats (`heartbeat`), for a step may block the event loop. In virtual time the loop does: there nothing
passes while it stands still, and a test goes the same way each time.

Nobody compares wall clocks. A worker is dead when its process is known to have ended, or when its beat has not changed for
`lease_ttl_s` of the *observer's* monotonic clock; then its runs are free. The beat was made before the observer saw it, so a
worker that counts from its own last beat knows first that its leases may be taken: past three quarters of the time it
begins nothing more until it has beaten again. If it was buried meanwhile, every append it tries is refused by its fence.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from cloche.errors import StoreError
from cloche.worker.heartbeat import LOOP_STALL_MAX_S, Heartbeat

if TYPE_CHECKING:
    from cloche.run.clock import World
    from cloche.store import Leases

LEASE_TTL_S = 15.0
BEATS_PER_TTL = 4
LOOKS_PER_TTL = 16  # for the dead; a process that was killed is noticed at the next one
SAFE_SHARE = 0.75

log = logging.getLogger("cloche")


class Membership:
    """One worker's life on a store. `keep` is called again and again, several times within a beat.

    `offers` gives what it can start, as `worker.offers` has it.
    """

    def __init__(
        self,
        leases: Leases,
        world: World,
        ttl_s: float = LEASE_TTL_S,
        loop_stall_max_s: float = LOOP_STALL_MAX_S,
        offers: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.worker = world.worker_id()
        self._leases = leases
        self._world = world
        self._ttl_s = ttl_s
        self._loop_stall_max_s = loop_stall_max_s
        self._heartbeat: Heartbeat | None = None
        self._offers = offers
        self._has_more_offers = False
        self._buried: str | None = None  # the name under which others buried this worker
        self.changes = 0  # how often it joined or buried another: runs are to be had, and no store tells of own writes
        self._renewed = self._looked = 0.0
        self._seen: dict[str, tuple[int, float]] = {}  # the beat of each other worker, and since when it is that

    def join(self) -> None:
        """Take part from now on, under the name `worker`.

        Raises:
            StoreError: the store did not take it.
        """
        self._join(self.worker)

    def publish_soon(self) -> None:
        """What it can start has changed: say so in a moment (`keep`), not in a commit that somebody waits for."""
        self._has_more_offers = True

    def _join(self, worker: str) -> None:
        began = self._world.monotonic()
        self._leases.join(worker, self._offers())
        self._has_more_offers = False
        self.worker, self._renewed = worker, began
        self.changes += 1
        self._look(began)

    def start_heartbeat(self) -> None:
        """Beat beside the event loop that runs, where time passes beside it. After `join`."""
        if self._world.is_real_time and self._heartbeat is None:
            self._heartbeat = Heartbeat(self._beat_if_due, self._world.monotonic, self._loop_stall_max_s)
            self._heartbeat.start()

    def stop_heartbeat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.stop()
            self._heartbeat = None

    def keep(self) -> bool:
        """Look for the dead where it is time, and beat if no thread does. False: it was buried, and has joined again anew.

        Raises:
            StoreError: it could not be said.
        """
        if self._heartbeat is None:
            self._beat_if_due()
        elif not self.is_safe:  # the thread could not: the store did not answer it, or the process stood still
            self._beat()
        alive = self._buried != self.worker
        if not alive:
            log.warning("worker '%s' was silent for too long: its runs belong to others", self.worker)
            self._join(self._world.worker_id())
        if self._has_more_offers:
            self._leases.publish(self.worker, self._offers() or "[]")
            self._has_more_offers = False
        now = self._world.monotonic()
        if now - self._looked >= self._ttl_s / LOOKS_PER_TTL:
            self._look(now)
        return alive

    def _beat_if_due(self) -> None:
        if self._world.monotonic() - self._renewed >= self._ttl_s / BEATS_PER_TTL:
            self._beat()

    def _beat(self) -> None:
        """Say that this worker lives. In either thread: it is late at worst that `keep` hears of a burial."""
        worker, began = self.worker, self._world.monotonic()
        if self._leases.beat(worker):
            self._renewed = max(self._renewed, began)
        else:
            self._buried = worker

    @property
    def is_safe(self) -> bool:
        """Whether nobody can have taken this worker's runs for its silence."""
        return self._world.monotonic() - self._renewed < self._ttl_s * SAFE_SHARE

    def leave(self) -> None:
        """Free all runs of this worker at once."""
        self.stop_heartbeat()
        try:
            self._leases.leave(self.worker)
        except StoreError as error:
            log.warning("worker '%s' could not say that it ends: %s", self.worker, error.message)

    def _look(self, now: float) -> None:
        self._looked = now
        others = [row for row in self._leases.workers() if row.id != self.worker]
        for row in others:
            beat, since = self._seen.get(row.id, (-1, now))
            if beat != row.beat:
                self._seen[row.id] = (row.beat, now)
            if (row.has_gone or (beat == row.beat and now - since >= self._ttl_s)) and self._leases.bury(row):
                self.changes += 1
                log.info("worker %s is dead: its runs are taken over", row.id)
        left = {row.id for row in others}
        self._seen = {id: seen for id, seen in self._seen.items() if id in left}
