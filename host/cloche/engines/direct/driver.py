"""What the Python guest's driver is in C (`guest/python/src/promises.c`, `calls.c`, `module.c`), in Python.

Many runs live in one process. The one whose turn it is stands in `now_running`; `prelude.entered` puts it there. What this
module says of wake-ups, paths and refusals is what the C says: the tests of both compare bytes.
"""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Callable, Generator
from datetime import timedelta
from random import Random
from types import CodeType
from typing import Any, Final, NoReturn

from cloche.engines.direct.chance import Chance
from cloche.engines.direct.encoding import Encoded, Encoding

STEP, ABANDON = 0, 9
_MALFORMED, _TOO_MANY_COMMANDS, _UNKNOWN_CALL = -1, -6, -7
_COMMANDS_MAX: Final = 100_000


class Fault(BaseException):
    """The turn ends with this number (`guest/ABI.md`), whoever catches it."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Asked:
    """What a run has asked for: its open calls by number, how often each name was a path, the commands of this event."""

    def __init__(self) -> None:
        self.open: dict[int, Any] = {}
        self.paths: dict[str, int] = {}
        self.commands: list[Any] = []
        self.last_call = 0
        self.scope: str | None = None  # what paths begin with where the code is now


class Run:
    """The driver's state of one run. `loop` is the prelude's module of that name, `canceled` its exception."""

    def __init__(self, encoding: Encoding, loop: Any, canceled: Any) -> None:
        self.encoding = encoding
        self.loop = loop
        self.canceled = canceled
        self.now = 0
        self.awake: deque[Any] = deque()
        self.asked = Asked()
        self.finished = False
        self.started = False
        self.fault: Fault | None = None
        self.forgotten: tuple[str, CodeType, int] | None = None
        self.chance: Chance | None = None  # from the start on
        self.dice = Random(0)  # what `random` is in there; seeded at the start
        self.tasks: set[Task] = set()  # that have not ended

    def deliver(self, event: list[Any]) -> None:
        self.now = event[1]
        if event[0] == 0:
            self.started, self.chance = True, Chance(event[2])
            self.dice.seed(event[2])
        if event[0] == 1 and len(event) == 4:
            self._completed(event[2], event[3])
        else:
            self.loop.deliver(event)
        while self.awake and self.fault is None:
            self.awake.popleft().step()

    def _completed(self, id: int, value: Any) -> None:
        """A step without state: the guest's hot path, which its prelude does not see."""
        call = self.asked.open.pop(id, None)
        if call is None or call.kind != STEP:
            fault(_UNKNOWN_CALL if self.started else _MALFORMED)
        if call.suspended:
            self.loop.suspend(call)
        if call.abandoned or self.finished:
            return
        read = call.typed[0] if call.typed else None
        if read is None:
            call.settle(value)
            return
        try:
            value = read(value)
        except MemoryError:
            raise
        except Exception as error:
            call.settle(None, error)
        else:
            call.settle(value)


now_running: Run


def use(run: Run | None) -> Run | None:
    """It is this one's turn; whose it was."""
    global now_running
    before: Run | None = globals().get("now_running")
    now_running = run  # type: ignore[assignment]
    return before


# ---- promises, as `guest/python/src/promises.c` ----


class Promise:
    """What is awaited: settled once. Whoever waits has `on`, the promise, and `step()`."""

    done = False
    value: Any = None
    error: BaseException | None = None
    waiters: list[Any] | None = None

    def __await__(self) -> Generator[Promise, Any, Any]:
        return (yield self)

    def settle(self, value: Any, error: BaseException | None = None) -> None:
        if not self.done:
            self.done, self.value, self.error = True, value, error
            waiters, self.waiters = self.waiters, None
            if waiters and not now_running.finished:
                now_running.awake.extend(waiters)

    def wake(self, waiter: Any) -> None:
        waiter.on = self
        if not self.done:
            self.waiters = [*(self.waiters or ()), waiter]
        elif not now_running.finished:
            now_running.awake.append(waiter)

    def abandon(self) -> bool:
        return True


