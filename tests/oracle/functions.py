"""Python functions of a graph, run in this process on copies: the source that the Python guest would run.

They see what they would see in there: mappings with attribute access, the builtins that are safe, and the modules that are
inside the guest. That is a fence against mistakes, not against malice: nothing is isolated on this engine.

Two things are this process's own, where the guest has the run's: the clock (`datetime.now()` is the time of this machine, in
the guest that of the event) and the order of a set of texts (the guest's hash seed is fixed). A function that needs either
takes the time from an input or a step, and sorts the set.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Final

from cloche.errors import InvalidInput
from cloche.history.values import plain
from cloche_codegen.conditions.functions.captures import PURE_MODULES, SAFE_BUILTINS
from cloche_codegen.conditions.values import MISSING
from oracle.values import EPOCH, Binary, Error, Instant, Moment, Opaque, Thrown, failure_of, received

_SAFE: Final = {name: getattr(builtins, name) for name in SAFE_BUILTINS}


class Data(dict[str, Any]):
    """A mapping with attribute access: `data.name` is the key `name` if there is one, else what every dict has.

    Names that begin with `__` are dict's alone. Setting and deleting work on keys.
    """

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        if name in self and not name.startswith("__"):
            return self[name]
        return dict.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self:
            raise AttributeError(name)
        del self[name]


class Context(SimpleNamespace):
    """The second argument of a function: what its workflow knows at this place."""

    def __init__(self, names: Mapping[str, Any], results: Mapping[str, Any]) -> None:
        super().__init__(**names, steps=Data(results))

    def get_step_result(self, id: Any) -> Any:
        """The result of a step, None if it has none."""
        return dict.get(self.steps, getattr(id, "id", id))

    def get_init_data(self) -> Any:
        return self.init_data


def _import(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
    if level or name not in PURE_MODULES:
        raise ModuleNotFoundError(f"{name} is not inside the Python guest: make what needs it a step", name=name)
    return __import__(name, {}, {}, fromlist, 0)


def compiled(source: str, name: str) -> Callable[..., Any]:
    """The function that a checked source defines."""
    space: dict[str, Any] = {
        "__builtins__": {**_SAFE, "__import__": _import, "__build_class__": __build_class__},
        "__name__": "workflow",
    }
    exec(compile(source, f"<{name}>", "exec", dont_inherit=True), space)
    found: Callable[..., Any] = space[name]
    return found


def call(function: Callable[..., Any], arguments: list[Any], gives: str) -> Any:
    """What the function gives for copies of the arguments, as `tree.Apply` says.

    Raises:
        Thrown: what it raised, or why its value cannot cross.
    """
    try:
        value = function(*arguments)
        if gives == "truth":
            return bool(value)
        if gives == "seconds" and isinstance(value, timedelta):
            return value.total_seconds()
        return received(plain(value, "result"), "python")
    except InvalidInput as error:
        raise Thrown(Error("TypeError", str(error))) from None
    except MemoryError:
        raise
    except Exception as error:
        raise Thrown(_error(error)) from None


def _error(error: BaseException) -> Error:
    cause = error.__cause__
    own = {name: value for name, value in vars(error).items() if not name.startswith("_")}
    crossing = {name: value for name, value in ((name, _crossing(own[name])) for name in own) if value is not MISSING}
    data = crossing.pop("data", MISSING)
    return Error(type(error).__name__, str(error), data, MISSING if cause is None else _error(cause), crossing)


def _crossing(value: Any) -> Any:
    """An attribute of an exception, MISSING if it cannot cross."""
    try:
        return received(plain(value, "data"), "python")
    except InvalidInput:
        return MISSING


def copied(value: Any) -> Any:
    """A value of the interpreter as a Python function sees it; nothing of it is shared."""
    kind = type(value)
    if kind is dict:
        return Data({key: copied(item) for key, item in value.items() if item is not MISSING})
    if kind is list:
        return [copied(item) for item in value]
    if value is MISSING:
        return None
    if kind is Moment:
        return value.moment
    if kind is Instant:
        return _moment(value)
    if kind is Binary:
        return bytes(value)
    if kind is Error:
        return copied(failure_of(value))
    if kind is Opaque:
        raise Thrown(Error("TypeError", f"data {value.refusal}"))
    return int(value) if isinstance(value, int) and kind is not bool else value


def _moment(value: Instant) -> datetime:
    if value.ms is None or value.refusal:
        raise Thrown(Error("TypeError", f"data {value.refusal}"))
    return (EPOCH + timedelta(milliseconds=value.ms)).astimezone(UTC)
