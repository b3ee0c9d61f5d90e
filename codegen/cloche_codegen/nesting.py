"""Which workflow of a graph a call path stands in: `W[2]/inner/ask` is a call of the workflow that node `inner` of `W` runs."""

from __future__ import annotations

from cloche_codegen.graph import Definition, Graph, WorkflowNode, bodies_of


def workflows_around(graph: Graph, path: str) -> list[Definition]:
    """The workflows that a call at `path` stands in, the outermost first: the graph itself, then those nested in it."""
    around: list[Definition] = [graph]
    for part in path.split("/")[:-1]:
        nested = _nested(around[-1]).get(part.partition("[")[0])
        if nested is None or nested not in graph.workflows:
            break
        around.append(graph.workflows[nested])
    return around


def _nested(definition: Definition) -> dict[str, str]:
    bodies = (body for node in definition.nodes for body in bodies_of(node))
    return {body.id: body.workflow for body in bodies if isinstance(body, WorkflowNode)}
