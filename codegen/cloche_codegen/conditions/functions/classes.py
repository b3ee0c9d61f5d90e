"""An author's classes under glass: where a class is written, and the text of it that goes along.

Enums, dataclasses, exceptions, named tuples and plain classes are taken as they are written, with their decorators and bases.
Annotations say nothing in there, but that a dataclass has a field: they become `object`, except those that mean something
(`ClassVar`, `InitVar`, `KW_ONLY`).
"""

from __future__ import annotations

import ast
import functools
import linecache
import sys
from abc import ABCMeta
from collections.abc import Iterator
from enum import EnumType
from types import FunctionType
from typing import Any, Final

from pydantic import BaseModel

from cloche_codegen.conditions.functions.source import NoSource, Written, written
from cloche_codegen.conditions.functions.text import Edit, bare, cut_out

_MADE_BY: Final = (type, ABCMeta, EnumType)
_MEANINGFUL: Final = ("ClassVar", "InitVar", "KW_ONLY")


def is_takeable(value: object) -> bool:
    """Whether it is a class that an author may have written: of no library's metaclass, and none of the standard library."""
    if not isinstance(value, type) or type(value) not in _MADE_BY:
        return False
    return value.__module__.partition(".")[0] not in sys.stdlib_module_names


def class_written(taken: type) -> Written:
    """The source of a class.

    Raises:
        NoSource: There is none, or it is not the one the class was made from.
    """
    methods = own_functions(taken)
    for method in methods:
        written(method)  # what was changed since is noticed
    module = sys.modules.get(taken.__module__)
    file = methods[0].__code__.co_filename if methods else getattr(module, "__file__", None)
    if file is None:
        raise NoSource("its module has no file: write the class in one")
    linecache.checkcache(file)
    lines = tuple(linecache.getlines(file, getattr(module, "__dict__", None)))
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError) as error:
        raise NoSource(f"{file} cannot be read: {error}") from None
    found = [node for node in _classes(tree, taken.__qualname__) if _fits(node, taken, methods)]
    if len(found) != 1:
        why = "is not written there as it is now" if not found else "is written there more than once"
        raise NoSource(f"{taken.__qualname__} {why} ({file}): start the program again, or write it once, in a file")
    return Written(file, lines, found[0])


def own_functions(taken: type) -> list[FunctionType]:
    """The functions that are written in its body: methods, and those within properties and the like."""
    found = []
    for value in vars(taken).values():
        match value:
            case staticmethod() | classmethod():
                inner: Any = value.__func__
            case property():
                inner = value.fget
            case functools.cached_property():
                inner = value.func
            case _:
                inner = value
        if isinstance(inner, FunctionType) and inner.__code__.co_qualname.startswith(f"{taken.__qualname__}."):
            found.append(inner)
    return found


def class_text(source: Written) -> str:
    """Its definition at the left margin, decorators first; as many lines as in the file."""
    assert isinstance(source.node, ast.ClassDef)
    return cut_out(source, [*bare(source), *annotation_edits(source.node)], source.node.name)


def annotation_edits(node: ast.ClassDef) -> Iterator[Edit]:
    """Annotations of fields, as what they say inside."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.ClassDef):
            fields = [one for one in inner.body if isinstance(one, ast.AnnAssign)]
            yield from (Edit.of(one.annotation, _meaning(one.annotation)) for one in fields)


def _meaning(annotation: ast.expr) -> str:
    try:
        said = (
            ast.parse(str(annotation.value), mode="eval").body if isinstance(annotation, ast.Constant) else annotation
        )
    except SyntaxError:
        return "object"
    head = said.value if isinstance(said, ast.Subscript) else said
    name = head.attr if isinstance(head, ast.Attribute) else head.id if isinstance(head, ast.Name) else ""
    return ast.unparse(head) if name in _MEANINGFUL else "object"


# ── where it is ─────────────────────────────────────────────────────────────────────────────────────────────────────
def _classes(tree: ast.Module, qualname: str) -> list[ast.ClassDef]:
    scopes: list[ast.AST] = [tree]
    for part in qualname.split("."):
        if part != "<locals>":
            scopes = [node for scope in scopes for node in _definitions(scope) if node.name == part]
    return [node for node in scopes if isinstance(node, ast.ClassDef)]


def _definitions(scope: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """What is defined in a scope itself, also below an `if` or `try`."""
    for node in ast.iter_child_nodes(scope):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node
        elif isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from _definitions(node)


def _fits(node: ast.ClassDef, taken: type, methods: list[FunctionType]) -> bool:
    """Whether the class may have been made from this text: what the text defines is there."""
    first = node.decorator_list[0].lineno if node.decorator_list else node.lineno
    if not all(first <= one.__code__.co_firstlineno <= (node.end_lineno or 0) for one in methods):
        return False
    known = {*vars(taken), *vars(taken).get("__annotations__", ()), *getattr(taken, "__members__", ())}
    if isinstance(taken, type) and issubclass(taken, BaseModel):  # pydantic takes some names out of the class
        known |= {*taken.model_fields, *taken.__private_attributes__, "model_config", "Config"}
    return {_mangled(name, node.name) for name in _defined(node)} <= known


def _defined(node: ast.ClassDef) -> Iterator[str]:
    for one in node.body:
        match one:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name


def _mangled(name: str, of: str) -> str:
    return f"_{of.lstrip('_')}{name}" if name.startswith("__") and not name.endswith("__") else name
