"""How far the clock of this machine is from the store's.

Timers go by the worker's clock: with one that is wrong, the waits of runs that it takes would end too early or too late.
"""

from __future__ import annotations

import logging

from cloche.errors import StoreUnavailable
from cloche.history import TimeMs

SKEW_MAX_S = 2.0

log = logging.getLogger("cloche")


class Skew:
    """Compared at each look for work. `max_s`: how far it may be; a worker whose clock is further away takes no run."""

    def __init__(self, max_s: float = SKEW_MAX_S) -> None:
        self._max_ms = max_s * 1000
        self._ms = 0
        self._is_reported = False

    def compare(self, store: TimeMs | None, asked: TimeMs, answered: TimeMs) -> None:
        """Take the time that the store said between two of this machine's, all in ms since 1970; None: it has no clock."""
        self._ms = 0 if store is None else min(answered - store, 0) or max(asked - store, 0)
        if self.is_too_large and not self._is_reported:
            log.error("%s", self._problem())
        elif not self.is_too_large and self._is_reported:
            log.warning("the clock of this machine agrees with the store's again: runs are taken")
        self._is_reported = self.is_too_large

    @property
    def is_too_large(self) -> bool:
        return abs(self._ms) > self._max_ms

    def check(self) -> None:
        """
        Raises:
            StoreUnavailable: it is too large.
        """
        if self.is_too_large:
            raise StoreUnavailable(self._problem())

    def _problem(self) -> str:
        side = "ahead of" if self._ms > 0 else "behind"
        return (
            f"the clock of this machine is {abs(self._ms) / 1000:.1f} s {side} the store's, and {self._max_ms / 1000:g} s is "
            "the most that it may be: this worker takes no runs until it is right (is NTP running?)"
        )
