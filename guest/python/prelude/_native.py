"""What workflows in Python are written with: `step`, `sleep`, `wait_for_event` and their like; `_together` has the rest.

Calls take their name as their path, and from the second on `name#2`, `name#3` …, in the order in which they are asked. A call
is asked for when it is awaited, or when `gather` or `race` begins it, as a coroutine is.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, NoReturn

from _cloche import StepCall, encoded, free_path, now_ms, put

from . import _loop, flow
from ._calls import Taking, input_of, shape_of, signature_of, stub_of
from ._commands import DEADLINE, INSTANT_MS_MAX, TAGS, ChildCall, TimerCall
from ._failures import Continued, declare
from ._names import TAGS_MAX, check_child, check_event, check_tag
from ._scopes import enter_scope, leave_scope, scope_named
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
        return Step(StepCall, target, path)
    types = typed(
        options.get("returns"), options.get("takes")
    )  # no parameters: they would cost each call that has neither
    return Step(StepCall, shape_of(target, signature, types), path)


class Step(partial[StepCall]):
    """A step of the host inside: calling it is asking for it. It says what is missing where it is awaited itself."""

    def __await__(self) -> NoReturn:
        raise _loop.not_ours(self)


def _decorated(id: str | None, function: Any) -> Any:
    return Step(StepCall, shape_of(id or function.__name__, signature_of(function, "ctx", "context")), None)


def child(
    id: str, signature: str | None = None, *, by_name: bool = False, returns: Any = None, takes: Any = None
) -> Any:
    """What a workflow of the host is inside: called like a function, it is a run of its own. Its input is its argument, or
    `by_name`, and wherever others are given, a mapping of all of them. `returns` and `takes` describe the types of its result
    and its arguments."""
    types = typed(returns, takes)
    if signature is None:
        return Child(partial(ChildCall, None, id, types=types), id, types)
    stub = stub_of(signature)

    def call(*arguments: Any, **keywords: Any) -> ChildCall:
        return ChildCall(None, id, input_of(stub, arguments, keywords, by_name=by_name), types)

    return Child(call, id, types)


class Child:
    """A workflow of the host inside."""

    __slots__ = ("_call", "id", "types")

    def __init__(self, call: Callable[..., ChildCall], id: str, types: list[Any] | None) -> None:
        self._call, self.id, self.types = call, id, types

    def __call__(self, *arguments: Any, **keywords: Any) -> ChildCall:
        return self._call(*arguments, **keywords)


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

    Its parameters are its input: the value itself if one needs a value, or a mapping of them by name. One that is named
    `given`, or the second of two without annotations, gets what was given beside it. `exceptions` are those of the author's
    that it has, by their qualified names. `returns`, `takes` and `state` describe types: of its result, of its parameters and
    of the keys of its state, by their names.
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


# ── waiting ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def sleep(seconds: float | timedelta | str = 0, /, *, name: str | None = None, **parts: float) -> TimerCall:
    """Wait `seconds`, `"3 days"`, or `days=3`, `hours=1, minutes=30`: what `timedelta` takes. `name`: what it is called."""
    return TimerCall(None, _ms(seconds, parts), None, is_wait=True, name=_name(name))


def _name(name: str | None) -> str | None:
    return None if name is None else scope_named(name)


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
    try:
        whole = duration if isinstance(duration, timedelta) else timedelta(seconds=duration)
        return round((whole + timedelta(**(parts or {}))) / timedelta(milliseconds=1))
    except (OverflowError, ValueError):  # NaN, 1e300
        raise ValueError(
            "a time to wait is a number of seconds below 86,400,000,000,000, a timedelta, or a text such as '3 days'"
        ) from None


def sleep_until(when: datetime, *, name: str | None = None) -> TimerCall:
    """Wait until a moment; one without a time zone is taken as UTC."""
    return TimerCall(None, flow.milliseconds(when), None, is_wait=False, name=_name(name))


async def wait_for_event(
    name: str,
    *,
    schema: Any = None,
    timeout: float | timedelta | str | None = None,
    heartbeat: float | timedelta | str | None = None,
) -> Any:
    """What the event `name` carries, of the type `schema`; EventTimeout after `timeout` (seconds or a timedelta).

    `heartbeat`: whoever is to send it says before so much time has passed, again and again, that it is still at it; else
    HeartbeatTimeout. A failure that is sent in place of the event is raised. What is no name is a ValueError, or a TypeError if
    it is no text.
    """
    check_event(name)
    read = None if schema is None else reader(of_annotation(schema))
    beat = None if heartbeat is None else _positive(heartbeat)
    value = await flow.wait_for_event(free_path(name), name, None, None if timeout is None else _ms(timeout), beat)
    return value if read is None else read(value)


def _positive(heartbeat: float | timedelta | str) -> int:
    ms = _ms(heartbeat)
    if ms < 1:
        raise ValueError("heartbeat is a time of at least a millisecond")
    return ms


def start_child(workflow: Any, input: Any = None, *, id: str | None = None, name: str | None = None) -> ChildCall:
    """The result of a run of its own; its failure is raised. `workflow` is a workflow, or its id. `name` is what the call is
    called, by default the workflow; `id` what the run is called under this one, in the place of a number. RunConflict, if the
    run has had a child of that id.

    Raises:
        TypeError: it is neither, or the id is no text.
        ValueError: the id is none.
    """
    types = None
    if isinstance(workflow, Child):
        workflow, types = workflow.id, workflow.types
    elif not isinstance(workflow, str):
        what = "a step: await it" if isinstance(workflow, partial) else f"a {type(workflow).__name__}"
        raise TypeError(f"start_child takes a workflow or its id, and this is {what}")
    if id is not None:
        check_child(id)
    return ChildCall(None, workflow, input, types, called=_name(name), id=id)


# ── what the run says of itself ─────────────────────────────────────────────────────────────────────────────────────
class scope:
    """`with scope("refund"):` what is called inside has a path that begins with `refund/`."""

    __slots__ = ("_before", "name")

    def __init__(self, name: str) -> None:
        self.name = scope_named(name)

    def __enter__(self) -> scope:
        self._before = enter_scope(self.name)
        return self

    def __exit__(self, *_: object) -> None:
        leave_scope(self._before)


def set_tags(**tags: str | int | float | bool | None) -> None:
    """Tags that the run can be found by, beside those that it has: a text, number or bool each; None removes one."""
    for name, value in tags.items():
        check_tag(name, value)
    if not 0 < len(tags) <= TAGS_MAX:
        raise ValueError(f"set_tags takes 1 to {TAGS_MAX} tags at a time, not {len(tags)}")
    put((TAGS, encoded(tags, "tags")))


def set_deadline(when: datetime | timedelta | float | None = None, /, **parts: float) -> None:
    """When the run must have ended: a moment, or a time from now as `sleep` takes it. None takes it back.

    Then the run is told to end as if it was canceled: it cleans up, and fails with DeadlineExceeded.
    """
    if when is None and not parts:
        put((DEADLINE,))
        return
    due = flow.milliseconds(when) if isinstance(when, datetime) else now_ms() + _ms(when or 0, parts)
    put((DEADLINE, max(0, min(int(due), INSTANT_MS_MAX))))


async def continue_as_new(*arguments: Any, **keywords: Any) -> NoReturn:
    """End this history of the run, and go on as the next one: the workflow is called anew, with these arguments.

    The run keeps its id, tags and deadline, and whoever waits for it goes on waiting. What is open is given up: tasks and
    children are canceled.

    Raises:
        TypeError: the arguments do not fit the workflow.
    """
    raise Continued(_loop.input_for(arguments, keywords))


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
