"""What an engine cannot say, and why: rules that are asked when a workflow is added. The table in the docs is made of them.

Of a step's function only the names it uses are read: one that reaches its context in a roundabout way is not found here, and
its step fails when it runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any

from cloche.errors import RefusedByEngine
from cloche_codegen import Graph, Step, Workflow
from cloche_codegen.graph import BranchNode, ForeachNode, ParallelNode, SleepNode, WaitForEventNode, bodies_of

INNGEST, RESTATE, TEMPORAL = "Inngest", "Restate", "Temporal"
ENGINES = (INNGEST, RESTATE, TEMPORAL)
INNGEST_RETRIES_MAX = 20
YEAR_MS = 365 * 86_400_000
_RESTATE_NAME = re.compile(r"([a-zA-Z]|_[a-zA-Z0-9])[a-zA-Z0-9._-]*")

Find = Callable[[Workflow, Mapping[str, Step]], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Rule:
    """`says` names the thing for the table; `reasons` why each engine cannot say it; `find` gives the nodes that ask for it."""

    says: str
    reasons: Mapping[str, str]
    find: Find


def refuse(engine: str, workflow: Workflow, steps: Mapping[str, Step]) -> None:
    """That `engine` can say all of a committed workflow.

    Raises:
        RefusedByEngine: it cannot; `problems` has a line for each node.
    """
    problems = [
        f"{node}: {rule.says}: {rule.reasons[engine]}"
        for rule in RULES
        if engine in rule.reasons
        for node in rule.find(workflow, steps)
    ]
    if problems:
        listed = "; ".join(problems)
        raise RefusedByEngine(
            f"workflow '{workflow.id}' cannot run on {engine}: {listed}",
            engine=engine,
            workflow=workflow.id,
            problems=problems,
        )


def table() -> str:
    """The rules as Markdown, one row each."""
    lines = [f"| what | {' | '.join(ENGINES)} |", f"| --- |{' --- |' * len(ENGINES)}"]
    for rule in RULES:
        cells = [f"refused: {rule.reasons[engine]}" if engine in rule.reasons else "as in cloche" for engine in ENGINES]
        lines.append(f"| {rule.says} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


# ---- where a workflow asks for it ----


def _at_most_once(workflow: Workflow, steps: Mapping[str, Step]) -> Iterator[str]:
    return (f"step '{id}'" for id, step in steps.items() if step.at_most_once)


def _limited(workflow: Workflow, steps: Mapping[str, Step]) -> Iterator[str]:
    yield from (f"step '{id}'" for id, step in steps.items() if step.limits)
    if workflow.limits:
        yield f"workflow '{workflow.id}'"


def _using(name: str) -> Find:
    def find(workflow: Workflow, steps: Mapping[str, Step]) -> Iterator[str]:
        return (f"step '{id}'" for id, step in steps.items() if uses(step, name))

    return find


def _updates_beside_others(workflow: Workflow, steps: Mapping[str, Step]) -> Iterator[str]:
    for node, body in _bodies_beside_others(workflow.graph):
        if body in steps and uses(steps[body], "update_state"):
            yield f"step '{body}' in '{node}'"


def _bodies_beside_others(graph: Graph) -> Iterator[tuple[str, str]]:
    definitions = [graph, *graph.workflows.values()]
    for node in (node for definition in definitions for node in definition.nodes):
        several = (isinstance(node, ParallelNode | BranchNode) and len(node.arms) > 1 and _limit(node) != 1) or (
            isinstance(node, ForeachNode) and node.concurrency != 1
        )
        if several:
            yield from ((node.id, step) for body in bodies_of(node) for step in _steps_under(graph, body))


def _limit(node: Any) -> int | None:
    limit: int | None = getattr(node, "limit", None)
    return limit


def _steps_under(graph: Graph, body: Any) -> Iterator[str]:
    if body.type == "step":
        yield body.step
    else:
        for node in graph.workflows[body.workflow].nodes:
            for inner in (node, *bodies_of(node)):
                if inner.type in ("step", "workflow"):
                    yield from _steps_under(graph, inner)


def _many_retries(workflow: Workflow, steps: Mapping[str, Step]) -> Iterator[str]:
    for id, step in steps.items():
        config = step.retry_config or workflow.graph.retry_config
        retries = step.retries if step.retries is not None else (config.attempts if config is not None else 0)
        if retries > INNGEST_RETRIES_MAX:
            yield f"step '{id}'"


def _long_waits(workflow: Workflow, steps: Mapping[str, Step]) -> Iterator[str]:
    graph = workflow.graph
    for node in (node for definition in [graph, *graph.workflows.values()] for node in definition.nodes):
        ms = node.ms if isinstance(node, SleepNode) else node.timeout_ms if isinstance(node, WaitForEventNode) else 0
        if ms is not None and ms > YEAR_MS:
            yield f"node '{node.id}'"


def _odd_name(workflow: Workflow, steps: Mapping[str, Step]) -> Iterator[str]:
    if not _RESTATE_NAME.fullmatch(workflow.id):
        yield f"workflow '{workflow.id}'"


def uses(step: Step, name: str) -> bool:
    """Whether a step's function, or one written inside it, uses an attribute or a variable of this name."""
    code = getattr(getattr(step.execute, "__func__", step.execute), "__code__", None)
    return code is not None and any(name in one.co_names for one in _codes(code))


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


_NO_LOG = "a run that is no child of the workflow needs a store of cloche's own; start a child workflow"
_NO_PERMITS = "who has a permit is known in a store of cloche's own; use the limits of the engine"
_NO_LOCK = (
    "the change would have to be applied where the engine keeps the state; use `set_state`, or one step at a time"
)

RULES: tuple[Rule, ...] = (
    Rule(
        "`at_most_once=True`",
        {
            INNGEST: "a request whose answer is lost is sent again",
            RESTATE: "an action whose process ended is run again",
        },
        _at_most_once,
    ),
    Rule("`concurrency=` and `rate_limit=`", dict.fromkeys(ENGINES, _NO_PERMITS), _limited),
    Rule("`ctx.start_child` in a step", dict.fromkeys(ENGINES, _NO_LOG), _using("start_child")),
    Rule(
        "`ctx.update_state(function)` in steps that run beside others",
        dict.fromkeys(ENGINES, _NO_LOCK),
        _updates_beside_others,
    ),
    Rule(
        f"more than {INNGEST_RETRIES_MAX} retries",
        {INNGEST: f"a function has at most {INNGEST_RETRIES_MAX}"},
        _many_retries,
    ),
    Rule("a sleep or timeout of more than a year", {INNGEST: "a year is its longest wait"}, _long_waits),
    Rule(
        "a workflow id with other characters than letters, digits, `.`, `_` and `-`",
        {RESTATE: "the id is the name of a Restate service; give the workflow another id"},
        _odd_name,
    ),
)
