"""The builder: `create_workflow(...).then(...).branch([...]).commit()`, and the workflow it becomes.

Methods only collect (`draft`); `commit()` makes the graph, checks it as a whole and freezes it. What is no step at all is
refused where it is written, so that the traceback shows the line. The host subclasses `Workflow` to add runs and
passes its class to `create_workflow(workflow_class=...)`; nothing here knows how a workflow is run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Generic, Literal, Self, TypeAlias

from pydantic import TypeAdapter

from cloche_codegen import graph as g
from cloche_codegen import tree
from cloche_codegen.arguments import Problems, concurrency_of, condition_of, date_of, duration_of, output_of
from cloche_codegen.conditions.expressions import path
from cloche_codegen.draft import Draft, Metadata
from cloche_codegen.emission import Source
from cloche_codegen.errors import GraphError
from cloche_codegen.host_closures import HOLDS
from cloche_codegen.javascript import javascript
from cloche_codegen.languages import Language, language_of
from cloche_codegen.lower import lower
from cloche_codegen.mermaid import mermaid
from cloche_codegen.outline import outline
from cloche_codegen.python import native, python
from cloche_codegen.schemas import adapter_of, json_schema_of
from cloche_codegen.steps import Step
from cloche_codegen.svg import svg
from cloche_codegen.variables import In, Out

AnyStep: TypeAlias = "Step | Workflow"


class Workflow(Draft, Generic[In, Out]):
    """A workflow under construction, and after `commit()` a workflow: runnable, storable, usable as a step.

    `In` and `Out` are the types of its input and result, for checkers.

    Its attributes are those of `Draft`. Building methods give the workflow itself, so that calls can be chained; all take an
    `id` for the node, a `description` and `metadata`, which are kept in the graph.
    """

    is_script = False  # its source was written, and its graph says nothing of it

    # ── building ────────────────────────────────────────────────────────────────────────────────────────────────────
    def then(
        self,
        step: AnyStep,
        *,
        id: str | None = None,
        description: str | None = None,
        metadata: Metadata | None = None,
        compensate: Step | None = None,
    ) -> Self:
        """Next, `step` with what flows out of the node before. With `id` it runs under that id instead of its own.

        `compensate` is a step that undoes it: when a later node of this workflow fails for good, it is called with what `step`
        gave. Compensations are called in reverse order, under the paths `undo:ID`; one that fails does not keep the others
        from being called, and the workflow fails as it did.
        """
        body = self._body(step, "then", id=id, description=description, metadata=metadata)
        if compensate is not None:
            body = body.model_copy(update={"compensate": self._undo(compensate)})
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
        least = _least(self._problems, f"{self.id}/{id}", min_successes, first_success)
        arms = tuple(self._body(step, "parallel") for step in self._listed(steps, "parallel", "first, second"))
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
        least = _least(self._problems, f"{self.id}/{id}", min_successes, first_success)
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

    # ── the committed workflow ──────────────────────────────────────────────────────────────────────────────────────
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
            turn = self._body(_turn_with_closures(self, id, step, closures), kind, id=f"{id}-body")
            self.map({"value": path("inputData")}, id=f"{id}-input")
            self._add(g.LoopNode, f"{id}-turns", description, metadata, kind=kind, body=turn, condition=HOLDS)
            return self.map(path("inputData.value"), id=id)
        body = self._body(step, kind)
        self._add(g.LoopNode, id, description, metadata, kind=kind, body=body, condition=test)
        return self


def _turn_with_closures(workflow: Workflow, id: str, body: AnyStep, closures: Sequence[Step]) -> Workflow:
    """One turn of a loop as a workflow: the body, then the closure; its value and what the closure said go round."""
    turn = type(workflow)(id=f"{workflow.id}.{id}", mode=workflow.mode)
    turn.map(path("inputData.value"), id=f"{id}-value").then(body)
    for closure in closures:
        turn._tap(closure)
    (closure,) = closures
    answers = {"value": path("inputData"), "holds": path(f"stepResults.{closure.id}.value")}
    return turn.map(answers, id=f"{id}-turn").commit()


def _least(problems: Problems, place: str, min_successes: int | None, first_success: bool) -> int | None:
    if first_success and min_successes not in (None, 1):
        message = f"first_success is min_successes=1, and {min_successes} was given; use one of the two"
        problems.add("bad_policy", place, message)
    return 1 if first_success else min_successes
