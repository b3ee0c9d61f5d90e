"""Which guest a graph is for: what it holds decides, where its author did not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

from pydantic import BaseModel

from cloche_codegen import graph as g
from cloche_codegen.errors import Problem

Language: TypeAlias = Literal["javascript", "python"]


def language_of(graph: g.Graph) -> Language:
    """The language of a graph without problems."""
    return "javascript" if graph.guest == "auto" else graph.guest


def misplaced(graph: g.Graph) -> Iterator[Problem]:
    """Code strings in a workflow that is to run as Python."""
    if graph.guest != "python":
        return
    for definition in graph.definitions().values():
        for node in definition.nodes:
            if _holds_code(node):
                message = (
                    "a code string is JavaScript, and the workflow is for the Python guest: use a predicate, an expression "
                    'or a Python function instead, or leave out guest="python"'
                )
                yield Problem("code_in_python", f"{definition.id}/{node.id}", message)


def _holds_code(value: object) -> bool:
    """Whether a code string is somewhere in a part of a graph."""
    if isinstance(value, g.CodeText):
        return True
    if isinstance(value, BaseModel):
        return any(_holds_code(getattr(value, name)) for name in type(value).model_fields)
    if isinstance(value, tuple | list):
        return any(map(_holds_code, value))
    return isinstance(value, dict) and any(map(_holds_code, value.values()))
