"""The loop: events in, commands out, and the promises and tasks of one run between them.

A workflow is a coroutine. What it awaits is a `Promise`; a `Task` is the promise of a coroutine. Wake-ups are counted as
ECMAScript counts microtasks (every await of a promise is one, also of a settled one, and a task runs at once up to its
first), because that decides the order of commands when several arms go on at the same event, and the order has to be that
of the JavaScript guest. Everything here is module state: there is one run in a guest. This is the hot path.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from inspect import CO_VARARGS
from types import CodeType, CoroutineType, ModuleType
from typing import Any, Final

from _cloche import encoded, fault, trace

from ._failures import Bail, Canceled, crossing, raised

STEP, TIMER, HOOK, CHILD, LOG, ENTERED, LEFT, COMPLETE, FAIL, ABANDON, OPERATION, PATCHED = range(12)
_MALFORMED, _NO_WORKFLOW, _TOO_MANY_COMMANDS, _UNKNOWN_CALL = -1, -4, -6, -7
_COMMANDS_MAX: Final = 100_000
_FATAL: Final = (MemoryError,)  # the driver ends the cell; no workflow may go on after it

_ready: deque[Any] = deque()  # whoever is woken: has `on`, the promise it waited for, and `step()`
_open: dict[int, Call] = {}  # also those that were given up, until their answer comes
_paths: dict[str, int] = {}  # how often a name was used as a path
_out: list[Any] = []
_last_call = 0
_finished = False
_state: dict[str, Any] = {}
_entry: Callable[..., Any] | None = None
_main: Task | None = None
_started = False
_is_native = False
now = 0  # milliseconds since 1970
on_suspended: list[Callable[[str, bool], None]] = []  # the blocks of generated code listen here


class Promise:
    """Settled once, with a value or an error."""

    __slots__ = ("done", "error", "value", "waiters")

    def __init__(self) -> None:
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None
        self.waiters: Any = None  # None, one, or a list of them

    def __await__(self) -> Generator[Promise, Any, Any]:
        return (yield self)

    def settle(self, value: Any, error: BaseException | None = None) -> None:
        if self.done:
            return
        self.done = True
        self.value = value
        self.error = error
        waiters = self.waiters
        if waiters is not None:
            self.waiters = None
            if waiters.__class__ is list:
                _ready.extend(waiters)
            else:
                _ready.append(waiters)

    def wake(self, waiter: Any) -> None:
        """Have `waiter.step()` called in a turn of its own once this is settled."""
        waiter.on = self
        if self.done:
            _ready.append(waiter)
        elif self.waiters is None:
            self.waiters = waiter
        elif self.waiters.__class__ is list:
            self.waiters.append(waiter)
        else:
            self.waiters = [self.waiters, waiter]

    def give_up(self) -> bool:
        """Nobody wants this any more. True if nothing will come of it; else it ends soon, after cleaning up."""
        return True


class Lazy(Promise):
    """Begins when it is first awaited, or given to something that waits. `id` is 0 until then."""

    __slots__ = ("id",)
    id: int

    def __await__(self) -> Generator[Promise, Any, Any]:
        if self.id == 0:
            self.begin()
        return (yield self)

    def begin(self) -> None:
        raise AssertionError


class Task(Promise):
    """A coroutine under way. It begins at once."""

    __slots__ = ("coroutine", "on")

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        Promise.__init__(self)
        self.coroutine = coroutine
        self.on: Promise | None = None
        self._go(coroutine.send, None)

    def step(self) -> None:
        on = self.on
        if on is None or not on.done:  # it was given up while it stood in the queue
            return
        if on.error is None:
            self._go(self.coroutine.send, on.value)
        else:
            self._go(self.coroutine.throw, on.error)

    def _go(self, resume: Callable[[Any], Any], with_: Any) -> None:
        try:
            awaited = resume(with_)
        except StopIteration as end:
            self.on = None
            self.settle(end.value)
        except _FATAL:
            raise
        except BaseException as error:
            self.on = None
            self.settle(None, error)
        else:
            if awaited.__class__ is StepCall and awaited.waiters is None and not awaited.done:  # mostly
                self.on = awaited
                awaited.waiters = self
            elif isinstance(awaited, Promise):
                awaited.wake(self)
            else:
                self._go(self.coroutine.throw, _not_ours(awaited))

    def give_up(self) -> bool:
        """Throw `Canceled` where it waits, after what it waits for was given up."""
        on = self.on
        if self.done or on is None:
            return self.done
        _forget(on, self)
        if on.waiters is None:
            on.give_up()
        self.on = None
        self._go(self.coroutine.throw, Canceled())
        return False


def _forget(promise: Promise, waiter: Any) -> None:
    waiters = promise.waiters
    if waiters is waiter:
        promise.waiters = None
    elif waiters.__class__ is list:
        promise.waiters = [one for one in waiters if one is not waiter] or None


def _not_ours(awaited: object) -> TypeError:
    return TypeError(f"{type(awaited).__name__} cannot be awaited in a workflow: await steps, sleeps and events")


def promise_of(awaitable: Any) -> Promise:
    """Begin what can be awaited. Raises TypeError for anything else."""
    if isinstance(awaitable, Promise):
        if isinstance(awaitable, Lazy) and awaitable.id == 0:
            awaitable.begin()
        return awaitable
    if isinstance(awaitable, CoroutineType):
        return Task(awaitable)
    if hasattr(awaitable, "__await__"):
        return Task(_awaiting(awaitable))
    raise _not_ours(awaitable)


async def _awaiting(awaitable: Any) -> Any:
    return await awaitable


# ── calls ───────────────────────────────────────────────────────────────────────────────────────────────────────────
class Call(Lazy):
    """Something asked of the host."""

    __slots__ = ("given_up", "path", "suspended")
    kind = -1

    def __init__(self, path: str | None) -> None:
        self.done = False
        self.value = self.error = self.waiters = None
        self.path: Any = path
        self.id = 0  # then its number, or -1 if it could not be asked
        self.given_up = self.suspended = False

    def begin(self) -> None:
        global _last_call
        if _finished:
            self.id = -1
            return
        named = None
        if self.path is None:
            named = self.named()
            self.path = free_path(named)
        try:
            command = self.command(_last_call + 1, self.path)
        except Exception as error:
            if named is not None:
                _paths[named] -= 1  # what cannot be asked was not asked
            self.id = -1
            self.settle(None, error)
            return
        if len(_out) >= _COMMANDS_MAX:
            raise fault(_TOO_MANY_COMMANDS)
        _last_call += 1
        self.id = _last_call
        _open[_last_call] = self
        _out.append(command)

    def named(self) -> str:
        raise AssertionError

    def command(self, id: int, path: str) -> tuple[Any, ...]:
        raise AssertionError

    def give_up(self) -> bool:
        if self.id > 0 and not self.done:
            drop(self, told=True)
        return True


class StepCall(Call):
    __slots__ = ("arguments", "name")
    kind = STEP

    def __init__(self, name: str, path: str | None, /, *arguments: Any) -> None:
        self.done = self.given_up = self.suspended = False
        self.value = self.error = self.waiters = None
        self.path = path
        self.id = 0
        self.name = name
        self.arguments = arguments

    def begin(self) -> None:
        """As any call, in one function: this is what is done most."""
        global _last_call
        name, path = self.name, self.path
        self.id = -1
        if _finished:
            return
        count = 0
        try:
            if path is None:
                count = _paths.get(name, 0) + 1
                path = self.path = name if count == 1 else f"{name}#{count}"
            if path.__class__ is not str or name.__class__ is not str:
                path, name = text_of(path, "path"), text_of(name, "name")
            arguments = encoded(self.arguments, "arguments")
        except Exception as error:
            self.settle(None, error)
            return
        if len(_out) >= _COMMANDS_MAX:
            raise fault(_TOO_MANY_COMMANDS)
        if count:
            _paths[name] = count
        _last_call += 1
        self.id = _last_call
        _open[_last_call] = self
        _out.append((self.kind, _last_call, path, name, arguments))


class TimerCall(Call):
    """Due `due` milliseconds after 1970, or so many from when it is asked; gives `value` back."""

    __slots__ = ("due", "given")
    kind = TIMER

    def __init__(self, path: str | None, due: float, given: Any, *, is_wait: bool) -> None:
        Call.__init__(self, path)
        self.given = given
        self.due = (due, is_wait)

    def named(self) -> str:
        return "sleep"

    def command(self, id: int, path: str) -> tuple[Any, ...]:
        due, is_wait = self.due
        due = min(now + due if is_wait else due, INSTANT_MS_MAX)
        due = int(due) if due > now else now
        return (TIMER, id, text_of(path, "path"), due, encoded(self.given, "value"))


class HookCall(Call):
    __slots__ = ("given", "name")
    kind = HOOK

    def __init__(self, path: str | None, name: str, given: Any) -> None:
        Call.__init__(self, path)
        self.name = name
        self.given = given

    def named(self) -> str:
        return self.name

    def command(self, id: int, path: str) -> tuple[Any, ...]:
        return (HOOK, id, text_of(path, "path"), text_of(self.name, "name"), encoded(self.given, "value"))


class ChildCall(HookCall):
    """`name` is the id of the workflow, `given` its input."""

    __slots__ = ()
    kind = CHILD

    def command(self, id: int, path: str) -> tuple[Any, ...]:
        return (CHILD, id, text_of(path, "path"), text_of(self.name, "workflow"), encoded(self.given, "input"))


class OperationCall(StepCall):
    __slots__ = ()
    kind = OPERATION


INSTANT_MS_MAX: Final = 8_640_000_000_000_000  # the last millisecond JavaScript's Date can hold


def free_path(name: str) -> str:
    count = _paths[name] = _paths.get(name, 0) + 1
    return name if count == 1 else f"{name}#{count}"


def text_of(value: object, what: str) -> Any:
    if isinstance(value, str):
        return value
    raise TypeError(f"the {what} of a call is no text but a {type(value).__name__}")


def open_calls() -> list[Call]:
    """Those that somebody still waits for, in the order asked."""
    return [call for call in _open.values() if not call.given_up]


def drop(call: Call, *, told: bool) -> None:
    """What comes of an open call is not wanted; the host is told so, or knows it from what follows."""
    if call.given_up or (told and _finished):
        return
    if told:
        put((ABANDON, call.id))
    call.given_up = True
    call.waiters = None


def put(command: tuple[Any, ...]) -> None:
    if _finished:
        return
    if len(_out) >= _COMMANDS_MAX:
        raise fault(_TOO_MANY_COMMANDS)
    _out.append(command)


def entered(path: str, value: Any) -> None:
    """A nested workflow, map or foreach begins. Raises TypeError if the value cannot cross."""
    put((ENTERED, path, encoded(value, "value")))


def left(path: str, value: Any) -> None:
    put((LEFT, path, [0, encoded(value, "result", 1)]))


def left_failed(path: str, error: BaseException) -> None:
    put((LEFT, path, [1, crossing(error, 1)]))


# ── patches ─────────────────────────────────────────────────────────────────────────────────────────────────────────
_answers: dict[str, bool] = {}
_known: list[str] | None = None  # while newer code leads an old history again: the patches that it has


def patched(id: str) -> bool:
    """Whether this run takes the way that was added with the patch `id`; twin of `guest/js/prelude/patches.js`."""
    if not isinstance(id, str):
        raise TypeError("patched takes the name of a patch, a text")
    answer = _answers.get(id)
    if answer is None:
        answer = _answers[id] = _known is None or id in _known
        if answer:
            put((PATCHED, id))
    return answer


# ── what the driver calls ───────────────────────────────────────────────────────────────────────────────────────────
def load(source: str) -> None:
    """Run the source of a workflow as a module; its workflow is the function marked last by `@workflow`."""
    global _entry, _is_native
    module = ModuleType("workflow")
    sys.modules["workflow"] = module
    code: CodeType = compile(source, "<workflow>", "exec", dont_inherit=True)
    exec(code, module.__dict__)
    if _entry is None:
        raise TypeError("no function of the source is marked as its workflow: put @workflow above it")
    _is_native = getattr(_entry, "is_native", False)


def entry(function: Callable[..., Any]) -> None:
    """The function that `load` was looking for."""
    global _entry
    _entry = function


def log(level: int, text: str) -> None:
    """A log command; nothing before the run begins."""
    if _started:
        put((LOG, level, text))


def failure(error: BaseException) -> dict[str, Any]:
    return crossing(error)


def deliver(event: list[Any]) -> list[Any]:
    """Act on one event, run whatever becomes ready, and give what was asked for."""
    global _out, now
    kind = event[0]
    now = event[1]
    if kind == 1:
        call = _open.pop(event[2], None)
        if call is None or call.kind != STEP:
            raise _unknown()
        if len(event) == 5:
            dict.update(_state, event[4])  # its attributes are its keys
        if call.suspended:
            _suspend(call, False)
        waiter = call.waiters
        if waiter.__class__ is Task and not (call.given_up or _finished):
            # The queue is empty, so whoever would stand in it goes on at once.
            call.done = True
            call.waiters = None
            call.value = value = event[3]
            waiter._go(waiter.coroutine.send, value)
        elif not (call.given_up or _finished):
            call.settle(event[3])
    else:
        handler = _HANDLERS.get(kind)
        if handler is None:
            raise fault(_MALFORMED)
        handler(event)
    while _ready:
        _ready.popleft().step()
    said, _out = _out, []
    return said


def _answer(id: int, kind: int, value: Any, error: BaseException | None) -> None:
    call = _open.get(id)
    if call is None or call.kind != kind:
        raise _unknown()
    if call.suspended:
        _suspend(call, False)
    del _open[id]
    if not call.given_up and not _finished:
        call.settle(value, error)


def _unknown() -> BaseException:
    """No open call of that kind has this number, or nothing has begun."""
    return fault(_UNKNOWN_CALL if _started else _MALFORMED)


def _suspend(call: Call, whether: bool) -> None:
    if call.given_up or call.suspended is whether:
        return
    call.suspended = whether
    if not _finished:
        for told in on_suspended:
            told(call.path, whether)


def _on_start(event: list[Any]) -> None:
    global _state, _main, _started
    if _entry is None or _started:
        raise fault(_NO_WORKFLOW if _entry is None else _MALFORMED)
    value, given = event[3], event[4]
    _state = dict.setdefault(given, "state", {})
    dict.setdefault(given, "context", {})
    _started = True
    _main = Task(_whole(_entry, value, given))


async def _whole(function: Callable[..., Any], value: Any, given: dict[str, Any]) -> None:
    """The run: what its workflow comes to is its last command."""
    try:
        # A task of its own: its end is heard of one wake-up later, as that of a promise is.
        result = await Task(_called(function, value, given))
    except Bail as bail:
        _end(bail.value)
    except _FATAL:
        raise
    except BaseException as error:
        _end_failed(error)
    else:
        _end(result)


async def _called(function: Callable[..., Any], value: Any, given: dict[str, Any]) -> Any:
    made = function(value, given) if _takes_given(function) else function(value)
    return await made if hasattr(made, "__await__") else made


def _takes_given(function: Callable[..., Any]) -> bool:
    code: CodeType | None = getattr(function, "__code__", None)
    return code is None or code.co_argcount > 1 or bool(code.co_flags & CO_VARARGS)


def _end(value: Any) -> None:
    global _finished
    try:
        put((COMPLETE, encoded(value, "result")))
    except Exception as error:  # it cannot cross, or the author's own code for it raises
        put((FAIL, crossing(error)))
    _finish()


def _end_failed(error: BaseException) -> None:
    made = crossing(error)
    if _is_native and (frames := trace(error)):
        made["trace"] = frames
    put((FAIL, made))
    _finish()


def _finish() -> None:
    global _finished
    _finished = True
    _ready.clear()


def _on_replaying(event: list[Any]) -> None:
    global _known
    if _started or not isinstance(event[2], list):
        raise fault(_MALFORMED)
    _known = event[2]


def _on_upgraded(event: list[Any]) -> None:
    global _known
    if not _started:
        raise fault(_MALFORMED)
    _known = None


def _on_failed(event: list[Any]) -> None:
    _answer(event[2], STEP, None, raised(event[3]))


def _on_suspended(event: list[Any]) -> None:
    call = _open.get(event[2])
    if call is None or call.kind != STEP:
        raise _unknown()
    _suspend(call, event[0] == 3)


def _on_fired(event: list[Any]) -> None:
    call = _open.get(event[2])
    _answer(event[2], TIMER, call.given if isinstance(call, TimerCall) else None, None)


def _on_received(event: list[Any]) -> None:
    _answer(event[2], HOOK, event[3], None)


def _on_outcome(event: list[Any]) -> None:
    """Of a child run, or of a recorded host operation."""
    failed, value = event[3]
    error = raised(value) if failed else None
    _answer(event[2], CHILD if event[0] == 6 else OPERATION, None if failed else value, error)


def _on_cancel(event: list[Any]) -> None:
    """A run in a native workflow is told where it waits; generated code is not, as in JavaScript."""
    if _is_native and _main is not None and isinstance(_main.on, Task):
        _main.on.give_up()


def _on_bailed(event: list[Any]) -> None:
    if len(event) == 5:
        dict.update(_state, event[4])
    _answer(event[2], STEP, None, Bail(event[3]))


_HANDLERS: Final[dict[int, Callable[[list[Any]], None]]] = {
    0: _on_start,
    2: _on_failed,
    3: _on_suspended,
    4: _on_fired,
    5: _on_received,
    6: _on_outcome,
    7: _on_cancel,
    8: _on_outcome,
    9: _on_suspended,
    10: _on_bailed,
    11: _on_upgraded,
    12: _on_replaying,
}
