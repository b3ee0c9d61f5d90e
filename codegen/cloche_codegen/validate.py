"""Everything that can be wrong with a graph, found before it runs, all at once.

Works on the graph alone, so that one built here and one loaded from a file pass the same checks. The order of the
problems is that of the graph. A place is `workflow/node` or `workflow/node/arm`.
"""

from __future__ import annotations

import ast
import math
import re
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from cloche_codegen import graph as g
from cloche_codegen.conditions.code import BrokenCode, check
from cloche_codegen.conditions.functions.bundling import module_names
from cloche_codegen.conditions.functions.reading import BrokenFunction, context_use, named, opened
from cloche_codegen.conditions.functions.subset import expression_of
from cloche_codegen.conditions.predicates import Junction, Negation, Predicate, bare_path, paths_of
from cloche_codegen.errors import PROBLEMS_MAX, Problem
from cloche_codegen.flow import misfits
from cloche_codegen.languages import misplaced
from cloche_codegen.names import INPUT_CHECK, NAME_SIZE_MAX, flaw_of
from cloche_codegen.paths import BrokenPath, keys_of, where
from cloche_codegen.templates import BrokenTemplate, Place, parse

PREDICATE_DEPTH_MAX: Final = 64
_NEAR_NAMES_MAX: Final = 500  # among which it is searched what a wrong name was to be,
_NEAR_SIZE_MAX: Final = 60  # and how long names are for it
_RESERVED: Final = {INPUT_CHECK: "is cloche's own"}
_NOT_IN_IDS: Final = re.compile(r"[/#\[\]]")  # they build call paths: `W/inc[3]`, `inc#2`


def problems_of(graph: g.Graph) -> list[Problem]:
    """Every problem of a graph and of the workflows nested in it; empty if there is none.

    What was perhaps meant by a wrong name is said of those that are told: the search looks at hundreds of names.
    """
    found: list[Problem] = []
    for one in _problems(graph):
        found.append(one.plain(with_names=len(found) < PROBLEMS_MAX) if isinstance(one, _Unknown) else one)
    if not found and graph.native is None:
        found.extend(misfits(graph))
    return found


def _problems(graph: g.Graph) -> Iterator[Problem]:
    yield from _tables(graph)
    if graph.native is not None:
        yield from _id(graph.id, graph.id)
        yield from _native(graph, graph.native)
    else:
        for definition in graph.definitions().values():
            yield from _definition(graph, definition)
    yield from misplaced(graph)


@dataclass(frozen=True, slots=True)
class _Unknown(Problem):
    """A name that is not in its table. It is made plain before the next one is looked for: the table grows."""

    name: str
    table: Iterable[str]

    @classmethod
    def of(cls, path: str, message: str, name: str, table: Iterable[str]) -> _Unknown:
        return cls("unknown_reference", path, message, name, table)

    def plain(self, *, with_names: bool) -> Problem:
        return Problem(self.code, self.path, self.message + (_near(self.name, self.table) if with_names else ""))


def _native(graph: g.Graph, native: g.NativeText) -> Iterator[Problem]:
    if graph.nodes or graph.workflows:
        yield Problem("bad_graph", graph.id, "a native workflow has neither nodes nor nested workflows")
    try:
        found = opened(native.source, native.name, native.parameters, module_names(native.files or {}))
    except BrokenFunction as error:
        yield Problem("bad_function", graph.id, f"the source of the workflow cannot be used: {error}")
        return
    if not isinstance(found.node, ast.AsyncFunctionDef):
        yield Problem("bad_function", graph.id, "the source of the workflow does not end with an async function")
    for step in named(found, "_step"):
        if step not in graph.steps:
            yield _Unknown.of(graph.id, f"the graph has no step {step!r}", step, graph.steps)


