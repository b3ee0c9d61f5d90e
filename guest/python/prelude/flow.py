"""The helpers of generated code: what `cloche_codegen` emits calls these by name. Twin of `guest/js/prelude/workflow.js`.

`path` is the identity of a call (see ABI.md); `id` is only for messages. A call is a function that gives something to
await. A helper that waits is a task of its own, as an async function of JavaScript is: `_starts` makes it one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial, wraps
from types import CoroutineType
from typing import Any, Final, ParamSpec

from _cloche import Call, Promise, StepCall, Task

from ._blocks import Arm, Block, keyed, listed, listed_only
from ._commands import INSTANT_MS_MAX, HookCall, TimerCall
from ._failures import Bail, EventTimeout, Failure, shown
from ._functions import Context, applied, holds, lasting
from ._loop import (
    entered,
    entry,
    left,
    left_failed,
    patched,
)
from ._values import (
    MISSING,
    defined,
    eq,
    exists,
    falsy,
    first,
    get,
    gt,
    gte,
    is_in,
    is_number,
    json,
    lt,
    lte,
    ne,
    not_exists,
    not_in,
    own,
    present,
    quote,
    settled,
    text,
    truthy,
)

P = ParamSpec("P")


def _starts(function: Callable[P, Coroutine[Any, Any, Any]]) -> Callable[P, Task]:
    @wraps(function)
    def started(*args: P.args, **kwargs: P.kwargs) -> Task:
        return Task(function(*args, **kwargs))

    return started


def step(name: str, path: str | None = None) -> Callable[..., StepCall]:
    """A step of the host; calling what this gives asks for it once that is awaited."""
    return partial(StepCall, name, path)


def workflow(function: Callable[..., Any]) -> Callable[..., Any]:
    """Marks the function of a module that is its workflow."""
    entry(function)
    return function


def state_of(given: dict[str, Any]) -> Any:
    return given["state"]


def context_of(given: dict[str, Any]) -> Any:
    return given["context"]


# ── values ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def read(label: str, value: Any, *path: str) -> Any:
    """The value at a path; a key missing before the last is an error."""
    for key in path:
        if not isinstance(value, (dict, list, tuple)):
            raise _invalid_path(label, path)
        value = own(value, key)
    return value


def result(label: str, value: Any, *path: str) -> Any:
    """The same in the result of a step: a step without one (it never ran, or gave null) is an error too."""
    if value is None or value is MISSING:
        raise _invalid_path(label, path)
    return read(label, value, *path)


def _invalid_path(label: str, path: Sequence[str]) -> Failure:
    return Failure(f"Invalid path {'.'.join(path) or '.'} in {label}", name="Error")


def evaluated(name: str, what: str, compute: Callable[[], Any]) -> Any:
    """Compute something the author wrote; what it raises becomes an error that says where."""
    try:
        value = compute()
    except Exception as error:
        raise Failure(f"{what} failed: {shown(error)}", name=name, cause=error) from error
    if _is_awaitable(value):
        raise Failure(f"{what} gave a promise; it must be a plain expression", name=name)
    return value


def _is_awaitable(value: Any) -> bool:
    if isinstance(value, CoroutineType):
        value.close()
        return True
    return isinstance(value, Promise)


# ── blocks ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def _together(at: str | None, what: str, arms: Sequence[Arm], width: float, **options: Any) -> Block:
    ids = [arm[0] for arm in arms]
    return Block(at or "", what, ids, len(arms), lambda arm: arms[arm][-1](), width, keyed, **options)


async def _alone(arm: Arm) -> dict[str, Any]:
    """One arm and nothing beside it: whatever it waits for, the workflow around it waits for."""
    return defined({arm[0]: await arm[-1]()})


def parallel(
    arms: Sequence[Arm],
    at: str | None = None,
    *,
    limit: int | None = None,
    settle: bool = False,
    min_successes: int | None = None,
    tolerated_failures: int | None = None,
) -> Block:
    """All arms `(id, call)`, at most `limit` at once; their results by id."""
    return _together(
        at,
        "the parallel block",
        arms,
        len(arms) if limit is None else limit,
        collect=settle,
        min_successes=min_successes,
        tolerated_failures=tolerated_failures,
    )


def _holds(block: str, arm: Arm) -> bool:
    what = f"the condition of {quote(arm[0])} in {quote(block)}"
    return truthy(evaluated("ConditionError", what, arm[1]))


@_starts
async def branch(id: str, arms: Sequence[Arm], at: str | None = None) -> Any:
    """Every test of `(id, test, call)` first, in order, then every arm whose test held, at once."""
    taken = [arm for arm in arms if _holds(id, arm)]
    if len(taken) == 1:
        return await Task(_alone(taken[0]))
    return await _together(at, "", taken, len(taken)) if taken else {}


@_starts
async def choose(id: str, arms: Sequence[Arm], otherwise: Arm | None = None) -> Any:
    """The first of `(id, test, call)` whose test holds, else `otherwise`, else an empty mapping."""
    for arm in arms:
        if _holds(id, arm):
            return await Task(_alone(arm))
    return await Task(_alone(otherwise)) if otherwise is not None else {}


def dountil(path: str, value: Any, body: Callable[[Any, str], Any], test: Callable[..., Any]) -> Task:
    """The body, then the test, until it holds. `body(value, path)`, `test(value, turn)`, turns from 1."""
    return Task(_loop(path, value, body, test, True))


def dowhile(path: str, value: Any, body: Callable[[Any, str], Any], test: Callable[..., Any]) -> Task:
    """The body, then the test, as long as it holds."""
    return Task(_loop(path, value, body, test, False))


async def _loop(path: str, value: Any, body: Callable[..., Any], test: Callable[..., Any], until: bool) -> Any:
    what = f"the condition of the loop over {quote(path)}"
    turn = 0
    while True:
        turn += 1
        value = await body(value, f"{path}[{turn}]")
        if truthy(evaluated("ConditionError", what, partial(test, value, turn))) is until:
            return value


async def _within(path: str, value: Any, call: Callable[[], Any], bails: bool) -> Any:
    """Something that is entered and left, so that the host can show a value only the guest knows.

    `bails`: a step that bails inside ends it, well; otherwise that passes through, and what it ends is all that is left.
    """
    entered(path, value)
    try:
        made = await call()
    except Bail as bail:
        if not bails:
            raise
        made = bail.value
    except Exception as error:
        left_failed(path, error)
        raise
    left(path, made)
    return made


def foreach(
    path: str,
    items: Any,
    body: Callable[[Any, str], Any],
    *,
    concurrency: Any = 1,
    collect: bool = False,
    min_successes: int | None = None,
    tolerated_failures: int | None = None,
) -> Task:
    """`body(item, path)` for each item, `concurrency` (a number, or a function that gives one) at once."""

    def begin() -> Block:
        what = f"foreach over {quote(path)}"
        if not isinstance(items, (list, tuple)):
            raise TypeError(f"{what} needs a list, not {_kind(items)}")
        asked = (
            evaluated("ExpressionError", f"the concurrency of {what}", concurrency)
            if callable(concurrency)
            else concurrency
        )
        is_picky = min_successes is not None or tolerated_failures is not None
        return Block(
            path,
            what,
            None,
            len(items),
            lambda i: body(items[i], f"{path}[{i}]"),
            _width_of(asked),
            listed_only if is_picky else listed,
            collect=collect,
            min_successes=min_successes,
            tolerated_failures=tolerated_failures,
        )

    return Task(_within(path, items, begin, False))


def _width_of(value: Any) -> float:
    """Anything that is not a number from 1 is 1; fractions are cut off."""
    if not is_number(value) or not value >= 1:
        return 1
    width: float = value
    return width if math.isinf(width) else math.floor(width)


_SAFE_INTEGER_MAX: Final = 2**53 - 1


def _kind(value: Any) -> str:
    """As JavaScript calls it: messages are the same on every guest."""
    if value is None:
        return "null"
    if value is MISSING:
        return "a undefined"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int):
        return "a number" if abs(value) <= _SAFE_INTEGER_MAX else "a bigint"
    return "a string" if isinstance(value, str) else "a number" if isinstance(value, float) else "an object"


async def undone(undo: list[Callable[[], Any]]) -> None:
    """Call what undoes the steps that were done, the last one first. One that fails keeps none of the others from it."""
    for call in reversed(undo):
        with suppress(Exception):
            await call()


def nested(path: str, value: Any, function: Callable[..., Coroutine[Any, Any, Any]], given: Any = None) -> Task:
    """A nested workflow, `function(value, path)` or `function(value, path, given)`."""

    def call() -> Task:
        return Task(function(value, path) if given is None else function(value, path, given))

    return Task(_within(path, value, call, True))


def map_value(path: str, value: Any, compute: Callable[[], Any]) -> Any:
    """Entered and left like a nested workflow, but without waiting."""
    entered(path, value)
    try:
        made = compute()
        if _is_awaitable(made):
            raise TypeError(f"map {quote(path)} gave a promise, not a value")
    except Exception as error:
        left_failed(path, error)
        raise
    left(path, made)
    return made


# ── durations ───────────────────────────────────────────────────────────────────────────────────────────────────────
_INSTANT: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:T(?!.*z)| )(\d\d):(\d\d):(\d\d)(\.\d+)?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII
)  # a small z only after a space: that is what the JavaScript guest takes
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def seconds(id: str, compute: Callable[[], Any]) -> int | float:
    """Milliseconds of a number of seconds that is computed now; missing or negative is none."""
    what = f"the duration of {quote(id)}"
    value = evaluated("ExpressionError", what, compute)
    value = 0 if value is None or value is MISSING else value
    if isinstance(value, timedelta):
        value = value.total_seconds()
    ms = _rounded(_as_float(value) * 1000) if is_number(value) else math.nan
    if not math.isfinite(ms) or ms > INSTANT_MS_MAX:
        raise Failure(f"{what} is no number of seconds: {json(value)}", name="ExpressionError")
    return max(ms, 0)


def instant(id: str, compute: Callable[[], Any]) -> int | float:
    """Milliseconds since the epoch of an instant that is computed now: a date, such a number, or RFC 3339 text."""
    what = f"the instant of {quote(id)}"
    value = evaluated("ExpressionError", what, compute)
    ms: int | float = math.nan
    if isinstance(value, datetime):
        ms = milliseconds(value)
    elif is_number(value):
        ms = _rounded(_as_float(value))
    elif isinstance(value, str):
        ms = _parsed(value)
    if not -INSTANT_MS_MAX <= ms <= INSTANT_MS_MAX:
        shown = "nothing" if value is MISSING else json(value)
        raise Failure(f"{what} is no date, RFC 3339 text or milliseconds: {shown}", name="ExpressionError")
    return ms


def milliseconds(moment: datetime) -> int:
    """Since 1970; a naive one is taken as UTC."""
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return (aware - _EPOCH) // timedelta(milliseconds=1)


def _parsed(text: str) -> int | float:
    """As Date.parse does it: a day beyond the end of its month is one of the next, and 24:00:00 is midnight."""
    found = _INSTANT.fullmatch(text)
    if found is None:
        return math.nan
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    ms = int((found[7] or ".0")[1:4].ljust(3, "0"))
    ahead = int(found[10] or 0) * 60 + int(found[11] or 0)
    in_day = hour <= 23 or (hour == 24 and minute == second == ms == 0)
    if not (1 <= month <= 12 and 1 <= day <= 31 and in_day and minute <= 59 and second <= 59):
        return math.nan
    if ahead > 23 * 60 + 59 or int(found[11] or 0) > 59:
        return math.nan
    days = _days_before(year, month) + day - 1
    minutes = hour * 60 + minute - (ahead if found[9] == "+" else -ahead)
    return ((days * 1440 + minutes) * 60 + second) * 1000 + ms


def _days_before(year: int, month: int) -> int:
    """Days from 1970-01-01 to the first of a month, also of the year 0, which `datetime` has not."""
    cycles, year = (0, year) if year else (1, 400)
    return (datetime(year, month, 1, tzinfo=UTC) - _EPOCH).days - cycles * 146_097


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _rounded(value: float) -> float | int:
    """Math.round: halves go up."""
    if not math.isfinite(value):
        return value
    whole = math.floor(value)
    return whole + 1 if value - whole >= 0.5 else whole


# ── waiting ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def sleep(path: str, ms: int | float, value: Any = None) -> TimerCall:
    """Gives `value` after so many milliseconds."""
    return TimerCall(path, ms, value, is_wait=True)


def sleep_until(path: str, when: datetime | int | float, value: Any = None) -> TimerCall:
    """Gives `value` at a date, or at milliseconds since 1970."""
    return TimerCall(path, milliseconds(when) if isinstance(when, datetime) else when, value, is_wait=False)


@_starts
async def wait_for_event(
    path: str, name: str, value: Any, ms: int | float | None = None, heartbeat: int | None = None
) -> Any:
    """What the event `name` carries. After `ms` milliseconds it fails with an EventTimeout, after `heartbeat` without a sign of
    life with a HeartbeatTimeout."""
    received = HookCall(path, name, defined({"input": value}), None if heartbeat is None else {"heartbeat": heartbeat})
    if ms is None:
        return await received
    received.begin()
    timer = sleep(f"{path}/timeout", ms)
    timer.begin()
    return await _first(received, timer, f"no event {quote(name)} came to {quote(path)} in {json(ms)} ms")


def _first(received: Call, timer: Call, too_late: str) -> Promise:
    """Whichever comes first abandons the other."""
    made = Promise()

    async def follow(call: Call, other: Call) -> None:
        try:
            value = await call
            other.abandon()
            made.settle(value, EventTimeout(too_late) if call is timer else None)
        except Exception as error:
            other.abandon()
            made.settle(None, error)

    Task(follow(received, timer))
    Task(follow(timer, received))
    return made


__all__ = [
    "Context", "applied", "branch", "choose", "context_of", "defined", "dountil", "dowhile", "eq", "evaluated",
    "exists", "falsy", "first", "foreach", "get", "gt", "gte", "holds", "instant", "is_in", "lasting", "lt", "lte",
    "map_value", "ne", "nested", "not_exists", "not_in", "parallel", "patched", "present", "read", "result",
    "seconds", "settled", "sleep", "sleep_until", "state_of", "step", "text", "truthy", "wait_for_event", "workflow",
]  # fmt: skip
