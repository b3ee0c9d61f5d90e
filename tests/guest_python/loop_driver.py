"""Promises, tasks and calls as the guest's driver has them (`guest/python/src/promises.c` and `calls.c`), in Python.

One object is the state of one run. What it says of wake-ups and paths is what the C says; the tests of the built guest compare.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Any, NoReturn

_MALFORMED, _TOO_MANY_COMMANDS, _UNKNOWN_CALL = -1, -6, -7
_COMMANDS_MAX = 100_000
STEP, ABANDON = 0, 9


class LoopDriver:
    """`module` gets what the prelude imports; `loop` and `canceled` are the prelude's, once it has been imported."""

    def __init__(self, encoded: Callable[..., Any], fault: Callable[[int], NoReturn]) -> None:
        self.encoded = encoded
        self.fault = fault
        self.loop: Any = None
        self.canceled: Any = None
        self.now = 0
        self.awake: deque[Any] = deque()
        self.open_calls: dict[int, Any] = {}
        self.paths: dict[str, int] = {}
        self.commands: list[Any] = []
        self.last_call = 0
        self.finished = False
        promise = _promise(self)
        lazy, task = _lazy(promise), _task(self, promise)
        call, step_call = _calls(self, lazy)
        self.names = {
            "Promise": promise, "Lazy": lazy, "Task": task, "Call": call, "StepCall": step_call,
            "open_calls": self.open_calls, "put": self.put, "drop": self.drop, "free_path": self.free_path,
            "finish": self.finish, "is_finished": lambda: self.finished,
            "never_awaited": lambda: None, "now_ms": lambda: self.now,
        }  # fmt: skip

    def deliver(self, event: list[Any]) -> list[Any]:
        self.now = event[1]
        if event[0] == 1 and len(event) == 4:
            self._completed(event[2], event[3])
        else:
            self.loop.deliver(event)
        while self.awake:
            self.awake.popleft().step()
        commands, self.commands[:] = list(self.commands), []
        return commands

    def _completed(self, id: int, value: Any) -> None:
        call = self.open_calls.pop(id, None)
        if call is None or call.kind != STEP:
            self.fault(_UNKNOWN_CALL if self.loop._started else _MALFORMED)
        if call.suspended:
            self.loop.suspend(call)
        if call.abandoned or self.finished:
            return
        try:
            value = call.typed[0](value) if call.typed and call.typed[0] else value
        except Exception as error:
            call.settle(None, error)
        else:
            call.settle(value)

    def free_path(self, name: str) -> str:
        count = self.paths[name] = self.paths.get(name, 0) + 1
        return name if count == 1 else f"{name}#{count}"

    def put(self, command: tuple[Any, ...]) -> None:
        if self.finished:
            return
        if len(self.commands) >= _COMMANDS_MAX:
            self.fault(_TOO_MANY_COMMANDS)
        self.commands.append(command)

    def drop(self, call: Any, tell_host: bool) -> None:
        if call.abandoned or (tell_host and self.finished):
            return
        if tell_host:
            self.put((ABANDON, call.id))
        call.abandoned = True
        call.waiters = None

    def finish(self) -> None:
        self.finished = True
        self.awake.clear()


def _promise(driver: LoopDriver) -> Any:
    class Promise:
        def __init__(self) -> None:
            self.done = False
            self.value: Any = None
            self.error: BaseException | None = None
            self.waiters: list[Any] | None = None

        def __new__(cls, *args: Any, **kwargs: Any) -> Promise:
            made = super().__new__(cls)
            Promise.__init__(made)  # subclasses of the prelude's need not say so
            return made

        def __await__(self) -> Generator[Promise, Any, Any]:
            return (yield self)

        def settle(self, value: Any, error: BaseException | None = None) -> None:
            if not self.done:
                self.done, self.value, self.error = True, value, error
                waiters, self.waiters = self.waiters or [], None
                if not driver.finished:
                    driver.awake.extend(waiters)

        def wake(self, waiter: Any) -> None:
            waiter.on = self
            if self.done:
                driver.awake.append(waiter)
            else:
                self.waiters = [*(self.waiters or []), waiter]

        def abandon(self) -> bool:
            return True

    return Promise


def _lazy(promise: Any) -> Any:
    class Lazy(promise):  # type: ignore[misc]
        id = 0

        def __await__(self) -> Generator[Any, Any, Any]:
            if self.id == 0:
                self.begin()
            return (yield self)

        def begin(self) -> None:
            raise AssertionError

    return Lazy


def _task(driver: LoopDriver, promise: Any) -> Any:
    class Task(promise):  # type: ignore[misc]
        def __init__(self, coroutine: Any) -> None:
            self.coroutine = coroutine
            self.on: Any = None
            self._go(coroutine.send, None)

        def step(self) -> None:
            on = self.on
            if on is not None and on.done:
                self._go(*(self.coroutine.throw, on.error) if on.error else (self.coroutine.send, on.value))

        def _go(self, resume: Callable[[Any], Any], with_: Any) -> None:
            try:
                awaited = resume(with_)
            except StopIteration as end:
                self.on = None
                self.settle(end.value)
            except MemoryError:
                raise
            except BaseException as error:
                self.on = None
                self.settle(None, error)
            else:
                if isinstance(awaited, promise):
                    awaited.wake(self)
                else:
                    self._go(self.coroutine.throw, driver.loop.not_ours(awaited))

        def abandon(self) -> bool:
            on = self.on
            if self.done or on is None:
                return bool(self.done)
            on.waiters = [one for one in on.waiters or [] if one is not self] or None
            if on.waiters is None:
                on.abandon()
            self.on = None
            self._go(self.coroutine.throw, driver.canceled())
            return False

    return Task


def _calls(driver: LoopDriver, lazy: Any) -> tuple[type, type]:
    class Call(lazy):  # type: ignore[misc]
        kind = STEP
        abandoned = suspended = False
        path: Any = None

        def begin(self) -> None:
            self.id = -1
            if driver.finished:
                return
            named = None
            try:
                if self.path is None:
                    named = self.named()
                    count = driver.paths.get(named, 0) + 1
                    self.path = named if count == 1 else f"{named}#{count}"
                if not isinstance(self.path, str):
                    raise TypeError(f"the path of a call is no text but a {type(self.path).__name__}")
                rest = self.rest()
            except Exception as error:
                self.settle(None, error)
                return
            if named is not None:
                driver.paths[named] = count
            driver.put((self.kind, driver.last_call + 1, self.path, *rest))
            driver.last_call += 1
            self.id = driver.last_call
            driver.open_calls[self.id] = self

        def abandon(self) -> bool:
            if self.id > 0 and not self.done:
                driver.drop(self, True)
            return True

    return Call, _step_call(driver, Call)


def _step_call(driver: LoopDriver, call: Any) -> type:
    class StepCall(call):  # type: ignore[misc]
        def __init__(self, name: Any, path: Any, /, *arguments: Any, **keywords: Any) -> None:
            self.typed = None
            if isinstance(name, tuple):
                name, _, stub, self.typed = name
                stub(*arguments, **keywords)
            self.name, self.path, self.arguments, self.keywords = name, path, arguments, keywords

        def named(self) -> Any:
            return self.name

        def rest(self) -> tuple[Any, ...]:
            if self.typed and self.typed[1]:
                self.arguments, self.keywords = self.typed[1](self.arguments, self.keywords)
            keywords = (driver.encoded(self.keywords, "arguments"),) if self.keywords else ()
            return (self.name, driver.encoded(self.arguments, "arguments"), *keywords)

    return StepCall
