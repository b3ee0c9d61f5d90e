"""A graph as a Mermaid flowchart: for notebooks, READMEs and `cloche graph`."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import Final, assert_never

from cloche_codegen import graph as g
from cloche_codegen.conditions.functions.reading import opened
from cloche_codegen.conditions.predicates import (
    Compare,
    Junction,
    LiteralOperand,
    Member,
    Negation,
    Patch,
    PathOperand,
    Predicate,
    Presence,
    Truth,
)
from cloche_codegen.conditions.values import json_text
from cloche_codegen.native_calls import calls_of

_SIGNS: Final = {"eq": "=", "ne": "≠", "lt": "<", "lte": "≤", "gt": ">", "gte": "≥", "in": "in", "notIn": "not in"}
_LABEL_MAX: Final = 80


def mermaid(graph: g.Graph) -> str:
    """The flowchart, lines ended by `\\n`. Nested workflows are drawn inside, once per place they are used."""
    drawing = _Drawing(graph)
    lines = ["flowchart TD", "  start([input])"]
    lines += drawing.flow(graph, ["start"], "  ") if graph.native is None else drawing.native(graph.native, "  ")
    ends = drawing.ends
    lines += ["  done([result])", *(f"  {end} --> done" for end in ends)]
    return "\n".join(lines) + "\n"


class _Drawing:
    """Boxes are named n1, n2 … in the order drawn, because ids may hold any character."""

    def __init__(self, graph: g.Graph) -> None:
        self.graph = graph
        self.count = 0
        self.ends: list[str] = []
        self.labels: dict[str, str] = {}  # end → what to write on the arrow that leaves it

    def flow(self, definition: g.Definition, ends: list[str], indent: str) -> Iterator[str]:
        self.ends = ends
        for node in definition.nodes:
            yield from self._node(node, indent)

    def native(self, native: g.NativeText, indent: str) -> Iterator[str]:
        """Its function, with a dotted arrow to each of its calls: only a run knows which are made, and how often."""
        self.ends = ["start"]
        yield from self._box(f"[{_quoted('function ' + native.name)}]", indent)
        for text in dict.fromkeys(line.text for line in calls_of(native) if line.is_call):
            name = self._name()
            yield f"{indent}{name}([{_quoted(text)}])"
            yield f"{indent}{self.ends[0]} -.-> {name}"

    def _node(self, node: g.Node, indent: str) -> Iterator[str]:
        match node:
            case g.StepNode() | g.WorkflowNode():
                yield from self._body(node, self.ends, None, indent)
            case g.MapNode():
                yield from self._box(f"[/{_quoted('map ' + node.id)}/]", indent)
            case g.SleepNode():
                wait = f"{node.ms / 1000:g} s" if node.ms is not None else "computed"
                yield from self._box(f"{{{{{_quoted('sleep ' + wait)}}}}}", indent)
            case g.SleepUntilNode():
                until = node.date.isoformat() if node.date else "computed"
                yield from self._box(f"{{{{{_quoted('sleep until ' + until)}}}}}", indent)
            case g.WaitForEventNode():
                yield from self._box(f"{{{{{_quoted(f'event {node.event}{timeout_label(node)}')}}}}}", indent)
            case g.ParallelNode():
                name = node.id + policy_label(node)
                yield from self._arms(name, [(None, arm) for arm in node.arms], indent)
            case g.BranchNode():
                yield from self._arms(node.id, [(condition_label(a.condition), a.body) for a in node.arms], indent)
            case g.ChooseNode():
                arms = [(condition_label(a.condition), a.body) for a in node.arms]
                yield from self._arms(
                    node.id, [*arms, *([("otherwise", node.otherwise)] if node.otherwise else [])], indent
                )
            case g.LoopNode():
                yield from self._body(node.body, self.ends, None, indent)
                word = "until" if node.kind == "dountil" else "while"
                yield from self._box(f"{{{_quoted(f'{word} {condition_label(node.condition)}')}}}", indent)
                yield f"{indent}{self.ends[0]} -.->|again| {self.first}"
            case g.ForeachNode():
                width = str(node.concurrency) if isinstance(node.concurrency, int) else "computed"
                yield from self._box(f"[[{_quoted(f'foreach, {width} at once{policy_label(node)}')}]]", indent)
                yield from self._body(node.body, self.ends, "item", indent)
            case _:
                assert_never(node)

    def _box(self, shape: str, indent: str) -> Iterator[str]:
        name = self._name()
        yield f"{indent}{name}{shape}"
        yield from (f"{indent}{end} --> {name}" for end in self.ends)
        self.ends = [name]

    def _arms(
        self, id: str, arms: Iterable[tuple[str | None, g.StepNode | g.WorkflowNode]], indent: str
    ) -> Iterator[str]:
        yield from self._box(f"{{{{{_quoted(id)}}}}}", indent)
        fork, ends = self.ends, []
        for label, body in arms:
            yield from self._body(body, fork, label, indent)
            ends += self.ends
        self.ends = ends or fork

    def _body(
        self, body: g.StepNode | g.WorkflowNode, ends: list[str], label: str | None, indent: str
    ) -> Iterator[str]:
        arrow = f"-->|{_quoted(label)}|" if label else "-->"
        if isinstance(body, g.StepNode):
            name = self._name()
            yield f"{indent}{name}[{_quoted(body.id)}]"
            yield from (f"{indent}{end} {arrow} {name}" for end in ends)
            self.ends, self.first = [name], name
            return
        name = self._name()
        yield f"{indent}subgraph {name}_flow[{_quoted(body.id)}]"
        yield f"{indent}  {name}(( ))"
        yield from self.flow(self.graph.workflows[body.workflow], [name], indent + "  ")
        yield f"{indent}end"
        yield from (f"{indent}{end} {arrow} {name}" for end in ends)
        self.first = name

    def _name(self) -> str:
        self.count += 1
        return f"n{self.count}"


def condition_label(condition: g.Condition) -> str:
    """A condition as people read it, at most 80 characters."""
    text = condition_text(condition)
    return text if len(text) <= _LABEL_MAX else text[: _LABEL_MAX - 1] + "…"


def condition_text(condition: g.Condition) -> str:
    """A condition as people read it, in one line."""
    match condition:
        case g.CodeText():
            said = condition.code
        case g.FunctionText():
            said = function_label(condition)
        case g.PredicateTest():
            said = predicate_label(condition.predicate)
        case _:
            assert_never(condition)
    return " ".join(said.split())


def timeout_label(node: g.WaitForEventNode) -> str:
    """How long an event is waited for, to be written after its name; nothing if for ever."""
    if node.timeout_seconds is not None:
        return ", computed timeout"
    return "" if node.timeout_ms is None else f", at most {node.timeout_ms / 1000:g} s"


def policy_label(node: g.ParallelNode | g.ForeachNode) -> str:
    """When a block ends before all its arms have, to be written after its name; nothing if it does not."""
    enough = "" if node.min_successes is None else f", {node.min_successes} enough"
    tolerated = node.tolerated_failures
    return enough + (
        "" if tolerated is None else f", {tolerated} {'failure' if tolerated == 1 else 'failures'} tolerated"
    )


def function_label(function: g.FunctionText) -> str:
    """A Python function in short: what a lambda gives, or the name of a def."""
    node = opened(function.source, function.name, function.parameters).node
    if not isinstance(node, ast.Lambda):
        return f"{function.name}(…)"
    return ast.get_source_segment(function.source, node.body) or ""


def predicate_label(predicate: Predicate) -> str:
    """A predicate in infix form: `inputData.score > 80 and not state.done`."""
    match predicate:
        case Compare():
            return f"{_operand(predicate.left)} {_SIGNS[predicate.op]} {_operand(predicate.right)}"
        case Member():
            members = predicate.set.path if isinstance(predicate.set, PathOperand) else json_text(predicate.set)
            return f"{_operand(predicate.value)} {_SIGNS[predicate.op]} {members}"
        case Presence():
            return f"{predicate.path} {'exists' if predicate.op == 'exists' else 'is missing'}"
        case Truth():
            return f"{'' if predicate.op == 'truthy' else 'not '}{_operand(predicate.value)}"
        case Junction():
            parts = [predicate_label(arg) for arg in predicate.args]
            inner = [f"({p})" if isinstance(a, Junction) else p for p, a in zip(parts, predicate.args, strict=True)]
            return f" {predicate.op} ".join(inner) or ("always" if predicate.op == "and" else "never")
        case Negation():
            return f"not ({predicate_label(predicate.arg)})"
        case Patch():
            return f"patched {predicate.id}"
        case _:
            assert_never(predicate)


def _operand(operand: PathOperand | LiteralOperand) -> str:
    return operand.path if isinstance(operand, PathOperand) else json_text(operand.literal)


_ENTITIES: Final = {ord(c): f"#{ord(c)};" for c in '"#&<>`|\n\r\u2028\u2029'}


def _quoted(text: str) -> str:
    """A label in quotes; characters that mean something to Mermaid or HTML become its numeric entities.

    It obeys a directive (`%%{init: …}%%`) wherever in the text that stands. Plain percent signs stay.
    """
    return '"' + text.translate(_ENTITIES).replace("%%", "#37;#37;") + '"'
