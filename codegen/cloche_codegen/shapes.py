"""The shape of a workflow: a tree of what a page draws as its graph, whether nodes or an author's Python say it.

A shape names the *place* of its calls, which is their path without turns of loops, items of lists and numbers of repeated
calls: so a page finds how each one stands. Of native code nothing is executed: see `native_shapes`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, assert_never

from cloche_codegen import graph as g
from cloche_codegen.mermaid import condition_text, policy_label

_TEXT_MAX: Final = 200
_DEPTH_MAX, SHAPES_MAX = 8, 3000  # nested workflows are drawn wherever they are used: 2^n shapes for n workflows


@dataclass(frozen=True, slots=True)
class Shape:
    """`kind`: step, workflow, map, sleep, event, parallel, branch, choose, loop, foreach; of native code also child, if, try,
    scope, function, gather and race. `text` stands beside the name; `line` is that of native source, from 1; `node` is the id
    of its node, as the maps from lines to nodes have it. `arms` are what is in it: of a loop or scope one.
    """

    kind: str
    id: str
    place: str = ""
    text: str = ""
    line: int | None = None
    arms: tuple[ShapeArm, ...] = ()
    node: str = ""

    def to_data(self, before: int = 0) -> dict[str, Any]:
        """For JSON. `before`: how many lines of the whole text stand before its source."""
        arms = [{"text": arm.text, "items": [one.to_data(before) for one in arm.items]} for arm in self.arms]
        line = None if self.line is None else self.line + before
        mine = {name: getattr(self, name) for name in ("kind", "id", "place", "text", "node")}
        return {**mine, "line": line, "arms": arms}


@dataclass(frozen=True, slots=True)
class ShapeArm:
    """What runs one after the other; `text` is when."""

    text: str
    items: tuple[Shape, ...]


def shapes_of(graph: g.Graph) -> tuple[Shape, ...]:
    """The nodes of a graph, in their order. A native workflow has none: see `native_shapes`."""
    return _Reader(graph).flow(graph, "", 0)


class _Reader:
    def __init__(self, graph: g.Graph) -> None:
        self.graph = graph
        self.count = 0

    def flow(self, definition: g.Definition, at: str, depth: int) -> tuple[Shape, ...]:
        return tuple(self._placed(self._node(node, at, depth), at + node.id) for node in definition.nodes)

    def _placed(self, shape: Shape, node: str) -> Shape:
        """Bodies and arms have the lines of their node."""
        own = ("parallel", "branch", "choose")
        arms = shape.arms
        if shape.kind in own:
            arms = tuple(replace(arm, items=tuple(self._placed(one, node) for one in arm.items)) for arm in arms)
        return replace(shape, node=node, arms=arms)

    def _node(self, node: g.Node, at: str, depth: int) -> Shape:
        self.count += 1
        place = at + node.id
        match node:
            case g.StepNode() | g.WorkflowNode():
                return self._body(node, at, depth)
            case g.MapNode():
                return Shape("map", node.id, place)
            case g.SleepNode():
                return Shape("sleep", node.id, place, _duration(node.ms))
            case g.SleepUntilNode():
                return Shape("sleep", node.id, place, f"until {node.date.isoformat()}" if node.date else "computed")
            case g.WaitForEventNode():
                timed = node.timeout_ms is not None or node.timeout_seconds is not None
                return Shape(
                    "event", node.id, place, _cut(f"{node.event}{f', {_duration(node.timeout_ms)}' if timed else ''}")
                )
            case g.ParallelNode():
                at_most = f"{node.limit} at once" if node.limit else ""
                arms = tuple(ShapeArm("", (self._body(arm, at, depth),)) for arm in node.arms)
                return Shape("parallel", node.id, text=f"{at_most}{policy_label(node)}".strip(", "), arms=arms)
            case g.BranchNode() | g.ChooseNode():
                return Shape(node.type, node.id, arms=tuple(self._arms(node, at, depth)))
            case g.LoopNode():
                word = "until" if node.kind == "dountil" else "while"
                return self._repeated("loop", node.body, at, depth, f"{word} {condition_text(node.condition)}")
            case g.ForeachNode():
                width = f"{node.concurrency} at once" if isinstance(node.concurrency, int) else "computed"
                return self._repeated("foreach", node.body, at, depth, f"{width}{policy_label(node)}")
            case _:
                assert_never(node)

    def _arms(self, node: g.BranchNode | g.ChooseNode, at: str, depth: int) -> Iterable[ShapeArm]:
        for arm in node.arms:
            yield ShapeArm(_cut(condition_text(arm.condition)), (self._body(arm.body, at, depth),))
        if isinstance(node, g.ChooseNode) and node.otherwise is not None:
            yield ShapeArm("otherwise", (self._body(node.otherwise, at, depth),))

    def _repeated(self, kind: str, body: g.StepNode | g.WorkflowNode, at: str, depth: int, text: str) -> Shape:
        inner = self._body(body, at, depth)
        return Shape(kind, inner.id, inner.place, _cut(text), arms=inner.arms)

    def _body(self, body: g.StepNode | g.WorkflowNode, at: str, depth: int) -> Shape:
        self.count += 1
        target = body.step if isinstance(body, g.StepNode) else body.workflow
        text = "" if target == body.id else _cut(target)
        if isinstance(body, g.StepNode):
            return Shape("step", body.id, at + body.id, text)
        if depth >= _DEPTH_MAX or self.count > SHAPES_MAX:
            return Shape("workflow", body.id, at + body.id, "not opened here")
        inner = self.flow(self.graph.workflows[body.workflow], f"{at}{body.id}/", depth + 1)
        return Shape("workflow", body.id, at + body.id, text, arms=(ShapeArm("", inner),))


def _duration(ms: int | None) -> str:
    if ms is None:
        return "computed"
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)):
        if ms and ms % size == 0:
            return f"{ms // size} {unit}"
    return f"{ms / 1000:g} s"


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_MAX else text[: _TEXT_MAX - 1] + "…"
