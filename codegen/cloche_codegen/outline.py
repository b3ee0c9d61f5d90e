"""A graph as indented text: for terminals and logs."""

from __future__ import annotations

from collections.abc import Iterator

from cloche_codegen import graph as g
from cloche_codegen.mermaid import condition_label, policy_label, timeout_label
from cloche_codegen.native_calls import calls_of


def outline(graph: g.Graph) -> str:
    """One line a node, arms and bodies indented below it, nested workflows opened where they stand.

    Of a native workflow: one line a call, in the order of its source.
    """
    native = [f"  function {graph.native.name}", *_calls(graph.native)] if graph.native else []
    return "\n".join([f"workflow {graph.id}", *native, *_nodes(graph, graph, 1)]) + "\n"


def _calls(native: g.NativeText) -> Iterator[str]:
    for line in calls_of(native):
        yield _line(line.depth + 2, line.text)


def _nodes(graph: g.Graph, definition: g.Definition, depth: int) -> Iterator[str]:
    for node in definition.nodes:
        yield from _node(graph, node, depth)


def _node(graph: g.Graph, node: g.Node, depth: int) -> Iterator[str]:
    match node:
        case g.StepNode() | g.WorkflowNode():
            yield from _body(graph, node, depth)
        case g.MapNode():
            yield _line(depth, f"map {node.id}")
        case g.SleepNode():
            yield _line(depth, f"sleep {node.id}: {f'{node.ms / 1000:g} s' if node.ms is not None else 'computed'}")
        case g.SleepUntilNode():
            yield _line(depth, f"sleep until {node.id}: {node.date.isoformat() if node.date else 'computed'}")
        case g.WaitForEventNode():
            yield _line(depth, f"wait for event {node.id}: {node.event}{timeout_label(node)}")
        case g.ParallelNode():
            at_most = f", at most {node.limit}" if node.limit else ""
            yield _line(depth, f"parallel {node.id}{at_most}{policy_label(node)}")
            for body in node.arms:
                yield from _body(graph, body, depth + 1)
        case g.BranchNode() | g.ChooseNode():
            yield _line(depth, f"{node.type} {node.id}")
            for arm in node.arms:
                yield from _body(graph, arm.body, depth + 1, f"if {condition_label(arm.condition)}: ")
            if isinstance(node, g.ChooseNode) and node.otherwise is not None:
                yield from _body(graph, node.otherwise, depth + 1, "otherwise: ")
        case g.LoopNode():
            word = "until" if node.kind == "dountil" else "while"
            yield _line(depth, f"loop {node.id} {word} {condition_label(node.condition)}")
            yield from _body(graph, node.body, depth + 1)
        case g.ForeachNode():
            width = node.concurrency if isinstance(node.concurrency, int) else "computed"
            yield _line(depth, f"foreach {node.id}, {width} at once{policy_label(node)}")
            yield from _body(graph, node.body, depth + 1)


def _body(graph: g.Graph, body: g.StepNode | g.WorkflowNode, depth: int, before: str = "") -> Iterator[str]:
    if isinstance(body, g.StepNode):
        other = f" ({body.step})" if body.step != body.id else ""
        yield _line(depth, f"{before}step {body.id}{other}")
        return
    other = f" ({body.workflow})" if body.workflow != body.id else ""
    yield _line(depth, f"{before}workflow {body.id}{other}")
    yield from _nodes(graph, graph.workflows[body.workflow], depth + 1)


def _line(depth: int, text: str) -> str:
    return "  " * depth + text
