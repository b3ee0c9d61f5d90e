"""Performing a step: its input against its schema, its function on the loop or in a thread, its output as a plain value."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from cloche.history.values import plain
from cloche.steps.schemas import validated

if TYPE_CHECKING:
    from cloche.steps.context import StepContext
    from cloche_codegen import Step


@dataclass(frozen=True, slots=True)
class Checks:
    """Which values are compared with the steps' schemas."""

    inputs: bool = True
    outputs: bool = False


class Runner(Protocol):
    """Where steps are performed."""

    async def perform(
        self, step: Step, arguments: list[Any], context: Callable[[Any], StepContext], checks: Checks
    ) -> Any:
        """Run the step on its arguments and return its result as a plain value; `context` makes its context of its input.

        Raises:
            InvalidInput: the argument does not fit the step's input schema, or the result cannot cross.
            Suspension, Bail: the step ended so.
            BaseException: whatever the step raised, as it is.
        """

    def close(self) -> None:
        """Nothing is performed any more; what has begun is not waited for."""


@dataclass(frozen=True, slots=True)
class LocalRunner:
    """Steps in this process: those that are not async in `threads`."""

    threads: Executor

    async def perform(
        self, step: Step, arguments: list[Any], context: Callable[[Any], StepContext], checks: Checks
    ) -> Any:
        """As `Runner.perform`."""
        return await _perform(step, arguments, context, self.threads, checks)

    def close(self) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)


async def _perform(
    step: Step, arguments: list[Any], context: Callable[[Any], StepContext], threads: Executor, checks: Checks
) -> Any:
    argument = arguments[0] if arguments else None
    adapter = step.input_adapter() if checks.inputs else None
    data = validated(adapter, argument, f"the input of step '{step.id}'") if adapter else argument
    call: Callable[[], Any] = partial(step.execute, data)
    if step.takes_context:
        call = partial(step.execute, data, context(data))
    limit = asyncio.timeout(step.timeout_s)
    try:
        async with limit:
            result = await (call() if step.is_async else _in_thread(call, threads))
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise TimeoutError(f"step '{step.id}' took longer than {step.timeout_s:g} s") from error
    value = plain(result, "result")
    if checks.outputs and (output := step.output_adapter()) is not None:
        validated(output, value, f"the result of step '{step.id}'")
    return value


async def _in_thread(call: Callable[[], Any], threads: Executor) -> Any:
    run = contextvars.copy_context().run
    result = await asyncio.get_running_loop().run_in_executor(threads, run, _called, call)
    if inspect.isawaitable(result):  # a sync function that hands out a coroutine, e.g. functools.partial
        return await result
    return result


def _called(call: Callable[[], Any]) -> Any:
    """A StopIteration cannot leave a future, which would never be done: it becomes what a coroutine makes of it (PEP 479)."""
    try:
        return call()
    except StopIteration as error:
        raise RuntimeError("the step's function raised StopIteration") from error