def _tables(graph: g.Graph) -> Iterator[Problem]:
    if graph.id in graph.workflows:
        message = f"a nested workflow has the id of the one it is in, {graph.id!r}; give one of them another id"
        yield Problem("duplicate_id", graph.id, message)
    for id, definition in graph.workflows.items():
        if definition.id != id:
            yield Problem("bad_graph", id, f"the table of workflows holds {definition.id!r} under {id!r}")
    for step in graph.steps:
        if (flaw := _RESERVED.get(step) or flaw_of(step)) is not None:
            yield Problem("bad_id", graph.id, f"the id {step[:NAME_SIZE_MAX]!r} of a step {flaw}")
    yield from _cycles(graph)


def _cycles(graph: g.Graph) -> Iterator[Problem]:
    """A workflow that contains itself would never end. Depth first, without recursion: the graph may be hostile."""
    state: dict[str, bool] = {}  # id → whether everything below it is done
    for root in graph.workflows:
        todo = [root]
        while todo:
            id = todo[-1]
            if id in state:
                todo.pop()
                state[id] = True
                continue
            state[id] = False
            for inner in _nested(graph.workflows[id]):
                if state.get(inner) is False:
                    yield Problem("workflow_cycle", id, f"workflow {inner!r} is nested in itself")
                elif inner not in state and inner in graph.workflows:
                    todo.append(inner)


def _nested(definition: g.Definition) -> Iterator[str]:
    bodies = (body for node in definition.nodes for body in g.bodies_of(node))
    return (body.workflow for body in bodies if isinstance(body, g.WorkflowNode))


def _definition(graph: g.Graph, definition: g.Definition) -> Iterator[Problem]:
    yield from _id(definition.id, definition.id)
    if not definition.nodes:
        yield Problem(
            "empty_graph", definition.id, "the workflow has no nodes; add at least one, for example .then(step)"
        )
    yield from _ids(definition)
    ids = {id for node in definition.nodes for id in _ids_of(node)}
    preceding: dict[str, None] = {}
    for node in definition.nodes:
        path = f"{definition.id}/{node.id}"
        yield from _shape(node, path)
        for body in g.bodies_of(node):
            yield from _target(graph, body, path if body is node else f"{path}/{body.id}")
        for use in _uses(node, path):
            yield from _use(use, preceding, ids, set(_ids_of(node)))
        preceding.update(dict.fromkeys(_ids_of(node)))


def _ids_of(node: g.Node) -> Iterator[str]:
    """The ids under which results are found: the node's, and those of its arms or body."""
    yield node.id
    yield from (body.id for body in g.bodies_of(node) if body is not node)


def _ids(definition: g.Definition) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for node in definition.nodes:
        for id in _ids_of(node):
            path = f"{definition.id}/{node.id}" if id == node.id else f"{definition.id}/{node.id}/{id}"
            yield from _id(id, path)
            if id in seen:
                message = f"the id {id!r} is taken by {seen[id]}; use clone_step, clone_workflow or id= to give another"
                yield Problem("duplicate_id", path, message)
            seen.setdefault(id, path)


def _id(id: str, path: str) -> Iterator[Problem]:
    flaw = _RESERVED.get(id) or flaw_of(id)
    if flaw is None and (found := _NOT_IN_IDS.search(id)):
        flaw = f"contains {found[0]!r}; / # [ ] build call paths and are not allowed in ids"
    if flaw is not None:
        yield Problem("bad_id", path[:NAME_SIZE_MAX], f"the id {id[:NAME_SIZE_MAX]!r} {flaw}")


def _shape(node: g.Node, path: str) -> Iterator[Problem]:
    arms = node.arms if isinstance(node, g.ParallelNode | g.BranchNode | g.ChooseNode) else ("one",)
    if not arms:
        yield Problem("empty_block", path, f"the {node.type} has no arms; give it at least one step")
    if isinstance(node, g.ParallelNode | g.ForeachNode):
        yield from _policy(node, path)
    if isinstance(node, g.WaitForEventNode):
        yield from _event(node.event, path)


