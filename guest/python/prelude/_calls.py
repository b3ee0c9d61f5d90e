"""Calls as their authors write them: which arguments fit, in Python's own words, and how a workflow gets its input.

A signature is text, `charge(order, amount, *, currency=...)`: the name of the host's function and its parameters, with `...`
for each default. The host fills defaults in, from the function that it has when the step runs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from inspect import CO_VARARGS, CO_VARKEYWORDS
from typing import Any, Final

MANY: Final = 1 << 30  # more arguments than anybody writes
Shape = tuple[str, bytes, Callable[..., Any], list[Any] | None]


def shape_of(name: str, signature: str, types: list[Any] | None = None) -> Shape:
    """What the driver checks calls of the step `name` by: `least` to `most` arguments by position, packed, fit.

    Whether others do is what calling the function says. `types` are as of `_types.typed`: what reads its result, what
    writes its arguments.
    """
    stub = _function(f"def {signature}: pass")
    code, defaults = stub.__code__, len(stub.__defaults__ or ())
    least = code.co_argcount - defaults
    if code.co_kwonlyargcount > len(stub.__kwdefaults__ or ()):
        least = MANY
    most = MANY if code.co_flags & CO_VARARGS else code.co_argcount
    return name, struct.pack("<2i", least, most), stub, types


def stub_of(signature: str) -> Any:
    """The function of a signature: it gives its arguments by name, without those that were left out."""
    return _function(f"def {signature}: return locals()")


def _function(text: str) -> Any:
    made: dict[str, Any] = {}
    exec(text, {}, made)
    (function,) = made.values()
    return function


def signature_of(function: Any, *contexts: str) -> str:
    """That of a function which is there, without the parameter that gets the context of a step."""
    names, given = _own(function, contexts)
    code: Any = function.__code__
    parts, defaults = [], len(function.__defaults__ or ())
    for index, name in enumerate(names[: code.co_argcount]):
        parts += [f"{name}=..." if index >= code.co_argcount - defaults else name] if name != given else []
        parts += ["/"] if index + 1 == code.co_posonlyargcount and parts else []
    rest = names[code.co_argcount + code.co_kwonlyargcount :]
    keywords = [name for name in names[code.co_argcount : code.co_argcount + code.co_kwonlyargcount] if name != given]
    if code.co_flags & CO_VARARGS:
        parts.append(f"*{rest[0]}")
    elif keywords:
        parts.append("*")
    with_default = function.__kwdefaults__ or {}
    parts += [f"{name}=..." if name in with_default else name for name in keywords]
    parts += [f"**{rest[-1]}"] if code.co_flags & CO_VARKEYWORDS else []
    return f"{function.__name__}({', '.join(parts)})"


def _own(function: Any, contexts: tuple[str, ...]) -> tuple[list[str], str | None]:
    """The names of all parameters in the order of the code, and that of the one which gets the context."""
    code: Any = function.__code__
    count = code.co_argcount + code.co_kwonlyargcount
    names = list(code.co_varnames[: count + bool(code.co_flags & CO_VARARGS) + bool(code.co_flags & CO_VARKEYWORDS)])
    plain = names[:count]
    for name in plain:
        if name in contexts and count > 1:
            return names, name
    unannotated = code.co_argcount == count == 2 and not _annotated(function) and not function.__defaults__
    return names, plain[1] if unannotated else None


def _annotated(function: Any) -> bool:
    try:
        return any(name != "return" for name in function.__annotations__)
    except Exception:  # they are made when they are asked for, and name what is not there
        return True


class Taking:
    """How a workflow is called: `how` is `value` (its one parameter), `names` (its input is a mapping of them) or `nothing`.

    `readers` has for parameters whose values are more than their wire forms what [reads them, …], as `_types.typed` gives it.
    """

    __slots__ = ("given", "how", "readers")

    def __init__(
        self,
        function: Any,
        how: str | None = None,
        given: str | None = None,
        readers: dict[str, list[Any] | None] | None = None,
    ) -> None:
        if how is None:
            _, given = _own(function, ("given",))
            how = _how(function, given)
        self.how = how
        self.given = given
        self.readers = readers or {}

    def call(self, function: Any, value: Any, given: Any) -> Any:
        extra = {} if self.given is None else {self.given: given}
        if self.how == "nothing":
            return function(**extra)
        if self.how == "value":
            if self.readers:
                (types,) = self.readers.values()
                value = _read(types, value)
            return function(value, **extra)
        if not isinstance(value, Mapping):
            raise TypeError(f"{function.__name__}() takes a mapping of its arguments, not a {type(value).__name__}")
        named = {name: _read(self.readers.get(name), item) for name, item in dict(value).items()}
        names = function.__code__.co_varnames[: function.__code__.co_posonlyargcount]
        keywords = {name: item for name, item in named.items() if name not in names}
        return function(*(named[name] for name in names if name in named), **keywords, **extra)


def _read(types: list[Any] | None, value: Any) -> Any:
    return value if types is None or types[0] is None else types[0](value)


def _how(function: Any, given: str | None) -> str:
    code: Any = getattr(function, "__code__", None)
    if code is None:
        return "value"
    own = [name for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] if name != given]
    required = len(own) - len(function.__defaults__ or ()) - len(function.__kwdefaults__ or {})
    if not own and not code.co_flags & CO_VARARGS:
        return "nothing"
    return "names" if required > 1 or (code.co_argcount == 0 and own) else "value"
