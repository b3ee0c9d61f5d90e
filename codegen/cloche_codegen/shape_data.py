"""What a page draws of code before any run, as data: its shape, and where a graph made it the builder's calls."""

from __future__ import annotations

from typing import Any, Final

from cloche_codegen.builder_text import builder_text
from cloche_codegen.errors import GraphError
from cloche_codegen.graph import Graph
from cloche_codegen.javascript_shapes import javascript_shapes
from cloche_codegen.native_shapes import native_shapes
from cloche_codegen.shapes import Shape, shapes_of

NOTHING: Final[dict[str, Any]] = {"is_native": True, "is_read": False, "items": [], "builder": None}


def shape_data(language: str, graph: str, source: str) -> dict[str, Any]:
    """`{is_native, is_read, items, builder}` of a stored graph or, where that is empty, of a source.

    `is_read` is false where nothing can be said: of what cannot be parsed, and of JavaScript in which no call is found.
    """
    try:
        if not graph:
            return _of_source(language, source)
        made = Graph.from_json(graph)
        items = shapes_of(made) if made.native is None else native_shapes(made.native.source, made.native.name)
        before = (
            source.partition(made.native.source)[0].count("\n") if made.native and made.native.source in source else 0
        )
        builder = None if made.native is not None else builder_text(made)
    except (GraphError, SyntaxError, ValueError, RecursionError):
        return NOTHING
    lines = [] if builder is None else [{"line": line, "node": node} for line, node in sorted(builder.map.items())]
    text = None if builder is None else {"code": builder.code, "map": lines}
    return {"is_native": made.native is not None, "is_read": True, "items": _data(items, before), "builder": text}


def _of_source(language: str, source: str) -> dict[str, Any]:
    items = native_shapes(source) if language == "python" else javascript_shapes(source)
    is_read = bool(items) or language == "python"
    return {"is_native": True, "is_read": is_read, "items": _data(items), "builder": None}


def _data(items: tuple[Shape, ...], before: int = 0) -> list[dict[str, Any]]:
    return [one.to_data(before) for one in items]
