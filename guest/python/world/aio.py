"""`asyncio` on the run's own loop: its tasks and cloche's await each other, its timers are durable, its time is the event's.

The package is Python's own. A task of asyncio's that awaits a promise of the driver's waits for a future that is settled with
it; a task of the driver's that awaits a future of asyncio's waits for a promise that is settled with that.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import events
from collections.abc import Generator
from importlib import import_module
from types import coroutine
from typing import Any, Final

from _cloche import Promise, land, now_ms
from _cloche import scope as change_scope

from .refusals import refusal

_commands: Any = import_module("cloche._commands")
_loop: Any = import_module("cloche._loop")
_failures: Any = import_module("cloche._failures")
_scopes: Final = import_module("cloche._scopes").scopes
_now: Final = Promise()
_now.settle(None)
_ERROR_LEVEL: Final = 4


# ── callbacks ───────────────────────────────────────────────────────────────────────────────────────────────────────
def _step(handle: Any) -> None:
    """Nothing but a lack of memory leaves a callback: what a task raises is its result."""
    if handle._cancelled:
        return
    try:
        handle._context.run(handle._callback, *handle._args)
    except MemoryError:
        raise
    except BaseException as error:
        handle._loop.call_exception_handler({"message": "Exception in callback", "exception": error})
    if _fatal:
        raise _fatal[0]


_fatal: list[MemoryError] = []  # that a task of asyncio's has ended with: no run goes on after it


class _Soon(events.Handle):
    on: Promise

    def step(self) -> None:
        _step(self)


class _Later(events.TimerHandle):
    """A durable timer."""

    on: Promise
    call: Any

    def step(self) -> None:
        _step(self)


# ── waiting for each other ──────────────────────────────────────────────────────────────────────────────────────────
class _Waiting(asyncio.Future[None]):
    """Settled with a promise of the driver's; whoever cancels it does not want that any more."""

    on: Promise

    def step(self) -> None:
        if not self.done():
            self.set_result(None)

    def cancel(self, msg: Any = None) -> bool:
        canceled = super().cancel(msg)
        if canceled and not self.on.done:
            self.on.abandon()
        return canceled


class _Joined(Promise):
    """Settled with a future of asyncio's."""

    __slots__ = ("future",)

    def __init__(self, future: Any) -> None:
        self.future = future
        future.add_done_callback(self._over)

    def _over(self, _: Any) -> None:
        self.settle(None)  # its task asks the future then for what it has come to

    def abandon(self) -> bool:
        self.future.cancel()
        return True


def adopt(awaited: Any) -> Any:
    """What the driver's task waits for where a coroutine has awaited something of asyncio's; else the error to be thrown."""
    if awaited is None:
        return _now  # `asyncio.sleep(0)`: another turn
    if getattr(awaited, "_asyncio_future_blocking", None):
        awaited._asyncio_future_blocking = False
        return _Joined(awaited)
    return _loop.not_ours(awaited)


@coroutine
def _driven(inner: Any, scope: str | None) -> Generator[Any, Any, Any]:
    """A coroutine that may await promises, as one that awaits futures. `scope` is where it begins."""
    promise: Promise | None = None
    error: BaseException | None = None
    while True:
        if promise is not None and error is None:
            error = promise.error
            if error is None:
                land(promise)
        around = change_scope(scope) if _scopes else None
        try:
            awaited = inner.send(None) if error is None else inner.throw(error)
        except StopIteration as end:
            return end.value
        except MemoryError as lack:
            _fatal.append(lack)
            raise
        finally:
            if _scopes:
                scope = change_scope(around)
        promise, error = (awaited, None) if isinstance(awaited, Promise) else (None, None)
        if promise is not None:
            awaited = _Waiting(loop=loop)
            awaited._asyncio_future_blocking = True
            promise.wake(awaited)
        try:
            yield awaited
        except GeneratorExit:
            inner.close()
            raise
        except asyncio.CancelledError as canceled:
            error = _failures.Canceled(*canceled.args)
        except BaseException as raised:
            error = raised


async def _bridged(inner: Any, scope: str | None) -> Any:
    return await _driven(inner, scope)


def _scope() -> str | None:
    """That of whoever calls this."""
    if not _scopes:
        return None
    scope = change_scope(None)
    change_scope(scope)
    return scope


