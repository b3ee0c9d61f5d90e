"""Workflows made new, from another one, or from a stored graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, overload

from cloche_codegen import graph as g
from cloche_codegen.builder import Workflow
from cloche_codegen.errors import GraphError, Problem, UnknownReference
from cloche_codegen.json_schemas import Room
from cloche_codegen.schemas import adapter_or_flaw
from cloche_codegen.steps import Step
from cloche_codegen.validate import problems_of

W = TypeVar("W", bound=Workflow)


@overload
def create_workflow(*, id: str, workflow_class: type[W], **options: Any) -> W: ...
@overload
def create_workflow(*, id: str, **options: Any) -> Workflow: ...
def create_workflow(*, id: str, workflow_class: type[Workflow] = Workflow, **options: Any) -> Workflow:
    """A workflow to be built. `options` are those of `Workflow`; `workflow_class` is what the host adds runs to."""
    return workflow_class(id=id, **options)


def clone_workflow(workflow: W, *, id: str) -> W:
    """The same committed workflow under another id, so that one workflow can use it twice.

    Raises:
        NotCommitted: Commit it first.
    """
    clone = type(workflow).__new__(type(workflow))
    clone.__dict__.update({k: v for k, v in vars(workflow).items() if k not in ("tree", "_javascript", "_python")})
    clone.id = id
    clone._graph = workflow.graph.model_copy(update={"id": id})
    problems = problems_of(clone._graph)
    if problems:
        raise GraphError.all(f"workflow {id!r} cannot be cloned from {workflow.id!r}", problems)
    return clone


@overload
def load_workflow(graph: g.Graph | str | bytes, steps: Mapping[str, Step] | Iterable[Step]) -> Workflow: ...
@overload
def load_workflow(
    graph: g.Graph | str | bytes,
    steps: Mapping[str, Step] | Iterable[Step],
    *,
    workflow_class: type[W],
) -> W: ...
def load_workflow(
    graph: g.Graph | str | bytes,
    steps: Mapping[str, Step] | Iterable[Step],
    *,
    workflow_class: type[Workflow] = Workflow,
) -> Workflow:
    """The workflow of a stored graph, with the functions of its steps.

    Args:
        steps: every step the graph uses, by id or as a collection. Their schemas win over the stored ones.

    Raises:
        GraphError: The graph has problems, or steps are missing (all are named).
    """
    loaded = graph if isinstance(graph, g.Graph) else g.Graph.from_json(graph)
    if problems := problems_of(loaded) or schema_problems(loaded):
        raise GraphError.all(f"graph {loaded.id!r} cannot be loaded", problems)
    given = steps if isinstance(steps, Mapping) else {step.id: step for step in steps}
    if missing := [id for id in loaded.steps if id not in given]:
        raise UnknownReference.one(
            "unknown_reference",
            loaded.id,
            f"no function is given for {', '.join(map(repr, missing))}; pass them in steps=",
        )
    workflow = workflow_class(
        id=loaded.id,
        input_schema=loaded.input_schema,
        output_schema=loaded.output_schema,
        state_schema=loaded.state_schema,
        description=loaded.description,
        metadata=loaded.metadata,
        guest=loaded.guest,
        mode=loaded.mode,
        retry_config=loaded.retry_config,
    )
    workflow.steps.update({id: given[id] for id in loaded.steps})
    for _, node in _waits(loaded):
        workflow.event_schemas.setdefault(node.event, node.payload_schema)
    workflow._nodes.extend(loaded.nodes)
    workflow._graph = loaded
    return workflow


def _waits(graph: g.Graph) -> Iterator[tuple[str, g.WaitForEventNode]]:
    """Those that say what their event carries, each with its place."""
    for definition in graph.definitions().values():
        for node in definition.nodes:
            if isinstance(node, g.WaitForEventNode) and node.payload_schema is not None:
                yield f"{definition.id}/{node.id}", node


def schema_problems(graph: g.Graph) -> list[Problem]:
    """Those of a stored graph's schemas that nothing can be checked with: patterns, or bounds of them.

    Of those that are used, that is; a step brings its own.
    """
    whole = ("input_schema", "output_schema", "state_schema")
    used = [(graph.id, name, getattr(graph, name)) for name in whole]
    used += [(id, whole[0], one.input_schema) for id, one in graph.workflows.items() if one.checks_input]
    used += [(place, "payload_schema", node.payload_schema) for place, node in _waits(graph)]
    room = Room()
    flaws = ((place, name, adapter_or_flaw(schema, room)[1]) for place, name, schema in used)
    return [Problem("bad_schema", place, f"{name}: {flaw}") for place, name, flaw in flaws if flaw is not None]