def _policy(node: g.ParallelNode | g.ForeachNode, path: str) -> Iterator[Problem]:
    """Completion policies that contradict each other, or the number of arms."""
    least, tolerated = node.min_successes, node.tolerated_failures
    if least is None and tolerated is None:
        return
    settles = "settle=True" if isinstance(node, g.ParallelNode) and node.settle else ""
    if isinstance(node, g.ForeachNode) and node.on_error == "collect":
        settles = 'on_error="collect"'
    if settles:
        message = (
            f"{settles} keeps every failure as a result; it cannot be used with min_successes or tolerated_failures"
        )
        yield Problem("bad_policy", path, message)
    elif isinstance(node, g.ParallelNode) and (least or 0) + (tolerated or 0) > len(node.arms):
        asked = " and ".join(
            text
            for text in (least and f"min_successes={least}", tolerated and f"tolerated_failures={tolerated}")
            if text
        )
        yield Problem("bad_policy", path, f"{asked} cannot hold among {len(node.arms)} arms; lower one of them")


def _event(name: str, path: str) -> Iterator[Problem]:
    if (flaw := flaw_of(name)) is not None:
        yield Problem("bad_event", path, f"the event name {name[:NAME_SIZE_MAX]!r} {flaw}")


def _target(graph: g.Graph, body: g.StepNode | g.WorkflowNode, path: str) -> Iterator[Problem]:
    table: Mapping[str, object] = graph.steps if isinstance(body, g.StepNode) else graph.workflows
    name = body.step if isinstance(body, g.StepNode) else body.workflow
    if name not in table:
        yield _Unknown.of(path, f"the graph has no {body.type} {name!r}", name, table)
    if isinstance(body, g.StepNode) and body.step != body.id:
        yield from _id(body.step, path)


@dataclass(frozen=True, slots=True)
class _Use:
    """One condition or value of a node, and where it stands."""

    path: str
    what: g.Condition | g.Value
    in_loop: bool = False


def _uses(node: g.Node, path: str) -> Iterator[_Use]:
    match node:
        case g.BranchNode() | g.ChooseNode():
            yield from (_Use(f"{path}/{arm.body.id}", arm.condition) for arm in node.arms)
        case g.LoopNode():
            yield _Use(path, node.condition, in_loop=True)
        case g.MapNode():
            yield _Use(path, node.value)
        case g.SleepNode() if node.seconds is not None:
            yield _Use(path, node.seconds)
        case g.SleepUntilNode() if node.value is not None:
            yield _Use(path, node.value)
        case g.WaitForEventNode() if node.timeout_seconds is not None:
            yield _Use(path, node.timeout_seconds)
        case g.ForeachNode() if not isinstance(node.concurrency, int):
            yield _Use(path, node.concurrency)
        case _:
            return


def _use(use: _Use, preceding: MutableMapping[str, None], ids: set[str], own: set[str]) -> Iterator[Problem]:
    known = ChainMap(dict.fromkeys(own), preceding) if use.in_loop else preceding
    match use.what:
        case g.CodeText(code=text):
            yield from _code(text, use.path)
        case g.FunctionText():
            yield from _function(use.what, use, known, ids)
        case g.PredicateTest(predicate=predicate):
            yield from _predicate(predicate, use, known, ids)
        case g.TemplateValue(template=template):
            yield from _template(template, use, known, ids)
        case g.PathValue(path=text):
            yield from _path(bare_path(text), use, known, ids)
        case g.StepValue(steps=steps, path=text):
            for step in steps:
                yield from _step(step, use.path, known, ids)
            try:
                keys_of(text)
            except BrokenPath as error:
                yield Problem("bad_path", use.path, str(error))
        case g.ObjectValue(fields=fields):
            for key, one in fields.items():
                yield from _use(_Use(f"{use.path}.{key}", one, use.in_loop), preceding, ids, own)
        case g.LiteralValue(value=value):
            yield from _literal(value, use.path)


def _code(text: str, path: str) -> Iterator[Problem]:
    try:
        check(text)
    except BrokenCode as error:
        yield Problem("bad_code", path, f"the code string is not one JavaScript expression: {error}")


