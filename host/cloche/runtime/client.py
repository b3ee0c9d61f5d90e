"""The face of the runtime: `Cloche`, a store and what executes on it."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Iterable, Sequence
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from cloche.engines import CellSource, Code, SandboxEngine
from cloche.errors import LeasedElsewhere, LeaseLost, NotFound, NotSuspended, RunConflict, SeqConflict, UsageError
from cloche.history import DEFAULT_TENANT, Kind, Note, RunKey
from cloche.history.ids import TimeMs, run_key
from cloche.history.messages import Started
from cloche.history.values import encode, plain
from cloche.runtime import forking, portable, reading, retention, sigterm, upgrading
from cloche.runtime.checkpoints import EVENTS_BETWEEN
from cloche.runtime.clock import SystemWorld, World
from cloche.runtime.inbox import token_of
from cloche.runtime.membership import LEASE_TTL_S
from cloche.runtime.pinned import code_of, load_code
from cloche.runtime.results import FINAL, RunResult
from cloche.runtime.resuming import path_of
from cloche.runtime.runs import Run
from cloche.runtime.scheduler import Scheduler
from cloche.runtime.steps import validated
from cloche.runtime.warm import BYTES_MAX
from cloche.store import (
    GRANTED,
    CheckpointFile,
    Checkpoints,
    MemoryCheckpoints,
    MemoryStore,
    RunRow,
    SqliteStore,
    Store,
)

if TYPE_CHECKING:
    from types import TracebackType

    from cloche.runtime.workflows import Workflow
    from cloche_codegen import Step

MEMORY = "memory:"


class Cloche:
    """Executes workflows on a store; an async context manager.

    Entering joins the workers of the store and goes on with every unfinished run that no other worker has. Leaving drains:
    nothing new starts, running steps may end (for `drain_timeout_s`) and are recorded, and the runs are free for others at
    once; what was cut off is done again. SIGTERM drains too, and then ends
    the process as it would have (where the program has no handler of its own; `handle_sigterm=False` leaves it alone).

    Args:
        store: a file (SQLite, made if it does not exist), or "memory:".
        workflows: what may be started here, and whose steps open runs may need.
        steps: further steps that open runs may need, by their ids.
        engine: where workflow code runs; `SandboxEngine()` by default.
        tenant: whose runs these are.
        world: clock, ids and seeds; tests put their own here.
        checkpoint_every: events of a run after which its cell is saved beside the log, so that they need not be replayed.
        warm_bytes: how much memory live cells may take; the least recently used are given up first.
        lease_ttl_s: a worker that has been silent for so long loses its runs to the others. One whose process has ended
            loses them at once.

    Raises (on entering):
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
        checkpoint_every: int = EVENTS_BETWEEN,
        warm_bytes: int = BYTES_MAX,
        lease_ttl_s: float = LEASE_TTL_S,
    ) -> None:
        self._path = None if store == MEMORY else FilePath(store)
        self._workflows = list(workflows)
        self._steps = list(steps)
        self._engine = engine or SandboxEngine()
        self._tenant = tenant
        self._memory = MemoryStore()
        self._world = world or SystemWorld()
        self._drain_timeout_s = drain_timeout_s
        self._handle_sigterm = handle_sigterm
        self._checkpoint_every = checkpoint_every
        self._warm_bytes = warm_bytes
        self._lease_ttl_s = lease_ttl_s
        self._scheduler: Scheduler | None = None
        self._closing: asyncio.Future[None] | None = None
        self._starting: WeakValueDictionary[RunKey, asyncio.Lock] = WeakValueDictionary()

    async def __aenter__(self) -> Cloche:
        self._closing = None
        store = self._open_store()
        try:
            scheduler = Scheduler(
                store,
                self._world,
                self._engine,
                self._open_checkpoints(),
                checkpoint_every=self._checkpoint_every,
                warm_bytes=self._warm_bytes,
                lease_ttl_s=self._lease_ttl_s,
            )
            scheduler.register(self._workflows, self._steps)
            scheduler.starter = self.start
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
        per_step: bool = False,
    ) -> Run:
        """Start a run and return when its beginning is durable. Idempotent on `run_id`, also across processes.

        `per_step` lets it run one entry of its graph and pause; `Run.resume` goes on.

        Raises:
            NotFound: no such workflow is registered here.
            InvalidInput: input or state do not fit the workflow's schemas; nothing was started.
            RunConflict: the run id exists with another workflow or input.
            StoreUnavailable: the store did not take it. Starting it again with the same run id is safe.
            Exception: what the workflow's `on_start` raised; nothing was started.
        """
        found = self._workflow(workflow)
        key = self._key(self._world.run_id() if run_id is None else run_id)
        value = self._checked_input(found, input_data)
        given: dict[str, Any] = {}
        if request_context:
            given["context"] = plain(request_context, "request_context")
        if initial_state:
            given["state"] = self._checked_state(found, initial_state)
        async with self._starting.setdefault(key, asyncio.Lock()):
            row = self._running.store.run(key)
            if row is not None:
                return self._existing(row, found, value)
            if found.on_start is not None:
                answer = found.on_start({"run_id": key.run, "workflow_id": found.id, "input": value})
                if inspect.isawaitable(answer):
                    await answer
            code = code_of(found, self._engine)
            started = Started(self._world.now(), self._world.seed(), value, given)
            try:
                await self._running.start(key, code, [self._created(code, per_step=per_step), started])
            except SeqConflict:  # another process was faster
                return self._existing(reading.row_of(self._running.store, key), found, value)
        return Run(self, key, found)

    def _created(self, code: Code, **more: Any) -> Note:
        content = {
            "workflow": code.workflow,
            "guest": code.guest,
            "engine": self._engine.name,
            "limits": self._engine.limits(),
        }
        content.update({name: value for name, value in more.items() if value})
        return Note(Kind.RUN_CREATED, self._world.now(), content)

    async def fork(self, run_id: str, *, at: str, input_data: Any = forking.SAME, new_run_id: str | None = None) -> Run:
        """A new run with the history of `run_id` up to its last call of step `at`, which runs (again) in the new one.

        Nothing before `at` is executed again, and the old run is not touched. `input_data` is what the step gets instead.

        Raises:
            NotFound: there is no such run.
            UsageError: it never called such a step, or its input cannot be replaced.
        """
        row = reading.row_of(self._running.store, self._key(run_id))
        records = list(self._running.store.records(row.key))
        facts = forking.facts_before(records, at, input_data)
        code = load_code(self._running.store, row.code)
        created = self._created(code, forked_from={"run": run_id, "at": at})
        key = self._key(new_run_id or self._world.run_id())
        if self._running.store.run(key) is not None:
            raise _exists(key)
        try:
            await self._running.start(key, code, [created, *facts])
        except SeqConflict as error:
            raise _exists(key) from error
        return Run(self, key, self._running.workflow(row.workflow))

    async def resume(
        self,
        run_id: str,
        *,
        step: Any = None,
        label: str | None = None,
        resume_data: Any = None,
        foreach_index: int | None = None,
        per_step: bool = False,
        idempotency_key: str | None = None,
    ) -> RunResult:
        """Give data to a suspended run, or let a paused one go on, and wait until it stops again.

        Without `step` and `label` the only suspended step is meant; all suspended items of a foreach get the same data
        unless `foreach_index` names one. `per_step` is for paused runs: one more entry.

        With an `idempotency_key` it happens once, however often it is asked for, by however many processes, also after a
        crash: later calls with the same key wait for the run like the first.

        Raises:
            NotFound: there is no such run.
            NotSuspended: nothing that is meant is suspended, or it is not clear which; nothing has changed.
            InvalidInput: the data does not fit the step's resume schema; nothing has changed.
        """
        key = self._key(run_id)
        row = reading.row_of(self._running.store, key)
        named = {"step": path_of(step), "label": label, "foreach_index": foreach_index, "per_step": per_step}
        wish = {"data": plain(resume_data, "resume_data") if idempotency_key else resume_data, **named}
        run = Run(self, key, self._running.workflow(row.workflow))
        if idempotency_key is None:
            try:
                await self._running.resume(key, wish)
                return await run.result()
            except (LeasedElsewhere, LeaseLost):  # it is asked for the same
                wish["data"] = plain(resume_data, "resume_data")
        await self._running.inbox.ask(key, "resume", wish, idempotency_key)
        return await run.result()

    async def send_event(
        self, run_id: str, name: str, payload: Any = None, *, idempotency_key: str | None = None
    ) -> None:
        """Send an event to a run that waits for it, or will: it is kept until then, and delivered once.

        The same `idempotency_key` again is the same event, for as long as the run is in the store.

        Raises:
            NotFound: there is no such run.
            NotSuspended: it has ended.
            InvalidInput: the payload does not fit the schema that the workflow has for this event.
        """
        key = self._key(run_id)
        store = self._running.store
        row = reading.row_of(store, key)
        token = token_of(key, "event", idempotency_key or self._world.run_id())
        if idempotency_key is not None and store.answer(token) == GRANTED:
            return
        if row.status in FINAL:
            raise NotSuspended(f"run {run_id} has ended ({row.status}): it takes no event", run_id=run_id, suspended=[])
        body = encode([name, self._running.checked_event(row.workflow, name, payload)])
        store.post(key, "event", body, token, self._world.now(), kept=idempotency_key is not None)
        self._running.inbox.look()

    async def delete(self, run_id: str) -> None:
        """Delete a finished run and its records; a tombstone keeps its id, and `verify` honest.

        What only it needed (parts of large bodies, code, guest) is collected by the next `prune`.

        Raises:
            NotFound: there is no such run.
            UsageError: it has not ended; cancel it first.
        """
        key = self._key(run_id)
        row = reading.row_of(self._running.store, key)
        if row.status not in FINAL or self._running.is_driven(key):
            raise UsageError(f"run {run_id} is {row.status}: only a run that has ended can be deleted; cancel it first")
        if not self._running.store.delete([key], self._world.now()):
            raise UsageError(f"run {run_id} is still at work in another worker: delete it when that has let go of it")

    async def prewarm(self) -> None:
        """Load the code of every workflow that may be started here, so that the first run of each finds its image ready.

        Beside the loop: a guest that this machine has never run is compiled first, for seconds. Code that does not load is
        logged, and found again by the run that needs it.
        """
        await self._running.prewarm([code_of(workflow, self._engine) for workflow in self._workflows])

    async def prune(
        self,
        *,
        older_than_s: float | None = None,
        status: str | None = None,
        workflow: str | None = None,
        dry_run: bool = False,
    ) -> retention.PruneReport:
        """Delete the runs that ended longer ago than `older_than_s`, then everything in the store that no run needs.

        Without `older_than_s` no run is deleted. With `dry_run` nothing is; the report says which runs would be.

        Raises:
            HistoryError: the code of a run is damaged: what is needed cannot be known, and is not collected.
        """
        store, now = self._running.store, self._world.now()
        keys: Sequence[RunKey] = []
        if older_than_s is not None:
            before = TimeMs(now - int(older_than_s * 1000))
            keys = retention.prunable(store, before, tenant=self._tenant, status=status, workflow=workflow)
        if dry_run:
            return retention.PruneReport([key.run for key in keys], dry_run=True)
        gone: list[str] = []
        for deleted in retention.delete(store, keys, now):
            gone += [key.run for key in deleted]
            await asyncio.sleep(0)
        collected = retention.collect(store)
        return retention.PruneReport(gone, collected.parts, collected.blobs)

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

        Returns when the wish is durable. Asking twice is asking once, and one that has ended stays as it is.

        Raises:
            NotFound: there is no such run.
        """
        key, reason = self._key(run_id), "asked for by the caller"
        try:
            await self._running.cancel(key, reason)
        except (LeasedElsewhere, LeaseLost):
            await self._running.inbox.ask(key, "cancel", reason)

    async def replay(self, run_id: str, workflow: Workflow | None = None) -> reading.ReplayReport:
        """Feed a run's history to a fresh cell, of its own code or of `workflow`'s, and compare.

        Raises:
            NotFound: there is no such run.
            HistoryError: its history is damaged.
        """
        code = code_of(workflow, self._engine) if workflow is not None else None
        return reading.replay(self._running.store, self._key(run_id), self._engine, code)

    async def check(self, workflow: Workflow) -> upgrading.CheckReport:
        """Hold every open run of a workflow against the code that it has today. Nothing is changed.

        A run that does not fit goes on under its own code; one that does can be moved with `upgrade`.
        """
        code = code_of(workflow, self._engine)
        return upgrading.CheckReport(list(upgrading.fits(self._running.store, self._engine, code, self._tenant)))

    async def upgrade(self, run_id: str, workflow: Workflow) -> reading.ReplayReport:
        """Let a run at rest go on under the code that `workflow` has today, if that leads its whole history again.

        Raises:
            NotFound: there is no such run.
            Divergence: it does not; the run is as it was.
            LeasedElsewhere: the run is being executed: wait until it comes to rest.
            UsageError: it has ended, or is another workflow's.
        """
        running, key = self._running, self._key(run_id)
        if running.is_driven(key):
            raise LeasedElsewhere(f"run {run_id} is being executed here: wait until it comes to rest", run_id=run_id)
        code = code_of(workflow, self._engine)
        report = upgrading.upgrade(running.store, self._engine, key, code, running.membership.worker, self._world.now())
        running.claims.expect(self._world.now())
        return report

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
    def is_open(self) -> bool:
        return self._scheduler is not None

    @property
    def is_idle(self) -> bool:
        """Whether nothing moves: every open run waits for a time or for somebody outside."""
        return self._running.is_idle

    @property
    def next_due(self) -> int | None:
        """When the next run that nobody executes is due, in ms since 1970; None if none waits for a time."""
        return self._running.store.leases.next_due()

    def moved(self) -> Sequence[RunRow]:
        """The runs that this process has driven since it was last asked, as they stand now. The first call begins to count."""
        return [row for key in self._running.take_moved() if (row := self._running.store.run(key)) is not None]

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

    def _checked_state(self, workflow: Workflow, state: dict[str, Any]) -> Any:
        adapter = workflow.state_adapter()
        if adapter is not None:
            state = validated(adapter, state, f"the initial state of workflow '{workflow.id}'")
        return plain(state, "initial_state")

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
            return self._memory  # kept: leaving and entering again is as closing and opening a file
        return SqliteStore(self._path)

    def _open_checkpoints(self) -> Checkpoints:
        if self._path is None:
            return MemoryCheckpoints()
        return CheckpointFile.beside(self._path)

    def _close_store(self, store: Store) -> None:
        store.close()

    async def _drain(self) -> None:
        """Close, once: SIGTERM and the end of the context may both ask for it, and both wait until it is done."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        scheduler, self._scheduler = self._scheduler, None
        if scheduler is not None:
            await scheduler.close(self._drain_timeout_s)
            scheduler.checkpoints.close()
            self._close_store(scheduler.store)
        sigterm.forget(self._drain)


def _exists(key: RunKey) -> RunConflict:
    return RunConflict(f"run {key.run} exists already: give the fork another id", run_id=key.run)
