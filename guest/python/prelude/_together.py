"""Several things at once: `gather`, `race`, tasks that are begun now and awaited later, and the batch that comes of many.

Whoever has decided how it ends abandons what is still open there, and waits until that has cleaned up.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from types import GenericAlias
from typing import Any, Final

from _cloche import Lazy, Promise
from _cloche import scope as change_scope

from . import _loop
from ._batches import OPEN, Batch, items_of, name_of, too_few
from ._failures import Bail, Canceled
from ._loop import promise_of
from ._scopes import enter_scope, leave_scope, scope_named, scopes

_INFINITY: Final = float("inf")


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

    __slots__ = ("active", "awaitables", "following", "limit", "outcome", "promises", "scope")

    def __init__(self, awaitables: tuple[Any, ...], limit: float) -> None:
        self.awaitables = awaitables
        self.limit = limit
        self.following = self.active = 0
        self.promises: dict[int, Promise] = {}  # those that are open
        self.outcome: tuple[Any, BaseException | None] | None = None
        self.scope: str | None = None  # that it began in: what begins later, for `limit`, has it too

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
        if scopes and self.limit < len(self.awaitables):
            self.scope = change_scope(None)
            change_scope(self.scope)
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
        if self.scope is None:
            self.more()
        else:
            before = change_scope(self.scope)
            try:
                self.more()
            finally:
                change_scope(before)

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
    """All results, in order."""

    __slots__ = ("results",)

    def __init__(self, awaitables: tuple[Any, ...], limit: float) -> None:
        _Several.__init__(self, awaitables, limit)
        self.results: list[Any] = [None] * len(awaitables)

    def settled(self, index: int, value: Any, error: BaseException | None) -> None:
        if error is not None:
            self.decide(None, error)
        else:
            self.results[index] = value

    def made(self) -> list[Any]:
        return self.results


class _GatherBatch(_Several):
    """How each ended. `least`: so many successes end it well, at once; `tolerated`: more failures than that end it badly."""

    __slots__ = ("failures", "least", "results", "successes", "tolerated")

    def __init__(self, awaitables: tuple[Any, ...], limit: float, least: int | None, tolerated: int | None) -> None:
        _Several.__init__(self, awaitables, limit)
        count = len(awaitables)
        self.results: list[Any] = [OPEN] * count  # items are made of them at the end, all at once
        self.failures: dict[int, BaseException] = {}
        self.successes = 0
        self.least = _INFINITY if least is None else least
        self.tolerated = _INFINITY if tolerated is None else tolerated
        if least is not None:
            self.tolerated = min(self.tolerated, count - least)

    def begin(self) -> None:
        _Several.begin(self)
        if self.least == 0 or self.tolerated < 0:
            self.judge()

    def settled(self, index: int, value: Any, error: BaseException | None) -> None:
        if error is None:
            self.results[index] = value
            self.successes += 1
            if self.successes >= self.least:
                self.judge()
        elif isinstance(error, Exception):
            self.failures[index] = error
            if len(self.failures) > self.tolerated:
                self.judge()
        else:
            self.decide(None, error)

    def judge(self) -> None:
        if self.outcome is not None or self.done:
            return
        if len(self.failures) > self.tolerated:
            batch = self.batch("tolerated_failures" if self.least == _INFINITY else "min_successes")
            self.decide(None, too_few(batch))
        elif self.successes >= self.least:
            self.decide(self.batch("min_successes"), None)

    def batch(self, reason: str) -> Batch:
        return Batch(items_of(self.results, self.awaitables, self.failures), reason)

    def made(self) -> Batch:
        return self.batch("completed")


class _GatherAll(_GatherBatch):
    """No number of successes ends it: they are not counted, and one costs what it costs a plain `gather`."""

    __slots__ = ()

    def settled(self, index: int, value: Any, error: BaseException | None) -> None:
        if error is None:
            self.results[index] = value
        else:
            _GatherBatch.settled(self, index, value, error)


class _Race(_Several):
    __slots__ = ("names",)

    def __init__(self, awaitables: tuple[Any, ...], names: tuple[str, ...]) -> None:
        _Several.__init__(self, awaitables, len(awaitables))
        self.names = names

    def settled(self, index: int, value: Any, error: BaseException | None) -> None:
        self.decide((self.names[index], value) if self.names and error is None else value, error)


def gather(
    *awaitables: Any,
    limit: int | None = None,
    settle: bool = False,
    min_successes: int | None = None,
    tolerated_failures: int | None = None,
) -> _Several:
    """The results of all, in order, at most `limit` of them under way at once.

    The first failure is raised, once the others were abandoned and have cleaned up. With `settle` nothing fails it, and what it
    gives is a `Batch`; likewise with `min_successes`, which ends it well as soon as so many have succeeded, and with
    `tolerated_failures`. Where these cannot be met any more a `CompletionError` is raised, whose `batch` has what there is.
    """
    if limit is not None and (type(limit) is not int or limit < 1):
        raise (ValueError if type(limit) is int else TypeError)(
            f"limit is how many may be under way at once, a whole number from 1, not {limit!r}"
        )
    width = len(awaitables) if limit is None else limit
    if not settle and min_successes is None and tolerated_failures is None:
        return _Gather(awaitables, width)
    _check_count("min_successes", min_successes)
    _check_count("tolerated_failures", tolerated_failures)
    if min_successes is not None and min_successes > len(awaitables):
        raise ValueError(f"min_successes is {min_successes}, and only {len(awaitables)} can succeed")
    kind = _GatherAll if min_successes is None else _GatherBatch
    return kind(awaitables, width, min_successes, tolerated_failures)


def _check_count(what: str, count: int | None) -> None:
    if count is not None and (type(count) is not int or count < 0):
        raise ValueError(f"{what} is a number from 0, not {count!r}")


def race(*awaitables: Any, **named: Any) -> _Race:
    """What the first one to end gives or raises; the others are abandoned. Of `race(card=…, wire=…)`: its name, and that."""
    if awaitables and named:
        raise TypeError("race takes either all by position or all by name")
    if not awaitables and not named:
        raise ValueError("race needs something to wait for")
    return _Race(awaitables or tuple(named.values()), tuple(named))


# ── begun now, awaited later ────────────────────────────────────────────────────────────────────────────────────────
_GIVEN_UP: Final = "this task was canceled: by its cancel(), or by a race or a gather that was decided without it"


class Begun(Promise):
    """What `create_task` gives: it is under way; awaiting it gives what it comes to, each time."""

    __slots__ = ("name", "on", "promise")
    __class_getitem__ = classmethod(GenericAlias)  # type: ignore[var-annotated]

    def __init__(self, awaitable: Any, name: str | None) -> None:
        self.name = name or name_of(awaitable)
        self.on: Promise | None = None
        before = enter_scope(name) if name is not None else None
        try:
            self.promise = promise_of(awaitable)
        finally:
            if name is not None:
                leave_scope(before)
        _loop.begun[self] = None
        self.promise.wake(self)

    def step(self) -> None:
        """It has ended."""
        error = self.promise.error
        if type(error) is Canceled and not error.args:  # who awaits it then is told why
            error.args = (_GIVEN_UP,)
        self.end(self.promise.value, error)

    def end(self, value: Any, error: BaseException | None) -> None:
        _loop.begun.pop(self, None)
        self.settle(value, error)

    def cancel(self) -> bool:
        """Nobody wants it any more: what is asked for is abandoned, a coroutine cleans up. False: it has ended already."""
        if self.done:
            return False
        if self.promise.abandon() and not self.promise.done:
            self.end(None, Canceled(_GIVEN_UP))
        return True

    def abandon(self) -> bool:
        self.cancel()
        return self.done

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"a task of cloche's has no '{name}': await it for what it comes to, .done says whether it has ended; "
            "asyncio.create_task gives a task that has all of asyncio's"
        )


def create_task(awaitable: Any, *, name: str | None = None) -> Begun:
    """Begin it now, and await it later. `name` is a part of the paths of what it calls.

    What is still under way when the workflow ends is canceled, and cleans up before that. An error that nobody awaits is lost
    with it.
    """
    return Begun(awaitable, None if name is None else scope_named(name))


async def end_begun() -> None:
    """The workflow has ended: what it has begun and not awaited is canceled, and cleans up."""
    while _loop.begun:
        one = next(iter(_loop.begun))
        if one.cancel() and not one.done:
            with suppress(BaseException):
                await one


_loop.end_begun = end_begun
