"""When a failed attempt of a step is made again. Pure: the jitter comes from the run, not from chance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b

from cloche.errors import RetryableError

DELAY_MS_MAX = 24 * 3_600_000
RETRIES_IF_ASKED = 2  # of a step that says nothing of retries, and raises RetryableError
ASKED_S_MAX = 10 * 366 * 86_400.0  # what a step may ask for; beyond it is no time but a mistake


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`retries` are extra attempts after the first (Mastra's `attempts`); the delay grows by `backoff` each time.

    `jitter` is the part of a delay that may be taken away, 0 to 1, so that many runs do not come back at once.
    `retries_if_asked` counts instead of `retries` where it is more and the step itself asks for it (`RetryableError`).
    """

    retries: int = 0
    delay_ms: int = 0
    backoff: float = 1.0
    delay_ms_max: int = DELAY_MS_MAX
    jitter: float = 0.0
    retry_on: tuple[str, ...] | None = None  # names of exception classes, bases included; None: every failure
    retries_if_asked: int = 0

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


def asked_delay_ms(error: RetryableError) -> int | None:
    """After what wait a step asks to be tried again, in milliseconds; None: it does not say, or says infinity or NaN.

    Raises:
        TypeError: `retry_after` is neither seconds nor a timedelta, or cannot be read.
    """
    try:
        after = error.retry_after
    except (Exception, SystemExit, GeneratorExit) as unreadable:
        raise TypeError(f"retry_after of {type(error).__name__} cannot be read") from unreadable
    if isinstance(after, timedelta):
        after = after.total_seconds()
    if after is None:
        return None
    if not isinstance(after, int | float) or isinstance(after, bool):
        raise TypeError(f"retry_after is seconds (int or float) or a timedelta, not {type(after).__name__}") from error
    if after in (math.inf, -math.inf) or after != after:
        return None
    return int(min(max(after, 0.0), ASKED_S_MAX) * 1000)


def _share(text: str) -> float:
    """A number in [0, 1) that is always the same for the same text."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64
