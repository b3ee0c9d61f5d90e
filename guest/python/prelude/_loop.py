"""The loop: what becomes of each event, the calls that are no steps, and the end of a run.

Promises, tasks and steps are the driver's (`src/promises.c`, `src/calls.c`), and so is the event that a step is completed:
that is the hot path. Here is everything else. All of it is module state: there is one run in a guest.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import CodeType, CoroutineType, ModuleType
from typing import Any, Final

from _cloche import (
    Call,
    Lazy,
    Promise,
    Task,
    encoded,
    fault,
    finish,
    is_finished,
    never_awaited,
    open_calls,
    put,
    trace,
)

from ._calls import Taking, input_of, signature_of, stub_of
from ._commands import (
    CHILD,
    COMPLETE,
    CONTINUE,
    ENTERED,
    FAIL,
    HOOK,
    LEFT,
    LOG,
    PATCHED,
    STEP,
    TIMER,
    TimerCall,
)
from ._failures import Bail, Canceled, Continued, DeadlineExceeded, crossing, know, raised
from ._types import resolve, with_text_keys

_MALFORMED, _NO_WORKFLOW, _UNKNOWN_CALL = -1, -4, -7
_FATAL: Final = (MemoryError,)  # the driver ends the cell; no workflow may go on after it

_state: dict[str, Any] = {}
_entry: Callable[..., Any] | None = None
_taking: Taking | None = None  # how it is called
_state_types: dict[str, list[Any] | None] = {}
_result_types: list[Any] | None = None
_main: Task | None = None
_started = False
_is_native = False
_is_told_to_end = False
_is_overdue = False  # it is told to end because its deadline has passed
begun: dict[Any, None] = {}  # the tasks of `create_task` that have not ended
end_begun: Callable[[], Any] | None = None  # of `_together`
on_suspended: list[Callable[[str, bool], None]] = []  # the blocks of generated code listen here


def not_ours(awaited: object) -> TypeError:
    """What is thrown where something is awaited that the loop does not know."""
    if callable(awaited):
        return TypeError("a function cannot be awaited in a workflow: call it, as in await charge(order)")
    several = "; give several one by one: gather(*calls)" if isinstance(awaited, list | tuple) else ""
    if isinstance(awaited, dict):
        several = "; give several one by one: gather(*calls.values()), or race(**calls) by name"
    return TypeError(
        f"{type(awaited).__name__} cannot be awaited in a workflow: await steps, sleeps and events{several}"
    )


def promise_of(awaitable: Any) -> Promise:
    """Begin what can be awaited. Raises TypeError for anything else."""
    if isinstance(awaitable, Promise):
        if isinstance(awaitable, Lazy) and awaitable.id == 0:
            awaitable.begin()
        return awaitable
    if isinstance(awaitable, CoroutineType):
        return Task(awaitable)
    if hasattr(awaitable, "__await__") and not isinstance(awaitable, partial):  # a step that was not called
        return Task(_awaiting(awaitable))
    raise not_ours(awaitable)


async def _awaiting(awaitable: Any) -> Any:
    return await awaitable


def waited_for() -> list[Call]:
    """The open calls that somebody still waits for, in the order asked."""
    return [call for call in open_calls.values() if not call.abandoned]


def entered(path: str, value: Any) -> None:
    """A nested workflow, map or foreach begins. Raises TypeError if the value cannot cross."""
    put((ENTERED, path, encoded(value, "value")))


def left(path: str, value: Any) -> None:
    put((LEFT, path, [0, encoded(value, "result", 1)]))


def left_failed(path: str, error: BaseException) -> None:
    put((LEFT, path, [1, crossing(error, 1, with_own=_is_native)]))


# ── patches ─────────────────────────────────────────────────────────────────────────────────────────────────────────
_answers: dict[str, bool] = {}
_known: list[str] | None = None  # while newer code replays an old history: the patches that it has


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


def execute(source: str, file: str, names: dict[str, Any]) -> None:
    """Run the source of a module. The guest's world has a faster way for large ones (`_world.sources`)."""
    exec(compile(source, file, "exec", dont_inherit=True), names)


around: Callable[[Any], Any] | None = None  # what awaits the workflow's coroutine in its own way (`_world.aio`)


