"""An attempt that failed: whether another follows and after what wait, and what of the failure is told."""

from __future__ import annotations

from cloche.errors import FatalError, InvalidInput, LimitExceeded, RetryableError
from cloche.history import Failure
from cloche.history.retry import RetryPolicy, asked_delay_ms
from cloche.history.values import encode_plain
from cloche.steps.redaction import redact

EVENT_BYTES_MAX = (8 << 20) - 1024


def next_delay_ms(policy: RetryPolicy, error: BaseException, attempt: int, identity: str) -> int | None:
    """Milliseconds until the next attempt after number `attempt` (from 1) ended with `error`, None if there is none.

    `identity` names the call: two calls do not come back at once.

    Raises:
        TypeError: the step says when to try again in another form than seconds or a timedelta.
    """
    if isinstance(error, FatalError | InvalidInput | LimitExceeded):
        return None
    names = [kind.__name__ for kind in type(error).__mro__]
    if policy.retry_on is not None and not any(name in policy.retry_on for name in names):
        return None
    delay = policy.delay_after(attempt, identity)
    asked = asked_delay_ms(error) if delay is not None and isinstance(error, RetryableError) else None
    return delay if asked is None else asked


def failure_of(error: BaseException, bytes_max: int = EVENT_BYTES_MAX) -> Failure:
    """The failure of an exception as it can enter the glass; one that is too large loses its data and its cause."""
    try:
        failure = redact(Failure.from_exception(error))
    except Exception:
        return Failure(type(error).__name__, "what the step raised could not be read")
    if len(encode_plain(failure.to_wire())) <= bytes_max:
        return failure
    return Failure(failure.name, failure.message)