def _function(function: g.FunctionText, use: _Use, known: Mapping[str, None], ids: set[str]) -> Iterator[Problem]:
    try:
        opened(function.source, function.name, function.parameters)
        asked = context_use(function.source, function.name) if function.parameters == 2 else None
    except BrokenFunction as error:
        yield Problem("bad_function", use.path, f"the source of the Python function cannot be used: {error}")
        return
    if function.expression is not None and function.expression != expression_of(
        function.source, function.name, function.parameters
    ):
        message = "the expression of the Python function does not say what its source says; store the workflow again"
        yield Problem("bad_function", use.path, message)
    if asked is None:
        return
    for id in sorted(asked.steps or ()):
        yield from _step(id, use.path, known, ids)
    if "iteration_count" in asked.names and asked.steps is not None and not use.in_loop:
        message = "the Python function asks for iteration_count, which only the condition of a loop has"
        yield Problem("bad_path", use.path, message)


def _predicate(predicate: Predicate, use: _Use, known: Mapping[str, None], ids: set[str]) -> Iterator[Problem]:
    if _too_deep(predicate):
        message = f"the predicate is nested deeper than {PREDICATE_DEPTH_MAX}; split it or use a code string"
        yield Problem("predicate_too_deep", use.path, message)
        return
    for text in paths_of(predicate):
        yield from _path(text, use, known, ids)


def _too_deep(predicate: Predicate) -> bool:
    level: list[Predicate] = [predicate]
    for _ in range(PREDICATE_DEPTH_MAX):
        inner: list[Predicate] = []
        for one in level:
            inner.extend(one.args if isinstance(one, Junction) else (one.arg,) if isinstance(one, Negation) else ())
        if not inner:
            return False
        level = inner
    return True


def _template(template: str, use: _Use, known: Mapping[str, None], ids: set[str]) -> Iterator[Problem]:
    try:
        parts = parse(template)
    except BrokenTemplate as error:
        yield Problem("bad_template", use.path, str(error))
        return
    for part in parts:
        if isinstance(part, Place):
            yield from _path(part.path, use, known, ids)


def _path(text: str, use: _Use, known: Mapping[str, None], ids: set[str]) -> Iterator[Problem]:
    try:
        found = where(text, ids)
    except BrokenPath as error:
        yield Problem("bad_path", use.path, str(error))
        return
    if found.root == "iterationCount" and (not use.in_loop or found.keys):
        message = f"path {text!r}: iterationCount is a number that only the condition of a loop has"
        yield Problem("bad_path", use.path, message)
    elif found.step is not None:
        yield from _step(found.step, use.path, known, ids)


def _step(id: str, path: str, known: Mapping[str, None], ids: set[str]) -> Iterator[Problem]:
    if id in known:
        return
    if id in ids:
        yield Problem(
            "not_preceding", path, f"step {id!r} does not precede this node, so its result cannot be used here"
        )
    else:
        yield _Unknown.of(path, f"no step {id!r} precedes this node", id, known)


def _near(name: str, table: Iterable[str]) -> str:
    """What was perhaps meant, or a few of what there is. Comparing two names takes 20 µs, or 5 ms where they are long."""
    names = list(table)
    if len(name) <= _NEAR_SIZE_MAX:
        some = [one for one in names[:_NEAR_NAMES_MAX] if len(one) <= _NEAR_SIZE_MAX]
        if close := get_close_matches(name, some, n=1):
            return f"; did you mean {close[0]!r}?"
    shown = ", ".join(map(repr, names[:8])) + (", …" if len(names) > 8 else "")
    return f"; there is {shown}" if names else "; there is none"


def _literal(value: object, path: str) -> Iterator[Problem]:
    """JSON has no NaN and no infinity: stored, they would silently become null."""
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, float) and not math.isfinite(one):
            yield Problem("bad_value", path, f"{one} cannot be stored in a graph; use a code string if you need it")
        elif isinstance(one, Mapping):
            todo.extend(one.values())
        elif isinstance(one, list | tuple):
            todo.extend(one)
