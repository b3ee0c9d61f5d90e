"""The builder: `create_workflow(...).then(...).branch([...]).commit()`, and the workflow it becomes.

Methods only collect; `commit()` makes the graph, checks it as a whole and freezes it. What is no step at all is
refused where it is written, so that the traceback shows the line. The host subclasses `Workflow` to add runs and
passes its class to `create_workflow(workflow_class=...)`; nothing here knows how a workflow is run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, Self, TypeAlias, cast

from pydantic import BaseModel, TypeAdapter

from cloche_codegen import graph as g
from cloche_codegen import tree
from cloche_codegen.arguments import Problems, concurrency_of, condition_of, date_of, duration_of, output_of
from cloche_codegen.conditions.expressions import path
from cloche_codegen.emission import Source
from cloche_codegen.errors import GraphError, NotCommitted
from cloche_codegen.host_closures import HOLDS, HostClosures, looped
from cloche_codegen.javascript import javascript
from cloche_codegen.languages import Language, language_of
from cloche_codegen.lower import lower
from cloche_codegen.mermaid import mermaid
from cloche_codegen.outline import outline
from cloche_codegen.python import native, python
from cloche_codegen.schemas import adapter_of, json_schema_of
from cloche_codegen.steps import RetryConfig, Schematic, Step
from cloche_codegen.svg import svg
from cloche_codegen.validate import problems_of

AnyStep: TypeAlias = "Step | Workflow"
Metadata: TypeAlias = Mapping[str, Any]
Callback: TypeAlias = Callable[..., Any]


class Workflow(Schematic):
    """A workflow under construction, and after `commit()` a workflow: runnable, storable, usable as a step.

    Attributes:
        steps: id → Step, of this workflow and of all nested in it.
        workflows: id → Workflow, all nested in it, at any depth.
        event_schemas: name of an event → the schema of what it carries, where one was given; with those of nested
            workflows. After loading a stored graph they are JSON Schemas.
        execution_engine: as given; its meaning is the host's.
        on_start, on_finish, on_error: called by the host around a run of this workflow; they are not part of the graph.
    """

    resume_schema = None
    suspend_schema = None

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
        validate_outputs: bool = False,
        on_start: Callback | None = None,
        on_finish: Callback | None = None,
        on_error: Callback | None = None,
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
        for name, callback in (("on_start", on_start), ("on_finish", on_finish), ("on_error", on_error)):
            if callback is not None and not callable(callback):
                message = f"{name} is a function, not {type(callback).__name__}"
                raise GraphError.one("bad_callback", id, message)
        self.on_start, self.on_finish, self.on_error = on_start, on_finish, on_error
        self.event_schemas: dict[str, Any] = {}
        self.steps: dict[str, Step] = {}
        self.workflows: dict[str, Workflow] = {}
        self.children: dict[str, Workflow] = {}  # those that a native one starts as runs of their own
        self._nodes: list[g.Node] = []
        self._problems = Problems(HostClosures(allowed=mode == "host-closures"))
        self._ordinals: dict[str, int] = {}
        self._graph: g.Graph | None = None
        self._late: Callable[[], g.Graph] | None = None  # makes the graph when it is first asked for
        self._native_lines: Mapping[int, str] = {}

    # ── building ────────────────────────────────────────────────────────────────────────────────────────────────────
    def then(
        self, step: AnyStep, *, id: str | None = None, description: str | None = None, metadata: Metadata | None = None
    ) -> Self:
        """Next, `step` with what flows out of the node before. With `id` it runs under that id instead of its own."""
        body = self._body(step, "then", id=id, description=description, metadata=metadata)
        self._nodes.append(body)
        return self

    def parallel(
        self,
        steps: Sequence[AnyStep],
        *,
        limit: int | None = None,
        settle: bool = False,
        min_successes: int | None = None,
        tolerated_failures: int | None = None,
        first_success: bool = False,
        id: str | None = None,
        description: str | None = None,
        metadata: Metadata | None = None,
    ) -> Self:
        """All steps with the same input, at most `limit` at once; the result is keyed by their ids.

        Waits for all, then the first failed one in order fails it. Once one has failed, those that are suspended are not
        waited for.

        Args:
            limit: how many at once. A suspended step keeps its place.
            settle: nothing fails the block: each step gives `{"status": "success", "output": ...}` or
                `{"status": "failed", "error": ...}`.
            min_successes: the block ends as soon as so many have succeeded; the result holds them, what still runs is
                abandoned and what has not begun never does. It fails as soon as so many can no longer succeed.
            tolerated_failures: the block fails as soon as more than so many have failed; otherwise it waits for all, and
                the result holds those that succeeded. With `min_successes` both hold.
            first_success: the same as `min_successes=1`.
        """
        id = self._named("parallel", id)
        least = self._least(min_successes, first_success, id)
        arms = tuple(self._body(step, "parallel") for step in steps)
        policy = {"min_successes": least, "tolerated_failures": tolerated_failures}
        self._add(g.ParallelNode, id, description, metadata, arms=arms, limit=limit, settle=settle, **policy)
        return self

    def branch(
        self,
        arms: Sequence[tuple[Any, AnyStep]],
        *,
        id: str | None = None,
        description: str | None = None,
        metadata: Metadata | None = None,
    ) -> Self:
        """Every step whose condition holds, at once; the result is keyed by the ids that ran (none: empty)."""
        id = self._named("branch", id)
        self._add(g.BranchNode, id, description, metadata, arms=self._arms(arms, "branch", id))
        return self

    def branch_with_code(
        self,
        arms: Sequence[tuple[str, AnyStep]],
        *,
        id: str | None = None,
        description: str | None = None,
        metadata: Metadata | None = None,
    ) -> Self:
        """`branch` with conditions that are JavaScript code strings: `[("inputData.score > 80", step)]`."""
        for arm in arms:
            if not (isinstance(arm, tuple | list) and len(arm) == 2 and isinstance(arm[0], str)):
                raise GraphError.one(
                    "bad_arm", self.id, f"branch_with_code takes pairs (code string, step), not {arm!r}"
                )
        return self.branch(arms, id=id, description=description, metadata=metadata)

    def choose(
        self,
        arms: Sequence[tuple[Any, AnyStep]],
        *,
        otherwise: AnyStep | None = None,
        id: str | None = None,
        description: str | None = None,
        metadata: Metadata | None = None,
    ) -> Self:
        """The first step whose condition holds, else `otherwise`; the result is keyed by the id that ran."""
        id = self._named("choose", id)
        last = None if otherwise is None else self._body(otherwise, "choose")
        self._add(g.ChooseNode, id, description, metadata, arms=self._arms(arms, "choose", id), otherwise=last)
        return self

    def dountil(
        self,
        step: AnyStep,
        condition: Any,
        *,
        id: str | None = None,
        description: str | None = None,
        metadata: Metadata | None = None,
    ) -> Self:
        """Run `step` again with its own output until the condition holds; it is asked after each turn.

        The condition's `inputData` is the step's output; it also knows `iterationCount`, from 1.
        """
        return self._loop("dountil", step, condition, id, description, metadata)

    def dowhile(
        self,
        step: AnyStep,
        condition: Any,
        *,
        id: str | None = None,
        description: str | None = None,
        metadata: Metadata | None = None,
    ) -> Self:
        """Run `step` again with its own output while the condition holds; it is asked after each turn."""
        return self._loop("dowhile", step, condition, id, description, metadata)

    do_until = dountil
    do_while = dowhile

    def foreach(
        self,
        step: AnyStep,
        *,
        concurrency: Any = 1,
        on_error: Literal["stop", "collect"] = "stop",
        min_successes: int | None = None,
        tolerated_failures: int | None = None,
        first_success: bool = False,
        id: str | None = None,
        description: str | None = None,
        metadata: Metadata | None = None,
    ) -> Self:
        """`step` once per item of the list that flows in; the outputs in the order of the items.

        Args:
            concurrency: how many at once, in a rolling window. What is no number from 1 counts as 1, fractions are
                cut off. An expression or code string is computed when the node begins. A suspended item keeps its place.
            on_error: "stop" starts nothing new after a failure, waits for what runs and is not suspended, and fails with
                that of the first item in order that failed; "collect" gives `{"status", "output" | "error"}` per item.
            min_successes: ends as soon as so many items have succeeded; what still runs is abandoned. Fails as soon as so
                many can no longer succeed (a list that is too short: a CompletionError, before anything starts).
            tolerated_failures: fails as soon as more than so many items have failed; otherwise all items run.
            first_success: the same as `min_successes=1`. With any of these three the result lists the outputs of the
                items that succeeded, in the order of the items.
        """
        id = self._named("foreach", id)
        width = concurrency_of(concurrency, f"{self.id}/{id}", self._problems)
        least = self._least(min_successes, first_success, id)
        body = self._body(step, "foreach")
        policy = {"min_successes": least, "tolerated_failures": tolerated_failures}
        self._add(g.ForeachNode, id, description, metadata, body=body, concurrency=width, on_error=on_error, **policy)
        return self

    def map(
        self,
        output: Any,
        *,
        id: str | None = None,
        description: str | None = None,
        metadata: Metadata | None = None,
    ) -> Self:
        """Reshape what flows. `output` is an object of fields, or one path, expression or code string for the whole.

        A field is `{"value": data}`, `{"template": "${inputData.x}"}`, `{"step": id, "path": "a.b"}` (a list of
        steps: the first with a result), `{"init_data": True, "path": "a"}`, `{"request_context_path": "a"}`,
        `path("inputData.a")`, an expression, `code("...")`, or a number, bool or None.
        """
        id = self._named("mapping", id, f"mapping_{self.id}")
        value = output_of(output, f"{self.id}/{id}", self._problems)
        self._add(g.MapNode, id, description, metadata, value=value)
        return self

    def sleep(
        self,
        duration: Any,
        *,
        id: str | None = None,
        description: str | None = None,
        metadata: Metadata | None = None,
    ) -> Self:
        """Wait, and pass on what flows. Seconds as a number, a timedelta, or what a path or code string gives.

        Computed durations are seconds too. Negative or missing is no wait.
        """
        id = self._named("sleep", id)
        ms, seconds = duration_of(duration, f"{self.id}/{id}", self._problems)
        self._add(g.SleepNode, id, description, metadata, ms=ms, seconds=seconds)
        return self

    def sleep_until(
        self,
        date: Any,
        *,
        id: str | None = None,
        description: str | None = None,
        metadata: Metadata | None = None,
    ) -> Self:
        """Wait until an instant, and pass on what flows: an aware datetime, or what a path or code string gives.

        A computed instant is a date, RFC 3339 text with an offset, or milliseconds since 1970 (JavaScript's number).
        A past one is no wait.
        """
        id = self._named("sleep_until", id)
        at, value = date_of(date, f"{self.id}/{id}", self._problems)
        self._add(g.SleepUntilNode, id, description, metadata, date=at, value=value)
        return self

    def wait_for_event(
        self,
        name: str,
        *,
        schema: Any = None,
        timeout: Any = None,
        id: str | None = None,
        description: str | None = None,
        metadata: Metadata | None = None,
    ) -> Self:
        """Wait until someone sends the event `name` to the run; what it carries flows on.

        Args:
            schema: of what the event carries: any annotation pydantic understands, or a JSON Schema.
            timeout: seconds, a timedelta, or a path or code string that gives seconds when the node begins (missing or
                negative: no time at all). Once it is over the node fails with an error named `EventTimeout`.
        """
        id = self._named("wait_for_event", id)
        ms, seconds = (None, None) if timeout is None else duration_of(timeout, f"{self.id}/{id}", self._problems)
        payload = json_schema_of(schema, "validation", f"{self.id}/{id}")
        self._learn_event(name, schema, f"{self.id}/{id}")
        self._add(
            g.WaitForEventNode,
            id,
            description,
            metadata,
            event=name,
            payload_schema=payload,
            timeout_ms=ms,
            timeout_seconds=seconds,
        )
        return self

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
        return self

    # ── the committed workflow ──────────────────────────────────────────────────────────────────────────────────────
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
        if self._graph is None:
            raise NotCommitted.one("not_committed", self.id, "the workflow is not committed; end it with .commit()")
        return self._graph

    @cached_property
    def tree(self) -> tree.Module:
        """What the graph does, as statements: what emitters print and an interpreter executes.

        Raises:
            GraphError: It is native: what its function does is known to that alone.
        """
        return lower(self.graph)

    @cached_property
    def language(self) -> Language:
        """What the workflow runs as: its `guest`, or for "auto" what its graph holds, JavaScript where both would do."""
        return language_of(self.graph)

    def source(self, language: Language | None = None) -> Source:
        """The generated code with its map and digest; made once. Without `language`, in that of the workflow.

        Raises:
            GraphError: Python was asked for and the graph holds code strings, which are JavaScript.
            ValueError: The language is neither "javascript" nor "python".
        """
        wanted = language or self.language
        if wanted not in ("javascript", "python"):
            raise ValueError(f"no code is generated in {wanted!r}; use 'javascript' or 'python'")
        return self._python if wanted == "python" else self._javascript

    @cached_property
    def _python(self) -> Source:
        return python(self.tree) if self.graph.native is None else native(self.graph, self._native_lines)

    @cached_property
    def _javascript(self) -> Source:
        return javascript(self.tree)

    def event_adapter(self, name: str) -> TypeAdapter[Any] | None:
        """Validates what the event `name` carries; None when no schema was given."""
        return adapter_of(self.event_schemas.get(name), f"event {name}")

    def to_mermaid(self) -> str:
        """The graph as a Mermaid flowchart."""
        return mermaid(self.graph)

    def to_svg(self, status: Mapping[str, str] | None = None) -> str:
        """The graph as a picture. `status`: how far a run has come, by id of a node, see `svg.svg`."""
        return svg(self.graph, status)

    def _repr_svg_(self) -> str:
        """The picture, for notebooks."""
        return self.to_svg()

    def to_text(self) -> str:
        """The graph as indented text, one line a node."""
        return outline(self.graph)

    def __repr__(self) -> str:
        return f"<Workflow {self.id!r}, {len(self._nodes)} nodes{'' if self.committed else ', not committed'}>"

    # ── helpers of the building methods ─────────────────────────────────────────────────────────────────────────────
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

    def _least(self, min_successes: int | None, first_success: bool, id: str) -> int | None:
        if first_success and min_successes not in (None, 1):
            message = f"first_success is min_successes=1, and {min_successes} was given; use one of the two"
            self._problems.add("bad_policy", f"{self.id}/{id}", message)
        return 1 if first_success else min_successes

    def _learn_event(self, name: str, schema: Any, path: str) -> None:
        if schema is not None and self.event_schemas.setdefault(name, schema) != schema:
            message = f"the event {name!r} is waited for with two different schemas; give one of them another name"
            self._problems.add("two_definitions", path, message)

    def _check_open(self) -> None:
        if self.committed:
            raise GraphError.one("committed", self.id, "the workflow is committed and cannot change; clone_workflow it")

    def _loop(
        self,
        kind: Literal["dountil", "dowhile"],
        step: AnyStep,
        condition: Any,
        id: str | None,
        description: str | None,
        metadata: Metadata | None,
    ) -> Self:
        id = self._named(kind, id)
        test = condition_of(condition, f"{self.id}/{id}", self._problems)
        if closures := self._problems.closures.take():
            turn = self._body(looped(self, id, step, closures), kind, id=f"{id}-body")
            self.map({"value": path("inputData")}, id=f"{id}-input")
            self._add(g.LoopNode, f"{id}-turns", description, metadata, kind=kind, body=turn, condition=HOLDS)
            return self.map(path("inputData.value"), id=id)
        body = self._body(step, kind)
        self._add(g.LoopNode, id, description, metadata, kind=kind, body=body, condition=test)
        return self

    def _arms(self, arms: Iterable[tuple[Any, AnyStep]], what: str, id: str) -> tuple[g.Arm, ...]:
        made = []
        for arm in arms:
            if not isinstance(arm, tuple | list) or len(arm) != 2:
                raise GraphError.one("bad_arm", f"{self.id}/{id}", f"{what} takes pairs (condition, step), not {arm!r}")
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
        if isinstance(step, Workflow):
            self._nest(step, what)
            name = step.id if id is None else id
            nested = self._problems.build(g.WorkflowNode, f"{self.id}/{name}", id=name, workflow=step.id, **given)
            return nested or g.WorkflowNode(id=str(name), workflow=step.id)
        hint = "; make it a step with @step or create_step" if callable(step) else ""
        raise GraphError.one("not_a_step", self.id, f"{what} takes a step or workflow, not {type(step).__name__}{hint}")

    def _register(self, step: Step) -> None:
        if self.steps.setdefault(step.id, step) is not step:
            message = f"two different steps have the id {step.id!r}; use clone_step to give one another id"
            self._problems.add("two_definitions", f"{self.id}/{step.id}", message)

    def _nest(self, workflow: Workflow, what: str) -> None:
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
            "steps": {id: spec for id, step in self.steps.items() if (spec := self._spec(step))},
            "workflows": {id: g.Definition(**one._fields()) for id, one in self.workflows.items()},
            "native": native,
        }
        return self._problems.build(g.Graph, self.id, **fields)

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

    def _spec(self, step: Step) -> g.StepSpec | None:
        return self._problems.build(
            g.StepSpec,
            f"{self.id}/{step.id}",
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