class Lazy(Promise):
    """A promise that begins when it is first awaited; `id` is 0 until then."""

    id = 0

    def __await__(self) -> Generator[Promise, Any, Any]:
        if self.id == 0:
            self.begin()
        return (yield self)

    def begin(self) -> None:
        raise AssertionError("each kind says how it begins")

    def close(self) -> None:
        """It is not wanted any more, and does not begin."""
        self.id = self.id or -1


class Task(Promise):
    """The promise of a coroutine, which runs at once up to its first await."""

    on: Promise | None = None

    def __init__(self, coroutine: Any) -> None:
        self.coroutine = coroutine
        self.scope = now_running.asked.scope  # that of whoever begins it
        now_running.tasks.add(self)
        self._go(coroutine.send, None)

    def step(self) -> None:
        on = self.on
        if on is not None and on.done:
            self._go(*(self.coroutine.throw, on.error) if on.error is not None else (self.coroutine.send, on.value))

    def _go(self, resume: Callable[[Any], Any], with_: Any) -> None:
        self._exchange_scope()
        try:
            awaited = resume(with_)
        except StopIteration as end:
            self._exchange_scope()
            self._end(end.value, None)
        except (MemoryError, Fault):
            raise
        except BaseException as error:
            self._exchange_scope()
            self._end(None, error)
        else:
            self._exchange_scope()
            if isinstance(awaited, Promise):
                awaited.wake(self)
            else:
                self._go(self.coroutine.throw, now_running.loop.not_ours(awaited))

    def _exchange_scope(self) -> None:
        """A task is in the scope that it entered while it runs, and whoever ran before it in that of its own."""
        self.scope, now_running.asked.scope = now_running.asked.scope, self.scope

    def _end(self, value: Any, error: BaseException | None) -> None:
        self.on = None
        now_running.tasks.discard(self)
        self.settle(value, error)

    def abandon(self) -> bool:
        """Throw Canceled where it waits, after what it waits for was abandoned."""
        on = self.on
        if self.done or on is None:
            return self.done
        on.waiters = [one for one in on.waiters or () if one is not self] or None
        if on.waiters is None:
            on.abandon()
        self.on = None
        self._go(self.coroutine.throw, now_running.canceled())
        return False


# ---- calls, as `guest/python/src/calls.c` ----


class Call(Lazy):
    """What is asked of the host. A kind of call has `rest()`, what stands behind its path in its command, and `named()`."""

    kind = STEP
    abandoned = suspended = False
    path: Any = None
    typed: Any = None

    def named(self) -> Any:
        raise AssertionError("each kind says what it is called")

    def rest(self) -> tuple[Any, ...]:
        raise AssertionError("each kind says what it asks for")

    def begin(self) -> None:
        asked = now_running.asked
        self.id = -1
        if now_running.finished:
            return
        named, count = None, 0
        try:
            if self.path is None:
                named = _scoped(_text(self.named(), "name"))
                count = asked.paths.get(named, 0) + 1
                self.path = named if count == 1 else f"{named}#{count}"
            _text(self.path, "path")
            rest = self.rest()
        except MemoryError:
            raise
        except Exception as error:
            self.settle(None, error)
            return
        if named is not None:
            asked.paths[named] = count
        put((self.kind, asked.last_call + 1, self.path, *rest))
        asked.last_call += 1
        self.id = asked.last_call
        asked.open[self.id] = self

    def abandon(self) -> bool:
        if self.id > 0 and not self.done:
            drop(self, True)
        return True


