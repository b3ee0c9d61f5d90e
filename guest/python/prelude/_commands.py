"""Commands: their numbers, and the calls that are no steps: timers, hooks and child runs. Steps are the driver's."""

from __future__ import annotations

from typing import Any, Final

from _cloche import Call, encoded, now_ms

from ._types import with_text_keys

STEP, TIMER, HOOK, CHILD, LOG, ENTERED, LEFT, COMPLETE, FAIL, ABANDON = range(10)
PATCHED, TAGS, DEADLINE, CONTINUE = 11, 12, 13, 14
INSTANT_MS_MAX: Final = 8_640_000_000_000_000  # the last millisecond JavaScript's Date can hold


class TimerCall(Call):
    """Due `due` milliseconds after 1970, or so many from when it is asked; gives `value` back."""

    __slots__ = ("called", "due", "given", "is_wait")

    def __init__(self, path: str | None, due: float, given: Any, *, is_wait: bool, name: str | None = None) -> None:
        self.called = name
        self.kind = TIMER
        self.path = path
        self.due = due
        self.given = given
        self.is_wait = is_wait

    def named(self) -> str:
        return self.called or "sleep"

    def rest(self) -> tuple[Any, ...]:
        now = now_ms()
        due = min(now + self.due if self.is_wait else self.due, INSTANT_MS_MAX)
        return (int(due) if due > now else now, encoded(self.given, "value"))


class HookCall(Call):
    """`options` are those of the command: `token`, `heartbeat` in milliseconds."""

    __slots__ = ("called", "given", "name", "options")

    def __init__(
        self,
        path: str | None,
        name: str,
        given: Any,
        options: dict[str, Any] | None = None,
        called: str | None = None,
    ) -> None:
        self.kind = HOOK
        self.path = path
        self.name = name
        self.given = given
        self.options = options
        self.called = called

    def named(self) -> str:
        return self.called or self.name

    def rest(self) -> tuple[Any, ...]:
        asked = (_text_of(self.name, "name"), encoded(self.given, "value"))
        return asked if self.options is None else (*asked, encoded(self.options, "options"))


class ChildCall(HookCall):
    """`name` is the id of the workflow, `given` its input; `types` are as of `_types.typed`, `id` is what the run is called."""

    __slots__ = ("typed",)

    def __init__(
        self,
        path: str | None,
        name: str,
        given: Any = None,
        types: list[Any] | None = None,
        called: str | None = None,
        id: str | None = None,
    ) -> None:
        HookCall.__init__(self, path, name, given, None if id is None else {"id": id}, called)
        self.kind = CHILD
        self.typed = types

    def rest(self) -> tuple[Any, ...]:
        is_odd = self.typed is not None and self.typed[1] is not None
        given = with_text_keys(self.given) if is_odd else self.given
        asked = (_text_of(self.name, "workflow"), encoded(given, "input"))
        return asked if self.options is None else (*asked, encoded(self.options, "options"))


def _text_of(value: object, what: str) -> Any:
    if isinstance(value, str):
        return value
    raise TypeError(f"the {what} of a call is no text but a {type(value).__name__}")
