# mypy: disable-error-code="override"
"""`create_workflow`, and what type checkers know of a workflow while it is being built: what flows from node to node.

All of it is for them: at run time the methods are those of `cloche_codegen.Workflow`, which has what they do and take.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Protocol, overload

from typing_extensions import TypedDict, TypeVar, Unpack

import cloche_codegen as codegen
from cloche.client.workflows import Workflow
from cloche_codegen import AnyStep, Step
from cloche_codegen.variables import Flow, In, Out

T = TypeVar("T")
R = TypeVar("R")
Taken = TypeVar("Taken", contravariant=True)
Given = TypeVar("Given", covariant=True)


class NodeOptions(TypedDict, total=False):
    """What every building method takes beside its own arguments."""

    id: str | None
    description: str | None
    metadata: Mapping[str, Any] | None


class ThenOptions(NodeOptions, total=False):
    """Those of `then`; `compensate` undoes the step when a later one fails."""

    compensate: Step[..., Any] | None


class Body(Protocol[Taken, Given]):
    """A step or workflow that takes one value and gives another."""

    @property
    def id(self) -> str: ...

    def __call__(self, input: Taken, /) -> Awaitable[Given]: ...


class WorkflowBuilder(Workflow[In, Out], Generic[In, Out, Flow]):
    """What `create_workflow` begins. `Flow` is what flows out of the last node.

    A node that takes something else is refused, and `commit()` where the result is not what `output_schema` says. Where it is
    a `dict[str, Any]`, the next one may take whatever such a mapping can become.
    """

    if TYPE_CHECKING:

        @overload
        def then(
            self: WorkflowBuilder[In, Out, dict[str, Any]], step: Body[Any, R], **options: Unpack[ThenOptions]
        ) -> WorkflowBuilder[In, Out, R]: ...
        @overload
        def then(
            self: WorkflowBuilder[In, Out, T], step: Body[T, R], **options: Unpack[ThenOptions]
        ) -> WorkflowBuilder[In, Out, R]: ...
        @overload
        def then(self, step: Step[[], R], **options: Unpack[ThenOptions]) -> WorkflowBuilder[In, Out, R]: ...
        @overload
        def then(
            self, step: Step[Concatenate[Any, Any, ...], R], **options: Unpack[ThenOptions]
        ) -> WorkflowBuilder[In, Out, R]: ...
        def then(self, step: Any, **options: Any) -> Any: ...

        def parallel(self, steps: Sequence[AnyStep], **options: Any) -> WorkflowBuilder[In, Out, dict[str, Any]]: ...
        def branch(
            self, arms: Sequence[tuple[Any, AnyStep]], **options: Unpack[NodeOptions]
        ) -> WorkflowBuilder[In, Out, dict[str, Any]]: ...
        def branch_with_code(
            self, arms: Sequence[tuple[str, AnyStep]], **options: Unpack[NodeOptions]
        ) -> WorkflowBuilder[In, Out, dict[str, Any]]: ...
        def choose(
            self,
            arms: Sequence[tuple[Any, AnyStep]],
            *,
            otherwise: AnyStep | None = None,
            **options: Unpack[NodeOptions],
        ) -> WorkflowBuilder[In, Out, dict[str, Any]]: ...
        def dountil(
            self: WorkflowBuilder[In, Out, T], step: Body[T, R], condition: Any, **options: Unpack[NodeOptions]
        ) -> WorkflowBuilder[In, Out, R]: ...
        def dowhile(
            self: WorkflowBuilder[In, Out, T], step: Body[T, R], condition: Any, **options: Unpack[NodeOptions]
        ) -> WorkflowBuilder[In, Out, R]: ...

        do_until = dountil  # type: ignore[assignment]
        do_while = dowhile  # type: ignore[assignment]

        def foreach(
            self: WorkflowBuilder[In, Out, Iterable[T]], step: Body[T, R], **options: Any
        ) -> WorkflowBuilder[In, Out, list[R]]: ...
        def map(self, output: Any, **options: Unpack[NodeOptions]) -> WorkflowBuilder[In, Out, Any]: ...

        @overload
        def wait_for_event(
            self, name: str, *, schema: type[T], timeout: Any = None, **options: Unpack[NodeOptions]
        ) -> WorkflowBuilder[In, Out, T]: ...
        @overload
        def wait_for_event(
            self, name: str, *, schema: Any = None, timeout: Any = None, **options: Unpack[NodeOptions]
        ) -> WorkflowBuilder[In, Out, Any]: ...
        def wait_for_event(self, name: str, **options: Any) -> Any: ...

        def commit(self: WorkflowBuilder[In, Out, Out | dict[str, Any]]) -> Workflow[In, Out]: ...


@overload
def create_workflow(
    *, id: str, input_schema: type[In], output_schema: type[Out], **options: Any
) -> WorkflowBuilder[In, Out, In]: ...
@overload
def create_workflow(*, id: str, input_schema: type[In], **options: Any) -> WorkflowBuilder[In, Any, In]: ...
@overload
def create_workflow(*, id: str, output_schema: type[Out], **options: Any) -> WorkflowBuilder[Any, Out, Any]: ...
@overload
def create_workflow(*, id: str, **options: Any) -> WorkflowBuilder[Any, Any, Any]: ...
def create_workflow(*, id: str, **options: Any) -> WorkflowBuilder[Any, Any, Any]:
    """Begin a workflow: `create_workflow(id=…, input_schema=…, output_schema=…).then(a).commit()`.

    Options are those of `cloche_codegen.Workflow`: schemas, description, metadata, retry_config, guest, mode,
    execution_engine, validate_inputs, validate_outputs, concurrency, rate_limit.
    """
    return codegen.create_workflow(id=id, workflow_class=WorkflowBuilder, **options)
