"""This process among the workers of a store: it beats while it lives, and buries those that have fallen silent.

Nobody compares wall clocks. A worker is dead when its process is known to have ended, or when its beat has not changed for
`lease_ttl_s` of the *observer's* monotonic clock; then its runs are free. The beat was made before the observer saw it, so a
worker that counts from its own last beat knows first that its leases may be taken: past three quarters of the time it
begins nothing more until it has beaten again. If it was buried meanwhile, every append it tries is refused by its fence.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cloche.errors import StoreError

if TYPE_CHECKING:
    from cloche.runtime.clock import World
    from cloche.store import Leases

LEASE_TTL_S = 15.0
BEATS_PER_TTL = 4
LOOKS_PER_TTL = 16  # for the dead; a process that was killed is noticed at the next one
SAFE_SHARE = 0.75

log = logging.getLogger("cloche")


class Membership:
    """One worker's life on a store. `keep` is called again and again, several times within a beat."""

    def __init__(self, leases: Leases, world: World, ttl_s: float = LEASE_TTL_S) -> None:
        self.worker = world.worker_id()
        self._leases = leases
        self._world = world
        self._ttl_s = ttl_s
        self._renewed = self._looked = 0.0
        self._seen: dict[str, tuple[int, float]] = {}  # the beat of each other worker, and since when it is that

    def join(self) -> None:
        """Take part from now on, under the name `worker`.

        Raises:
            StoreError: the store did not take it.
        """
        began = self._world.monotonic()
        self._leases.join(self.worker)
        self._renewed = began
        self._look(began)

    def keep(self) -> bool:
        """Beat and look for the dead, where it is time. False: this worker was buried, and has joined again anew.

        Raises:
            StoreError: it could not be said.
        """
        now = self._world.monotonic()
        alive = True
        if now - self._renewed >= self._ttl_s / BEATS_PER_TTL:
            alive = self._leases.beat(self.worker)
            if alive:
                self._renewed = now
            else:
                log.warning("worker '%s' was silent for too long: its runs belong to others", self.worker)
                self.worker = self._world.worker_id()
                self.join()
        if now - self._looked >= self._ttl_s / LOOKS_PER_TTL:
            self._look(now)
        return alive

    @property
    def is_safe(self) -> bool:
        """Whether nobody can have taken this worker's runs for its silence."""
        return self._world.monotonic() - self._renewed < self._ttl_s * SAFE_SHARE

    def leave(self) -> None:
        """Free all runs of this worker at once."""
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
                log.info("worker %s is dead: its runs are taken over", row.id)
        left = {row.id for row in others}
        self._seen = {id: seen for id, seen in self._seen.items() if id in left}