class StepCall(Call):
    """StepCall(name or shape, path or None, *arguments, **keywords); a shape is that of `_calls.shape_of`."""

    def __init__(self, name: Any, path: Any, /, *arguments: Any, **keywords: Any) -> None:
        self.id = -1  # until it is known that its arguments fit
        if isinstance(name, tuple):
            name, _, stub, self.typed = name
            stub(*arguments, **keywords)
        self.name, self.path, self.arguments, self.keywords = name, path, arguments, keywords
        frame = sys._getframe(1)
        self.place = (frame.f_code, frame.f_lasti)
        self.run = now_running
        self.id = 0

    def named(self) -> Any:
        return self.name

    def rest(self) -> tuple[Any, ...]:
        _text(self.name, "name")
        if self.typed and self.typed[1]:
            self.arguments, self.keywords = self.typed[1](self.arguments, self.keywords)
        asked = (self.name, encoded(self.arguments, "arguments"))
        return (*asked, encoded(self.keywords, "arguments")) if self.keywords else asked

    def __del__(self) -> None:
        """A call that is dropped before it began was never asked for: the first one is told."""
        if self.id == 0 and self.run.forgotten is None:
            self.run.forgotten = (self.name, *self.place)


def _scoped(name: str) -> str:
    scope = now_running.asked.scope
    return name if scope is None else f"{scope}/{name}"


def scope(path: str | None, /) -> str | None:
    """What paths begin with from here on; what they did before."""
    asked = now_running.asked
    before, asked.scope = asked.scope, None if path is None else _text(path, "scope")
    return before


def _text(value: Any, what: str) -> str:
    if isinstance(value, str):
        return value
    raise TypeError(f"the {what} of a call is no text but a {type(value).__name__}")


# ---- the functions of the module `_cloche` ----


def encoded(value: object, label: str, depth: int = 0) -> Encoded:
    """The value as it crosses, made now. Raises TypeError by its place where it cannot."""
    return now_running.encoding.encoded(value, label, depth)


def check(value: object, label: str, depth: int = 0) -> None:
    encoded(value, label, depth)


def plain(value: object, label: str) -> Any:
    """The value after a round trip."""
    encoding = now_running.encoding
    return encoding.read(encoding.encoded(value, label, 0))


_DURATION: Final = re.compile(
    r"([+-])?P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.(\d{1,6}))?S)?)?",
    re.ASCII,
)


def duration(text: str) -> timedelta:
    """The timedelta that a text of ISO 8601 says; years and months are as long as pydantic takes them."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no duration")
    years, months, weeks, days, hours, minutes, seconds = (int(found[index] or 0) for index in range(2, 9))
    micro = int((found[9] or "").ljust(6, "0"))
    days += 365 * years + 30 * months + 7 * weeks
    made = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds, microseconds=micro)
    return -made if found[1] == "-" else made


def raw(value: Encoded) -> bytes:
    return bytes(value)


def fault(code: int) -> NoReturn:
    """Remembered: whoever catches it, the turn ends with it."""
    found = now_running.fault = now_running.fault or Fault(code)
    raise found


def now_ms() -> int:
    return now_running.now


def urandom(size: int) -> bytes:
    if now_running.chance is None:
        raise TypeError("there is no randomness before the run starts: use it inside the workflow function")
    return now_running.chance.bytes(size)


def free_path(name: str) -> str:
    paths, name = now_running.asked.paths, _scoped(_text(name, "name"))
    count = paths[name] = paths.get(name, 0) + 1
    return name if count == 1 else f"{name}#{count}"


def put(command: tuple[Any, ...]) -> None:
    if now_running.finished:
        return
    commands = now_running.asked.commands
    if len(commands) >= _COMMANDS_MAX:
        fault(_TOO_MANY_COMMANDS)
    commands.append(command)


def drop(call: Call, tell_host: bool) -> None:
    if call.abandoned or (tell_host and now_running.finished):
        return
    if tell_host:
        put((ABANDON, call.id))
    call.abandoned = True
    call.waiters = None


def batches(batch: type, item: type, /) -> None:
    """These cross as what they derive from: here the world says so of every list and dict."""


def finish() -> None:
    now_running.finished = True
    now_running.awake.clear()


def is_finished() -> bool:
    return now_running.finished


def never_awaited() -> tuple[str, CodeType, int] | None:
    return now_running.forgotten
