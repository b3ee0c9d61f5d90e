"""Making one attempt of a step: its context, its input, its function, its output."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cloche.errors import InvalidInput
from cloche.history.values import plain

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from cloche_codegen import Step


class AbortSignal:
    """Tells a running step that its run is being canceled. Steps are not interrupted: they look, or wait."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def aborted(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        await self._event.wait()

    def _set(self) -> None:
        self._event.set()


@dataclass(frozen=True, slots=True)
class StepContext:
    """What a step may know and do besides its input. `attempt` counts from 1, `retry_count` from 0.

    `idempotency_key` is the same for every attempt of this call and differs for every other call of any run: hand it to
    services that can drop duplicates. State is read-only here: it is the run's initial state.
    """

    input_data: Any
    run_id: str
    workflow_id: str
    step_id: str
    tenant: str
    path: str
    attempt: int
    idempotency_key: str
    state: Mapping[str, Any]
    request_context: Mapping[str, Any]
    abort_signal: AbortSignal
    log: logging.Logger
    _init_data: Any = field(repr=False)
    _lookup: Callable[[str], Any] = field(repr=False)
    _abort: Callable[[], None] = field(repr=False)

    @property
    def retry_count(self) -> int:
        return self.attempt - 1

    def get_init_data(self) -> Any:
        """The run's input."""
        return self._init_data

    def get_step_result(self, step: Any) -> Any:
        """The output of a step that has succeeded, by its id, its path or the step itself; None if there is none."""
        return self._lookup(step if isinstance(step, str) else step.id)

    def abort(self) -> None:
        """Cancel this run. The step itself goes on and is recorded with its own result; nothing starts after it."""
        self._abort()


def frozen(values: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return MappingProxyType(dict(values or {}))


async def perform(
    step: Step, arguments: list[Any], context: Callable[[Any], StepContext], pool: Executor, validate: bool
) -> Any:
    """Run the step's function on its (validated) argument and return its result as a plain value.

    A synchronous function runs in `pool`. Whatever it raises comes out as it is; `InvalidInput` when the argument does
    not fit the step's input schema or the result cannot cross.
    """
    argument = arguments[0] if arguments else None
    adapter = step.input_adapter() if validate else None
    data = validated(adapter, argument, f"the input of step '{step.id}'") if adapter else argument
    call: Callable[[], Any] = partial(step.execute, data)
    if step.takes_context:
        call = partial(step.execute, data, context(data))
    limit = asyncio.timeout(step.timeout_s)
    try:
        async with limit:
            result = await (call() if step.is_async else _in_thread(call, pool))
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise TimeoutError(f"step '{step.id}' took longer than {step.timeout_s:g} s") from error
    return plain(result, "result")


async def _in_thread(call: Callable[[], Any], pool: Executor) -> Any:
    run = contextvars.copy_context().run
    result = await asyncio.get_running_loop().run_in_executor(pool, run, call)
    if inspect.isawaitable(result):  # a sync function that hands out a coroutine, e.g. functools.partial
        return await result
    return result


def validated(adapter: TypeAdapter[Any], value: Any, what: str) -> Any:
    """`value` as the schema sees it, defaults filled in.

    Raises:
        InvalidInput: `problems` lists every place that does not fit, as `field: reason`.
    """
    from pydantic import ValidationError

    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        problems = [_problem(item) for item in error.errors(include_url=False, include_context=False)]
        raise InvalidInput(
            f"{what} does not fit its schema: {'; '.join(problems)}", path="", problems=problems
        ) from None


def _problem(item: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "value"
    return f"{where}: {item['msg']}"
