"""How long a graph of 1,000 nodes takes to commit, emit, store and load.

`PYTHONPATH=tests python -m codegen.measure_graph` prints one JSON object; nothing here is asserted.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from time import perf_counter
from typing import TypeVar

from codegen.steps_for_tests import free
from pydantic import BaseModel

from cloche_codegen import Graph, Workflow, code, create_workflow, load_workflow, path

T = TypeVar("T")


class Numbers(BaseModel):
    x: int


def big(count: int) -> Workflow:
    """`count` nodes: steps, branches, maps with look-ups and loops in turn."""
    workflow = create_workflow(id="big", input_schema=Numbers).then(free("s0", Numbers, Numbers))
    for number in range(1, count):
        step = free(f"s{number}", None, Numbers)
        match number % 4:
            case 0:
                workflow.then(step)
            case 1:
                workflow.branch([(path("inputData.x") > number, step)])
            case 2:
                late = {"step": f"s{number - 1}", "path": "x"}
                workflow.map({"x": late, "t": {"template": "${stepResults.s0.x}"}, "c": code("stepResults.s0.x + 1")})
            case _:
                workflow.dountil(step, "inputData.x > 3")
    return workflow


def main() -> None:
    seconds: dict[str, float] = {}

    def timed(name: str, act: Callable[[], T]) -> T:
        begin = perf_counter()
        result = act()
        seconds[name] = round(perf_counter() - begin, 4)
        return result

    workflow = timed("build", lambda: big(1000))
    timed("commit", workflow.commit)
    timed("emit", workflow.source)
    text = timed("to_json", workflow.graph.to_json)
    graph = timed("from_json", lambda: Graph.from_json(text))
    timed("load_workflow", lambda: load_workflow(graph, workflow.steps))
    print(
        json.dumps({"nodes": len(graph.nodes), "seconds": seconds, "limits": {"commit + emit": 0.5, "from_json": 0.2}})
    )


if __name__ == "__main__":
    main()
