"""The words of native workflows: what an author imports for one.

Their work is done by the functions of the same name inside the guest; called on the host they say so. The types are for
checkers.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Generator
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, Self, TypeVar, overload

from cloche_codegen.variables import Out

if TYPE_CHECKING:
    from cloche_codegen.builder import Workflow

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")
V = TypeVar("V")
W = TypeVar("W")
Duration = float | timedelta | str  # seconds, a timedelta, or "3 days"
Tag = str | int | float | bool | None


def _outside(name: str) -> NoReturn:
    raise RuntimeError(
        f"cloche.{name} works inside of a native workflow only, and was called outside: put @cloche.workflow above the async "
        "function that uses it, and start it as a run"
    )


@overload
def gather(
    first: Awaitable[T], second: Awaitable[U], /, *, limit: int | None = None, settle: Literal[False] = False
) -> Awaitable[tuple[T, U]]: ...
@overload
def gather(
    first: Awaitable[T],
    second: Awaitable[U],
    third: Awaitable[V],
    /,
    *,
    limit: int | None = None,
    settle: Literal[False] = False,
) -> Awaitable[tuple[T, U, V]]: ...
@overload
def gather(
    *awaitables: Awaitable[T], limit: int | None = None, settle: Literal[False] = False
) -> Awaitable[list[T]]: ...
@overload
def gather(
    *awaitables: Awaitable[T],
    limit: int | None = None,
    settle: Literal[True],
    min_successes: int | None = None,
    tolerated_failures: int | None = None,
) -> Awaitable[Batch[T]]: ...
@overload
def gather(
    *awaitables: Awaitable[T],
    limit: int | None = None,
    settle: bool = False,
    min_successes: int,
    tolerated_failures: int | None = None,
) -> Awaitable[Batch[T]]: ...
@overload
def gather(
    *awaitables: Awaitable[T],
    limit: int | None = None,
    settle: bool = False,
    min_successes: int | None = None,
    tolerated_failures: int,
) -> Awaitable[Batch[T]]: ...
def gather(
    *awaitables: Any,
    limit: int | None = None,
    settle: bool = False,
    min_successes: int | None = None,
    tolerated_failures: int | None = None,
) -> Any:
    """The results of all, in order, at most `limit` of them under way at once; for checkers two or three are a tuple.

    The first failure is raised, once the others were abandoned and have cleaned up. With `settle` nothing fails it, and it
    gives a `Batch`; so it does with `min_successes`, which ends it well as soon as so many have succeeded, and with
    `tolerated_failures`.
    Where these cannot be met any more a `CompletionError` is raised, and its `batch` has what there is.
    """
    for one in awaitables:
        if inspect.iscoroutine(one):
            one.close()  # it will never run, and Python would warn of that as well
    _outside("gather")


@overload
def race(first: Awaitable[T], second: Awaitable[U], /) -> Awaitable[T | U]: ...
@overload
def race(first: Awaitable[T], second: Awaitable[U], third: Awaitable[V], /) -> Awaitable[T | U | V]: ...
@overload
def race(
    first: Awaitable[T], second: Awaitable[U], third: Awaitable[V], fourth: Awaitable[W], /
) -> Awaitable[T | U | V | W]: ...
@overload
def race(*awaitables: Awaitable[T]) -> Awaitable[T]: ...
@overload
def race(**named: Awaitable[T]) -> Awaitable[tuple[str, T]]: ...
def race(*awaitables: Any, **named: Any) -> Any:
    """What the first one to end gives or raises; the others are abandoned. Of `race(card=…, wire=…)`: its name, and that.

    By name, mypy takes several types for what they have in common. With the types that may come both checkers hold them:
    `won: tuple[str, Receipt | Transfer] = await race(card=…, wire=…)`.
    """
    for one in (*awaitables, *named.values()):
        if inspect.iscoroutine(one):
            one.close()
    _outside("race")


def create_task(awaitable: Awaitable[T], *, name: str | None = None) -> Task[T]:
    """Begin it now, and await it later. `name` is a part of the paths of what it calls.

    What is still under way when the workflow ends is canceled, and cleans up before that.
    """
    if inspect.iscoroutine(awaitable):
        awaitable.close()
    _outside("create_task")


def sleep(seconds: Duration = 0, /, *, name: str | None = None, **parts: float) -> Awaitable[None]:
    """Wait `seconds` (a number or timedelta), `"3 days"`, or `days=3`, `hours=1, minutes=30`: what `timedelta` takes."""
    _outside("sleep")


def sleep_until(when: datetime, *, name: str | None = None) -> Awaitable[None]:
    """Wait until a moment; one without a time zone is taken as UTC."""
    _outside("sleep_until")


@overload
def wait_for_event(
    name: str, *, schema: type[T], timeout: Duration | None = None, heartbeat: Duration | None = None
) -> Awaitable[T]: ...
@overload
def wait_for_event(
    name: str, *, schema: Any = None, timeout: Duration | None = None, heartbeat: Duration | None = None
) -> Awaitable[Any]: ...
def wait_for_event(name: str, *, schema: Any = None, timeout: Any = None, heartbeat: Any = None) -> Any:
    """What the event `name` carries, of the type `schema`; EventTimeout after `timeout` (seconds or a timedelta).

    With `heartbeat` whoever is to send it has to say again and again, before so much time has passed, that it is still at it
    (`heartbeat_event`); else HeartbeatTimeout. A failure that is sent in its place (`send_event(error=)`) is raised.
    """
    _outside("wait_for_event")


@overload
def start_child(
    workflow: Workflow[Any, Out], input: Any = None, *, id: str | None = None, name: str | None = None
) -> Awaitable[Out]: ...
@overload
def start_child(
    workflow: str, input: Any = None, *, id: str | None = None, name: str | None = None
) -> Awaitable[Any]: ...
def start_child(workflow: Any, input: Any = None, *, id: str | None = None, name: str | None = None) -> Any:
    """The result of a run of its own; its failure is raised. `workflow` is the id of a workflow, or the workflow.

    `id` is what the new run is called under this one, in the place of a number: `order-17 › shipping`. A run gives each id
    once: RunConflict otherwise. `name` is what the call is called, by default the workflow.
    """
    _outside("start_child")


@overload
def create_hook(*, schema: type[T], token: str | None = None, name: str = "hook") -> Hook[T]: ...
@overload
def create_hook(*, schema: Any = None, token: str | None = None, name: str = "hook") -> Hook[Any]: ...
def create_hook(*, schema: Any = None, token: str | None = None, name: str = "hook") -> Any:
    """A place where payloads are waited for from now on: each is sent with `resume_hook(hook.token, payload)`, by whoever
    knows the token. Without one of your own it is 128 bits that nobody can compute."""
    _outside("create_hook")


def set_tags(**tags: Tag) -> None:
    """Tags that the run can be found by, beside those that it has; None removes one."""
    _outside("set_tags")


def set_deadline(when: datetime | Duration | None = None, /, **parts: float) -> None:
    """When the run must have ended: a moment, or a time from now as `sleep` takes it. None takes it back.

    Then the run is told to end as if it was canceled: it cleans up, and fails with DeadlineExceeded.
    """
    _outside("set_deadline")


async def continue_as_new(*arguments: Any, **keywords: Any) -> NoReturn:
    """End this history of the run, and go on as the next one: the workflow is called anew, with these arguments.

    The run keeps its id, tags and deadline, and whoever waits for it goes on waiting. What is open is given up: tasks and
    children are canceled.
    """
    _outside("continue_as_new")


class scope:
    """`with scope("refund"):` what is called inside has a path that begins with `refund/`."""

    def __init__(self, name: str) -> None:
        _outside("scope")

    def __enter__(self) -> Self:
        raise AssertionError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        raise AssertionError


def now() -> datetime:
    """The time of the event that is being acted on, in UTC."""
    _outside("now")


class EventTimeout(Exception):
    """No event came in time: what `wait_for_event` raises inside of a native workflow."""


class Canceled(BaseException):
    """The run is to end, or nobody wants this task any more: raised inside of a native workflow, where it waits.

    Clean up in `finally` and let it pass; a workflow that returns all the same has succeeded.
    """


class HeartbeatTimeout(EventTimeout):
    """Whoever was to send an event has not been heard of for too long: see `wait_for_event`."""


class DeadlineExceeded(Exception):
    """The run had not ended by its deadline: see `set_deadline`."""


class HookConflict(Exception):
    """Another hook that waits has this token: see `create_hook`."""


# ── what they give ──────────────────────────────────────────────────────────────────────────────────────────────────
class Task(Generic[T_co]):
    """What is under way; awaiting it gives what it comes to, each time. See `create_task`."""

    name: str | None
    done: bool

    def __init__(self) -> None:
        _outside("Task")

    def cancel(self) -> bool:
        """Nobody wants it any more. False: it has ended already."""
        raise AssertionError

    def __await__(self) -> Generator[Any, Any, T_co]:
        raise AssertionError


class Hook(Generic[T_co]):
    """`await hook` gives the next payload, `async for payload in hook` all until it is closed. See `create_hook`."""

    token: str

    def __init__(self) -> None:
        _outside("Hook")

    def close(self) -> None:
        """Nothing more is received."""
        raise AssertionError

    def __await__(self) -> Generator[Any, Any, T_co]:
        raise AssertionError

    def __aiter__(self) -> AsyncIterator[T_co]:
        raise AssertionError

    def __enter__(self) -> Self:
        raise AssertionError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        raise AssertionError


class BatchItem(dict[str, Any], Generic[T_co]):
    """How one of several ended: `{"status": "success", "output": …}`, `{"status": "failed", "error": …}` or
    `{"status": "canceled"}`; the attributes say the same."""

    status: str
    ok: bool
    value: T_co
    """What it gave; None of one that did not succeed."""
    error: Exception
    """What it raised, which can be raised again; None of one that did not fail."""
    index: int
    name: str | None


class Batch(list[BatchItem[T_co]], Generic[T_co]):
    """How each of several ended, in order: what `gather` gives with `settle`, `min_successes` or `tolerated_failures`."""

    reason: str
    """`completed`, or what ended it before: `min_successes`, `tolerated_failures`."""
    succeeded: list[BatchItem[T_co]]
    failed: list[BatchItem[T_co]]
    values: list[T_co]
    """What those gave that succeeded."""

    def raise_first(self) -> Self:
        """Raise the first error, as what it was; the batch itself if there is none."""
        raise AssertionError
