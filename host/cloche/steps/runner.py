"""Performing a step: its input against its schema, its function on the loop or in a thread, its output as a plain value."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

from cloche.history import TenantId
from cloche.history.values import plain
from cloche.steps.binding import Arguments, Checks, bound
from cloche.steps.schemas import as_plain, validated
from cloche.steps.threads import OutOfTime, StepThreads

if TYPE_CHECKING:
    from cloche.steps.context import StepContext
    from cloche_codegen import Step


class Runner(Protocol):
    """Where steps are performed."""

    @property
    def hung(self) -> int:
        """How many steps nobody waits for any more, and have not ended."""

    async def perform(
        self,
        step: Step,
        tenant: TenantId,
        asked: Arguments,
        context: Callable[[Any], StepContext],
        checks: Checks,
    ) -> Any:
        """Run the step on its arguments and return its result as a plain value; `context` makes its context of its input.

        Raises:
            InvalidInput: an argument does not fit the step's schema, or the result is of another type, or cannot cross.
            TypeError: the arguments are not those that the step's function takes.
            TimeoutError: it took longer than `step.timeout_s`.
            Suspension, Bail: the step ended so.
            BaseException: whatever the step raised, as it is.
        """

    def close(self) -> None:
        """Nothing is performed any more; what has begun is not waited for."""


class LocalRunner:
    """Steps in this process: those that are not async in `threads`.

    A step that goes on after its time is left behind: whatever it does then, its attempt has failed.
    """

    def __init__(self, threads: StepThreads, on_hung: Callable[[], None] = lambda: None) -> None:
        self._threads = threads
        self._on_hung = on_hung  # called when a step on the loop was left behind, and when it has ended
        self._left_behind: set[asyncio.Future[Any]] = set()

    @property
    def hung(self) -> int:
        """As `Runner.hung`."""
        return self._threads.hung + len(self._left_behind)

    async def perform(
        self,
        step: Step,
        tenant: TenantId,
        asked: Arguments,
        context: Callable[[Any], StepContext],
        checks: Checks,
    ) -> Any:
        """As `Runner.perform`."""
        call = bound(step, asked, context, checks)
        if step.is_async:
            result = await (call() if step.timeout_s is None else self._within(step, call(), step.timeout_s))
        else:
            result = await self._in_thread(step, tenant, call)
        return crossing(step, result) if checks.outputs else plain(result, "result")

    def close(self) -> None:
        self._threads.close()

    async def _in_thread(self, step: Step, tenant: TenantId, call: Callable[[], Any]) -> Any:
        began = asyncio.get_running_loop().time()
        try:
            result = await self._threads.run(tenant, call, step.timeout_s)
        except OutOfTime as error:
            raise _took_too_long(step) from error
        if not inspect.isawaitable(result):
            return result
        # A sync function that hands out a coroutine, e.g. functools.partial.
        if step.timeout_s is None:
            return await result
        return await self._within(step, result, step.timeout_s - (asyncio.get_running_loop().time() - began))

    async def _within(self, step: Step, work: Awaitable[Any], seconds: float) -> Any:
        """What `work` gives, if it does in time. One that does not is canceled, and not waited for: it may not obey."""
        task = asyncio.ensure_future(_outcome(work))
        try:
            done, _ = await asyncio.wait([task], timeout=max(seconds, 0))
        except asyncio.CancelledError:
            self._leave_behind(task)
            raise
        if not done:
            self._leave_behind(task)
            raise _took_too_long(step)
        result, error = task.result()
        if error is not None:
            raise error
        return result

    def _leave_behind(self, task: asyncio.Future[Any]) -> None:
        task.cancel()
        self._left_behind.add(task)
        self._on_hung()
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Future[Any]) -> None:
        self._left_behind.discard(task)
        self._on_hung()
        if not task.cancelled():
            task.exception()  # nobody wants to hear of it


async def _outcome(work: Awaitable[Any]) -> tuple[Any, SystemExit | None]:
    """What `work` gives. A SystemExit that leaves a task ends the process: it is handed on, and fails the step."""
    try:
        return await work, None
    except SystemExit as error:
        return None, error


def crossing(step: Step, result: Any) -> Any:
    """What a step returned as a plain value of the type that its annotation says.

    Raises:
        InvalidInput: it is of another type, or cannot cross.
    """
    from pydantic import ValidationError

    adapter = step.output_adapter()
    if adapter is None:
        return plain(result, "result")
    try:
        found = adapter.validate_python(result)
    except ValidationError:  # its wire form may still be one of that type: a model for a dict, a path for a text
        found = validated(adapter, as_plain(adapter, result, "result"), f"the result of step '{step.id}'")
    return as_plain(adapter, found, "result")


def _took_too_long(step: Step) -> TimeoutError:
    return TimeoutError(f"step '{step.id}' took longer than {step.timeout_s:g} s")
