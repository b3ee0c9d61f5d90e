"""What workflows in Python are written with: `step`, `gather`, `race`, `sleep`, `wait_for_event` and their like.

Calls take their name as their path, and from the second on `name#2`, `name#3` …, in the order in which they are asked. A call
is asked for when it is awaited, or when `gather` or `race` begins it, as a coroutine is.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from _cloche import Lazy, Promise, StepCall, free_path, now_ms

from . import _loop, flow
from ._blocks import failed_as, succeeded_as
from ._calls import Taking, shape_of, signature_of, stub_of
from ._failures import Bail, Canceled, declare
from ._loop import ChildCall, TimerCall, promise_of
from ._names import check_event
from ._types import of_annotation, reader, typed


def step(
    target: Any = None,
    path: str | None = None,
    /,
    *,
    id: str | None = None,
    signature: str | None = None,
    **options: Any,
) -> Any:
    """`step("name")(data)` asks for a step by name; with a `signature`, calls that do not fit it are a TypeError; `returns` and
    `takes` describe then the types of its result and its arguments. As a decorator, with the options it has on the host, it
    makes of the function that is the step the call of it."""
    if target is None:
        return partial(_decorated, id)
    if not isinstance(target, str):
        return _decorated(id, target)
    if signature is None:
        return partial(StepCall, target, path)
    types = typed(
        options.get("returns"), options.get("takes")
    )  # no parameters: they would cost each call that has neither
    return partial(StepCall, shape_of(target, signature, types), path)


def _decorated(id: str | None, function: Any) -> Any:
    return partial(StepCall, shape_of(id or function.__name__, signature_of(function, "ctx", "context")), None)


def child(
    id: str, signature: str | None = None, *, by_name: bool = False, returns: Any = None, takes: Any = None
) -> Any:
    """What a workflow of the host is inside: called like a function, it is a run of its own. Its input is its argument, or
    `by_name` a mapping of all of them. `returns` and `takes` describe the types of its result and its arguments."""
    types = typed(returns, takes)
    if signature is None:
        return partial(ChildCall, None, id, types=types)
    stub = stub_of(signature)

    def call(*arguments: Any, **keywords: Any) -> ChildCall:
        named = {name: value for name, value in stub(*arguments, **keywords).items() if value is not ...}
        return ChildCall(None, id, named if by_name else next(iter(named.values()), None), types)

    return call


def workflow(
    function: Any = None,
    /,
    *,
    id: str | None = None,
    input: str | None = None,
    given: str | None = None,
    exceptions: dict[str, type[BaseException]] | None = None,
    returns: Any = None,
    takes: Any = None,
    state: Any = None,
    **options: Any,
) -> Any:
    """Marks the function that is the workflow; the last one marked is the module's.

    Its parameters are its input: the value itself if there is one, else a mapping of them. One that is named `given`, or the
    second of two without annotations, gets what was given beside it. `exceptions` are those of the author's that it has, by
    their qualified names. `returns`, `takes` and `state` describe types: of its result, of its parameters and of the keys of
    its state, by their names.
    """
    if function is None:
        return partial(workflow, input=input, given=given)
    function.is_native = True
    if exceptions:
        declare(exceptions)
    readers = {name: typed(one) for name, one in (takes or {}).items()}
    keys = {name: typed(one) for name, one in (state or {}).items()}
    written = None if returns is None else typed(None, {"return": returns})
    _loop.entry(function, Taking(function, input, given, readers), keys, written)
    return function


# ── several at once ─────────────────────────────────────────────────────────────────────────────────────────────────
class _Child:
    __slots__ = ("index", "on", "parent")

    def __init__(self, parent: _Several, index: int) -> None:
        self.parent = parent
        self.index = index
        self.on: Promise | None = None

    def step(self) -> None:
        on = self.on
        assert on is not None
        self.parent.over(self.index, on.value, on.error)


class _Several(Lazy):
    """Awaitables under way together. When it is decided how this ends, the others are abandoned and waited for."""

    __slots__ = ("active", "awaitables", "following", "limit", "outcome", "promises")

    def __init__(self, awaitables: tuple[Any, ...], limit: float) -> None:
        self.awaitables = awaitables
        self.limit = limit
        self.following = self.active = 0
        self.promises: dict[int, Promise] = {}  # those that are open
        self.outcome: tuple[Any, BaseException | None] | None = None

    def __await__(self) -> Generator[Promise, Any, Any]:
        """Whoever is abandoned while it waits here goes on when all that is under way has cleaned up."""
        if self.id == 0:
            self.begin()
        try:
            yield self
        except Canceled:
            if self.outcome is not None and not self.done:
                with suppress(Exception):  # what it comes to does not matter any more
                    yield self
            raise
        return (
            self.value
        )  # not what `yield` gives: a task sends nothing, the driver's own promises end with their value

    def begin(self) -> None:
        self.id = -1
        self.more()

    def more(self) -> None:
        while self.outcome is None and self.following < len(self.awaitables) and self.active < self.limit:
            index = self.following
            self.following += 1
            self.active += 1
            try:
                promise = self.promises[index] = promise_of(self.awaitables[index])
            except Exception as error:
                self.over(index, None, error)
            else:
                promise.wake(_Child(self, index))
        if self.active == 0 and not self.done:
            self.settle(*(self.outcome or (self.made(), None)))

    def over(self, index: int, value: Any, error: BaseException | None) -> None:
        self.active -= 1
        self.promises.pop(index, None)
        if self.outcome is None:
            self.settled(index, value, error)
        self.more()

    def decide(self, value: Any, error: BaseException | None) -> None:
        self.outcome = (value, error)
        for awaitable in self.awaitables[self.following :]:
            if hasattr(awaitable, "close"):
                awaitable.close()  # what never began, a coroutine or a call
        if isinstance(error, Bail):
            self.active = 0  # what stands around ends with it, and all that is open there
            return
        for index, promise in list(self.promises.items()):
            if promise.abandon() and self.promises.pop(index, None) is not None and not promise.done:
                self.active -= 1

    def abandon(self) -> bool:
        if self.outcome is None:
            self.decide(None, Canceled())
            self.more()
        return True

    def settled(self, index: int, value: Any, error: BaseException | None) -> None:
        raise AssertionError

    def made(self) -> Any:
        raise AssertionError


class _Gather(_Several):
    __slots__ = ("is_settled", "results")

    def __init__(self, awaitables: tuple[Any, ...], limit: float, is_settled: bool) -> None:
        _Several.__init__(self, awaitables, limit)
        self.results: list[Any] = [None] * len(awaitables)
        self.is_settled = is_settled

    def settled(self, index: int, value: Any, error: BaseException | None) -> None:
        if self.is_settled and isinstance(error, Exception):
            self.results[index] = failed_as(error)
        elif error is not None:
            self.decide(None, error)
        else:
            self.results[index] = succeeded_as(value) if self.is_settled else value

    def made(self) -> list[Any]:
        return self.results


class _Race(_Several):
    __slots__ = ()

    def settled(self, index: int, value: Any, error: BaseException | None) -> None:
        self.decide(value, error)


def gather(*awaitables: Any, limit: int | None = None, settle: bool = False) -> _Gather:
    """The results of all, in order, at most `limit` of them under way at once.

    The first failure is raised, once the others were abandoned and have cleaned up. With `settle` nothing fails it: each
    result is `{"status": "success", "output": …}` or `{"status": "failed", "error": …}`.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit is how many may be under way at once, at least 1, not {limit}")
    return _Gather(awaitables, len(awaitables) if limit is None else limit, settle)


