"""Python functions of an author, as generated code calls them: on copies, so that nothing they do to their arguments is seen.

DirectEngine runs this file as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from _cloche import Data, plain

from ._values import MISSING


class Context:
    """The second argument of a function: what its workflow knows at this place."""

    def __init__(self, steps: Mapping[str, Any] | None = None, **names: Any) -> None:
        self.__dict__.update({name: _copied(value) for name, value in names.items()})
        known = {id: _copied(value) for id, value in (steps or {}).items() if value is not MISSING}
        self.steps = Data(known)

    def get_step_result(self, id: Any) -> Any:
        """The result of a step, None if it has none."""
        return dict.get(self.steps, getattr(id, "id", id))

    def get_init_data(self) -> Any:
        return self.init_data  # type: ignore[attr-defined]


def applied(function: Callable[..., Any], data: Any, *context: Context) -> Any:
    """What the function gives, copied."""
    return plain(function(_copied(data), *context), "result")


def holds(function: Callable[..., Any], data: Any, *context: Context) -> bool:
    """Whether Python takes what the function gives as true."""
    return bool(function(_copied(data), *context))


def lasting(function: Callable[..., Any], data: Any, *context: Context) -> Any:
    """What the function gives; a timedelta as its number of seconds."""
    value = function(_copied(data), *context)
    return value.total_seconds() if isinstance(value, timedelta) else plain(value, "result")


def _copied(value: Any) -> Any:
    return value if value is None or value.__class__ in (str, int, bool, float) else plain(value, "data")
