"""The memos of a run on Inngest, read from the context that its SDK gives a function, and what an attempt left in one."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from cloche.foreign.conductor import CallEvent, unpacked
from cloche.history import Failure


class Memos:
    """What Inngest remembers of a run, in the order in which it came.

    The one place that reaches into the SDK: its context shows neither the order (`ctx.stack` of the SDK specification) nor all
    memos at once.
    """

    def __init__(self, ctx: Any) -> None:
        execution: Any = ctx.step._execution
        self.order: list[str] = list(execution._request.ctx.stack.stack or ())
        self.target: str | None = ctx.step._target_hashed_id  # the one step that this request is to run
        self._memos: dict[str, Any] = execution._memos._memos

    def entries(self) -> list[tuple[str, Any]]:
        """The key of each, and what it was given, in their order."""
        return [(key, self.data(key)) for key in self.order if key in self._memos]

    def data(self, key: str) -> Any:
        """What a step gave; None for a sleep."""
        found = self._memos[key].data
        return None if type(found).__name__ == "EmptySentinel" else found

    def error(self, key: str) -> Failure | None:
        """The failure of a step that Inngest gave up."""
        error = self._memos[key].error
        return Failure(error.name, error.message) if error is not None else None

    def forget(self) -> None:
        """The SDK calls its middleware back when a step is new, which it knows by there being no memo any more."""
        self._memos.clear()


def hashed(id: str) -> str:
    """The key of a step's memo."""
    return hashlib.sha1(id.encode()).hexdigest()


def is_attempt(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("event"), str) and "path" in value


def is_simple(value: Any) -> bool:
    """A memo that says itself which call it answers, and whose event does not depend on where the run stands."""
    return is_attempt(value) and "base" not in value and "abort" not in value


def ended_with(value: dict[str, Any]) -> CallEvent:
    return unpacked(base64.b64decode(value["event"]))
