"""When a failed attempt of a step is made again. Pure: the jitter comes from the run, not from chance."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

DELAY_MS_MAX = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`retries` are extra attempts behind the first (Mastra's `attempts`); the delay grows by `backoff` each time.

    `jitter` is the part of a delay that may be taken away, 0 to 1, so that many runs do not come back at once.
    """

    retries: int = 0
    delay_ms: int = 0
    backoff: float = 1.0
    delay_ms_max: int = DELAY_MS_MAX
    jitter: float = 0.0
    retry_on: tuple[str, ...] | None = None  # names of exception classes, bases included; None: every failure

    def delay_after(self, attempt: int, identity: str) -> int | None:
        """Milliseconds to wait after attempt number `attempt` (from 1) failed; None: that was the last one."""
        if attempt > self.retries:
            return None
        delay = min(self.delay_ms * self._growth(attempt), self.delay_ms_max)
        return int(delay * (1 - self.jitter * _share(f"{identity}:{attempt}")))

    def _growth(self, attempt: int) -> float:
        try:
            return self.backoff ** min(attempt - 1, 64)
        except OverflowError:
            return float(DELAY_MS_MAX)


def _share(text: str) -> float:
    """A number in [0, 1) that is always the same for the same text."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64
