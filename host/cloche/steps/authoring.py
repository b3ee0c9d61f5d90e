# mypy: disable-error-code="overload-overlap"
"""`step` and `create_step` as type checkers see them: what a call of the step takes and gives.

A step's context is none of its parameters for those who call it. Types cannot leave out a parameter wherever it stands, so
there is an overload for each place that it usually has: the first to the third by position; of a step that has it by keyword
only, what it takes by keyword is not checked. A parameter that takes everything (`object`, `Any`) would pass for a context:
`Anything`, a class that nobody has, finds those first, and what stands after them is not checked. So overloads overlap: the
first that fits wins.

At run time both are the functions of `cloche_codegen`.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Concatenate, Protocol, cast, final, overload

from typing_extensions import ParamSpec, TypedDict, TypeVar, Unpack

import cloche_codegen as codegen
from cloche.errors import UsageError
from cloche.steps.context import StepContext
from cloche.steps.node import node_step
from cloche_codegen import Concurrency, RateLimit, RetryConfig, Step
from cloche_codegen.steps import create_step_in

P = ParamSpec("P")
A = TypeVar("A")
B = TypeVar("B")
R = TypeVar("R")
Taken = TypeVar("Taken", contravariant=True)
Other = TypeVar("Other", contravariant=True)
Given = TypeVar("Given", covariant=True)


@final
class Anything:
    """What only a parameter takes that takes everything."""


class ByKeyword(Protocol[Taken, Given]):
    """A function with `*, ctx: StepContext` after one parameter."""

    def __call__(self, first: Taken, /, *, ctx: StepContext) -> Given: ...


class ByKeywordAfterTwo(Protocol[Taken, Other, Given]):
    """The same after two."""

    def __call__(self, first: Taken, second: Other, /, *, ctx: StepContext) -> Given: ...


class StepOptions(TypedDict, total=False):
    """The options of `create_step`, and of `@step(…)`."""

    description: str | None
    input_schema: Any
    output_schema: Any
    resume_schema: Any
    suspend_schema: Any
    state_schema: Any
    retries: int | None
    retry_config: RetryConfig | Mapping[str, Any] | None
    timeout_s: float | None
    metadata: Mapping[str, Any] | None
    at_most_once: bool
    concurrency: Concurrency | Sequence[Concurrency] | None
    rate_limit: RateLimit | Sequence[RateLimit] | None


class StepDecorator(Protocol):
    """`@step`, or what `@step(…)` gives."""

    @overload
    def __call__(
        self, execute: Callable[Concatenate[Anything, P], Coroutine[Any, Any, R]], /
    ) -> Step[Concatenate[Any, ...], R]: ...
    @overload
    def __call__(self, execute: Callable[Concatenate[StepContext, P], Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
    @overload
    def __call__(
        self, execute: Callable[Concatenate[A, Anything, P], Coroutine[Any, Any, R]], /
    ) -> Step[Concatenate[A, ...], R]: ...
    @overload
    def __call__(
        self, execute: Callable[Concatenate[A, StepContext, P], Coroutine[Any, Any, R]], /
    ) -> Step[Concatenate[A, P], R]: ...
    @overload
    def __call__(
        self, execute: Callable[Concatenate[A, B, Anything, P], Coroutine[Any, Any, R]], /
    ) -> Step[Concatenate[A, B, ...], R]: ...
    @overload
    def __call__(
        self, execute: Callable[Concatenate[A, B, StepContext, P], Coroutine[Any, Any, R]], /
    ) -> Step[Concatenate[A, B, P], R]: ...
    @overload
    def __call__(self, execute: ByKeyword[A, Coroutine[Any, Any, R]], /) -> Step[Concatenate[A, ...], R]: ...
    @overload
    def __call__(
        self, execute: ByKeywordAfterTwo[A, B, Coroutine[Any, Any, R]], /
    ) -> Step[Concatenate[A, B, ...], R]: ...
    @overload
    def __call__(self, execute: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
    @overload
    def __call__(self, execute: Callable[Concatenate[Anything, P], R], /) -> Step[Concatenate[Any, ...], R]: ...
    @overload
    def __call__(self, execute: Callable[Concatenate[StepContext, P], R], /) -> Step[P, R]: ...
    @overload
    def __call__(self, execute: Callable[Concatenate[A, Anything, P], R], /) -> Step[Concatenate[A, ...], R]: ...
    @overload
    def __call__(self, execute: Callable[Concatenate[A, StepContext, P], R], /) -> Step[Concatenate[A, P], R]: ...
    @overload
    def __call__(self, execute: Callable[Concatenate[A, B, Anything, P], R], /) -> Step[Concatenate[A, B, ...], R]: ...
    @overload
    def __call__(self, execute: Callable[Concatenate[A, B, StepContext, P], R], /) -> Step[Concatenate[A, B, P], R]: ...
    @overload
    def __call__(self, execute: ByKeyword[A, R], /) -> Step[Concatenate[A, ...], R]: ...
    @overload
    def __call__(self, execute: ByKeywordAfterTwo[A, B, R], /) -> Step[Concatenate[A, B, ...], R]: ...
    @overload
    def __call__(self, execute: Callable[P, R], /) -> Step[P, R]: ...
    @overload
    def __call__(self, *, id: str | None = None, **options: Unpack[StepOptions]) -> StepDecorator: ...


class StepMaker(Protocol):
    """`create_step(id=…, execute=…)`."""

    @overload
    def __call__(
        self,
        *,
        id: str,
        execute: Callable[Concatenate[Anything, P], Coroutine[Any, Any, R]],
        **options: Unpack[StepOptions],
    ) -> Step[Concatenate[Any, ...], R]: ...
    @overload
    def __call__(
        self,
        *,
        id: str,
        execute: Callable[Concatenate[StepContext, P], Coroutine[Any, Any, R]],
        **options: Unpack[StepOptions],
    ) -> Step[P, R]: ...
    @overload
    def __call__(
        self,
        *,
        id: str,
        execute: Callable[Concatenate[A, Anything, P], Coroutine[Any, Any, R]],
        **options: Unpack[StepOptions],
    ) -> Step[Concatenate[A, ...], R]: ...
    @overload
    def __call__(
        self,
        *,
        id: str,
        execute: Callable[Concatenate[A, StepContext, P], Coroutine[Any, Any, R]],
        **options: Unpack[StepOptions],
    ) -> Step[Concatenate[A, P], R]: ...
    @overload
    def __call__(
        self,
        *,
        id: str,
        execute: Callable[Concatenate[A, B, Anything, P], Coroutine[Any, Any, R]],
        **options: Unpack[StepOptions],
    ) -> Step[Concatenate[A, B, ...], R]: ...
    @overload
    def __call__(
        self,
        *,
        id: str,
        execute: Callable[Concatenate[A, B, StepContext, P], Coroutine[Any, Any, R]],
        **options: Unpack[StepOptions],
    ) -> Step[Concatenate[A, B, P], R]: ...
    @overload
    def __call__(
        self, *, id: str, execute: ByKeyword[A, Coroutine[Any, Any, R]], **options: Unpack[StepOptions]
    ) -> Step[Concatenate[A, ...], R]: ...
    @overload
    def __call__(
        self, *, id: str, execute: ByKeywordAfterTwo[A, B, Coroutine[Any, Any, R]], **options: Unpack[StepOptions]
    ) -> Step[Concatenate[A, B, ...], R]: ...
    @overload
    def __call__(
        self, *, id: str, execute: Callable[P, Coroutine[Any, Any, R]], **options: Unpack[StepOptions]
    ) -> Step[P, R]: ...
    @overload
    def __call__(
        self, *, id: str, execute: Callable[Concatenate[Anything, P], R], **options: Unpack[StepOptions]
    ) -> Step[Concatenate[Any, ...], R]: ...
    @overload
    def __call__(
        self, *, id: str, execute: Callable[Concatenate[StepContext, P], R], **options: Unpack[StepOptions]
    ) -> Step[P, R]: ...
    @overload
    def __call__(
        self, *, id: str, execute: Callable[Concatenate[A, Anything, P], R], **options: Unpack[StepOptions]
    ) -> Step[Concatenate[A, ...], R]: ...
    @overload
    def __call__(
        self, *, id: str, execute: Callable[Concatenate[A, StepContext, P], R], **options: Unpack[StepOptions]
    ) -> Step[Concatenate[A, P], R]: ...
    @overload
    def __call__(
        self, *, id: str, execute: Callable[Concatenate[A, B, Anything, P], R], **options: Unpack[StepOptions]
    ) -> Step[Concatenate[A, B, ...], R]: ...
    @overload
    def __call__(
        self, *, id: str, execute: Callable[Concatenate[A, B, StepContext, P], R], **options: Unpack[StepOptions]
    ) -> Step[Concatenate[A, B, P], R]: ...
    @overload
    def __call__(
        self, *, id: str, execute: ByKeyword[A, R], **options: Unpack[StepOptions]
    ) -> Step[Concatenate[A, ...], R]: ...
    @overload
    def __call__(
        self, *, id: str, execute: ByKeywordAfterTwo[A, B, R], **options: Unpack[StepOptions]
    ) -> Step[Concatenate[A, B, ...], R]: ...
    @overload
    def __call__(self, *, id: str, execute: Callable[P, R], **options: Unpack[StepOptions]) -> Step[P, R]: ...
    @overload
    def __call__(self, *, node: str, id: str | None = None, **options: Unpack[StepOptions]) -> Step[..., Any]:
        """A function of a JavaScript file, `node="steps.mjs#createAccount"`: a step that a Node process performs."""


def _create(*, node: str | None = None, **options: Any) -> Step[..., Any]:
    if node is None:
        return create_step_in(sys._getframe(1).f_locals, **options)
    if options.get("execute") is not None:
        raise UsageError(
            "a step is performed by Node or by a function here: create_step takes node= or execute=, not both"
        )
    return node_step(node, **options)


step = cast(StepDecorator, codegen.step)
create_step = cast(StepMaker, functools.wraps(codegen.create_step)(_create))
