"""Which guest a graph is for: what it holds decides, where its author did not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

from pydantic import BaseModel

from cloche_codegen import graph as g
from cloche_codegen.errors import Problem

Language: TypeAlias = Literal["javascript", "python"]


class PythonOnly:
    """A kind of code: a Python function that cannot be made into JavaScript."""


def language_of(graph: g.Graph) -> Language:
    """The language of a graph without problems: Python if it is a function, or holds some and no code strings."""
    if graph.native is not None:
        return "python"
    if graph.guest != "auto":
        return graph.guest
    held = {kind for definition in graph.definitions().values() for node in definition.nodes for kind in _held(node)}
    return "python" if g.FunctionText in held and g.CodeText not in held else "javascript"


def misplaced(graph: g.Graph) -> Iterator[Problem]:
    """Code strings where the graph is to run as Python, and Python functions where it is to run as JavaScript."""
    language = language_of(graph)
    if graph.native is not None and graph.guest == "javascript":
        message = 'the workflow is a Python function, and guest="javascript" was asked for; leave that out'
        yield Problem("function_in_javascript", graph.id, message)
    for definition in graph.definitions().values():
        for node in definition.nodes:
            held = set(_held(node))
            path = f"{definition.id}/{node.id}"
            if language == "python" and g.CodeText in held:
                message = (
                    "a code string is JavaScript, and the workflow is for the Python guest: use a predicate, an expression "
                    'or a Python function instead, or leave out guest="python"'
                )
                yield Problem("code_in_python", path, message)
            if language == "javascript" and PythonOnly in held:
                why = 'guest="javascript"' if graph.guest != "auto" else "code strings, which are JavaScript,"
                message = (
                    f"the workflow has {why} and here a Python function that cannot be made into JavaScript: use predicates, "
                    "expressions and functions only, or code strings only"
                )
                yield Problem("function_in_javascript", path, message)


def _held(value: object) -> Iterator[type]:
    """The kinds of code in a part of a graph."""
    if isinstance(value, g.FunctionText) and value.expression is None:
        yield PythonOnly
    if isinstance(value, g.CodeText | g.FunctionText):
        yield type(value)
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _held(getattr(value, name))
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _held(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _held(one)
