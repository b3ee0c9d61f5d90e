"""The names of events that a workflow waits for, as far as its code says them: one that is misspelt is told to its sender."""

from __future__ import annotations

import ast
import logging
from functools import lru_cache
from typing import TYPE_CHECKING

from cloche.engines import is_native

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloche.engines import Code
    from cloche_codegen import Graph

LARGE = 65_536  # characters of a native workflow: parsed in some milliseconds, once
_KEPT = 64  # codes
_HOOKS = ("create_hook", "Hook")
log = logging.getLogger("cloche")


def warn_if_unknown(code: Code, name: str, graph: Graph | None) -> None:
    """Of an event that nothing in a run's code waits for. It is kept all the same: code that is upgraded may wait for it.

    `graph` is that of a workflow of the builder, None of a native one.
    """
    known = _of_graph(graph) if graph is not None else _of_python(code.source) if is_native(code) else None
    if known is not None and name not in known:
        log.warning(
            "workflow %s waits for no event %r, so nothing takes it; it waits for: %s",
            *(code.workflow, name, ", ".join(sorted(known)) or "no event at all"),
        )


def _of_graph(graph: Graph) -> frozenset[str]:
    nodes = [node for one in (graph, *graph.workflows.values()) for node in one.nodes]
    return frozenset(node.event for node in nodes if node.type == "wait_for_event")


@lru_cache(_KEPT)
def _of_python(source: str) -> frozenset[str] | None:
    """None where the code may wait for names that it does not spell: one that is computed, or a hook with a token."""
    if len(source) > LARGE:
        return None
    try:
        return frozenset(_spelled(ast.walk(ast.parse(source)))) or None
    except (SyntaxError, ValueError, RecursionError):
        return None


def _spelled(nodes: Iterable[ast.AST]) -> Iterable[str]:
    """
    Raises:
        ValueError: some are not spelled.
    """
    called: set[int] = set()
    for node in nodes:  # a call comes before its parts
        match node:
            case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]) if (
                _name(function) == "wait_for_event"
            ):
                called.add(id(function))
                yield name
            case ast.Name() | ast.Attribute() if _name(node) == "wait_for_event" and id(node) not in called:
                raise ValueError("a name that is computed")
            case ast.Name() | ast.Attribute() if _name(node) in _HOOKS:
                raise ValueError("a hook")
            case ast.Constant(value=str(text)) if "wait_for_event" in text or "create_hook" in text:
                raise ValueError("a module that it brings")
            case ast.alias(name="wait_for_event", asname=str()):
                raise ValueError("another name")


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
