"""The face of the runtime: `Cloche`, a store and what executes on it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from cloche.client.runs import Run
from cloche.client.tenants import Runs, Tenant
from cloche.engines import CellSource, Language, SandboxEngine
from cloche.errors import LeasedElsewhere, UsageError
from cloche.history import DEFAULT_TENANT, RunKey
from cloche.history.ids import TenantId, TimeMs, tenant_id
from cloche.operations import export, prune, replay, upgrade
from cloche.operations.policies import InForce
from cloche.run.checkpoints import EVENTS_BETWEEN
from cloche.run.clock import SystemWorld, World
from cloche.run.code import code_of
from cloche.run.results import RunResult
from cloche.store import (
    CheckpointFile,
    Checkpoints,
    MemoryCheckpoints,
    MemoryStore,
    RunRow,
    SqliteStore,
    Store,
    TenantUsage,
    Version,
)
from cloche.tenancy import Policy
from cloche.worker import shutdown
from cloche.worker.cell_cache import BYTES_MAX
from cloche.worker.heartbeat import LOOP_STALL_MAX_S
from cloche.worker.membership import LEASE_TTL_S
from cloche.worker.worker import Worker

if TYPE_CHECKING:
    from types import TracebackType

    from cloche.client.workflows import Workflow
    from cloche_codegen import Graph, Step

MEMORY = "memory:"


class Cloche(Runs):
    """Executes workflows on a store; an async context manager.

    It executes the runs of every tenant of the store, and is itself the handle of one of them, `tenant`; `Cloche.tenant`
    gives those of the others.

    Entering joins the workers of the store and goes on with every unfinished run that no other worker has. Leaving drains:
    nothing new starts, running steps may end (for `drain_timeout_s`) and are recorded, and the runs are free for others at
    once; what was cut off is done again. SIGTERM drains too, and then ends
    the process as it would have (where the program has no handler of its own; `handle_sigterm=False` leaves it alone).

    Args:
        store: a file (SQLite, made if it does not exist), or "memory:".
        workflows: what may be started here, and whose steps open runs may need.
        steps: further steps that open runs may need, by their ids.
        engine: where workflow code runs; `SandboxEngine()` by default.
        tenant: whose runs the methods of this object are about.
        policy: what a tenant's code may take; a new run is pinned to it.
        policies: those of tenants for whom it is another.
        world: clock, ids and seeds; tests put their own here.
        checkpoint_every: events of a run after which its cell is saved beside the log, so that they need not be replayed.
        warm_bytes: how much memory live cells may take; the least recently used are given up first.
        lease_ttl_s: a worker that has been silent for so long loses its runs to the others. One whose process has ended
            loses them at once.
        loop_stall_max_s: a step that blocks the event loop does not make its worker silent until it has done so for so long.

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
        policy: Policy | None = None,
        policies: Mapping[str, Policy] | None = None,
        world: World | None = None,
        drain_timeout_s: float = 10.0,
        handle_sigterm: bool = True,
        checkpoint_every: int = EVENTS_BETWEEN,
        warm_bytes: int = BYTES_MAX,
        lease_ttl_s: float = LEASE_TTL_S,
        loop_stall_max_s: float = LOOP_STALL_MAX_S,
    ) -> None:
        self._path = None if store == MEMORY else FilePath(store)
        self._workflows = list(workflows)
        self._steps = list(steps)
        self._engine = engine or SandboxEngine()
        self._policy = policy or Policy.model_validate(self._engine.limits())
        self._policies = dict(policies or {})
        self._memory = MemoryStore()
        self._world = world or SystemWorld()
        super().__init__(self, tenant)
        self._drain_timeout_s = drain_timeout_s
        self._handle_sigterm = handle_sigterm
        self._checkpoint_every = checkpoint_every
        self._warm_bytes = warm_bytes
        self._lease_ttl_s = lease_ttl_s
        self._loop_stall_max_s = loop_stall_max_s
        self._worker: Worker | None = None
        self._closing: asyncio.Future[None] | None = None
        self._starting: WeakValueDictionary[RunKey, asyncio.Lock] = WeakValueDictionary()

    async def __aenter__(self) -> Cloche:
        self._closing = None
        store = self._open_store()
        try:
            worker = Worker(
                store,
                self._world,
                self._engine,
                self._open_checkpoints(),
                checkpoint_every=self._checkpoint_every,
                cached_bytes_max=self._warm_bytes,
                lease_ttl_s=self._lease_ttl_s,
                loop_stall_max_s=self._loop_stall_max_s,
                policy_of=self.policy_of,
                start_child=self._start_child,
            )
            worker.registry.register(self._workflows, self._steps)
            self._worker = worker
            await worker.begin()
        except BaseException:
            self._close_store(store)
            raise
        if self._handle_sigterm:
            shutdown.listen(self._drain)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._drain()

    # ---- tenants and runs ----

    def tenant(self, id: str) -> Tenant:
        """The handle of a tenant; nothing need have been known of it before.

        Raises:
            UsageError: the id is no text of 1 to 200 bytes without control characters.
        """
        return Tenant(self, id)

    async def list(
        self,
        *,
        status: str | None = None,
        workflow: str | None = None,
        tenant: str | None = None,
        limit: int | None = 100,
        after: str | None = None,
    ) -> Sequence[RunRow]:
        """As `Runs.list`; of another tenant than its own where one is named."""
        of = Tenant(self, tenant or self._tenant)
        return await of.list(status=status, workflow=workflow, limit=limit, after=after)

    async def deploy(
        self, tenant: str, content: str | Graph, *, workflow: str | None = None, language: Language | None = None
    ) -> Version:
        """As `Tenant.deploy`."""
        return await self.tenant(tenant).deploy(content, workflow=workflow, language=language)

    async def usage(self, tenant: str | None = None) -> Sequence[TenantUsage]:
        """What tenants have used, in the order of their ids: all that have or had a run, or the one named."""
        return self._running.store.usage(tenant_id(tenant) if tenant is not None else None)

    async def prewarm(self) -> None:
        """Load the code of every workflow that may be started here, so that the first run of each finds its image ready.

        Beside the loop: a guest that this machine has never run is compiled first, for seconds. Code that does not load is
        logged, and found again by the run that needs it.
        """
        await self._running.cells.prewarm(
            TenantId(self._tenant), [code_of(workflow, self._engine) for workflow in self._workflows]
        )

    async def prune(
        self,
        *,
        older_than_s: float | None = None,
        status: str | None = None,
        workflow: str | None = None,
        dry_run: bool = False,
    ) -> prune.PruneReport:
        """Delete the runs that ended longer ago than `older_than_s`, then everything in the store that no run needs.

        Without `older_than_s` no run is deleted. With `dry_run` nothing is; the report says which runs would be.

        Raises:
            HistoryError: the code of a run is damaged: what is needed cannot be known, and is not collected.
        """
        store, now = self._running.store, self._world.now()
        keys: Sequence[RunKey] = []
        if older_than_s is not None:
            before = TimeMs(now - int(older_than_s * 1000))
            keys = prune.prunable(store, before, tenant=self._tenant, status=status, workflow=workflow)
        if dry_run:
            return prune.PruneReport([key.run for key in keys], dry_run=True)
        gone: list[str] = []
        for deleted in prune.delete(store, keys, now):
            gone += [key.run for key in deleted]
            await asyncio.sleep(0)
        collected = prune.collect(store)
        return prune.PruneReport(gone, collected.parts, collected.blobs)

    async def check(self, workflow: Workflow) -> upgrade.CheckReport:
        """Hold every open run of a workflow against the code that it has today. Nothing is changed.

        A run that does not fit goes on under its own code; one that does can be moved with `upgrade`.
        """
        code = code_of(workflow, self._engine)
        return upgrade.CheckReport(list(upgrade.fits(self._running.store, self._engine, code, self._tenant)))

    async def upgrade(self, run_id: str, workflow: Workflow) -> replay.ReplayReport:
        """Let a run at rest go on under the code that `workflow` has today, if that leads its whole history again.

        Raises:
            NotFound: there is no such run.
            Divergence: it does not; the run is as it was.
            LeasedElsewhere: the run is being executed: wait until it comes to rest.
            UsageError: it has ended, or is another workflow's.
        """
        running, key = self._running, self._key(run_id)
        if key in running.drivers:
            raise LeasedElsewhere(f"run {run_id} is being executed here: wait until it comes to rest", run_id=run_id)
        code = code_of(workflow, self._engine)
        report = upgrade.upgrade(running.store, self._engine, key, code, running.name, self._world.now())
        running.claims.expect(self._world.now())
        return report

    async def verify(self, run_id: str | None = None) -> replay.VerifyReport:
        """Check one run, or everything in the store, against its hashes."""
        return replay.verify(self._running.store, self._key(run_id) if run_id else None)

    async def import_(self, data: bytes) -> Run:
        """The run of an exported file, now in this store; if it is unfinished, this process goes on with it.

        Raises:
            ForeignFile, BrokenChain: the file is not what was exported.
            RunConflict: this store has another run of that id.
        """
        key = export.import_run(self._running.store, data, self.policy_of)
        await self._running.starting.wake(key)
        row = replay.row_of(self._running.store, key)
        return self.tenant(key.tenant)._run(row)

    @staticmethod
    def run_sync(workflow: Workflow, input_data: Any = None, *, store: str = MEMORY, **options: Any) -> RunResult:
        """Start one run and wait for its end, for scripts without an event loop. `options` are those of `start`."""

        async def whole() -> RunResult:
            if workflow.cells is not workflow.execution_engine:  # another engine keeps its runs
                run = await workflow.create_run(options.pop("run_id", None))
                return await run.start(input_data, **options)
            async with Cloche(store, workflows=[workflow], engine=workflow.cells) as app:
                return await (await app.start(workflow, input_data, **options)).result()

        return asyncio.run(whole())

    def own_run(self, workflow: Workflow, run_id: str | None) -> Run:
        """A run that opens this object when it is started, and closes it when it has ended."""
        key = self._new_key(run_id)
        return Run(self, key, workflow, owns_app=True)

    # ---- inside ----

    @property
    def is_open(self) -> bool:
        return self._worker is not None

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

    def policy_of(self, tenant: str) -> Policy:
        """What new runs of a tenant are pinned to."""
        return self._policies.get(tenant, self._policy)

    @property
    def policies(self) -> InForce:
        """What `policy_of` goes by, also while this is not open."""
        return InForce(self._policy, dict(self._policies))

    async def _start_child(self, tenant: str, workflow: Any, input_data: Any, run_id: str, depth: int) -> Run:
        return await self.tenant(tenant)._start(workflow, input_data, run_id, depth=depth)

    @property
    def _running(self) -> Worker:
        if self._worker is None:
            raise UsageError("this Cloche is not open: use it as 'async with Cloche(…) as app:'")
        return self._worker

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
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.close(self._drain_timeout_s)
            worker.services.checkpoints.close()
            self._close_store(worker.store)
        shutdown.forget(self._drain)
