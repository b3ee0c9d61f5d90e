"""`Run`: one run of a workflow, as its owner holds it; `ForeignRun`: one that another engine keeps, under the same face."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from cloche.errors import UsageError
from cloche.foreign.ports import event_name, resume_name
from cloche.history import Record, RunKey, Seq
from cloche.history.values import plain
from cloche.operations import replay
from cloche.run.code import load_code
from cloche.run.results import RunResult, fold, revive, top_level
from cloche.status import FINAL, RESTING
from cloche.steps.schemas import validated

if TYPE_CHECKING:
    from cloche.client.tenants import Runs
    from cloche.foreign import ExecutionEngine
    from cloche.store import RunRow
    from cloche.worker.worker import Worker
    from cloche_codegen import Workflow


class Run:
    """One run of a workflow. Made by `start` and `get` of a `Cloche` or `Tenant`, or by `Workflow.create_run`."""

    def __init__(self, tenant: Runs, key: RunKey, workflow: Workflow | None, *, owns_app: bool = False) -> None:
        self._tenant = tenant
        self._key = key
        self._workflow = workflow
        self._owns_app = owns_app

    @property
    def id(self) -> str:
        return self._key.run

    def __repr__(self) -> str:
        return f"Run({self.id!r})"

    async def start(
        self,
        input_data: Any = None,
        *,
        initial_state: dict[str, Any] | None = None,
        request_context: dict[str, Any] | None = None,
        per_step: bool = False,
    ) -> RunResult:
        """Start this run, which `create_run` made, and wait until it stops. Raises as `Cloche.start`."""
        if self._workflow is None:
            raise UsageError(f"the workflow of run {self.id} is not registered here")
        async with self._open():
            run = await self._tenant.start(
                self._workflow,
                input_data,
                run_id=self.id,
                initial_state=initial_state,
                request_context=request_context,
                per_step=per_step,
            )
            return await run.result()

    async def resume(
        self,
        *,
        step: Any = None,
        label: str | None = None,
        resume_data: Any = None,
        foreach_index: int | None = None,
        per_step: bool = False,
        idempotency_key: str | None = None,
    ) -> RunResult:
        """As `Cloche.resume`."""
        async with self._open():
            return await self._tenant.resume(
                self.id,
                step=step,
                label=label,
                resume_data=resume_data,
                foreach_index=foreach_index,
                per_step=per_step,
                idempotency_key=idempotency_key,
            )

    async def result(self, *, final: bool = False) -> RunResult:
        """Wait until the run has ended, is suspended, paused or blocked, and return it as it stands then.

        A run that sleeps, waits for retries or for an event is waited for; with `final` also one that is suspended or
        paused, until somebody has resumed it. `unwrap()` of the result gives the value or raises.

        Raises:
            UsageError: this `Cloche` was closed before; the run goes on when its store is opened again.
        """
        async with self._open() as worker:
            while True:
                if worker.closed:
                    raise UsageError(
                        f"this Cloche was closed while run {self.id} had not ended: it goes on in the next one"
                    )
                stopped = worker.listeners.stopped(self._key)
                row = replay.row_of(worker.store, self._key)
                if row.status in ((*FINAL, "blocked") if final else RESTING):
                    await worker.drivers.callbacks.done(self._key)
                    return self._folded(row)
                error = worker.blocks.last_error(self._key)
                if error is not None and self._key not in worker.drivers and row.wake_at is None:
                    raise error
                await stopped

    async def row(self) -> RunRow:
        """The run's entry in listings."""
        async with self._open() as worker:
            return replay.row_of(worker.store, self._key)

    async def status(self) -> str:
        """success, failed, canceled, suspended, paused, waiting, running, pending (not started yet) or blocked."""
        async with self._open() as worker:
            row = worker.store.run(self._key)
        return row.status if row is not None else "pending"

    async def cancel(self) -> None:
        """As `Cloche.cancel`."""
        async with self._open():
            await self._tenant.cancel(self.id)

    async def history(self) -> list[Record]:
        """All records so far, verified."""
        async with self._open() as worker:
            return list(worker.store.records(self._key))

    async def stream(self, from_seq: int = 0) -> AsyncIterator[Record]:
        """The records behind number `from_seq`, then each new one as it becomes durable, until the run stops."""
        seq = Seq(from_seq)
        async with self._open() as worker:
            while not worker.closed:
                changed = worker.listeners.changed(self._key)
                row = replay.row_of(worker.store, self._key)
                for record in worker.store.records(self._key, seq):
                    seq = record.seq
                    yield record
                if row.status in RESTING:
                    return
                await changed

    def _open(self) -> AbstractAsyncContextManager[Worker]:
        """The worker; a run that has its `Cloche` to itself opens it for the time of a call."""
        return self._opened()

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Worker]:
        app = self._tenant.app
        if self._owns_app and not app.is_open:
            async with app:
                yield app._running
        else:
            yield app._running

    def _folded(self, row: RunRow) -> RunResult:
        store = self._tenant._running.store
        code = load_code(store, row.code)
        out = fold(row, store.records(self._key), top_level(code))
        if self._workflow is None:
            return out
        steps = {id: adapter for id, step in self._workflow.steps.items() if (adapter := step.output_adapter())}
        return revive(out, self._workflow.output_adapter(), steps)


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

    def _open(self) -> AbstractAsyncContextManager[Worker]:
        raise UsageError(f"run {self._id} is kept by {type(self._engine).__name__}: look at it there")
