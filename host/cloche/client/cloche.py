"""The face of the runtime: `Cloche`, a store and what executes on it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from cloche.client.client import Client
from cloche.client.hosting import Hosting
from cloche.client.replays import Replays
from cloche.client.runs import Run
from cloche.client.schedules import Schedule, checked_schedules
from cloche.client.tenants import Tenant
from cloche.client.upkeep import Upkeep
from cloche.client.worker_connection import WorkerConnection
from cloche.engines import CellSource, SandboxEngine
from cloche.errors import UsageError
from cloche.history import DEFAULT_TENANT
from cloche.history.ids import TenantId, new_run_key
from cloche.operations.retention import Sweeper
from cloche.run.checkpoints import EVENTS_BETWEEN
from cloche.run.clock import World
from cloche.run.code import code_of
from cloche.run.observing import Observer
from cloche.run.results import RunResult
from cloche.steps.node import NodeSteps, nodes_of
from cloche.steps.registry import all_of
from cloche.store import MEMORY, Checkpoints, RunRow, Store, open_store
from cloche.tenancy import InForce, Policy, Retention
from cloche.worker import shutdown
from cloche.worker.cell_cache import BYTES_MAX
from cloche.worker.heartbeat import LOOP_STALL_MAX_S
from cloche.worker.membership import LEASE_TTL_S
from cloche.worker.skew import SKEW_MAX_S
from cloche.worker.worker import Worker

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from cloche_codegen import Step, Workflow


class Cloche(Client, Hosting, Upkeep):
    """A client and a worker in one: executes workflows on a store; an async context manager.

    It executes the runs of every tenant of the store, and is itself the handle of one of them, `tenant`; `Cloche.tenant`
    gives those of the others.

    Entering joins the workers of the store and goes on with every unfinished run that no other worker has. Leaving drains:
    nothing new starts, running steps may end (for `drain_timeout_s`) and are recorded, and the runs are free for others at
    once; what was cut off is done again. SIGTERM drains too, and then ends
    the process as it would have (where the program has no handler of its own; `handle_sigterm=False` leaves it alone).

    Args:
        store: the path of a file (SQLite, made if it does not exist), a URL (`sqlite:PATH`, `memory:`), or a `Store`.
        workflows: what may be started here, and whose steps open runs may need.
        steps: further steps that open runs may need, by their ids; a `NodeSteps` stands for those of its file.
        schedules: what begins runs at set times, of the tenant of this object; each is put in the store on entering.
        resources: what steps are given beside their arguments, by the class that a parameter is annotated with: connections,
            clients. They are this process's own, and cross no glass.
        engine: where workflow code runs; `SandboxEngine()` by default.
        tenant: whose runs the methods of this object are about.
        policy: what a tenant's code may take; a new run is pinned to it. Where none is given, registered workflows have the
            defaults of `Policy`, and code that tenants have deployed has `Policy.strict()`.
        policies: those of tenants for whom it is another, registered or deployed.
        world: clock, ids and seeds; tests put their own here.
        checkpoint_every: events of a run after which its cell is saved beside the log, so that they need not be replayed.
        warm_bytes: how much memory live cells may take; the least recently used are given up first.
        lease_ttl_s: a worker that has been silent for so long loses its runs to the others. One whose process has ended
            loses them at once.
        loop_stall_max_s: a step that blocks the event loop does not make its worker silent until it has done so for so long.
        retention: how long runs that have ended are kept; by default for ever. This worker deletes them, some at a time.
        skew_max_s: how far the clock of this machine may be from that of a store in PostgreSQL. Beyond it no run is taken, and
            the log says so.
        observers: who hears of what happens to runs here: `telemetry.Metrics`, `telemetry.Traces`.

    Raises (on entering):
        StoreError: the store cannot be opened; the message says why.
    """

    def __init__(
        self,
        store: str | os.PathLike[str] | Store = MEMORY,
        *,
        workflows: Iterable[Workflow] = (),
        steps: Iterable[Step | NodeSteps] = (),
        schedules: Sequence[Schedule] = (),
        resources: Mapping[type, Any] | None = None,
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
        skew_max_s: float = SKEW_MAX_S,
        observers: Sequence[Observer] = (),
        retention: Retention | None = None,
    ) -> None:
        super().__init__(store, tenant=tenant, world=world)
        self._host, self._schedules = self, checked_schedules(schedules)
        self._sweeper, self.replays = Sweeper(retention or Retention()), Replays()
        self._workflows: list[Workflow] = all_of(workflows, "workflow")
        self._steps = _told_apart(steps)
        self._engine = _checked(engine or SandboxEngine())
        default = Policy.model_validate(self._engine.limits().to_data())
        self._in_force = InForce.given(policy, policies, default=default)
        self._drain_timeout_s, self._handle_sigterm = drain_timeout_s, handle_sigterm
        self.observers = list(observers)  # more may be added until it is entered
        self._make_worker = partial(
            Worker,
            checkpoint_every=checkpoint_every,
            cached_bytes_max=warm_bytes,
            lease_ttl_s=lease_ttl_s,
            loop_stall_max_s=loop_stall_max_s,
            skew_max_s=skew_max_s,
            resources=resources,
            observers=self.observers,
        )
        self._worker: Worker | None = None
        self._closing: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        self._closing = None
        store = await self._open_store()
        try:
            worker = self._make_worker(
                store,
                self._world,
                self._engine,
                self._checkpoints_of(store),
                policies=self._in_force,
                handle=lambda key, workflow: Run(self.tenant(key.tenant), key, workflow),
            )
            found = [step for node in self._steps.nodes for step in await node.open_steps()]
            worker.registry.register(self._workflows, self._steps.own)
            worker.registry.register_further(found)
            self._worker = worker
            await worker.begin()
        except BaseException:
            for node in self._steps.nodes:
                await node.close_if_idle()
            await store.close()
            raise
        self._sweeper.begin(store, self._world)
        try:
            await self.schedules.put_all(self._schedules)
        except BaseException:
            await self._drain()
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
        return Tenant(self, self, id)

    async def prewarm(self) -> None:
        """Load the code of every workflow that may be started here, so that the first run of each finds its image ready.

        Beside the loop: a guest that this machine has never run is compiled first, for seconds. Code that does not load is
        logged, and found again by the run that needs it.
        """
        await self._running.cells.prewarm(
            TenantId(self._tenant), [code_of(workflow, self._engine) for workflow in self._workflows]
        )

    @staticmethod
    def run_sync(workflow: Workflow, input_data: Any = None, *, store: str = MEMORY, **options: Any) -> RunResult:
        """Start one run and wait for its end, for scripts without an event loop. `options` are those of `start`.

        Raises:
            UsageError: an event loop runs here already.
        """
        if _has_loop():
            raise UsageError(
                "run_sync runs an event loop of its own, and one runs here already (a notebook, an async function): write "
                "'run = await workflow.create_run()' and 'result = await run.start(input_data=…)' instead"
            )

        async def whole() -> RunResult:
            runnable: Any = workflow  # of the class here, which knows this one
            if runnable.cells is not runnable.execution_engine:  # another engine keeps its runs
                run: Run = await runnable.create_run(options.pop("run_id", None))
                return await run.start(input_data, **options)
            async with Cloche(store, workflows=[workflow], engine=runnable.cells) as app:
                return await (await app.start(workflow, input_data, **options)).result()

        return asyncio.run(whole())

    def own_run(self, workflow: Workflow, run_id: str | None) -> Run:
        """A run that opens this object when it is started, and closes it when it has ended."""
        key = new_run_key(self._world.run_id() if run_id is None else run_id, self._tenant)
        return Run(self, key, workflow, own_app=self)

    # ---- what executes here ----

    @property
    def is_open(self) -> bool:
        return self._worker is not None

    @property
    def engine(self) -> CellSource:
        """Where workflow code runs."""
        return self._engine

    @property
    def is_idle(self) -> bool:
        """Whether nothing moves: every open run waits for a time or for somebody outside."""
        return self._running.is_idle and not self._sweeper.is_sweeping

    async def next_due(self) -> int | None:
        """When the next run that nobody executes is due, in ms since 1970; None if none waits for a time."""
        return await self._running.store.leases.next_due()

    async def moved(self) -> Sequence[RunRow]:
        """The runs that this process has driven since it was last asked, as they stand now. The first call begins to count."""
        rows = [await self._running.store.run(key) for key in self._running.take_moved()]
        return [row for row in rows if row is not None]

    @property
    def workflows(self) -> list[Workflow]:
        """What it was given to start."""
        return list(self._workflows)

    @property
    def drain_timeout_s(self) -> float:
        """How long running steps may take to end when it is left."""
        return self._drain_timeout_s

    @property
    def under_way(self) -> list[str]:
        """The steps that run in this process, each as `step 'path' of run id`."""
        return [name for driver in self._running.drivers for name in driver.under_way]

    def policy_of(self, tenant: str, *, is_deployed: bool = False) -> Policy:
        """What new runs of a tenant are pinned to: of workflows that are registered here, or of code that it has deployed.

        A version that was deployed by a release without `Policy.strict()` has that of registered workflows.
        """
        return self._in_force.of(tenant, is_deployed=is_deployed)

    @property
    def policies(self) -> InForce:
        """What `policy_of` goes by, also while this is not open."""
        return self._in_force

    # ---- inside ----

    @property
    def _running(self) -> Worker:
        if self._worker is None:
            raise UsageError("this Cloche is not open: use it as 'async with Cloche(…) as app:'")
        return self._worker

    def _opened(self) -> WorkerConnection:
        return WorkerConnection(self._running)

    def _check_shared(self) -> None:
        """It executes what it starts: a store that nobody else can open is good enough."""

    async def _open_store(self) -> Store:
        if self._where == MEMORY:  # it is kept: leaving and entering again is as closing and opening a file
            self._where = await open_store(MEMORY)
        return await super()._open_store()

    def _checkpoints_of(self, store: Store) -> Checkpoints:
        return store.checkpoints

    async def _drain(self) -> None:
        """Close, once: SIGTERM and the end of the context may both ask for it, and both wait until it is done."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        worker, self._worker = self._worker, None
        await self._sweeper.end()
        if worker is not None:
            await worker.close(self._drain_timeout_s)
            for node in nodes_of(worker.registry.steps()):
                await node.close_if_idle()
            await worker.store.close()
        shutdown.forget(self._drain)


def _has_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _Steps(NamedTuple):
    """The steps of this process, and those of files that Node performs."""

    own: list[Step]
    nodes: list[NodeSteps]


def _told_apart(steps: Any) -> _Steps:
    """
    Raises:
        UsageError: something is neither.
    """
    given = [steps] if isinstance(steps, NodeSteps) else steps
    if hasattr(given, "id") or not isinstance(given, Iterable):
        return _Steps(all_of(given, "step"), [])
    found = list(given)
    nodes = [one for one in found if isinstance(one, NodeSteps)]
    return _Steps(all_of([one for one in found if not isinstance(one, NodeSteps)], "step"), nodes)


def _checked(engine: Any) -> CellSource:
    """
    Raises:
        UsageError: it is no engine.
    """
    if isinstance(engine, type):
        raise UsageError(f"engine= takes an engine, and not the class {engine.__name__}: call it, {engine.__name__}()")
    if not hasattr(engine, "limits"):
        advice = "SandboxEngine(…), ProcessEngine(…) or DirectEngine()"
        raise UsageError(f"engine= takes an engine, and not {engine!r}: {advice}")
    found: CellSource = engine
    return found
