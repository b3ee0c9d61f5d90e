"""What the helpers of generated code do: `guest/js/prelude/workflow.js`, function by function, in the same order.

A function that is `async` there is a generator here, started where it is called there; `yield` stands where `await` does.
That is what keeps the order of commands equal when several arms go on at once, so a change there is a change here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from cloche.engines.direct.host import Host
from cloche.engines.direct.promises import Promise, Steps
from cloche.engines.direct.values import (
    INSTANT_MS_MAX,
    SAFE_INTEGER_MAX,
    BigInt,
    Instant,
    Opaque,
    Thrown,
    defined,
    failure_of,
    json_shown,
    named,
    type_error,
)
from cloche_codegen.conditions.values import MISSING, is_number, quote, truthy

Compute: TypeAlias = Callable[[], Any]
Call: TypeAlias = Callable[[], Promise]
Arm: TypeAlias = tuple[str, Call]
GuardedArm: TypeAlias = tuple[str, Compute, Call]
Body: TypeAlias = Callable[[Any, str], Promise]
Outcome: TypeAlias = tuple[bool, Any]


def evaluated(name: str, what: str, compute: Compute) -> Any:
    """Compute something the author wrote; what it raises becomes an error that says where."""
    try:
        value = compute()
    except Thrown as thrown:
        raise named(name, f"{what} failed: {thrown.value}", thrown.value) from None
    if isinstance(value, Opaque) and value.is_promise:
        raise named(name, f"{what} gave a promise; it must be a plain expression")
    return value


def settled_of(outcome: Outcome) -> dict[str, Any]:
    succeeded, value = outcome
    if succeeded:
        return defined({"status": "success", "output": value})
    return {"status": "failed", "error": failure_of(value)}


class Blocks:
    """The helpers, for one run."""

    __slots__ = ("_host", "_start")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._start = host.microtasks.start

    # ---- calls ----

    def _outcome_of(self, call: Call) -> Promise:
        def steps() -> Steps:
            try:
                return True, (yield call())
            except Thrown as thrown:
                return False, thrown.value

        return self._start(steps())

    def _pool(self, count: int, width: float, call: Callable[[int], Promise]) -> Promise:
        """`call(i)` says whether to go on."""
        following, is_open = 0, True

        def slot() -> Steps:
            nonlocal following, is_open
            while is_open and following < count:
                following += 1
                if not (yield call(following - 1)):
                    is_open = False

        def steps() -> Steps:
            slots = [self._start(slot()) for _ in range(int(width) if width < count else count)]
            # Not `yield from`, because a list cannot be sent what a promise gave.
            for one in slots:  # noqa: UP028
                yield one

        return self._start(steps())

    def _together(self, arms: Sequence[Arm], limit: int, settle: bool) -> Promise:
        def steps() -> Steps:
            outcomes: list[Any] = [None] * len(arms)

            def one(i: int) -> Steps:
                outcomes[i] = yield self._outcome_of(arms[i][1])
                return True

            if limit >= len(arms):
                promises = [self._outcome_of(call) for _, call in arms]
                for i, promise in enumerate(promises):
                    outcomes[i] = yield promise
            else:
                yield self._pool(len(arms), limit, lambda i: self._start(one(i)))
            results: dict[str, Any] = {}
            for (id, _), (succeeded, value) in zip(arms, outcomes, strict=True):
                if not succeeded and not settle:
                    raise Thrown(value)
                value = settled_of((succeeded, value)) if settle else value
                if value is not MISSING:
                    results[id] = value
            return results

        return self._start(steps())

    def parallel(self, arms: Sequence[Arm], limit: int | None, settle: bool) -> Promise:
        return self._together(arms, len(arms) if limit is None else limit, settle)

    def _holds(self, block: str, id: str, test: Compute) -> bool:
        return truthy(evaluated("ConditionError", f"the condition of {quote(id)} in {quote(block)}", test))

    def branch(self, id: str, arms: Sequence[GuardedArm]) -> Promise:
        def taken() -> Promise:
            arms_taken = [(arm, call) for arm, test, call in arms if self._holds(id, arm, test)]
            return self._together(arms_taken, len(arms_taken), False)

        return self._host.microtasks.call(taken)

    def choose(self, id: str, arms: Sequence[GuardedArm], otherwise: Arm | None) -> Promise:
        def chosen() -> Any:
            for arm, test, call in arms:
                if self._holds(id, arm, test):
                    return self._together([(arm, call)], 1, False)
            return self._together([otherwise], 1, False) if otherwise is not None else {}

        return self._host.microtasks.call(chosen)

    def loop(self, path: str, value: Any, body: Body, test: Callable[[Any, int], Any], until: bool) -> Promise:
        what = f"the condition of the loop over {quote(path)}"

        def steps() -> Steps:
            flowing, turn = value, 0
            while True:
                turn += 1
                flowing = yield body(flowing, f"{path}[{turn}]")
                if truthy(evaluated("ConditionError", what, lambda: test(flowing, turn))) is until:  # noqa: B023
                    return flowing

        return self._start(steps())

    def _within(self, path: str, value: Any, call: Call) -> Promise:
        def steps() -> Steps:
            self._host.entered(path, value)
            succeeded, result = yield self._outcome_of(call)
            self._host.left(path, succeeded, result)
            if not succeeded:
                raise Thrown(result)
            return result

        return self._start(steps())

    def foreach(self, path: str, items: Any, body: Body, concurrency: int | Compute, collect: bool) -> Promise:
        def steps() -> Steps:
            if not isinstance(items, list):
                raise Thrown(type_error(f"foreach over {quote(path)} needs a list, not {_kind(items)}"))
            asked: Any = concurrency
            if not isinstance(concurrency, int):
                asked = evaluated("ExpressionError", f"the concurrency of foreach over {quote(path)}", concurrency)
            results: list[Any] = [MISSING] * len(items)
            failed: list[Any] = []

            def one(i: int) -> Steps:
                outcome = yield self._outcome_of(lambda: body(items[i], f"{path}[{i}]"))
                results[i] = settled_of(outcome) if collect else outcome[1]
                if not outcome[0] and not collect:
                    failed.append(outcome[1])
                return not failed

            yield self._pool(len(items), _width_of(asked), lambda i: self._start(one(i)))
            if failed:
                raise Thrown(failed[0])
            return results

        return self._within(path, items, lambda: self._start(steps()))

    def nested(self, path: str, value: Any, workflow: Callable[[Any, str], Promise]) -> Promise:
        return self._within(path, value, lambda: workflow(value, path))

    def map(self, path: str, value: Any, compute: Compute) -> Any:
        self._host.entered(path, value)
        try:
            made = compute()
            if isinstance(made, Opaque) and made.is_promise:
                raise Thrown(type_error(f"map {quote(path)} gave a promise, not a value"))
        except Thrown as thrown:
            self._host.left(path, False, thrown.value)
            raise
        self._host.left(path, True, made)
        return made

    # ---- durations ----

    def sleep(self, path: str, ms: int | float, value: Any) -> Promise:
        return self._host.sleep_until(path, self._host.now + ms, value)

    def sleep_until(self, path: str, ms: int | float, value: Any) -> Promise:
        return self._host.sleep_until(path, ms, value)


def _width_of(value: Any) -> float:
    width = _float(value) if is_number(value) else 1
    return math.floor(width) if 1 <= width < math.inf else width if width >= 1 else 1


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case int() | float():
            big = isinstance(value, BigInt) or (isinstance(value, int) and abs(value) > SAFE_INTEGER_MAX)
            return "a bigint" if big else "a number"
        case _:
            return "a undefined" if value is MISSING else "an object"


def seconds(id: str, compute: Compute) -> int | float:
    """Milliseconds of a number of seconds that is computed now; missing or negative is none."""
    what = f"the duration of {quote(id)}"
    value = evaluated("ExpressionError", what, compute)
    if value is None or value is MISSING:
        value = 0
    ms = _rounded(_float(value) * 1000) if is_number(value) else math.nan
    if not math.isfinite(ms) or ms > INSTANT_MS_MAX:
        raise named("ExpressionError", f"{what} is no number of seconds: {json_shown(value)}")
    return max(ms, 0)


def instant(id: str, compute: Compute, parse: Callable[[str], int | None]) -> int | float:
    """Milliseconds since the epoch of an instant that is computed now: a Date, such a number, or RFC 3339 text."""
    what = f"the instant of {quote(id)}"
    value = evaluated("ExpressionError", what, compute)
    ms: int | float | None = None
    if isinstance(value, Instant):
        ms = value.ms
    elif is_number(value):
        ms = _rounded(_float(value))
    elif isinstance(value, str):
        ms = parse(value)
    if ms is None or not -INSTANT_MS_MAX <= ms <= INSTANT_MS_MAX:
        shown = "nothing" if value is MISSING else json_shown(value)
        raise named("ExpressionError", f"{what} is no date, RFC 3339 text or milliseconds: {shown}")
    return ms


def _float(value: Any) -> float:
    """Number(value)"""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _rounded(value: float) -> float:
    """Math.round: halves go up."""
    if not math.isfinite(value):
        return value
    whole = math.floor(value)
    return whole + 1 if value - whole >= 0.5 else whole
