"""Workflows that can be run: the builder's class with `create_run`, and the functions that make them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Protocol, overload
from uuid import uuid4

from typing_extensions import ParamSpec, TypeVar

import cloche_codegen as codegen
from cloche.client.cloche import Cloche
from cloche.client.runs import ForeignRun, Run
from cloche.engines import CellSource
from cloche.errors import UsageError
from cloche.foreign.ports import ExecutionEngine
from cloche.run.results import RunResult
from cloche_codegen.variables import In, Out

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")


class Workflow(codegen.Workflow[In, Out]):
    """A workflow of the builder (`cloche_codegen.Workflow` has its methods) that can be run.

    `execution_engine` is what `create_run` runs it on: an engine for cells (the default is `SandboxEngine()`), or one that
    keeps whole runs (`cloche.foreign`). `on_start` is called before a run starts, once,
    and may refuse it by raising; `on_finish` when a run stops in this process (ended or suspended), `on_error` after it when
    the run failed; what these two raise is logged and changes nothing. All three may be async.
    """

    execution_engine: CellSource | ExecutionEngine | None
    on_start: Callable[[Mapping[str, Any]], Any] | None = None
    on_finish: Callable[[RunResult[Out]], Any] | None = None
    on_error: Callable[[RunResult[Out]], Any] | None = None

    @property
    def authored(self) -> dict[str, str]:
        """The files that its source was compiled of, as their author wrote them, by path; none of one that was not."""
        return {}

    @property
    def cells(self) -> CellSource | None:
        """What runs its code, where the workflow says."""
        return None if isinstance(self.execution_engine, ExecutionEngine) else self.execution_engine

    def __call__(self, input: In = ..., /, *arguments: Any, **keywords: Any) -> Coroutine[None, None, Out]:  # type: ignore[assignment]
        """Inside of a native workflow: the result of a child run of this one, or its failure raised.

        Raises:
            UsageError: it was called outside of one.
        """
        raise UsageError(
            f"workflow '{self.id}' is awaited like a function inside of a native workflow only, where it is a child run; "
            "elsewhere start it: app.start(workflow, …), or ctx.start_child(…) in a step"
        )

    async def create_run(self, run_id: str | None = None) -> Run[Out]:
        """A run in memory, with nothing else beside it: `await (await workflow.create_run()).start(input_data=…)`.

        Raises:
            NotCommitted: end the workflow with `.commit()` first.
        """
        _ = self.graph
        if isinstance(self.execution_engine, ExecutionEngine):
            return ForeignRun(self.execution_engine, self, run_id or uuid4().hex)
        app = Cloche(workflows=[self], engine=self.cells, handle_sigterm=False)
        return app.own_run(self, run_id)


class WorkflowDecorator(Protocol):
    """What `@workflow(…)` gives: several parameters are given as one mapping when a run is started."""

    @overload
    def __call__(self, function: Callable[[], Coroutine[Any, Any, R]], /) -> Workflow[None, R]: ...
    @overload
    def __call__(self, function: Callable[[T], Coroutine[Any, Any, R]], /) -> Workflow[T, R]: ...
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[Any, R]: ...  # type: ignore[overload-cannot-match]  # it is matched


@overload
def workflow(function: Callable[[], Coroutine[Any, Any, R]], /) -> Workflow[None, R]: ...
@overload
def workflow(function: Callable[[T], Coroutine[Any, Any, R]], /) -> Workflow[T, R]: ...
@overload
def workflow(function: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[Any, R]: ...  # type: ignore[overload-cannot-match]  # it is matched
@overload
def workflow(*, id: str | None = None, **options: Any) -> WorkflowDecorator: ...
def workflow(function: Any = None, /, *, id: str | None = None, **options: Any) -> Any:
    """Make an `async def` a workflow that runs in the Python guest: `@workflow(id="onboard") async def onboard(user): …`.

    What it calls and captures goes under glass with it; a `@step` it calls stays on the host. Options are those of
    `create_workflow`; schemas are read from the annotations.

    Raises:
        GraphError: it is no async function. What cannot go under glass is told when the workflow is first used.
    """
    return codegen.workflow(function, id=id, workflow_class=Workflow, **options)


def clone_workflow(workflow: Workflow[In, Out], *, id: str) -> Workflow[In, Out]:
    """The same committed workflow under another id, so that one workflow can use it twice."""
    return codegen.clone_workflow(workflow, id=id)


def load_workflow(
    graph: codegen.Graph | str | bytes, *, steps: Mapping[str, codegen.Step] | Iterable[codegen.Step] = ()
) -> Workflow:
    """The workflow of a stored graph, with the functions of its steps by id.

    Raises:
        GraphError: it is no graph, or steps are missing; all problems are named.
    """
    return codegen.load_workflow(graph, steps, workflow_class=Workflow)


def from_mastra(
    definition: Any,
    *,
    steps: Mapping[str, Any] | Iterable[codegen.Step] = (),
    functions: Mapping[str, Any] | None = None,
    workflows: Mapping[str, Any] | None = None,
    id: str | None = None,
) -> Workflow:
    """The workflow of a Mastra definition or serialized graph, see `cloche_codegen.mastra.from_mastra`.

    Raises:
        GraphError: something cannot be imported; every problem is named by its path in the definition.
    """
    return codegen.from_mastra(
        definition, steps, workflow_class=Workflow, functions=functions, workflows=workflows, id=id
    )
