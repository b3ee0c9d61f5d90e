"""The face of the runtime: `Cloche` (a store and what executes on it) and `Run`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from cloche.engines import CellSource, Code, SandboxEngine
from cloche.errors import NotFound, RunConflict, StoreUnavailable, UsageError
from cloche.history import DEFAULT_TENANT, Kind, Note, Record, RunKey, Seq
from cloche.history.messages import Started
from cloche.history.values import encode, plain
from cloche.runtime import portable, reading, sigterm
from cloche.runtime.clock import SystemWorld, World
from cloche.runtime.results import FINAL, RunResult, fold, revive
from cloche.runtime.scheduler import Scheduler, load_code, run_key
from cloche.runtime.steps import validated
from cloche.store import ExecutionLock, MemoryStore, RunRow, SqliteStore, Store

if TYPE_CHECKING:
    from types import TracebackType

    from cloche.runtime.workflows import Workflow
    from cloche_codegen import Step

MEMORY = "memory:"


class Cloche:
    """Executes workflows on a store; an async context manager.

    Entering recovers every unfinished run and goes on with it. Leaving drains: nothing new starts, running steps may end
    (for `drain_timeout_s`) and are recorded; what was cut off is done again next time. SIGTERM drains too, and then ends
    the process as it would have (where the program has no handler of its own; `handle_sigterm=False` leaves it alone).

    Args:
        store: a file (SQLite, made if it does not exist), or "memory:".
        workflows: what may be started here, and whose steps open runs may need.
        steps: further steps that open runs may need, by their ids.
        engine: where workflow code runs; `SandboxEngine()` by default.
        tenant: whose runs these are.
        world: clock, ids and seeds; tests put their own here.

    Raises (on entering):
        StoreLeased: another process executes on this store.
        StoreError: the store cannot be opened; the message says why.
    """

    def __init__(
        self,
        store: str | os.PathLike[str] = MEMORY,
        *,
        workflows: Iterable[Workflow] = (),
        steps: Iterable[Step] = (),
        engine: CellSource | None = None,
        tenant: str = DEFAULT_TENANT,
        world: World | None = None,
        drain_timeout_s: float = 10.0,
        handle_sigterm: bool = True,
    ) -> None:
        self._path = None if store == MEMORY else FilePath(store)
        self._workflows = list(workflows)
        self._steps = list(steps)
        self._engine = engine or SandboxEngine()
        self._tenant = tenant
        self._world = world or SystemWorld()
        self._drain_timeout_s = drain_timeout_s
        self._handle_sigterm = handle_sigterm
        self._lock: ExecutionLock | None = None
        self._scheduler: Scheduler | None = None
        self._closing: asyncio.Future[None] | None = None
        self._starting: WeakValueDictionary[RunKey, asyncio.Lock] = WeakValueDictionary()

    async def __aenter__(self) -> Cloche:
        self._closing = None
        store = self._open_store()
        try:
            scheduler = Scheduler(store, self._world, self._engine)
            scheduler.register(self._workflows, self._steps)
            self._scheduler = scheduler
            scheduler.recover()
        except BaseException:
            self._close_store(store)
            raise
        if self._handle_sigterm:
            sigterm.listen(self._drain)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._drain()

    # ---- runs ----

    async def start(
        self,
        workflow: str | Workflow,
        input_data: Any = None,
        *,
        run_id: str | None = None,
        initial_state: dict[str, Any] | None = None,
        request_context: dict[str, Any] | None = None,
    ) -> Run:
        """Start a run and return when its beginning is durable. Idempotent on `run_id`.

        Raises:
            NotFound: no such workflow is registered here.
            InvalidInput: the input does not fit the workflow's schema; nothing was started.
            RunConflict: the run id exists with another workflow or input.
        """
        found = self._workflow(workflow)
        key = self._key(self._world.run_id() if run_id is None else run_id)
        value = self._checked_input(found, input_data)
        given: dict[str, Any] = {}
        if request_context:
            given["context"] = plain(request_context, "request_context")
        if initial_state:
            given["state"] = plain(initial_state, "initial_state")
        async with self._starting.setdefault(key, asyncio.Lock()):
            return await self._started(key, found, value, given)

    async def _started(self, key: RunKey, found: Workflow, value: Any, given: dict[str, Any]) -> Run:
        row = self._running.store.run(key)
        if row is not None:
            return self._existing(row, found, value)
        code = code_of(found, self._engine)
        now = self._world.now()
        note = Note(
            Kind.RUN_CREATED,
            now,
            {
                "workflow": code.workflow,
                "guest": code.guest,
                "engine": self._engine.name,
                "limits": self._engine.limits(),
            },
        )
        started = Started(now, self._world.seed(), value, given)
        await self._running.start(key, code, note, started)
        return Run(self, key, found)

    async def get(self, run_id: str) -> Run:
        """A run by its id.

        Raises:
            NotFound: there is none.
        """
        key = self._key(run_id)
        row = reading.row_of(self._running.store, key)
        return Run(self, key, self._running.workflow(row.workflow))

    async def list(
        self,
        *,
        status: str | None = None,
        workflow: str | None = None,
        tenant: str | None = None,
        limit: int | None = 100,
        after: str | None = None,
    ) -> Sequence[RunRow]:
        """Runs, newest first; `after` is the run id to go on behind."""
        return self._running.store.runs(
            tenant=tenant or self._tenant, status=status, workflow=workflow, limit=limit, after=after
        )

    async def cancel(self, run_id: str) -> None:
        """Ask a run to end: its signal is set, running steps end and are recorded, nothing starts after them.

        Raises:
            NotFound: there is no such run.
        """
        self._running.cancel(self._key(run_id), "asked for by the caller")

    async def replay(self, run_id: str, workflow: Workflow | None = None) -> reading.ReplayReport:
        """Feed a run's history to a fresh cell, of its own code or of `workflow`'s, and compare.

        Raises:
            NotFound: there is no such run.
            HistoryError: its history is damaged.
        """
        code = code_of(workflow, self._engine) if workflow is not None else None
        return reading.replay(self._running.store, self._key(run_id), self._engine, code)

    async def verify(self, run_id: str | None = None) -> reading.VerifyReport:
        """Check one run, or everything in the store, against its hashes."""
        return reading.verify(self._running.store, self._key(run_id) if run_id else None)

    async def export(self, run_id: str) -> bytes:
        """A run as one file that verifies on another machine (`runtime.portable` has its form).

        Raises:
            NotFound, HistoryError: it is not there, or damaged.
        """
        return portable.export_run(self._running.store, self._key(run_id))

    async def import_(self, data: bytes) -> Run:
        """The run of an exported file, now in this store; if it is unfinished, this process goes on with it.

        Raises:
            ForeignFile, BrokenChain: the file is not what was exported.
            RunConflict: this store has another run of that id.
        """
        key = portable.import_run(self._running.store, data)
        self._running.wake(key)
        row = reading.row_of(self._running.store, key)
        return Run(self, key, self._running.workflow(row.workflow))

    @staticmethod
    def run_sync(workflow: Workflow, input_data: Any = None, *, store: str = MEMORY, **options: Any) -> RunResult:
        """Start one run and wait for its end, for scripts without an event loop. `options` are those of `start`."""

        async def whole() -> RunResult:
            async with Cloche(store, workflows=[workflow], engine=workflow.execution_engine) as app:
                return await (await app.start(workflow, input_data, **options)).result()

        return asyncio.run(whole())

    def own_run(self, workflow: Workflow, run_id: str | None) -> Run:
        """A run that opens this object when it is started, and closes it when it has ended."""
        key = self._key(self._world.run_id() if run_id is None else run_id)
        return Run(self, key, workflow, owns_app=True)

    # ---- inside ----

    @property
    def _running(self) -> Scheduler:
        if self._scheduler is None:
            raise UsageError("this Cloche is not open: use it as 'async with Cloche(…) as app:'")
        return self._scheduler

    def _key(self, run_id: str) -> RunKey:
        return run_key(run_id, self._tenant)

    def _workflow(self, workflow: str | Workflow) -> Workflow:
        id = workflow if isinstance(workflow, str) else workflow.id
        found = self._running.workflow(id)
        if found is None and not isinstance(workflow, str):
            self._running.register([workflow], [])
            return workflow
        if found is None:
            raise NotFound(
                f"no workflow '{id}' is registered here: pass it in Cloche(workflows=[…])", kind="workflow", id=id
            )
        return found

    def _checked_input(self, workflow: Workflow, value: Any) -> Any:
        adapter = workflow.input_adapter() if workflow.validate_inputs else None
        if adapter is not None:
            value = validated(adapter, value, f"the input of workflow '{workflow.id}'")
        return plain(value, "input")

    def _existing(self, row: RunRow, workflow: Workflow, value: Any) -> Run:
        records = self._running.store.records(row.key)
        before = next((record.content()[3] for record in records if record.kind is Kind.RUN_STARTED), None)
        if row.workflow != workflow.id or encode(before) != encode(value):
            raise RunConflict(
                f"run {row.key.run} exists already, of workflow '{row.workflow}' with another input: "
                "use another run id, or the same input to get that run",
                run_id=row.key.run,
            )
        return Run(self, row.key, workflow)

    def _open_store(self) -> Store:
        if self._path is None:
            return MemoryStore()
        try:
            self._lock = ExecutionLock(self._path)
        except OSError as error:
            raise StoreUnavailable(f"no store can be opened at {self._path}: {error}", path=str(self._path)) from error
        try:
            return SqliteStore(self._path)
        except BaseException:
            self._lock.release()
            raise

    def _close_store(self, store: Store) -> None:
        store.close()
        if self._lock is not None:
            self._lock.release()

    async def _drain(self) -> None:
        """Close, once: SIGTERM and the end of the context may both ask for it, and both wait until it is done."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        scheduler, self._scheduler = self._scheduler, None
        if scheduler is not None:
            await scheduler.close(self._drain_timeout_s)
            self._close_store(scheduler.store)
        sigterm.forget(self._drain)


