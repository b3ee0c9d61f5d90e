"""The names that a definition uses and does not define, and what they stand for."""

from __future__ import annotations

import ast
import builtins
import dis
import sys
from collections.abc import Callable, Iterable
from inspect import CO_NEWLOCALS
from types import CodeType, FunctionType
from typing import Any, Final

from cloche_codegen.conditions.functions.classes import own_functions
from cloche_codegen.conditions.functions.source import Written

MISSING: Final = object()
_LAMBDA: Final = "function"  # what a lambda is called inside
_READS: Final = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_AT_ONCE: Final = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")
_OF_CLASSES: Final = (
    "__name__",
    "__module__",
    "__qualname__",
    "__doc__",
    "__annotations__",
)  # what the body of a class asks for

Lookup = Callable[[str], Any]  # what a name stands for at this moment; MISSING if for a builtin, or nothing


def names_in_function(text: str) -> list[str]:
    """In order of first use."""
    return _names(_codes_in(compile(text, "<function>", "exec", dont_inherit=True)))


def names_in_class(text: str) -> tuple[list[str], list[str]]:
    """Those that are needed when the class is defined (bases, decorators, its body), and those of its methods."""
    whole = compile(text, "<class>", "exec", dont_inherit=True)
    bodies = [whole]
    for one in bodies:
        bodies += [inner for inner in _codes_in(one) if not inner.co_flags & CO_NEWLOCALS or inner.co_name in _AT_ONCE]
    at_once = _names(bodies, inside=False)
    return at_once, [name for name in _names([whole]) if name not in at_once]


def in_function(function: FunctionType) -> Lookup:
    """What a name means inside of `function`: of its closure, its module, or the builtins; else MISSING."""

    def look_up(name: str) -> Any:
        found = _in_closure(name, function)
        return _but_builtins(name, function.__globals__.get(name, MISSING)) if found is None else found[0]

    return look_up


def in_class(taken: type) -> Lookup:
    """What a name means inside of the class `taken`: of closures of its methods, its module, or the builtins; else MISSING."""
    methods, names = own_functions(taken), vars(sys.modules[taken.__module__])

    def look_up(name: str) -> Any:
        found = next(filter(None, (_in_closure(name, one) for one in methods)), None)
        return _but_builtins(name, names.get(name, MISSING)) if found is None else found[0]

    return look_up


def own_name(source: Written) -> str:
    """What a function is called under glass: its own name, unless it captures something else under that."""
    is_lambda = isinstance(source.node, ast.Lambda)
    name = _LAMBDA if isinstance(source.node, ast.Lambda) else source.node.name
    used = {node.id for node in ast.walk(source.node) if isinstance(node, ast.Name)}
    while name in used and (is_lambda or name != getattr(source.node, "name", "")):
        name += "_"
    return name


def use_of(name: str, source: Written) -> ast.AST:
    """Where a name is used first."""
    uses = (node for node in ast.walk(source.node) if isinstance(node, ast.Name) and node.id == name)
    return min(uses, key=lambda node: (node.lineno, node.col_offset), default=source.node)


def _in_closure(name: str, function: FunctionType) -> tuple[Any] | None:
    code = function.__code__
    if name not in code.co_freevars:
        return None
    cell = (function.__closure__ or ())[code.co_freevars.index(name)]
    try:
        return (cell.cell_contents,)
    except ValueError:
        return (MISSING,)


def _but_builtins(name: str, found: Any) -> Any:
    return MISSING if hasattr(builtins, name) and found is getattr(builtins, name) else found


def _names(codes: Iterable[CodeType], *, inside: bool = True) -> list[str]:
    """`inside`: also those of the code that stands in these."""
    found: dict[str, None] = {}
    todo = list(codes)
    while todo:
        one = todo.pop(0)
        said = [
            (i.opname, i.argval) for i in dis.get_instructions(one) if i.opname in _READS or i.opname == "STORE_NAME"
        ]
        made = {name for opname, name in said if opname == "STORE_NAME"}  # in the body of a class
        names = [name for opname, name in said if opname != "STORE_NAME"]
        found.update(dict.fromkeys(name for name in names if name not in made and name not in _OF_CLASSES))
        todo += _codes_in(one) if inside else []
    return list(found)


def _codes_in(code: CodeType) -> list[CodeType]:
    return [constant for constant in code.co_consts if isinstance(constant, CodeType)]
