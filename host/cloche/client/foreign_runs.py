"""`ForeignRun`: a run that another engine keeps, under the face of `Run`."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, NoReturn

from cloche.client.runs import Run
from cloche.errors import UsageError
from cloche.foreign.ports import event_name, resume_name
from cloche.history.values import plain
from cloche.run.results import RunResult
from cloche.steps.schemas import validated

if TYPE_CHECKING:
    from cloche.client.ports import Connection
    from cloche.foreign import ExecutionEngine
    from cloche_codegen import Workflow


class ForeignRun(Run):
    """Made by `create_run` of a workflow whose `execution_engine` keeps whole runs: it is started, reached and canceled there.

    What reads a history of cloche's own raises `UsageError`: the engine has it.
    """

    def __init__(self, engine: ExecutionEngine, workflow: Workflow, run_id: str) -> None:
        self._engine = engine
        self._started = workflow
        self._id = run_id

    @property
    def id(self) -> str:
        return self._id

    async def start(
        self,
        input_data: Any = None,
        *,
        initial_state: dict[str, Any] | None = None,
        request_context: dict[str, Any] | None = None,
        per_step: bool = False,
    ) -> RunResult:
        """Start this run on its engine, and wait for its end.

        Raises:
            InvalidInput: the input does not fit the workflow's schema; nothing was started.
            UsageError: the engine cannot be reached, or was asked to go step by step.
        """
        if per_step:
            raise UsageError("per_step needs a store of cloche's own")
        adapter = self._started.input_adapter() if self._started.validate_inputs else None
        if adapter is not None:
            validated(adapter, input_data, f"the input of workflow '{self._started.id}'")
        state, context = initial_state or {}, request_context or {}
        return await self._engine.run(self._started, plain(input_data), run_id=self._id, state=state, context=context)

    async def resume(
        self,
        *,
        step: Any = None,
        label: str | None = None,
        resume_data: Any = None,
        foreach_index: int | None = None,
        per_step: bool = False,
        idempotency_key: str | None = None,
    ) -> NoReturn:
        raise UsageError("use send_resume: the engine does not tell here how the run goes on")

    async def send_resume(
        self, *, step: str | None = None, label: str | None = None, foreach_index: int | None = None, data: Any = None
    ) -> None:
        """Resume a suspended step by its path (its id, on the top level) or by a label."""
        await self._engine.send(self._started.id, self._id, resume_name(step, label, foreach_index), plain(data))

    async def send_event(self, name: str, payload: Any = None) -> None:
        """What `wait_for_event(name)` waits for."""
        await self._engine.send(self._started.id, self._id, event_name(name), plain(payload))

    async def cancel(self) -> None:
        """Ask the engine to cancel the run."""
        await self._engine.cancel(self._started.id, self._id)

    def _open(self) -> AbstractAsyncContextManager[Connection]:
        raise UsageError(f"run {self._id} is kept by {type(self._engine).__name__}: look at it there")
