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


def input_of(stub: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], *, by_name: bool) -> Any:
    """The input of a run from the arguments of its call: the one value that it needs, or a mapping of all by name.

    Raises:
        TypeError: they do not fit, in the words in which Python says so.
    """
    plain, optional, rest, more = parameters = _kinds(stub)
    named = {name: value for name, value in stub(*arguments, **keywords).items() if value is not ...}
    if rest is not None and not named[rest]:
        del named[rest]
    if more is not None:
        named.update(named.pop(more))
    if by_name:
        return named
    first = next((name for name in plain if name not in optional), plain[0] if plain else rest)
    if list(named) != [first] or first == rest:
        return named if named or len(plain) > 1 or rest is not None or more is not None else None
    return named if are_named(named[first], parameters) else named[first]


Kinds = tuple[tuple[str, ...], frozenset[str], str | None, str | None]


def _kinds(function: Any, given: str | None = None) -> Kinds:
    """The parameters of a function without `given`: all that have a name of their own, those with a default, `*` and `**`."""
    code: Any = function.__code__
    count, names = code.co_argcount, code.co_varnames
    total = count + code.co_kwonlyargcount
    optional = {*names[count - len(function.__defaults__ or ()) : count], *(function.__kwdefaults__ or ())}
    rest = names[total] if code.co_flags & CO_VARARGS else None
    more = names[total + (rest is not None)] if code.co_flags & CO_VARKEYWORDS else None
    return tuple(name for name in names[:total] if name != given), frozenset(optional - {given}), rest, more


def are_named(value: Any, parameters: Kinds) -> bool:
    """Whether a mapping names all parameters that need a value, and nothing but parameters. The host has the same rule."""
    plain, optional, rest, more = parameters
    if not isinstance(value, Mapping) or (len(plain) < 2 and rest is None and more is None):
        return False
    has_all = all(name in value for name in plain if name not in optional)
    return has_all and (more is not None or all(name in plain or name == rest for name in value))


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
    """How a workflow is called: `how` is `value` (its one parameter), `names` (its input is a mapping of them), `either`, or
    `nothing`.

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
        parameters = _kinds(function, self.given) if self.how in ("names", "either") else None
        if parameters is None or (self.how == "either" and not are_named(value, parameters)):
            return self._called_with(function, value, parameters, extra)
        if not isinstance(value, Mapping):
            raise TypeError(f"{function.__name__}() takes a mapping of its arguments, not a {type(value).__name__}")
        named = {name: _read(self.readers.get(name), item) for name, item in dict(value).items()}
        rest = named.pop(parameters[2], ()) if parameters[2] is not None else ()
        code = function.__code__
        first = code.co_varnames[: code.co_argcount if rest else code.co_posonlyargcount]
        by_position = [named.pop(name) for name in first if name in named]
        return function(*by_position, *rest, **named, **extra)

    def _called_with(self, function: Any, value: Any, parameters: Kinds | None, extra: dict[str, Any]) -> Any:
        """With one value: that of the parameter which needs one, else of the first."""
        plain, optional, rest, _ = parameters or ((), (), None, None)
        first = next((name for name in plain if name not in optional), plain[0] if plain else rest)
        types = self.readers.get(first or "") if parameters else next(iter(self.readers.values()), None)
        value = _read(types, [value])[0] if first is not None and first == rest else _read(types, value)
        code: Any = getattr(function, "__code__", None)
        if first is None or code is None or first == rest or code.co_varnames.index(first) < code.co_posonlyargcount:
            return function(value, **extra)
        return function(**{first: value}, **extra)


def _read(types: list[Any] | None, value: Any) -> Any:
    return value if types is None or types[0] is None else types[0](value)


def _how(function: Any, given: str | None) -> str:
    if getattr(function, "__code__", None) is None:
        return "value"
    plain, optional, rest, more = _kinds(function, given)
    if not plain and rest is None and more is None:
        return "nothing"
    if len(plain) - len(optional) > 1:
        return "names"
    return "either" if len(plain) > 1 or rest is not None or more is not None else "value"
