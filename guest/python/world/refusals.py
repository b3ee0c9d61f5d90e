"""What stands where something of the outside would be: it refuses, and says what to do instead."""

from __future__ import annotations

from types import GenericAlias
from typing import Any, NoReturn


class OutsideError(PermissionError):
    """Something of the outside was asked for."""


def _error(name: str) -> OutsideError:
    return OutsideError(f"{name} is outside of a workflow: make it a step")


def refusal(name: str) -> Any:
    """A function that refuses."""

    def refused(*_arguments: object, **_keywords: object) -> NoReturn:
        raise _error(name)

    refused.__name__ = refused.__qualname__ = name.rpartition(".")[2]
    return refused


class _Kind(type):
    """What may be a function or a class: it can be named in annotations and in `isinstance`, not called and not subclassed."""

    _outside: str

    def __new__(cls, name: str, bases: tuple[type, ...], names: dict[str, Any], outside: str = "") -> _Kind:
        if not outside:
            raise _error(next(one._outside for one in bases if isinstance(one, _Kind)))
        made = super().__new__(cls, name, bases, names)
        made._outside = outside
        return made

    def __init__(cls, name: str, bases: tuple[type, ...], names: dict[str, Any], outside: str = "") -> None:
        super().__init__(name, bases, names)

    def __call__(cls, *_arguments: object, **_keywords: object) -> NoReturn:
        raise _error(cls._outside)

    def __getitem__(cls, item: Any) -> GenericAlias:
        """`Popen[bytes]`, in a type."""
        return GenericAlias(cls, item)

    def __getattr__(cls, name: str) -> Any:
        if name[:2] == "__":
            raise AttributeError(name)
        return kind(f"{cls._outside}.{name}")


_ERRORS = ("Error", "Exception", "Timeout", "error", "timeout", "Warning", "Expired")


def kind(name: str) -> Any:
    """What refuses when it is called or subclassed; by its name an exception is one, which nothing raises."""
    last = name.rpartition(".")[2]
    if last.endswith(_ERRORS):
        return type(last, (Exception,), {"__module__": name.rpartition(".")[0]})
    return _Kind(last, (), {"__module__": name.rpartition(".")[0]}, outside=name)
