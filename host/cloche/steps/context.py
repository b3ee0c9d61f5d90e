"""What a step may know and do while it runs: its context, and the ways in which it can end besides returning."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeAlias

from cloche.errors import InvalidInput
from cloche.history.marks import checked_tags
from cloche.history.values import plain
from cloche.steps.schemas import validated

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from cloche_codegen import Step
    from cloche_codegen.steps import Schematic


class AbortSignal:
    """Tells a running step that its run is being canceled. Steps are not interrupted: they look, or wait."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._told: list[Callable[[], None]] = []

    @property
    def aborted(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        await self._event.wait()

    def _on_set(self, tell: Callable[[], None]) -> Callable[[], None]:
        """Call `tell` when it is set, at once if it is; what comes back takes that back."""
        if self.aborted:
            tell()
        self._told.append(tell)
        return lambda: self._told.remove(tell)

    def _set(self) -> None:
        is_new = not self._event.is_set()
        self._event.set()
        for tell in list(self._told) if is_new else ():
            tell()


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


@dataclass(frozen=True, slots=True)
class Chunks:
    """Of a stream: those after a record; `after` is what the next look begins with. `is_closed`: these are the last."""

    chunks: list[Any]
    is_closed: bool
    after: int


class Services(Protocol):
    """What a context asks of the runtime."""

    def result_schema(self, name: str) -> TypeAdapter[Any] | None: ...

    def result_now(self, path: str) -> Any: ...

    async def result_of(self, path: str) -> Any: ...

    def abort_run(self, reason: str) -> None: ...

    def write(self, value: Any) -> None: ...

    def set_tags(self, tags: Mapping[str, str]) -> None: ...

    async def start_child(self, workflow: Any, input_data: Any, run_id: str | None, id: str | None) -> Any: ...

    async def start_named(self, workflow: str, args: list[Any], run_id: str) -> Any: ...

    def now_ms(self) -> int: ...

    def started_ms(self) -> int: ...

    async def chunks_of(self, stream: str, after: int, run_id: str | None) -> Chunks: ...

    def abort_signal(self, name: str, reason: Any) -> None: ...

    async def wake(self, run_id: str, paths: Collection[str]) -> int: ...

    async def other_run(self, id: str) -> Any: ...

    async def waits_for(self, token: str) -> str | None: ...


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
    services that can drop duplicates. `state` is the run's state when the attempt began; changes show in later steps. It has
    the types of the state schema of the step, else of its workflow.
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
    _init_data: Callable[[], Any] = field(repr=False)
    _services: Services = field(repr=False)
    _changes: list[StateChange] = field(default_factory=list, repr=False)
    _state_schema: TypeAdapter[Any] | None = field(default=None, repr=False)

    @property
    def retry_count(self) -> int:
        return self.attempt - 1

    def get_init_data(self) -> Any:
        """The input of the workflow that the step stands in, nested or not, as its input schema has it.

        It is a copy, which the step may change.
        """
        return copied(self._init_data())

    def get_step_result(self, step: Any) -> Any:
        """The output of a step that has succeeded, by its id, its path or the step itself; None if there is none.

        It has the type that the step says, where it fits.

        In a nested workflow an id means a step of that one. Of a loop's body it is the output of its last turn, of a sleep
        what it let through, of a wait what its event carried.

        It waits for the store, in an async step with the whole event loop: write `await ctx.step_result(…)` there.
        """
        return self._typed(step, self._services.result_now(step if isinstance(step, str) else step.id))

    async def step_result(self, step: Any) -> Any:
        """As `get_step_result`; nothing else waits meanwhile."""
        return self._typed(step, await self._services.result_of(step if isinstance(step, str) else step.id))

    def _typed(self, step: Any, value: Any) -> Any:
        schema = self._services.result_schema(step) if isinstance(step, str) else step.output_adapter()
        return fitting(schema, value)

    def set_state(self, **patch: Any) -> None:
        """Merge these keys into the run's state when this step has succeeded; every call merges.

        Raises:
            InvalidInput: they do not fit the step's state schema; the step fails.
        """
        adapter = state_adapter(self._step)
        if adapter is not None:
            validated(adapter, patch, f"the state set by step '{self.step_id}'")
        self._changes.append(_mapping_of(patch, "state"))

    def update_state(self, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        """Merge what `change` makes of the state as it is when this step's end is recorded: no update is lost.

        `change` runs on the host, after every step that ended before this one; raising fails the step.
        """
        schema = self._state_schema
        self._changes.append(change if schema is None else lambda state: change(typed_state(schema, state)))

    def set_tags(self, **tags: str) -> None:
        """Give the run these tags, beside those that it has; one of the same name is replaced. It is found by them at once.

        Also an attempt that fails later has set them.

        Raises:
            InvalidInput: they are no names and texts; the step fails.
        """
        self._services.set_tags(checked_tags(tags))

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

    async def start_child(
        self, workflow: Any, input_data: Any = None, *, id: str | None = None, run_id: str | None = None
    ) -> Any:
        """Start a run of its own, with its own history, and return it (`cloche.Run`).

        It is named after this call, so it is started once, however often that is asked for.

        Args:
            id: what it is called under this run, in the place of the number of the call: `order-17 › s=shipping`.
            run_id: its whole id, like that of a run which anybody starts.

        Raises:
            RunConflict: the run has a child of this id that another call has begun.
            UsageError: `id` is no id, or `run_id` is given too.
        """
        return await self._services.start_child(workflow, input_data, run_id, id)

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
    """A copy of plain values: whatever a step does to it changes nothing that another step sees."""
    return MappingProxyType(copied(values) if values else {})


def state_adapter(of: Schematic | None) -> TypeAdapter[Any] | None:
    """Validates some keys of the state, as the state schema of a step or workflow has them; None where it says nothing."""
    from cloche_codegen.schemas import adapter_of, state_adapter_of

    if of is None or of.state_schema is None:
        return None
    return state_adapter_of(of.state_schema) or adapter_of(of.state_schema, of.id)


def typed_state(schema: TypeAdapter[Any], values: Mapping[str, Any]) -> Mapping[str, Any]:
    """A copy of the state, its values of the types that the schema says.

    Raises:
        InvalidInput: it does not fit; `problems` names the keys.
    """
    found: Any = validated(schema, copied(dict(values)), "the state")
    return MappingProxyType(found) if isinstance(found, dict) else frozen(values)


def fitting(schema: TypeAdapter[Any] | None, value: Any) -> Any:
    """A recorded value as the type that its schema says; one that a schema of today does not fit stays as it crossed."""
    if schema is None or value is None:
        return value
    try:
        return validated(schema, copied(value), "the value")
    except InvalidInput:
        return value


def copied(value: Any) -> Any:
    """A plain value, with mappings and lists of its own."""
    if isinstance(value, dict):
        return {name: copied(one) for name, one in value.items()}
    return [copied(one) for one in value] if isinstance(value, list) else value
