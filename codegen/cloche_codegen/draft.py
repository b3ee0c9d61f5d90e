"""A workflow that is being written down: its options, the nodes it has so far, and the graph that `commit()` makes of them.

Nothing is decided silently: what does not fit becomes a problem with its place, and all are reported at once. The methods that
an author calls are those of `builder.Workflow`.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self, TypeAlias, cast

from pydantic import BaseModel

from cloche_codegen import graph as g
from cloche_codegen.arguments import Problems, condition_of
from cloche_codegen.errors import GraphError, NotCommitted
from cloche_codegen.host_closures import HostClosures
from cloche_codegen.limits import Concurrency, RateLimit, limits_of
from cloche_codegen.parameters import Parameters
from cloche_codegen.schemas import json_schema_of
from cloche_codegen.steps import RetryConfig, Schematic, Step
from cloche_codegen.types import Types, lookalikes
from cloche_codegen.validate import problems_of

Metadata: TypeAlias = Mapping[str, Any]
Callback: TypeAlias = Callable[..., Any]


class Draft(Schematic):
    """What has been collected of a workflow, and after `commit()` its graph.

    Attributes:
        steps: id → Step, of this workflow and of all nested in it.
        workflows: id → workflow, all nested in it, at any depth.
        children: id → workflow, those that a native one starts as runs of their own.
        event_schemas: name of an event → the schema of what it carries, where one was given; with those of nested
            workflows. After loading a stored graph they are JSON Schemas.
        execution_engine: as given; its meaning is the host's.
        concurrency, rate_limit: hold for its runs over all workers of a store, from their first turn to their end: a run waits
            until it may begin. They are not part of the graph, and do not hold where it stands as a step in another workflow.
        on_start, on_finish, on_error: called by the host around a run of this workflow; they are not part of the graph.
    """

    resume_schema = None
    suspend_schema = None

    parameters: Parameters | None = None  # of a native one

    function: Callable[..., Any] | None = None  # that of a native workflow

    def __init__(
        self,
        *,
        id: str,
        input_schema: Any = None,
        output_schema: Any = None,
        state_schema: Any = None,
        description: str | None = None,
        metadata: Metadata | None = None,
        guest: g.Guest = "auto",
        mode: g.Mode = "strict",
        execution_engine: Any = None,
        retry_config: RetryConfig | Mapping[str, Any] | None = None,
        validate_inputs: bool = True,
        validate_outputs: bool | None = None,
        on_start: Callback | None = None,
        on_finish: Callback | None = None,
        on_error: Callback | None = None,
        concurrency: Concurrency | Sequence[Concurrency] | None = None,
        rate_limit: RateLimit | Sequence[RateLimit] | None = None,
    ) -> None:
        if not isinstance(id, str):
            raise GraphError.one("bad_id", "workflow", f"an id is a text, not {type(id).__name__}")
        self.id = id
        self.description = description
        self.metadata = dict(metadata or {})
        self.input_schema = input_schema
        self.output_schema = output_schema
        self.state_schema = state_schema
        self.guest: g.Guest = guest
        self.mode: g.Mode = mode
        self.execution_engine = execution_engine
        self.retry_config = RetryConfig(**retry_config) if isinstance(retry_config, Mapping) else retry_config
        self.validate_inputs = validate_inputs
        self.validate_outputs = validate_outputs
        _check_callbacks(id, on_start=on_start, on_finish=on_finish, on_error=on_error)
        self.on_start, self.on_finish, self.on_error = on_start, on_finish, on_error
        self.limits = limits_of(id, concurrency, rate_limit)
        self.event_schemas: dict[str, Any] = {}
        self.steps: dict[str, Step] = {}
        self.workflows: dict[str, Self] = {}
        self.children: dict[str, Self] = {}  # those that a native one starts as runs of their own
        self._nodes: list[g.Node] = []
        self._problems = Problems(HostClosures(allowed=mode == "host-closures"))
        self._ordinals: dict[str, int] = {}
        self._graph: g.Graph | None = None
        self._late: Callable[[], g.Graph] | None = None  # makes the graph when it is first asked for
        self._native_lines: Mapping[int, str] = {}

    def commit(self) -> Self:
        """Make the graph, check it and freeze it. Committing again changes nothing.

        Raises:
            GraphError: with every problem found.
        """
        if self._graph is None:
            graph = self._make_graph()
            problems = self._problems if graph is None else [*self._problems, *problems_of(graph)]
            if graph is None or problems:
                raise GraphError.all(f"workflow {self.id!r} cannot be committed", problems)
            self._graph = _storable(graph)
            self._warn_of_lookalikes()
        return self

    @property
    def committed(self) -> bool:
        """Whether `commit()` has been called."""
        return self._graph is not None or self._late is not None

    @property
    def graph(self) -> g.Graph:
        """The workflow as data.

        Raises:
            NotCommitted: Call `commit()` first.
        """
        if self._graph is None and self._late is not None:
            self._graph = _storable(self._late())
            self._warn_of_lookalikes()
        if self._graph is None:
            raise NotCommitted.one("not_committed", self.id, "the workflow is not committed; end it with .commit()")
        return self._graph

    def _warn_of_lookalikes(self) -> None:
        """Of unions in which a text takes what crosses as a text: it comes back as a text, without a word."""
        for one in (self, *self.steps.values()):
            for adapter in (one.input_adapter(), one.output_adapter(), one.state_adapter()):
                types = Types()
                for first, taken in lookalikes(types, types.of(adapter)):
                    warnings.warn(
                        f"{one.id!r}: in the union {first} | {taken} both are texts when they cross, and the first one is "
                        f"taken: write {taken} | {first}",
                        stacklevel=4,
                    )

    # ── collecting ──────────────────────────────────────────────────────────────────────────────────────────────────
    def _named(self, kind: str, id: str | None, stem: str | None = None) -> str:
        """The given id, or one from the kind and how many of that kind came before: the same in every build."""
        self._ordinals[kind] = self._ordinals.get(kind, 0) + 1
        return id if id is not None else f"{stem or kind}_{self._ordinals[kind]}"

    def _add(
        self, model: type[BaseModel], id: str, description: str | None, metadata: Metadata | None, /, **fields: Any
    ) -> None:
        self._check_open()
        given = {"id": id, "description": description, "metadata": metadata and dict(metadata), **fields}
        node = self._problems.build(model, f"{self.id}/{id}", **given)
        for closure in self._problems.closures.take():
            self._tap(closure)
        if node is not None:
            self._nodes.append(cast(g.Node, node))

    def _tap(self, step: Step) -> None:
        """Call a step with what flows, which flows on unchanged."""
        self._nodes.append(self._body(step, "tap").model_copy(update={"tap": True}))

    def _learn_event(self, name: str, schema: Any, path: str) -> None:
        if schema is not None and self.event_schemas.setdefault(name, schema) != schema:
            message = f"the event {name!r} is waited for with two different schemas; give one of them another name"
            self._problems.add("two_definitions", path, message)

    def _check_open(self) -> None:
        if self.committed:
            raise GraphError.one("committed", self.id, "the workflow is committed and cannot change; clone_workflow it")

    def _listed(self, given: Iterable[Any], what: str, items: str) -> Iterable[Any]:
        if isinstance(given, Iterable) and not isinstance(given, str):
            return given
        raise GraphError.one("no_list", self.id, f"{what} takes a list: {what}([{items}])")

    def _arms(self, arms: Iterable[tuple[Any, object]], what: str, id: str) -> tuple[g.Arm, ...]:
        made = []
        for arm in self._listed(arms, what, "(condition, step)"):
            if not isinstance(arm, tuple | list) or len(arm) != 2:
                name = f"the {type(arm).__name__.lower()} '{arm.id}' alone" if hasattr(arm, "id") else repr(arm)
                raise GraphError.one("bad_arm", f"{self.id}/{id}", f"{what} takes pairs (condition, step), not {name}")
            body = self._body(arm[1], what)
            test = condition_of(arm[0], f"{self.id}/{id}/{body.id}", self._problems)
            made.append(g.Arm(condition=test, body=body))
        return tuple(made)

    def _body(
        self,
        step: object,
        what: str,
        *,
        id: str | None = None,
        description: str | None = None,
        metadata: Metadata | None = None,
    ) -> g.StepNode | g.WorkflowNode:
        self._check_open()
        given = {"description": description, "metadata": metadata and dict(metadata)}
        if isinstance(step, Step):
            self._register(step)
            name = step.id if id is None else id
            node = self._problems.build(g.StepNode, f"{self.id}/{name}", id=name, step=step.id, **given)
            return node or g.StepNode(id=str(name), step=str(step.id))
        if isinstance(step, Draft):
            self._nest(cast("Self", step), what)
            name = step.id if id is None else id
            nested = self._problems.build(g.WorkflowNode, f"{self.id}/{name}", id=name, workflow=step.id, **given)
            return nested or g.WorkflowNode(id=str(name), workflow=step.id)
        hint = "; make it a step with @step or create_step" if callable(step) else ""
        if inspect.iscoroutine(step):
            step.close()  # it will never run, and Python would warn of that as well
            hint = "; give the step itself, without calling it: what it is called with flows in from the node before"
        raise GraphError.one("not_a_step", self.id, f"{what} takes a step or workflow, not {type(step).__name__}{hint}")

    def _undo(self, step: object) -> str:
        if not isinstance(step, Step):
            what = f"compensate takes a step, not {type(step).__name__}"
            raise GraphError.one("not_a_step", self.id, f"{what}; make it a step with @step or create_step")
        self._register(step)
        return step.id

    def _register(self, step: Step) -> None:
        if self.steps.setdefault(step.id, step) is not step:
            message = f"two different steps have the id {step.id!r}; use clone_step to give one another id"
            self._problems.add("two_definitions", f"{self.id}/{step.id}", message)

    def _nest(self, workflow: Self, what: str) -> None:
        if workflow.committed and workflow.graph.native is not None:
            message = f"{what}: workflow {workflow.id!r} is native and cannot be a step; start it as a child run"
            raise GraphError.one("not_a_step", f"{self.id}/{workflow.id}", message)
        if not workflow.committed:
            message = f"workflow {workflow.id!r} is used before it is committed; end it with .commit()"
            raise NotCommitted.one("not_committed", f"{self.id}/{workflow.id}", f"{what}: {message}")
        if workflow.mode == "host-closures" and self.mode != workflow.mode:
            message = f"workflow {workflow.id!r} has mode='host-closures': give the workflow around it that mode too"
            self._problems.add("host_closures", f"{self.id}/{workflow.id}", message)
        for one in (workflow, *workflow.workflows.values()):
            if self.workflows.setdefault(one.id, one) is not one:
                message = f"two different workflows have the id {one.id!r}; use clone_workflow to give one another id"
                self._problems.add("two_definitions", f"{self.id}/{one.id}", message)
        for step in workflow.steps.values():
            self._register(step)
        for name, schema in workflow.event_schemas.items():
            self._learn_event(name, schema, f"{self.id}/{workflow.id}")

    def _make_graph(self, native: g.NativeText | None = None) -> g.Graph | None:
        fields: dict[str, Any] = {
            **self._fields(),
            "guest": self.guest,
            "mode": self.mode,
            "steps": {id: spec for id, step in self.steps.items() if (spec := _spec(step, self.id, self._problems))},
            "workflows": {id: one._as_nested() for id, one in self.workflows.items()},
            "native": native,
        }
        return self._problems.build(g.Graph, self.id, **fields)

    def _as_nested(self) -> g.Definition:
        fields = self._fields()
        checks = True if self.validate_inputs and fields["input_schema"] is not None else None
        return g.Definition(**fields, checks_input=checks)

    def _fields(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "description": self.description,
            "metadata": self.metadata or None,
            "input_schema": json_schema_of(self.input_schema, "validation", self.id),
            "output_schema": json_schema_of(self.output_schema, "validation", self.id),
            "state_schema": json_schema_of(self.state_schema, "validation", self.id),
            "retry_config": self.retry_config,
            "nodes": tuple(self._nodes),
        }


def _check_callbacks(id: str, **callbacks: Callback | None) -> None:
    for name, callback in callbacks.items():
        if callback is not None and not callable(callback):
            raise GraphError.one("bad_callback", id, f"{name} is a function, not {type(callback).__name__}")


def _spec(step: Step, workflow: str, problems: Problems) -> g.StepSpec | None:
    return problems.build(
        g.StepSpec,
        f"{workflow}/{step.id}",
        description=step.description,
        input_schema=json_schema_of(step.input_schema, "validation", step.id),
        output_schema=json_schema_of(step.output_schema, "serialization", step.id),
        resume_schema=json_schema_of(step.resume_schema, "validation", step.id),
        suspend_schema=json_schema_of(step.suspend_schema, "serialization", step.id),
        state_schema=json_schema_of(step.state_schema, "validation", step.id),
        retries=step.retries,
        retry_config=step.retry_config,
        timeout_s=step.timeout_s,
        metadata=dict(step.metadata) or None,
    )


def _storable(graph: g.Graph) -> g.Graph:
    """The graph, once it is certain that it can be written as JSON."""
    try:
        graph.to_json()
    except Exception as error:
        message = (
            f"the graph cannot be written as JSON: {error}; a text may hold half of a character (a lone surrogate)"
        )
        raise GraphError.all(f"workflow {graph.id!r} cannot be committed", [_unstorable(graph.id, message)]) from error
    return graph


def _unstorable(id: str, message: str) -> Any:
    return GraphError.one("bad_text", id, message).problems[0]