async def as_task(made: Any) -> Any:
    """Await the workflow's coroutine as a task of asyncio's, which it then finds as `asyncio.current_task()`."""
    task = loop.create_task(made if asyncio.iscoroutine(made) else _bridged(made.__await__(), None))
    try:
        try:
            return await task
        except _failures.Canceled:
            return await task  # it cleans up
    except asyncio.CancelledError as canceled:
        raise _failures.Canceled(*canceled.args) from None


# ── the loop ────────────────────────────────────────────────────────────────────────────────────────────────────────
_Abstract: Any = asyncio.AbstractEventLoop


class Loop(_Abstract):  # type: ignore[misc]  # what it has of it besides is refused
    """There is one, and it runs for as long as the run does."""

    def __init__(self) -> None:
        self._factory: Any = None
        self._handler: Any = None

    def time(self) -> float:
        return now_ms() / 1000

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def get_debug(self) -> bool:
        return False

    def set_debug(self, enabled: bool) -> None:
        pass

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        handle = _Soon(callback, args, self, context)
        _now.wake(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        handle = _Later(when, callback, args, self, context)
        due = min(when * 1000, _commands.INSTANT_MS_MAX)
        handle.call = _commands.TimerCall(None, round(due), None, is_wait=False)
        handle.call.begin()
        handle.call.wake(handle)
        return handle

    def _timer_handle_cancelled(self, handle: Any) -> None:
        if not handle.call.done:
            handle.call.abandon()

    def create_future(self) -> Any:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **options: Any) -> Any:
        if self._factory is not None:
            return self._factory(self, coro, **options)
        if isinstance(
            coro, Promise
        ):  # a call of a step, a sleep, a task of cloche's: a coroutine where they are asyncio's
            coro = _awaited(coro)
        if not asyncio.iscoroutine(coro):
            raise TypeError(f"a coroutine was expected, got {coro!r}")
        return asyncio.Task(_bridged(coro, _scope()), loop=self, **options)

    def set_task_factory(self, factory: Any) -> None:
        self._factory = factory

    def get_task_factory(self) -> Any:
        return self._factory

    def set_exception_handler(self, handler: Any) -> None:
        self._handler = handler

    def get_exception_handler(self) -> Any:
        return self._handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        what = f": {type(error).__name__}: {error}" if error is not None else ""
        _loop.log(_ERROR_LEVEL, f"{context.get('message')}{what}")

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self._handler is None:
            self.default_exception_handler(context)
        else:
            self._handler(self, context)

    async def shutdown_asyncgens(self) -> None:
        pass

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        pass


async def _awaited(promise: Any) -> Any:
    return await promise


_wait_of_asyncio: Final = asyncio.wait


async def _wait(fs: Any, *, timeout: Any = None, return_when: str = asyncio.ALL_COMPLETED) -> Any:
    """As asyncio's, and what cloche's own `create_task` gives stands among what is waited for, too."""
    if isinstance(fs, Promise) or asyncio.iscoroutine(fs):
        raise TypeError(f"asyncio.wait takes several tasks, not one {type(fs).__name__}")
    given = {loop.create_task(one) if isinstance(one, Promise) else one: one for one in fs}
    done, pending = await _wait_of_asyncio(given, timeout=timeout, return_when=return_when)
    return {given[one] for one in done}, {given[one] for one in pending}


def _refuse_the_rest() -> None:
    """Threads, sockets, processes, signals, and another loop than the run's."""
    for name in vars(asyncio.AbstractEventLoop):
        if name[0] != "_" and name not in vars(Loop):
            setattr(Loop, name, refusal(f"asyncio's {name}"))
    for name in ("to_thread", "run_coroutine_threadsafe"):
        for module in (asyncio, sys.modules[f"asyncio.{'threads' if name == 'to_thread' else 'tasks'}"]):
            setattr(module, name, refusal(f"asyncio.{name}"))
    for module in (asyncio, sys.modules["asyncio.tasks"]):
        setattr(module, "wait", _wait)  # noqa: B010  # as above: it is no name of a module's to mypy
    events.new_event_loop = asyncio.new_event_loop = refusal("asyncio.new_event_loop")


def begin() -> None:
    """The run has begun: from here on its loop is the running one."""
    events._set_running_loop(loop)


_refuse_the_rest()
loop: Final = Loop()
