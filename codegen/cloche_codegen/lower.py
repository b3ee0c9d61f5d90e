"""Graph to statement tree. What a node means is decided here and nowhere else.

Works on a graph without problems (see `validate`); names that do not resolve are a fault of ours, not of the author.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, assert_never

from cloche_codegen import graph as g
from cloche_codegen import tree as t
from cloche_codegen.conditions.code import names_in, steps_in
from cloche_codegen.conditions.functions.reading import CONTEXT, context_use
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
    bare_path,
)
from cloche_codegen.errors import GraphError
from cloche_codegen.names import INPUT_CHECK
from cloche_codegen.paths import keys_of, where
from cloche_codegen.templates import Place, parse

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def lower(graph: g.Graph) -> t.Module:
    """The statement tree of a whole graph; nested workflows stand before those that use them.

    Raises:
        GraphError: It is native and has no nodes.
    """
    if graph.native is not None:
        message = "a native workflow is a Python function, which only the Python guest can run: use SandboxEngine"
        raise GraphError.one("native_workflow", graph.id, message)
    functions = tuple(_function(graph.workflows[id], is_nested=True) for id in inner_first(graph))
    return t.Module(functions, _function(graph))


def inner_first(graph: g.Graph) -> list[str]:
    """The ids of the nested workflows that are used, each after all that it uses itself; first use decides ties."""
    done: dict[str, None] = {}
    todo: list[tuple[str | None, Iterator[str]]] = [(None, _uses(graph))]
    while todo:
        id, inner = todo[-1]
        following = next((name for name in inner if name not in done), None)
        if following is not None:
            todo.append((following, _uses(graph.workflows[following])))
            continue
        todo.pop()
        if id is not None:
            done[id] = None
    return list(done)


def _uses(definition: g.Definition) -> Iterator[str]:
    return (
        body.workflow for node in definition.nodes for body in g.bodies_of(node) if isinstance(body, g.WorkflowNode)
    )


@dataclass(frozen=True, slots=True)
class _Scope:
    """What names mean at one place of a workflow."""

    node: str
    initial: t.Value
    flowing: t.Value
    results: MutableMapping[str, t.Value]
    in_loop: bool = False

    def root(self, name: str) -> t.Value:
        match name:
            case "inputData":
                return self.flowing
            case "initData":
                return self.initial
            case "state":
                return t.State()
            case "requestContext":
                return t.Context()
            case _:
                return t.Turn()

    def result(self, id: str) -> t.Value:
        return self.results.get(id) or t.Literal_(None)


def _function(definition: g.Definition, *, is_nested: bool = False) -> t.Function:
    initial: t.Value = t.Input()
    results: dict[str, t.Value] = {}
    lines: list[t.Line] = []
    if is_nested and definition.checks_input:
        check = t.Perform(INPUT_CHECK, t.Call(INPUT_CHECK, INPUT_CHECK, is_workflow=False), initial)
        lines.append(t.Line("check", "by the input schema of the workflow", check))
        initial = t.Result(INPUT_CHECK)
    flowing = initial
    for node in definition.nodes:
        scope = _Scope(node.id, initial, flowing, results)
        lines.append(t.Line(_kind(node), node.description, _statement(node, scope)))
        if not (isinstance(node, g.StepNode) and node.tap):
            flowing = t.Result(node.id)
        results.update(_results(node))
    return t.Function(definition.id, definition.description, tuple(lines), flowing)


def _kind(node: g.Node) -> str:
    return node.kind if isinstance(node, g.LoopNode) else node.type


def _results(node: g.Node) -> Iterator[tuple[str, t.Value]]:
    """What can be looked up by id once a node is done: the node, its arms, its body."""
    yield node.id, t.Result(node.id)
    for body in g.bodies_of(node):
        if isinstance(node, g.ParallelNode | g.BranchNode | g.ChooseNode):
            settled = isinstance(node, g.ParallelNode) and node.settle
            yield body.id, t.ArmResult(node.id, body.id, settled)
        else:
            yield body.id, t.Result(node.id)


def _statement(node: g.Node, scope: _Scope) -> t.Statement:
    match node:
        case g.StepNode() | g.WorkflowNode():
            undo = f"undo:{node.id}"
            compensate = None if node.compensate is None else t.Call(undo, node.compensate, is_workflow=False)
            return t.Perform(node.id, _call(node), scope.flowing, compensate)
        case g.MapNode():
            return t.Map(node.id, scope.flowing, _value(node.value, scope))
        case g.SleepNode():
            seconds = None if node.seconds is None else _seconds(node.seconds, scope)
            return t.Sleep(node.id, scope.flowing, node.ms, seconds)
        case g.SleepUntilNode():
            ms = None if node.date is None else (node.date - _EPOCH) // timedelta(milliseconds=1)
            return t.SleepUntil(node.id, scope.flowing, ms, None if node.value is None else _value(node.value, scope))
        case g.WaitForEventNode():
            timeout = None if node.timeout_seconds is None else _seconds(node.timeout_seconds, scope)
            return t.WaitForEvent(node.id, node.event, scope.flowing, node.timeout_ms, timeout)
        case g.ParallelNode():
            arms = tuple(map(_call, node.arms))
            enough = (node.min_successes, node.tolerated_failures)
            return t.Parallel(node.id, scope.flowing, arms, node.limit, node.settle, *enough)
        case g.BranchNode():
            return t.Branch(node.id, scope.flowing, _guarded(node.arms, scope))
        case g.ChooseNode():
            otherwise = None if node.otherwise is None else _call(node.otherwise)
            return t.Choose(node.id, scope.flowing, _guarded(node.arms, scope), otherwise)
        case g.LoopNode():
            # The test of a loop sees its own body's last result; a chain of maps, because a copy would be quadratic.
            results: ChainMap[str, t.Value] = ChainMap({node.id: t.Item(), node.body.id: t.Item()}, scope.results)
            test = _condition(node.condition, replace(scope, flowing=t.Item(), in_loop=True, results=results))
            return t.Loop(node.id, scope.flowing, _call(node.body), test, until=node.kind == "dountil")
        case g.ForeachNode():
            width = node.concurrency if isinstance(node.concurrency, int) else _value(node.concurrency, scope)
            enough = (node.min_successes, node.tolerated_failures)
            return t.Foreach(node.id, scope.flowing, _call(node.body), width, node.on_error, *enough)
        case _:
            assert_never(node)


def _call(body: g.StepNode | g.WorkflowNode) -> t.Call:
    if isinstance(body, g.StepNode):
        return t.Call(body.id, body.step, is_workflow=False)
    return t.Call(body.id, body.workflow, is_workflow=True)


def _guarded(arms: tuple[g.Arm, ...], scope: _Scope) -> tuple[t.Guarded, ...]:
    return tuple(
        t.Guarded(_condition(arm.condition, replace(scope, node=f"{scope.node}/{arm.body.id}")), _call(arm.body))
        for arm in arms
    )


def _condition(condition: g.Condition, scope: _Scope) -> t.Value:
    match condition:
        case g.CodeText():
            return _code(condition.code, scope)
        case g.FunctionText():
            return _apply(condition, scope, "truth")
        case g.PredicateTest():
            return _predicate(condition.predicate, scope)
        case _:
            assert_never(condition)


def _value(value: g.Value, scope: _Scope) -> t.Value:
    match value:
        case g.LiteralValue():
            return t.Literal_(value.value)
        case g.TemplateValue():
            return _text(value.template, scope)
        case g.PathValue():
            return _read(value.path, scope)
        case g.StepValue():
            return _read_step(value, scope)
        case g.PredicateTest():
            return _predicate(value.predicate, scope)
        case g.CodeText():
            return _code(value.code, scope)
        case g.FunctionText():
            return _apply(value, scope, "value")
        case g.ObjectValue():
            return t.Record(tuple((key, _value(one, scope)) for key, one in value.fields.items()))
        case _:
            assert_never(value)


def _text(template: str, scope: _Scope) -> t.Value:
    return t.Text(tuple(_read(part.path, scope) if isinstance(part, Place) else part for part in parse(template)))


def _read(path: str, scope: _Scope) -> t.Value:
    found = where(bare_path(path), scope.results)
    if found.step is not None:
        return t.Read(scope.result(found.step), found.keys, f"step {found.step}", of_step=True)
    return t.Read(scope.root(found.root), found.keys, found.root, of_step=False)


def _read_step(value: g.StepValue, scope: _Scope) -> t.Value:
    results = tuple(scope.result(id) for id in value.steps)
    root = results[0] if len(results) == 1 else t.FirstOf(results)
    label = f"step {value.steps[0]}" if len(results) == 1 else f"steps {', '.join(value.steps)}"
    return t.Read(root, keys_of(value.path), label, of_step=True)


def _predicate(predicate: Predicate, scope: _Scope) -> t.Value:
    match predicate:
        case Compare():
            return t.Test(predicate.op, (_operand(predicate.left, scope), _operand(predicate.right, scope)))
        case Member():
            members = _get(predicate.set.path, scope) if isinstance(predicate.set, PathOperand) else None
            return t.Test(predicate.op, (_operand(predicate.value, scope), members or _constants(predicate)))
        case Presence():
            return t.Test(predicate.op, (_get(predicate.path, scope),))
        case Truth():
            return t.Test(predicate.op, (_operand(predicate.value, scope),))
        case Junction():
            args = tuple(_predicate(arg, scope) for arg in predicate.args)
            return t.All(args) if predicate.op == "and" else t.Any_(args)
        case Negation():
            return t.Not(_predicate(predicate.arg, scope))
        case Patch():
            return t.Test("patched", (t.Literal_(predicate.id),))
        case _:
            assert_never(predicate)


def _constants(member: Member) -> t.Value:
    return t.Constants(() if isinstance(member.set, PathOperand) else member.set)


def _operand(operand: PathOperand | LiteralOperand, scope: _Scope) -> t.Value:
    return t.Literal_(operand.literal) if isinstance(operand, LiteralOperand) else _get(operand.path, scope)


def _get(path: str, scope: _Scope) -> t.Value:
    found = where(bare_path(path), scope.results)
    if found.step is not None:
        return t.Get(scope.result(found.step), found.keys, of_step=True)
    return t.Get(scope.root(found.root), found.keys, of_step=False)


def _code(text: str, scope: _Scope) -> t.Value:
    """A code string gets the names it mentions, and of the results those it names, or all if it computes an id."""
    mentioned = names_in(text)
    names = tuple(
        (name, scope.root(name))
        for name in mentioned
        if name in ("inputData", "initData", "state", "requestContext") or (name == "iterationCount" and scope.in_loop)
    )
    if "getInitData" in mentioned:
        names = (*names, ("getInitData", scope.initial))
    by_name, by_call = "stepResults" in mentioned, "getStepResult" in mentioned
    results: tuple[tuple[str, t.Value], ...] = ()
    if by_name or by_call:
        wanted = steps_in(text)
        ids = scope.results if wanted is None else sorted(id for id in wanted if id in scope.results)
        results = tuple((id, scope.results[id]) for id in ids)
    return t.Code(text, scope.node, names, results, by_name, by_call)


_CONTEXT_ROOTS: Final = {
    "input_data": "inputData",
    "init_data": "initData",
    "state": "state",
    "request_context": "requestContext",
    "iteration_count": "iterationCount",
}


def _seconds(value: g.Value, scope: _Scope) -> t.Value:
    return _apply(value, scope, "seconds") if isinstance(value, g.FunctionText) else _value(value, scope)


def _apply(function: g.FunctionText, scope: _Scope, gives: Literal["value", "truth", "seconds"]) -> t.Value:
    """A function gets its data and, if it has a second parameter, what it asks of the context."""
    context: tuple[tuple[str, t.Value], ...] | None = None
    results: tuple[tuple[str, t.Value], ...] = ()
    if function.parameters == 2:
        use = context_use(function.source, function.name)
        asked = (name for name in CONTEXT if name in use.names and (name != "iteration_count" or scope.in_loop))
        context = tuple((name, scope.root(_CONTEXT_ROOTS[name])) for name in asked)
        ids = scope.results if use.steps is None else sorted(id for id in use.steps if id in scope.results)
        results = tuple((id, scope.results[id]) for id in ids)
    source = (function.name, function.source)
    return t.Apply(*source, scope.node, scope.flowing, context, results, gives, function.expression)
