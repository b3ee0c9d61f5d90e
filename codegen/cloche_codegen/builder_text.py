"""A graph as the builder's calls that make it: for people who read a run beside what its author wrote. It is text, and not run.

What the graph does not keep is not there: functions of steps stand as their ids, Python functions as `mermaid` says them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final, assert_never

from cloche_codegen import graph as g
from cloche_codegen.emission import Lines, Source, source_of
from cloche_codegen.lower import inner_first
from cloche_codegen.mermaid import condition_text

_INDENT: Final = "    "


def builder_text(graph: g.Graph) -> Source:
    """The calls, with the node of each line; those of nested workflows stand before the ones that use them.

    Raises:
        GraphError: It is native and has no nodes.
    """
    lines = Lines()
    for id in inner_first(graph):
        _definition(lines, graph.workflows[id], f"{id}/")
        lines.add()
    _definition(lines, graph, "")
    return source_of(*lines.finished())


def _definition(lines: Lines, definition: g.Definition, at: str) -> None:
    lines.add(f"{_name(definition.id)} = (")
    lines.add(f"{_INDENT}create_workflow(id={_text(definition.id)})")
    for node in definition.nodes:
        for line in _node(node):
            lines.add(_INDENT + line, at + node.id)
    lines.add(f"{_INDENT}.commit()")
    lines.add(")")


def _node(node: g.Node) -> Iterator[str]:
    id = f"id={_text(node.id)}"
    match node:
        case g.StepNode() | g.WorkflowNode():
            undo = f", compensate={_name(node.compensate)}" if node.compensate else ""
            yield f".{'tap' if isinstance(node, g.StepNode) and node.tap else 'then'}({_body(node)}{undo})"
        case g.MapNode():
            yield f".map({_value(node.value)}, {id})"
        case g.SleepNode():
            yield f".sleep({f'{node.ms / 1000:g}' if node.ms is not None else _value(node.seconds)}, {id})"
        case g.SleepUntilNode():
            yield f".sleep_until({_text(node.date.isoformat()) if node.date else _value(node.value)}, {id})"
        case g.WaitForEventNode():
            timeout = f", timeout={node.timeout_ms / 1000:g}" if node.timeout_ms is not None else ""
            yield f".wait_for_event({_text(node.event)}{timeout}, {id})"
        case g.ParallelNode():
            limit = f", limit={node.limit}" if node.limit else ""
            yield f".parallel([{', '.join(map(_body, node.arms))}]{limit}, {id})"
        case g.BranchNode() | g.ChooseNode():
            yield from _arms(node, id)
        case g.LoopNode():
            yield f".{node.kind}({_body(node.body)}, {condition_text(node.condition)}, {id})"
        case g.ForeachNode():
            width = node.concurrency if isinstance(node.concurrency, int) else _value(node.concurrency)
            yield f".foreach({_body(node.body)}, concurrency={width}, {id})"
        case _:
            assert_never(node)


def _arms(node: g.BranchNode | g.ChooseNode, id: str) -> Iterator[str]:
    yield f".{node.type}(["
    for arm in node.arms:
        yield f"{_INDENT}({condition_text(arm.condition)}, {_body(arm.body)}),"
    otherwise = node.otherwise if isinstance(node, g.ChooseNode) else None
    yield f"]{f', otherwise={_body(otherwise)}' if otherwise is not None else ''}, {id})"


def _body(body: g.StepNode | g.WorkflowNode) -> str:
    target = body.step if isinstance(body, g.StepNode) else body.workflow
    if body.id == target:
        return _name(target)
    return f"clone_{body.type}({_name(target)}, id={_text(body.id)})"


def _value(value: g.Value | None) -> str:
    match value:
        case g.CodeText() | g.FunctionText() | g.PredicateTest():
            return condition_text(value)
        case g.LiteralValue():
            return json.dumps(value.value, ensure_ascii=False)
        case g.TemplateValue():
            return f"template({_text(value.template)})"
        case g.PathValue():
            return f"path({_text(value.path)})"
        case g.StepValue():
            return f"steps({', '.join(map(_text, value.steps))}).path({_text(value.path)})"
        case g.ObjectValue():
            inner = ", ".join(f"{_text(key)}: {_value(one)}" for key, one in value.fields.items())
            return f"{{{inner}}}"
        case None:
            return "None"
        case _:
            assert_never(value)


def _name(id: str) -> str:
    """As a variable of Python would be called; what cannot be one is a text."""
    name = id.replace("-", "_")
    return name if name.isidentifier() else _text(id)


def _text(text: str) -> str:
    return json.dumps(" ".join(text.split()), ensure_ascii=False)
