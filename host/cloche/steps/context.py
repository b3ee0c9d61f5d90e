"""Making one attempt of a step: its context, its input, its function, its output."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeAlias

from cloche.errors import InvalidInput
from cloche.history.values import plain

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from cloche.client.runs import Run
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


class Suspension(BaseException):
    """Raised by `ctx.suspend`. No `Exception`: an author's `except Exception` must not eat it."""

    def __init__(self, payload: Any, labels: tuple[str, ...]) -> None:
        super().__init__("the step is suspended")
        self.payload = payload
        self.labels = labels


class Bail(BaseException):
    """Raised by `ctx.bail`; as `Suspension`."""

    def __init__(self, value: Any) -> None:
        super().__init__("the step ends its workflow")
        self.value = value


StateChange: TypeAlias = "dict[str, Any] | Callable[[Mapping[str, Any]], Mapping[str, Any]]"


class Services(Protocol):
    """What a context asks of the runtime."""

    def result_of(self, path: str) -> Any: ...

    def abort_run(self, reason: str) -> None: ...

    def write(self, value: Any) -> None: ...

    async def start_child(self, workflow: Any, input_data: Any, run_id: str) -> Run: ...


@dataclass(frozen=True, slots=True)
class Writer:
    """Output of a step while it runs: each value becomes a record of the run, for those who stream it."""

    _write: Callable[[Any], None]

    def write(self, value: Any) -> None:
        """Record `value`, which must be able to cross the glass."""
        self._write(plain(value, "written"))


@dataclass(frozen=True, slots=True)
class StepContext:
    """What a step may know and do besides its input. `attempt` counts from 1, `retry_count` from 0.

    `idempotency_key` is the same for every attempt of this call and differs for every other call of any run: hand it to
    services that can drop duplicates. `state` is the run's state when the attempt began; changes show in later steps.
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
    resume_data: Any
    suspend_data: Any
    abort_signal: AbortSignal
    writer: Writer
    log: logging.Logger
    _step: Step = field(repr=False)
    _init_data: Any = field(repr=False)
    _services: Services = field(repr=False)
    _changes: list[StateChange] = field(default_factory=list, repr=False)

    @property
    def retry_count(self) -> int:
        return self.attempt - 1

    def get_init_data(self) -> Any:
        """The run's input."""
        return self._init_data

    def get_step_result(self, step: Any) -> Any:
        """The output of a step that has succeeded, by its id, its path or the step itself; None if there is none."""
        return self._services.result_of(step if isinstance(step, str) else step.id)

    def set_state(self, **patch: Any) -> None:
        """Merge these keys into the run's state when this step has succeeded; every call merges.

        Raises:
            InvalidInput: they do not fit the step's state schema; the step fails.
        """
        adapter = self._step.state_adapter()
        if adapter is not None:
            validated(adapter, patch, f"the state set by step '{self.step_id}'")
        self._changes.append(_mapping_of(patch, "state"))

    def update_state(self, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        """Merge what `change` makes of the state as it is when this step's end is recorded: no update is lost.

        `change` runs on the host, after every step that ended before this one; raising fails the step.
        """
        self._changes.append(change)

    def suspend(self, payload: Any = None, *, resume_label: str | Iterable[str] | None = None) -> NoReturn:
        """Wait for outside data: the run is suspended here, and this step runs again from its beginning when resumed.

        Args:
            payload: shown to whoever resumes; next time it is `suspend_data`.
            resume_label: one or more names to resume it by.

        Raises:
            InvalidInput: the payload does not fit the step's suspend schema; the step fails.
        """
        adapter = self._step.suspend_adapter()
        if adapter is not None:
            validated(adapter, payload, f"what step '{self.step_id}' suspends with")
        labels = (resume_label,) if isinstance(resume_label, str) else tuple(resume_label or ())
        raise Suspension(plain(payload, "payload"), labels)

    def bail(self, value: Any = None) -> NoReturn:
        """End the innermost workflow here, as a success with `value`; its other steps are told to abort."""
        raise Bail(plain(value, "value"))

    async def start_child(self, workflow: Any, input_data: Any = None, *, run_id: str | None = None) -> Run:
        """Start a run of its own, with its own history. Without `run_id` it is named after this call: once, however often."""
        return await self._services.start_child(workflow, input_data, run_id or f"{self.run_id}:{self.path}")

    def abort(self) -> None:
        """Cancel this run. The step itself goes on and is recorded with its own result; nothing starts after it."""
        self._services.abort_run(f"asked for by step '{self.step_id}'")


def merged(state: Mapping[str, Any], changes: Iterable[StateChange]) -> dict[str, Any]:
    """The keys that `changes`, in their order, give to `state`; plain values.

    Raises:
        Exception: what a function of `update_state` raised.
    """
    patch: dict[str, Any] = {}
    for change in changes:
        made = change({**state, **patch}) if callable(change) else change
        patch.update(_mapping_of(made, "state"))
    return patch


def _mapping_of(value: Any, what: str) -> dict[str, Any]:
    made = plain(value, what)
    if not isinstance(made, dict):
        raise InvalidInput(f"{what} is changed by a mapping, not by a {type(value).__name__}", path=what)
    return made


def frozen(values: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return MappingProxyType(dict(values or {}))


@dataclass(frozen=True, slots=True)
class Checks:
    """Which values are compared with the steps' schemas."""

    inputs: bool = True
    outputs: bool = False


async def perform(
    step: Step, arguments: list[Any], context: Callable[[Any], StepContext], pool: Executor, checks: Checks
) -> Any:
    """Run the step's function on its (validated) argument and return its result as a plain value.

    A synchronous function runs in `pool`. Whatever it raises comes out as it is; `InvalidInput` when the argument does
    not fit the step's input schema or the result cannot cross.
    """
    argument = arguments[0] if arguments else None
    adapter = step.input_adapter() if checks.inputs else None
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
    value = plain(result, "result")
    if checks.outputs and (output := step.output_adapter()) is not None:
        validated(output, value, f"the result of step '{step.id}'")
    return value


async def _in_thread(call: Callable[[], Any], pool: Executor) -> Any:
    run = contextvars.copy_context().run
    result = await asyncio.get_running_loop().run_in_executor(pool, run, _called, call)
    if inspect.isawaitable(result):  # a sync function that hands out a coroutine, e.g. functools.partial
        return await result
    return result


def _called(call: Callable[[], Any]) -> Any:
    """A StopIteration cannot leave a future, which would never be done: it becomes what a coroutine makes of it (PEP 479)."""
    try:
        return call()
    except StopIteration as error:
        raise RuntimeError("the step's function raised StopIteration") from error


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