# ── what the driver calls ───────────────────────────────────────────────────────────────────────────────────────────
def load(source: str) -> None:
    """Run the source of a workflow as a module; its workflow is the function marked last by `@workflow`."""
    global _entry, _is_native
    module = ModuleType("workflow")
    sys.modules["workflow"] = module
    execute(source, "<workflow>", module.__dict__)
    know(module.__dict__)
    resolve(module.__dict__)
    if _entry is None:
        raise TypeError("no function of the source is marked as its workflow: put @workflow above it")
    _is_native = getattr(_entry, "is_native", False)


def entry(
    function: Callable[..., Any],
    taking: Taking | None = None,
    keys: dict[str, list[Any] | None] | None = None,
    written: list[Any] | None = None,
) -> None:
    """The function that `load` was looking for. `keys` read those of its state, `written` writes its result."""
    global _entry, _taking, _state_types, _result_types
    _entry, _taking = function, taking or Taking(function)
    _state_types, _result_types = keys or {}, written


def log(level: int, text: str) -> None:
    """A log command; nothing before the run begins."""
    if _started:
        put((LOG, level, text))


def failure(error: BaseException) -> dict[str, Any]:
    return crossing(error)


def deliver(event: list[Any]) -> None:
    """Act on one event; the driver runs whatever becomes ready, and takes what was asked for."""
    handler = _HANDLERS.get(event[0])
    if handler is None:
        raise fault(_MALFORMED)
    handler(event)


def _on_completed(event: list[Any]) -> None:
    """Of a step that wrote the state; without that the driver does it itself."""
    _merge(event[4])
    _answer(event[2], STEP, event[3], None)


def _merge(patch: dict[str, Any]) -> None:
    """Keys of the state, as the values of their types. What does not fit its type is left as it crossed."""
    for name, types in _state_types.items():
        if types is not None and types[0] is not None and name in patch:
            with suppress(Exception):
                patch[name] = types[0](patch[name])
    dict.update(_state, patch)  # its attributes are its keys


def _answer(id: int, kind: int, value: Any, error: BaseException | None) -> None:
    call = _open(id, kind)
    if call.suspended:
        suspend(call, False)
    del open_calls[id]
    if not call.abandoned and not is_finished():
        types = getattr(call, "typed", None)
        if error is None and types is not None and types[0] is not None:
            try:
                value = types[0](value)
            except _FATAL:
                raise
            except Exception as misfit:
                value, error = None, misfit
        call.settle(value, error)


def _open(id: int, kind: int) -> Call:
    call = open_calls.get(id)
    if call is None or call.kind != kind:
        raise _unknown()
    return call


def _unknown() -> BaseException:
    """No open call of that kind has this number, or nothing has begun."""
    return fault(_UNKNOWN_CALL if _started else _MALFORMED)


def suspend(call: Call, whether: bool = False) -> None:
    """Whether it waits for data from outside. The driver says so of one that is completed: it does not any more."""
    if call.abandoned or call.suspended is whether:
        return
    call.suspended = whether
    if not is_finished():
        for listener in on_suspended:
            listener(call.path, whether)


_run: dict[str, Any] = {}  # what it may know of itself


def hook_key() -> bytes:
    """What the tokens of its hooks are made from.

    Raises:
        RuntimeError: the host has given none.
    """
    key = _run.get("tokens")
    if type(key) is not bytes:
        raise RuntimeError("this run has no key for tokens of hooks: give create_hook a token of your own")
    return key


def _on_start(event: list[Any]) -> None:
    global _state, _main, _run, _started
    if _entry is None or _started:
        raise fault(_NO_WORKFLOW if _entry is None else _MALFORMED)
    value, given = event[3], event[4]
    _state = dict.setdefault(given, "state", {})
    if _state_types:
        _merge(dict(dict.items(_state)))
    dict.setdefault(given, "context", {})
    _run = dict.get(given, "run") or _run
    _started = True
    _main = Task(_whole(_entry, value, given))


async def _whole(function: Callable[..., Any], value: Any, given: dict[str, Any]) -> None:
    """The run: what its workflow comes to is its last command."""
    try:
        # A task of its own: its end is heard of one wake-up later, as that of a promise is.
        result = await Task(_called(function, value, given))
    except Continued as continued:
        if _is_told_to_end:
            _end_failed(Canceled("the run was told to end, and does not go on as a new one"))
        else:
            _end(continued.value, CONTINUE)
    except Bail as bail:
        _end(bail.value)
    except _FATAL:
        raise
    except BaseException as error:
        _end_failed(error)
    else:
        _end(result)


