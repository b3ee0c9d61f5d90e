"""How often a principal may ask, and how many streams it may hold open: counted in this process alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cloche.http.problems import Refused

STREAMS_MAX = 32
BUCKETS_MAX = 10_000  # the one that has been idle longest is forgotten: it is full again by then


class Rates:
    """A token bucket for each principal: `per_s` requests a second, `burst` of them at once. `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float], *, per_s: float, burst: int) -> None:
        self._clock = clock
        self._per_s = per_s
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._streams: dict[str, int] = {}

    def take(self, principal: str) -> None:
        """Count a request.

        Raises:
            Refused: it is one too many.
        """
        now = self._clock()
        left, at = self._buckets.pop(principal, (float(self._burst), now))
        left = min(self._burst, left + (now - at) * self._per_s)
        self._buckets[principal] = (max(left - 1, 0) if left >= 1 else left, now)
        if len(self._buckets) > BUCKETS_MAX:
            self._buckets.popitem(last=False)
        if left < 1:
            wait_s = max(1, round((1 - left) / self._per_s + 0.5))
            raise Refused(
                429,
                "too-many-requests",
                f"more than {self._per_s:g} requests a second",
                headers={"Retry-After": str(wait_s)},
            )

    def streams(self, principal: str) -> int:
        """How many it holds open."""
        return self._streams.get(principal, 0)

    @contextmanager
    def stream(self, principal: str) -> Iterator[None]:
        """Hold a stream open.

        Raises:
            Refused: it is one too many.
        """
        count = self.streams(principal)
        if count >= STREAMS_MAX:
            raise Refused(429, "too-many-streams", f"{STREAMS_MAX} streams are open already")
        self._streams[principal] = count + 1
        try:
            yield
        finally:
            self._streams[principal] -= 1
            if not self._streams[principal]:
                del self._streams[principal]
