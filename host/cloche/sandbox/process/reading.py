"""The process that reads what tenants bring: a process with cells that also makes source of graphs.

Whatever a text makes slow or large ends this process and no other: parsing, checking, emitting, and loading under glass. It has
what it needs imported and used once before it locks itself up.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from cloche.history.values import decode, encode
from cloche.sandbox import images
from cloche.sandbox.process import serve
from cloche.sandbox.process.wire import Op, Request
from cloche_codegen import Graph, GraphError, create_step, create_workflow, load_workflow, path
from cloche_codegen.errors import PROBLEMS_MAX
from cloche_codegen.shape_data import shape_data

PROBLEM_CHARS_MAX = 2_000
BEHIND = 5  # steps of `nice`: a third of a core beside one that wants it too, never none


def main(arguments: Sequence[str]) -> None:
    """As `serve.main`. It comes after all others where cores are short: nobody's event loop waits for it."""
    with suppress(OSError):
        os.nice(BEHIND)
    images.kept.bytes_max = 0  # what is loaded here is loaded once
    _use_everything()
    serve.main(arguments, Reading)


class Reading(serve.Cells):
    """Cells, and graphs."""

    def __init__(self) -> None:
        super().__init__()
        self._operations[Op.READ] = _read
        self._operations[Op.SHAPE] = _shape


def _read(asked: Request) -> bytes:
    return encode(read(asked.body.decode("utf-8", "surrogatepass")))


def read(text: str) -> list[Any]:
    """What a stored graph is: `[0, workflow, language, source, lines as JSON, graph]`.

    Or why it is none: `[1, code, message, [[code, path, message] …], count of problems]`.
    """
    try:
        loaded = Graph.from_json(text)
        steps = [create_step(id=id, execute=_nothing) for id in loaded.steps]
        workflow = load_workflow(loaded, steps)
        source = workflow.source()
    except GraphError as error:
        told = [[one.code, _cut(one.path), _cut(one.message)] for one in error.problems[:PROBLEMS_MAX]]
        return [1, error.code, _cut(error.message, PROBLEMS_MAX), told, len(error.problems)]
    except (RecursionError, ValueError) as error:
        return [1, "bad-graph", _cut(f"its graph cannot be read: {error}"), [], 0]
    lines = json.dumps(sorted(source.map.items()))
    return [0, workflow.id, workflow.language, source.code, lines, workflow.graph.to_json()]


def _shape(asked: Request) -> bytes:
    language, graph, source = decode(asked.body)
    return encode(json.dumps(shape_data(language, graph, source), ensure_ascii=False))


def _cut(text: str, times: int = 1) -> str:
    return text[: times * PROBLEM_CHARS_MAX]


def _nothing(_: Any) -> None:
    """A step of the host, which is not here."""


def _use_everything() -> None:
    """No file can be opened later: what Python imports when it is first used is used now."""
    schema = {"type": "string", "pattern": "^a$"}
    step = create_step(id="s", execute=_nothing, input_schema=schema)
    made = create_workflow(id="w", input_schema=schema).then(step).branch([(path("inputData.a") > 1, step)], id="b")
    text = json.dumps({"id": "w", "nodes": [{"type": "step", "id": "t", "step": "u"}], "steps": {"ü": {}}})
    for one in (text, "{", json.dumps({"id": "w", "nodes": [{"type": "?"}]}), made._make_graph().to_json()):  # type: ignore[union-attr]
        read(one)
    for function in ("f = lambda d: d['a'] > 1\n", "def f(d, ctx):\n    return ctx.steps['s']\n", "f = (\n"):
        value = {"type": "function", "name": "f", "source": function, "parameters": 1}
        read(json.dumps({"id": "w", "nodes": [{"type": "map", "id": "m", "value": value}]}))
    read(json.dumps({"id": "w", "nodes": [{"type": "map", "id": "m", "value": {"type": "code", "code": "a + 1"}}]}))
    shape_data("python", made._make_graph().to_json(), "")  # type: ignore[union-attr]
    shape_data("python", "", "async def w(d):\n    with scope('a'):\n        return await gather(*[s(i) for i in d])\n")
