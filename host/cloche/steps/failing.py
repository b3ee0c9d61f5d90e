"""An attempt that failed: whether another follows and after what wait, and what of the failure is told."""

from __future__ import annotations

import re
from dataclasses import replace

from cloche.errors import FatalError, InvalidInput, LimitExceeded, RetryableError
from cloche.history import Failure, failures
from cloche.history.failures import leaves, name_of
from cloche.history.retry import RetryPolicy, asked_delay_ms
from cloche.history.values import encode_plain
from cloche.steps.redaction import redact
from cloche_codegen.names import TARGET_PREFIX, home_of

FAILURE_BYTES_MAX = 512 << 10  # a failure is recorded twice, and crosses
STACK = "_stack_elsewhere"  # the attribute of an exception that stands for one of another process
_OF_TARGET = re.compile(rf"^([ |]*){TARGET_PREFIX}", re.MULTILINE)


def next_delay_ms(policy: RetryPolicy, error: BaseException, attempt: int, identity: str) -> int | None:
    """Milliseconds until the next attempt after number `attempt` (from 1) ended with `error`, None if there is none.

    `identity` names the call: two calls do not come back at once. An exception group is final if anything in it is, and is
    tried again if all in it are; the longest wait that is asked for in it counts.

    Raises:
        TypeError: the step says when to try again in another form than seconds or a timedelta.
    """
    raised = list(leaves(error))
    if any(isinstance(one, FatalError | InvalidInput | LimitExceeded) for one in raised):
        return None
    if not _is_covered(policy, error) and not all(_is_covered(policy, one) for one in raised):
        return None
    asking = [one for one in raised if isinstance(one, RetryableError)]
    if asking:
        policy = replace(policy, retries=max(policy.retries, policy.retries_if_asked))
    delay = policy.delay_after(attempt, identity)
    if delay is None:
        return None
    asked = [ms for one in asking if (ms := asked_delay_ms(one)) is not None]
    return max(asked, default=delay)


def failure_of(error: BaseException, bytes_max: int = FAILURE_BYTES_MAX) -> Failure:
    """The failure of an exception as it can enter the glass. One that is too large keeps its name, message and bases alone."""
    try:
        failure = redact(Failure.from_exception(error, home_of))
    except (Exception, SystemExit, GeneratorExit):
        return Failure(name_of(error), "what the step raised could not be read")
    if len(encode_plain(failure.to_wire())) <= bytes_max:
        return failure
    return Failure(failure.name, failure.message, bases=failure.bases)


def traceback_of(error: BaseException) -> str:
    """For people: `failures.traceback_of`, where a class of a file that the command line loaded is of that file's name. Of what
    another process threw, the stack that it had there."""
    if isinstance(stack := getattr(error, STACK, None), str):
        return stack
    return _OF_TARGET.sub(r"\1", failures.traceback_of(error))


def _is_covered(policy: RetryPolicy, error: BaseException) -> bool:
    """Whether the policy tries again after errors of this class."""
    return policy.retry_on is None or any(kind.__name__ in policy.retry_on for kind in type(error).__mro__)
