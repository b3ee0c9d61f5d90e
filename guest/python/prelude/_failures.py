"""Failures: how an exception crosses the glass, and what a failure that comes in is raised as.

A failure is data, `{name, message, data?, cause?}`. Inside it is a `Failure`, and where its name is that of a plain
built-in exception, or of one that the workflow defines, also that one, so that `except ValueError` and `except OutOfStock` hear
of a step that raised one.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Any, Final

from _cloche import encoded

from ._values import MISSING

_DEPTH_MAX: Final = 64


class Failure(Exception):
    """A step, child run or wait failed: `name`, `message`, `data` (None without) and `cause` (a Failure or None)."""

    def __init__(self, message: str = "", *, name: str | None = None, data: Any = MISSING, cause: Any = None) -> None:
        Exception.__init__(self, message)  # not that of an author's class, which may want something else
        self._name = name or type(self).__name__
        self._message = message
        self._data = data
        self._cause = cause
        if isinstance(cause, BaseException):
            self.__cause__ = cause

    def __str__(self) -> str:
        return self._message

    @property
    def name(self) -> str:
        return self._name

    @property
    def message(self) -> str:
        return self._message

    @property
    def data(self) -> Any:
        return None if self._data is MISSING else self._data

    @property
    def cause(self) -> BaseException | None:
        return self.__cause__


class EventTimeout(Failure, TimeoutError):
    """No event came in time."""


class Canceled(BaseException):
    """Thrown where a task waits that is not wanted any more; let it pass, and clean up in `finally`."""


class Bail(BaseException):
    """What the call of a step that bailed is rejected with: it ends the innermost workflow, well."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


_BUILT_IN: Final = {
    kind.__name__: kind
    for kind in (
        ArithmeticError, AssertionError, AttributeError, IndexError, KeyError, LookupError, NotImplementedError,
        OverflowError, PermissionError, RuntimeError, TimeoutError, TypeError, ValueError, ZeroDivisionError,
    )
}  # fmt: skip


_own_kinds: dict[str, type[Exception]] = {}


def know(names: dict[str, Any]) -> None:
    """The exceptions that a workflow's module defines: a failure of that name is raised as one."""
    for name, value in names.items():
        if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == names["__name__"]:
            _own_kinds[name] = value


@cache
def _class_of(name: str) -> type[Failure]:
    other = _own_kinds.get(name) or _BUILT_IN.get(name)
    try:
        return Failure if other is None else type(name, (Failure, other), {"__module__": "cloche"})
    except TypeError:  # the two cannot be one
        return Failure


def raised(failure: dict[str, Any]) -> Failure:
    """The exception a failure that enters becomes. Data that the author's exception held as attributes are attributes again."""
    cause, data, name = failure.get("cause"), failure.get("data", MISSING), failure["name"]
    made = None if cause is None else raised(cause)
    kind = _class_of(name)
    try:
        error = kind(failure["message"], name=name, data=data, cause=made)
    except Exception:  # the author's class makes its objects in a way of its own
        return Failure(failure["message"], name=name, data=data, cause=made)
    if name in _own_kinds and isinstance(data, dict):
        for key, value in data.items():
            if not hasattr(error, key):
                with suppress(Exception):
                    setattr(error, key, value)
    return error


def shown(error: BaseException) -> str:
    name, message = _named(error)
    return f"{name}: {message}"


def _named(error: BaseException) -> tuple[str, str]:
    if isinstance(error, Failure):
        return error._name, error._message
    try:
        return type(error).__name__, str(error)
    except Exception:
        return type(error).__name__, "an error that cannot be shown"


def failure_of(error: BaseException) -> dict[str, Any]:
    """A failure as data inside the workflow, as settled blocks give it."""
    name, message = _named(error)
    made: dict[str, Any] = {"name": name, "message": message}
    data = error._data if isinstance(error, Failure) else _own(error).get("data", MISSING)
    if data is not MISSING:
        made["data"] = data
    if isinstance(error.__cause__, Exception):
        made["cause"] = failure_of(error.__cause__)
    return made


def crossing(error: BaseException, depth: int = 0, around: tuple[BaseException, ...] = ()) -> dict[str, Any]:
    """The failure that goes out. Data that cannot cross is left out, and so is a cause that is too deep or around it."""
    name, message = _named(error)
    made: dict[str, Any] = {"name": name, "message": message}
    data = error._data if isinstance(error, Failure) else _data_of(error, depth)
    if data is not MISSING:
        with suppress(Exception):
            made["data"] = encoded(data, "data", depth + 1)
    cause, around = error.__cause__, (*around, error)
    if isinstance(cause, Exception) and depth + 1 < _DEPTH_MAX and all(cause is not one for one in around):
        made["cause"] = crossing(cause, depth + 1, around)
    return made


def _own(error: BaseException) -> dict[str, Any]:
    return {key: value for key, value in getattr(error, "__dict__", {}).items() if not key.startswith("_")}


def _data_of(error: BaseException, depth: int) -> Any:
    """An exception's own attribute `data`, or all of its own that can cross; MISSING without any."""
    own = _own(error)
    if "data" in own:
        return own["data"]
    made = {}
    for key, value in own.items():
        try:
            encoded(value, key, depth + 2)
        except Exception:
            continue
        made[key] = value
    return made or MISSING
