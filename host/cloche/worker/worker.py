"""`Worker`: executes the runs of one store in this process, with the other workers of that store.

Several workers share a store: each drives the runs that it owns (`claims`). What is asked of the others goes through the
store's inbox.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cloche.engines import CellSource
from cloche.errors import HistoryError, LeasedElsewhere, LeaseLost
from cloche.history import RunId, RunKey, TenantId
from cloche.run.checkpoints import EVENTS_BETWEEN
from cloche.run.clock import Timers, World
from cloche.run.lanes import Lanes
from cloche.run.limits import RunLimits
from cloche.run.ports import RunServices
from cloche.sandbox.switch_interval import SWITCH_INTERVAL_S
from cloche.steps.registry import Registry
from cloche.steps.runner import LocalRunner
from cloche.steps.threads import StepThreads
from cloche.store import Checkpoints, MemoryCheckpoints, RunRow, Store
from cloche.tenancy import Policy
from cloche.worker.admission import Admission
from cloche.worker.blocks import Blocks
from cloche.worker.callbacks import Callbacks
from cloche.worker.cell_cache import BYTES_MAX
from cloche.worker.cells import WorkerCells
from cloche.worker.claims import Claims
from cloche.worker.committer import Committer
from cloche.worker.drivers import Drivers
from cloche.worker.heartbeat import LOOP_STALL_MAX_S
from cloche.worker.inbox import Inbox
from cloche.worker.listeners import Listeners
from cloche.worker.membership import LEASE_TTL_S, Membership
from cloche.worker.quarantine import StepQuarantine
from cloche.worker.requests import Requests
from cloche.worker.starting import Starting
from cloche.worker.tasks import WorkerTasks

if TYPE_CHECKING:
    from cloche_codegen import Workflow

TASKS_S_MAX = 1.0  # how long the end of a worker waits for what it does on its own account

StartChild = Callable[[TenantId, Any, Any, str, int], Any]


class Worker:
    """Made inside a running event loop; `begin` joins the workers of the store, `close` leaves them.

    Its parts are public: `registry` is what it can execute, `starting` how runs come to be driven, `requests` what is asked of
    them, `drivers` those that are.

    Args:
        checkpoint_every: events of a run after which its cell is saved.
        cached_bytes_max: memory that live cells may take, in bytes.
        lease_ttl_s: how long other workers wait for a heartbeat until they evict this one.
        loop_stall_max_s: how long a step may block the event loop before the heartbeats end.
        switch_interval_s: what Python's switch interval, a setting of the whole process, is shortened to while a guest runs for
            more than some milliseconds, so that it is stopped in time whatever other threads compute; None leaves it alone.
            It is put back when no guest runs, and when the worker closes.
        policy_of: the policy of a tenant, by its id.
        start_child: how a child run is started.
    """

    def __init__(
        self,
        store: Store,
        world: World,
        engine: CellSource,
        checkpoints: Checkpoints | None = None,
        *,
        checkpoint_every: int = EVENTS_BETWEEN,
        cached_bytes_max: int = BYTES_MAX,
        lease_ttl_s: float = LEASE_TTL_S,
        loop_stall_max_s: float = LOOP_STALL_MAX_S,
        switch_interval_s: float | None = SWITCH_INTERVAL_S,
        policy_of: Callable[[str], Policy] = lambda _: Policy(),
        start_child: StartChild | None = None,
    ) -> None:
        checkpoints = checkpoints or MemoryCheckpoints()
        timers, tasks, listeners = Timers(world), WorkerTasks(), Listeners()
        self.store = store
        self.registry = Registry()
        self.closed = False
        self.listeners = listeners
        self.membership = Membership(store.leases, world, lease_ttl_s, loop_stall_max_s)
        self.admission = Admission(store, policy_of)
        self.claims = Claims(store, world, timers, tasks, self.membership, self.admission, _Work(self))
        self._step_threads = StepThreads()
        lanes = Lanes(self.admission.driven)
        self.cells = WorkerCells(
            store,
            engine,
            lanes,
            checkpoints,
            checkpoint_every=checkpoint_every,
            cached_bytes_max=cached_bytes_max,
            switch_interval_s=switch_interval_s,
        )
        self.blocks = Blocks(store, world, timers, tasks, listeners, lambda key: self.starting.wake(key))
        self.drivers = Drivers(
            store,
            self.registry,
            self.admission,
            self.blocks,
            self.cells.cached,
            Callbacks(store, tasks),
            listeners,
            on_room=self.claims.room_again,
            on_hook=lambda key: self.inbox.hook_opened(key),
        )
        self.services = self._services(world, timers, tasks, lanes, checkpoints, start_child)
        self.starting = Starting(
            self.services,
            self.drivers,
            self.cells,
            self.admission,
            self.blocks,
            on_taken_up=lambda key: self.inbox.driven_again(key),
        )
        self.requests = Requests(self.services, self.starting, listeners)
        self.inbox = Inbox(self.services, self.starting, self.requests)

    def _services(
        self,
        world: World,
        timers: Timers,
        tasks: WorkerTasks,
        lanes: Lanes,
        checkpoints: Checkpoints,
        start_child: StartChild | None,
    ) -> RunServices:
        """What each run is given."""
        return RunServices(
            store=self.store,
            checkpoints=checkpoints,
            world=world,
            timers=timers,
            lanes=lanes,
            registry=self.registry,
            cells=self.cells,
            log=Committer(self.store, self.drivers.drives_one),
            ownership=self.claims,
            supervisor=self.drivers,
            child_runs=_ChildRuns(self, start_child),
            quarantine=StepQuarantine(world, timers),
            runner=LocalRunner(self._step_threads),
            tasks=tasks,
        )

    @property
    def name(self) -> str:
        """Its name on the store; another one after it was evicted and has joined again."""
        return self.membership.worker

    async def begin(self) -> None:
        """Join the workers of the store, and go on with every run that no worker owns, now or when its time comes.

        Raises:
            StoreError: the store did not answer.
        """
        self.cells.begin()
        try:
            await self.claims.begin()
        except BaseException:
            self.cells.end()
            raise

    async def cancel(self, key: RunKey, reason: str) -> None:
        """Ask for the end of a run, whoever executes it; returns when that is durable.

        Raises:
            NotFound: there is no such run.
        """
        try:
            await self.requests.cancel(key, reason)
        except (LeasedElsewhere, LeaseLost):
            await self.inbox.ask(key, "cancel", reason)

    def has_workflow(self, tenant: TenantId, id: str) -> bool:
        """Whether a run of this workflow can be started here: it is registered, or the tenant has deployed it."""
        return self.registry.workflow(id) is not None or self.store.version_of(tenant, id) is not None

    def workflow_of_row(self, row: RunRow) -> Workflow | None:
        """The workflow of a run as it is registered here; where the run's code cannot be read, by name alone."""
        found = self.registry.workflow(row.workflow)
        if found is not None:
            with contextlib.suppress(HistoryError):
                return self.registry.workflow_of(self.cells.code(row.code))
        return found

    def take_moved(self) -> list[RunKey]:
        """The runs that were announced since the last call, in that order; counted from the first call on."""
        moved = self.listeners.take_moved()
        return self.drivers.keys() if moved is None else moved

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way, and nothing is left that could be."""
        return not self.drivers and not self.services.tasks and self.claims.is_idle

    # ---- the end ----

    async def close(self, drain_timeout_s: float) -> None:
        """Start nothing more, let running steps end (so long), record them, and let go."""
        self.drivers.is_closing = True
        self.services.timers.close()
        self.claims.stop()
        await asyncio.gather(*(driver.drain(drain_timeout_s) for driver in self.drivers))
        await self.services.tasks.end(TASKS_S_MAX)
        self._step_threads.close()
        self.cells.close()
        self.services.lanes.close()
        self.membership.leave()
        self.closed = True
        self.inbox.close()
        self.listeners.announce_others(())

    async def vanish(self) -> None:
        """Let go of everything at once, as a process that is killed: nothing more is started, recorded or announced."""
        self.drivers.is_closing = True
        self.membership.stop_heartbeat()
        self.services.timers.close()
        for driver in self.drivers:
            driver.stop()
        watchers = self.claims.stop()
        await self.services.tasks.end(0)
        await asyncio.gather(*watchers, return_exceptions=True)
        self._step_threads.close()
        self.cells.end()
        self.services.lanes.close()
        self.closed = True


class _Work:
    """Implements `Work`."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def adopt(self, row: RunRow) -> object:
        return await self._worker.starting.adopt(row)

    async def look(self) -> None:
        worker = self._worker
        await worker.blocks.try_all(worker.drivers.__contains__)
        await worker.inbox.look()
        worker.listeners.announce_others(worker.drivers.keys())

    def lose_all(self) -> None:
        self._worker.drivers.lose_all()


class _ChildRuns:
    """Implements `ChildRuns` of `run.ports`; `start` is how a run is started, given by the client around the worker."""

    def __init__(self, worker: Worker, start: StartChild | None) -> None:
        self._worker = worker
        self._start = start

    async def start_child(self, parent: RunKey, limits: RunLimits, workflow: Any, input_data: Any, run_id: str) -> Any:
        """
        Raises:
            LimitExceeded: the parent may not start it.
        """
        assert self._start is not None
        is_new = self._worker.store.run(RunKey(parent.tenant, RunId(run_id))) is None
        depth = limits.child_depth(workflow, is_new=is_new)
        return await self._start(parent.tenant, workflow, input_data, run_id, depth)

    def has_workflow(self, tenant: TenantId, id: str) -> bool:
        return self._worker.has_workflow(tenant, id)

    async def cancel(self, key: RunKey, reason: str) -> None:
        await self._worker.cancel(key, reason)

    def stopped(self, key: RunKey) -> asyncio.Future[None]:
        return self._worker.listeners.stopped(key)