class Run:
    """One run of a workflow. Made by `Cloche.start`, `Cloche.get` or `Workflow.create_run`."""

    def __init__(self, app: Cloche, key: RunKey, workflow: Workflow | None, *, owns_app: bool = False) -> None:
        self._app = app
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
    ) -> RunResult:
        """Start this run, which `create_run` made, and wait for its end. Raises as `Cloche.start`."""
        if self._workflow is None:
            raise UsageError(f"the workflow of run {self.id} is not registered here")
        start = partial(
            self._app.start,
            self._workflow,
            input_data,
            run_id=self.id,
            initial_state=initial_state,
            request_context=request_context,
        )
        if not self._owns_app:
            return await (await start()).result()
        async with self._app:
            return await (await start()).result()

    async def result(self) -> RunResult:
        """Wait until the run has ended or is blocked, and return it as it stands then.

        A run that sleeps or waits for retries is waited for. `unwrap()` of the result gives the value or raises.

        Raises:
            UsageError: this `Cloche` was closed before; the run goes on when its store is opened again.
        """
        scheduler = self._app._running
        while True:
            if scheduler.closed:
                raise UsageError(
                    f"this Cloche was closed while run {self.id} had not ended: it goes on in the next one"
                )
            changed = scheduler.changed(self._key)
            row = reading.row_of(scheduler.store, self._key)
            if row.status in FINAL or row.status == "blocked":
                return self._folded(row)
            if not scheduler.is_driven(self._key) and row.wake_at is None and (problem := scheduler.problem(self._key)):
                raise problem
            await changed

    async def row(self) -> RunRow:
        """The run's entry in listings."""
        return reading.row_of(self._app._running.store, self._key)

    async def status(self) -> str:
        """success, failed, canceled, waiting, running, pending or blocked."""
        return (await self.row()).status

    async def cancel(self) -> None:
        """As `Cloche.cancel`."""
        await self._app.cancel(self.id)

    async def history(self) -> list[Record]:
        """All records so far, verified."""
        return list(self._app._running.store.records(self._key))

    async def stream(self, from_seq: int = 0) -> AsyncIterator[Record]:
        """The records behind number `from_seq`, then each new one as it becomes durable, until the run ends or is blocked."""
        scheduler = self._app._running
        seq = Seq(from_seq)
        while not scheduler.closed:
            changed = scheduler.changed(self._key)
            row = reading.row_of(scheduler.store, self._key)
            for record in scheduler.store.records(self._key, seq):
                seq = record.seq
                yield record
            if row.status in FINAL or row.status == "blocked":
                return
            await changed

    def _folded(self, row: RunRow) -> RunResult:
        store = self._app._running.store
        code = load_code(store, row.code)
        out = fold(row, store.records(self._key), reading.top_level(code))
        if self._workflow is None:
            return out
        steps = {id: adapter for id, step in self._workflow.steps.items() if (adapter := step.output_adapter())}
        return revive(out, self._workflow.output_adapter(), steps)


def code_of(workflow: Workflow, engine: CellSource) -> Code:
    """What a run of `workflow` that begins now is pinned to."""
    source = workflow.source("javascript")
    return Code(workflow.id, engine.guest()[0], source.code, dict(source.map), workflow.graph.to_json())
