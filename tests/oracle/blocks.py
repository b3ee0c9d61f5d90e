"""What the helpers of generated code do: `guest/js/prelude/workflow.js`, function by function, in the same order.

A function that is `async` there is a generator here, started where it is called there; `yield` stands where `await` does.
That is what keeps the order of commands equal when several arms go on at once, so a change there is a change here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from cloche_codegen.conditions.values import MISSING, is_number, quote, truthy
from oracle.durations import Compute, as_float, evaluated
from oracle.host import Host
from oracle.parallel_blocks import Arms, Call, ParallelBlocks, Policy, keyed, listed, listed_only
from oracle.promises import Promise, Steps
from oracle.values import SAFE_INTEGER_MAX, Bail, BigInt, Opaque, Thrown, defined, named, type_error

Arm: TypeAlias = tuple[str, Call]
GuardedArm: TypeAlias = tuple[str, Compute, Call]
Body: TypeAlias = Callable[[Any, str], Promise]
_NO_POLICY = Policy()


class Blocks:
    """The helpers, for one run."""

    __slots__ = ("_host", "_parallel", "_start")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._parallel = ParallelBlocks(host)
        self._start = host.microtasks.start

    # ---- several arms ----

    def _together(self, at: str | None, what: str, arms: Sequence[Arm], width: float, policy: Policy) -> Promise:
        ids = [id for id, _ in arms]
        return self._parallel.begin(
            at or "", Arms(what, ids, len(arms), lambda arm: arms[arm][1](), width, policy, keyed)
        )

    def _alone(self, arm: Arm) -> Promise:
        """One arm and nothing beside it: whatever it waits for, the workflow around it waits for."""

        def steps() -> Steps:
            value = yield arm[1]()
            return defined({arm[0]: value})

        return self._start(steps())

    def parallel(self, at: str | None, arms: Sequence[Arm], limit: int | None, policy: Policy) -> Promise:
        return self._together(at, "the parallel block", arms, len(arms) if limit is None else limit, policy)

    def _holds(self, block: str, id: str, test: Compute) -> bool:
        return truthy(evaluated("ConditionError", f"the condition of {quote(id)} in {quote(block)}", test))

    def branch(self, at: str | None, id: str, arms: Sequence[GuardedArm]) -> Promise:
        def steps() -> Steps:
            taken = [(arm, call) for arm, test, call in arms if self._holds(id, arm, test)]
            if len(taken) == 1:
                return (yield self._alone(taken[0]))
            return (yield self._together(at, "", taken, len(taken), _NO_POLICY)) if taken else {}

        return self._start(steps())

    def choose(self, id: str, arms: Sequence[GuardedArm], otherwise: Arm | None) -> Promise:
        def steps() -> Steps:
            for arm, test, call in arms:
                if self._holds(id, arm, test):
                    return (yield self._alone((arm, call)))
            return (yield self._alone(otherwise)) if otherwise is not None else {}

        return self._start(steps())

    # ---- one after the other ----

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

    # ---- what is entered and left ----

    def _within(self, path: str, value: Any, call: Call, bails: bool) -> Promise:
        """`bails`: a step that bails inside ends it, well; otherwise that passes through."""

        def steps() -> Steps:
            self._host.entered(path, value)
            try:
                made = yield call()
            except Thrown as thrown:
                if not isinstance(thrown.value, Bail):
                    self._host.left(path, False, thrown.value)
                    raise
                if not bails:
                    raise
                made = thrown.value.value
            self._host.left(path, True, made)
            return made

        return self._start(steps())

    def foreach(self, path: str, items: Any, body: Body, concurrency: int | Compute, policy: Policy) -> Promise:
        def begin() -> Promise:
            if not isinstance(items, list):
                raise Thrown(type_error(f"foreach over {quote(path)} needs a list, not {_kind(items)}"))
            what = f"foreach over {quote(path)}"
            asked: Any = concurrency
            if not isinstance(concurrency, int):
                asked = evaluated("ExpressionError", f"the concurrency of {what}", concurrency)
            gather = listed_only if policy.is_picky else listed
            width = _width_of(asked)
            arms = Arms(what, None, len(items), lambda i: body(items[i], f"{path}[{i}]"), width, policy, gather)
            return self._parallel.begin(path, arms)

        return self._within(path, items, begin, bails=False)

    def nested(self, path: str, value: Any, workflow: Callable[[Any, str], Promise]) -> Promise:
        return self._within(path, value, lambda: workflow(value, path), bails=True)

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

    # ---- waiting ----

    def sleep(self, path: str, ms: int | float, value: Any) -> Promise:
        return self._host.sleep_until(path, self._host.now + ms, value)

    def sleep_until(self, path: str, ms: int | float, value: Any) -> Promise:
        return self._host.sleep_until(path, ms, value)

    def wait_for_event(self, path: str, name: str, value: Any, ms: int | float | None) -> Promise:
        """What the event carries; after `ms` it fails."""

        def steps() -> Steps:
            received = self._host.hook(path, name, {"input": value})
            if ms is None:
                return (yield received)
            return (yield self._first_of(received, self.sleep(f"{path}/timeout", ms, None), path, name, ms))

        return self._start(steps())

    def _first_of(self, received: Promise, timer: Promise, path: str, name: str, ms: int | float) -> Promise:
        first = Promise(self._host.microtasks)

        def follow(promise: Promise, other: Promise) -> Steps:
            try:
                value = yield promise
                self._host.abandon(other)
                if promise is timer:
                    raise named("EventTimeout", f"no event {quote(name)} came to {quote(path)} in {ms} ms")
                first.settle_once(True, value)
            except Thrown as thrown:
                self._host.abandon(other)
                first.settle_once(False, thrown.value)

        self._start(follow(received, timer))
        self._start(follow(timer, received))
        return first


def _width_of(value: Any) -> float:
    width = as_float(value) if is_number(value) else 1
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
