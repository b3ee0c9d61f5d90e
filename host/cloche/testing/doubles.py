"""Doubles of steps: what runs instead of a step in a test, and what it was called with."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cloche.client.workflows import Workflow
from cloche.errors import UsageError
from cloche.steps.context import StepContext

if TYPE_CHECKING:
    from cloche_codegen import Step

_UNSET: Any = object()


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt of a step. `data` is its input, as its schema has it."""

    run_id: str
    path: str
    attempt: int
    data: Any
    resume_data: Any


class StepDouble:
    """What runs instead of the step `id`, whatever workflow it is in: made by `double`. `calls` are its attempts, in order."""

    def __init__(
        self, id: str, answer: Callable[[Any, StepContext], Any] | None, failures: list[BaseException]
    ) -> None:
        self.id = id
        self.calls: list[Call] = []
        self._answer = answer
        self._failures = failures

    def __repr__(self) -> str:
        return f"StepDouble({self.id!r}, {len(self.calls)} calls)"

    @property
    def calls_the_step(self) -> bool:
        """Whether it has no answer of its own."""
        return self._answer is None

    @property
    def inputs(self) -> list[Any]:
        """What it was called with, an entry per attempt."""
        return [call.data for call in self.calls]

    async def perform(self, real: Step, named: Mapping[str, Any], given: Mapping[str, Any], ctx: StepContext) -> Any:
        """Record the attempt, and answer it. Several arguments are a mapping of them by name; `given` are its resources."""
        data = real.parameters.input_of(named)
        self.calls.append(Call(ctx.run_id, ctx.path, ctx.attempt, data, ctx.resume_data))
        if self._failures:
            raise self._failures.pop(0)
        if self._answer is not None:
            result = self._answer(data, ctx)
        else:
            arguments, keywords = real.parameters.spread(named, ctx)
            result = real.execute(*arguments, **keywords, **given)
        return await result if inspect.isawaitable(result) else result


def double(
    id: str,
    *,
    returns: Any = _UNSET,
    calls: Callable[..., Any] | None = None,
    fails: int | Iterable[BaseException] = 0,
) -> StepDouble:
    """A double of the step `id`. Without an answer it records, and calls the real step.

    Args:
        returns: what it answers.
        calls: a function `(data)` or `(data, ctx)` that answers, sync or async.
        fails: how many attempts fail first, or with which exceptions.
    """
    if calls is not None and returns is not _UNSET:
        raise UsageError(f"the double of step '{id}' has two answers: give it 'returns' or 'calls'")
    failures: list[BaseException] = (
        [ConnectionError(f"step '{id}' fails {fails} times in this test") for _ in range(fails)]
        if isinstance(fails, int)
        else list(fails)
    )
    if returns is not _UNSET:
        return StepDouble(id, lambda data, ctx: copy.deepcopy(returns), failures)
    if calls is None:
        return StepDouble(id, None, failures)
    takes_context = len(inspect.signature(calls).parameters) > 1
    return StepDouble(id, calls if takes_context else lambda data, ctx: calls(data), failures)


def with_doubles(workflows: Iterable[Workflow], doubles: Iterable[StepDouble]) -> list[Workflow]:
    """The same workflows and children with other functions for their steps; schemas, retries and timeouts stay.

    Raises:
        UsageError: none of them has such a step.
    """
    by_id = {one.id: one for one in doubles}
    steps: dict[Step, Step] = {}  # one double for all workflows that share the step
    copies: dict[int, Workflow] = {}  # of a child too: its parent must know it as the one that is registered

    def doubled(step: Step) -> Step:
        return steps.setdefault(step, _doubled(step, by_id[step.id])) if step.id in by_id else step

    def copied(workflow: Workflow) -> Workflow:
        if id(workflow) in copies:
            return copies[id(workflow)]
        if workflow.committed:
            _ = workflow.graph  # a native one knows its steps and children only then
        copies[id(workflow)] = other = copy.copy(workflow)
        other.steps = {id: doubled(step) for id, step in workflow.steps.items()}
        other.children = {id: copied(child) for id, child in workflow.children.items()}
        return other

    made = [copied(workflow) for workflow in workflows]
    found = {step.id for step in steps}
    for one in by_id:
        if one not in found:
            known = {workflow.id: sorted(workflow.steps) for workflow in copies.values()}
            raise UsageError(f"there is no step '{one}' to be doubled; the workflows have {known}")
    return made


def _doubled(step: Any, by: StepDouble) -> Any:
    own = step.parameters if by.calls_the_step else step.parameters.without_resources()
    parameters = own.with_context()

    async def execute(*arguments: Any, **keywords: Any) -> Any:
        named = dict(parameters.whole.bind(*arguments, **keywords).arguments)
        given = {name: named.pop(name) for name in parameters.resources}
        return await by.perform(step, named, given, named.pop(parameters.context))

    execute.__wrapped__ = step.execute  # type: ignore[attr-defined]  # what it stands for
    return replace(step, execute=execute, parameters=parameters, is_async=True)
