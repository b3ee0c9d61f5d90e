"""What is given to go under glass: a plain function of Python, or a refusal that says what is in the way."""

from __future__ import annotations

import ast
import functools
from types import FunctionType, MethodType
from typing import Any

from cloche_codegen.conditions.functions.captures import SAFE_BUILTINS, described
from cloche_codegen.conditions.functions.source import Place, Written, underlined


class NotUnderGlass(Exception):
    """A function that cannot go under glass: what is in the way, where, and what to do.

    Attributes:
        reason: what is in the way, beginning with "it".
        place: where, if that is known.
        shown: the line with the expression underlined, or empty.
        advice: what to do.
    """

    def __init__(self, reason: str, place: Place | None, shown: str, advice: str) -> None:
        self.reason, self.place, self.shown, self.advice = reason, place, shown, advice
        where = f" ({place})" if place else ""
        super().__init__(f"{reason}{where}" + (f"\n{shown}\n  " if shown else "; ") + advice)


def refused(source: Written, node: ast.AST, reason: str, advice: str) -> NotUnderGlass:
    place = source.place(node)
    return NotUnderGlass(reason, place, underlined(source.lines, place), advice)


def function_in(given: Any) -> FunctionType:
    """The plain function to take; a method, a class or an object with __call__ is none."""
    function = unwrapped(given)
    if isinstance(function, FunctionType):
        return function
    if isinstance(function, MethodType):
        code = getattr(function.__func__, "__code__", None)
        place = Place(code.co_filename, code.co_firstlineno) if code else None
        advice = "write a function of its own, and capture the plain data it needs"
        raise NotUnderGlass(f"it is the method {function.__qualname__}, which needs its object", place, "", advice)
    if isinstance(function, functools.partial):
        raise NotUnderGlass("it is a functools.partial", None, "", "write a lambda that calls the function")
    name = getattr(function, "__name__", None)
    advice = (
        f"write a lambda that calls it: lambda data: {name}(data)" if name in SAFE_BUILTINS else "write a lambda or def"
    )
    raise NotUnderGlass(f"it is {described(function)}, not a function written in Python", None, "", advice)


def unwrapped(value: Any) -> Any:
    """Inside a cache there is a plain function that gives the same answers."""
    while isinstance(value, functools._lru_cache_wrapper):
        value = value.__wrapped__
    return value


def parameters_of(function: FunctionType, source: Written) -> int:
    """1 or 2, for data and context; further ones need defaults."""
    code, defaults = function.__code__, len(function.__defaults__ or ())
    needed = code.co_argcount - defaults
    keywords = set(code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount])
    if (
        keywords - set(function.__kwdefaults__ or {})
        or needed > 2
        or (not code.co_argcount and not code.co_flags & 0x04)
    ):
        arguments = source.arguments
        advice = "it is called with (data) or (data, ctx)"
        taking = f"it takes {needed or 'no'} arguments" if not keywords else "it needs arguments by keyword"
        raise refused(source, source.node if not arguments.args else arguments.args[0], taking, advice)
    return 2 if needed == 2 else 1