def race(*awaitables: Any) -> _Race:
    """What the first one to end gives or raises; the others are abandoned."""
    if not awaitables:
        raise ValueError("race needs something to wait for")
    return _Race(awaitables, len(awaitables))


# ── waiting ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def sleep(seconds: float | timedelta | str = 0, /, **parts: float) -> TimerCall:
    """Wait `seconds`, `"3 days"`, or `days=3`, `hours=1, minutes=30`: what `timedelta` takes."""
    return TimerCall(None, _ms(seconds, parts), None, is_wait=True)


_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def _seconds(text: str) -> float:
    """Of a duration as people write it: `3 days`, `1h 30m`, `250ms`."""
    import re  # it costs a guest that reads no such text nothing

    part = (
        r"(\d+(?:\.\d+)?)\s*(ms\w*|milli\w*|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)(?![a-z])"
    )
    parts = re.findall(part, text, re.IGNORECASE)
    if not parts or re.sub(part, "", text, flags=re.IGNORECASE).strip(" ,"):
        raise ValueError(f"{text!r} is no duration: write seconds as a number, a timedelta, or '3 days', '1h 30m'")
    return sum(
        float(number) * (0.001 if unit.lower().startswith(("ms", "mil")) else _UNITS[unit[0].lower()])
        for number, unit in parts
    )


def _ms(duration: float | timedelta | str, parts: dict[str, float] | None = None) -> int:
    if isinstance(duration, str):
        duration = _seconds(duration)
    whole = duration if isinstance(duration, timedelta) else timedelta(seconds=duration)
    return round((whole + timedelta(**(parts or {}))) / timedelta(milliseconds=1))


def sleep_until(when: datetime) -> TimerCall:
    """Wait until a moment; one without a time zone is taken as UTC."""
    return TimerCall(None, flow.milliseconds(when), None, is_wait=False)


async def wait_for_event(name: str, *, schema: Any = None, timeout: float | timedelta | str | None = None) -> Any:
    """What the event `name` carries, of the type `schema`; EventTimeout after `timeout` (seconds or a timedelta).

    What is no name is a ValueError, or a TypeError if it is no text.
    """
    check_event(name)
    read = None if schema is None else reader(of_annotation(schema))
    value = await flow.wait_for_event(free_path(name), name, None, None if timeout is None else _ms(timeout))
    return value if read is None else read(value)


def start_child(workflow: str, input: Any = None) -> ChildCall:
    """The result of a run of its own; its failure is raised."""
    return ChildCall(None, workflow, input)


def now() -> datetime:
    """The time of the event that is being acted on, in UTC."""
    return _EPOCH + timedelta(milliseconds=now_ms())


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Log:
    """Lines of the run's log: `log("text")`, `log.info`, `log.warning` …; each is recorded once."""

    def __call__(self, *parts: object) -> None:
        self.info(*parts)

    def trace(self, *parts: object) -> None:
        _loop.log(0, _line(parts))

    def debug(self, *parts: object) -> None:
        _loop.log(1, _line(parts))

    def info(self, *parts: object) -> None:
        _loop.log(2, _line(parts))

    def warning(self, *parts: object) -> None:
        _loop.log(3, _line(parts))

    def error(self, *parts: object) -> None:
        _loop.log(4, _line(parts))


def _line(parts: tuple[object, ...]) -> str:
    return " ".join(map(str, parts))


log: Final = _Log()