async def _called(function: Callable[..., Any], value: Any, given: dict[str, Any]) -> Any:
    made = _taking.call(function, value, given) if _taking is not None else function(value)
    if not hasattr(made, "__await__"):
        return made
    try:
        result = await (made if around is None else around(made))
    except Bail as bail:
        if isinstance(bail, Continued) and begun and end_begun is not None:
            await end_begun()
        raise  # what it ends, it ends at once
    except BaseException:
        if begun and end_begun is not None:
            await end_begun()
        raise
    if begun and end_begun is not None:
        await end_begun()
    return result


def input_for(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """The input of a run of this workflow that is called so. Raises TypeError as the call would."""
    function: Any = _entry
    if _taking is None or getattr(function, "__code__", None) is None:
        raise TypeError("continue_as_new is for workflows that are written as a function")
    stub = stub_of(signature_of(function, "given"))
    return input_of(stub, arguments, keywords, by_name=_taking.how == "names")


def _end(value: Any, command: int = COMPLETE) -> None:
    if _is_native and (forgotten := never_awaited()) is not None:
        _end_forgotten(*forgotten)
        return
    try:
        is_odd = command == CONTINUE or (_result_types is not None and _result_types[1] is not None)
        what = "result" if command == COMPLETE else "input"
        put((command, encoded(with_text_keys(value) if is_odd else value, what)))
    except Exception as error:  # it cannot cross, or the author's own code for it raises
        put((FAIL, crossing(error, with_own=_is_native)))
    finish()


def _end_forgotten(name: str, code: CodeType, offset: int) -> None:
    """A call that was made and never awaited was never asked for: the run has not done what its code says.

    The message names no line: that of this source is not the author's. The host finds it from the trace.
    """
    line = next((at for start, end, at in code.co_lines() if start <= offset < end), None)
    message = f"'{name}' was called and never awaited, so it never ran: write await {name}(...)"
    made: dict[str, Any] = {"name": "RuntimeError", "message": message}
    if line is not None:
        made["trace"] = [[line, code.co_qualname]]
    put((FAIL, made))
    finish()


def _end_failed(error: BaseException) -> None:
    if _is_overdue and isinstance(error, Canceled):
        error = DeadlineExceeded(_OVERDUE)
    made = crossing(error, with_own=_is_native)
    if _is_native and (frames := trace(error)):
        made["trace"] = frames
    put((FAIL, made))
    finish()


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
    if len(event) == 5:
        _merge(event[4])
    suspend(_open(event[2], STEP), event[0] == 3)


def _on_fired(event: list[Any]) -> None:
    call = open_calls.get(event[2])
    _answer(event[2], TIMER, call.given if isinstance(call, TimerCall) else None, None)


def _on_received(event: list[Any]) -> None:
    _answer(event[2], HOOK, event[3], None)


def _on_hook_failed(event: list[Any]) -> None:
    _answer(event[2], HOOK, None, raised(event[3]))


def _on_child_ended(event: list[Any]) -> None:
    failed, value = event[3]
    error = raised(value) if failed else None
    _answer(event[2], CHILD, None if failed else value, error)


_OVERDUE: Final = "the deadline of the run has passed"  # the reason that the host cancels it for


def _on_cancel(event: list[Any]) -> None:
    """A run in a native workflow is told where it waits; generated code is not, as in JavaScript."""
    global _is_overdue, _is_told_to_end
    _is_told_to_end = True
    if _is_native and _main is not None and isinstance(_main.on, Task):
        _is_overdue = len(event) > 2 and event[2] == _OVERDUE
        _main.on.abandon()


def _on_bailed(event: list[Any]) -> None:
    if len(event) == 5:
        _merge(event[4])
    _answer(event[2], STEP, None, Bail(event[3]))


_HANDLERS: Final[dict[int, Callable[[list[Any]], None]]] = {
    0: _on_start,
    1: _on_completed,
    2: _on_failed,
    3: _on_suspended,
    4: _on_fired,
    5: _on_received,
    6: _on_child_ended,
    7: _on_cancel,
    9: _on_suspended,
    10: _on_bailed,
    11: _on_upgraded,
    12: _on_replaying,
    13: _on_hook_failed,
}
