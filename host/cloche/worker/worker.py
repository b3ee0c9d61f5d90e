"""`Worker`: executes the runs of one store in this process, with the other workers of that store.

Several workers share a store: each drives the runs that it owns (`claims`). What is asked of the others goes through the
store's inbox.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from cloche.engines import CellSource, ProcessEngine
from cloche.errors import HeldBack, HistoryError, LeasedElsewhere, LeaseLost, NotFound, UsageError
from cloche.history import RunKey, TenantId
from cloche.history.ids import child_key, parent_of
from cloche.run.checkpoints import EVENTS_BETWEEN
from cloche.run.clock import Timers, World
from cloche.run.lanes import Lanes
from cloche.run.limits import RunLimits
from cloche.run.observing import Observer, Observing
from cloche.run.ports import ChildStart, Listening, RunServices
from cloche.sandbox.switch_interval import SWITCH_INTERVAL_S
from cloche.status import FINAL
from cloche.steps.output import begin_capture, end_capture
from cloche.steps.registry import Registry
from cloche.steps.runner import LocalRunner
from cloche.steps.threads import StepThreads
from cloche.store import CANCEL, GRANTED, UNWANTED, Checkpoints, RunRow, Store, child_unwanted
from cloche.tenancy import InForce, Policy
from cloche.worker.admission import Admission
from cloche.worker.audit_trail import AuditTrail, policies_in_force
from cloche.worker.blocks import Blocks
from cloche.worker.callbacks import Callbacks
from cloche.worker.cell_cache import BYTES_MAX
from cloche.worker.cells import WorkerCells
from cloche.worker.claims import Claims
from cloche.worker.committer import Committer, ObservedLog
from cloche.worker.descendants import Descendants
from cloche.worker.drivers import Drivers
from cloche.worker.heartbeat import LOOP_STALL_MAX_S
from cloche.worker.inbox import Inbox
from cloche.worker.listeners import Listeners
from cloche.worker.membership import LEASE_TTL_S, Membership
from cloche.worker.new_runs import Begun, NewRuns
from cloche.worker.offers import pack_offers
from cloche.worker.others import Others
from cloche.worker.policies import Policies
from cloche.worker.quarantine import StepQuarantine
from cloche.worker.requests import Requests
from cloche.worker.retry_request import RETRIED, Retry, planned, records_to_retry
from cloche.worker.skew import SKEW_MAX_S
from cloche.worker.starting import Starting
from cloche.worker.store_thread import StoreThread
from cloche.worker.tasks import WorkerTasks
from cloche.worker.tenant_sums import TenantSums

if TYPE_CHECKING:
    from cloche_codegen import Step, Workflow

TASKS_S_MAX = 1.0  # how long the end of a worker waits for what it does on its own account

Handle = Callable[[RunKey, Any], Any]


class Worker:
    """Made inside a running event loop; `begin` joins the workers of the store, `close` leaves them.

    Its parts are public: `registry` is what it can execute, `new_runs` begins runs, `starting` is how they come to be driven,
    `requests` what is asked of them, `drivers` those that are.

    Args:
        checkpoint_every: events of a run after which its cell is saved.
        cached_bytes_max: memory that live cells may take, in bytes.
        lease_ttl_s: how long other workers wait for a heartbeat until they evict this one.
        skew_max_s: how far the clock may be from that of a store on another machine.
        loop_stall_max_s: how long a step may block the event loop before the heartbeats end.
        switch_interval_s: what Python's switch interval, a setting of the whole process, is shortened to while a guest runs for
            more than some milliseconds, so that it is stopped in time whatever other threads compute; None leaves it alone.
            It is put back when no guest runs, and when the worker closes.
        policies: which policy new runs begin under.
        handle: what a step that starts a run is given, of the run's key and its workflow.
        resources: what steps are given beside their arguments, by class.
        observers: who hears of what happens to its runs.
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
        skew_max_s: float = SKEW_MAX_S,
        loop_stall_max_s: float = LOOP_STALL_MAX_S,
        switch_interval_s: float | None = SWITCH_INTERVAL_S,
        policies: InForce | None = None,
        handle: Handle = lambda key, workflow: key,
        resources: Mapping[type, Any] | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        checkpoints = checkpoints or store.checkpoints
        timers, tasks, listeners = Timers(world), WorkerTasks(), Listeners()
        self.store = store
        self.registry = Registry(resources)
        self.closed = False
        self.listeners = listeners
        thread = StoreThread(store)
        self.membership = Membership(
            store.leases, world, lease_ttl_s, loop_stall_max_s, self._offers, heartbeat=partial(_heartbeat, thread)
        )
        policies_of = Policies(store, policies or InForce(Policy()))
        self.admission = Admission(policies_of.known, policies_of.learn, self._driven_elsewhere)
        others = Others(store.leases, self.registry, world, lambda: self.membership.worker)
        self.claims = Claims(
            store, world, timers, tasks, self.membership, self.admission, _Work(self), others, skew_max_s
        )
        lanes = Lanes(
            self.admission.driven,
            engine.place_in_s if isinstance(engine, ProcessEngine) else lambda _: 0.0,
            is_real_time=world.is_real_time,
        )
        self.cells = WorkerCells(
            store,
            engine,
            lanes,
            checkpoints,
            checkpoint_every=checkpoint_every,
            cached_bytes_max=cached_bytes_max,
            memory_of=lambda tenant: policies_of.known(tenant).tenant_memory_bytes,
            switch_interval_s=switch_interval_s,
        )
        self.blocks = Blocks(
            store,
            world,
            timers,
            tasks,
            listeners,
            take_up=lambda key: self.starting.wake(key),
            end=lambda key, reason: self.requests.end_blocked(key, reason),
        )
        self.drivers = self._drivers(Callbacks(store, tasks))
        self.services = self._services(world, timers, tasks, lanes, checkpoints, handle, thread, observers)
        self.starting = Starting(
            self.services,
            self.drivers,
            self.cells,
            self.admission,
            self.blocks,
            on_begun=lambda key: self.inbox.begun(key),
            on_taken_up=lambda key: self.inbox.runs.taken_up(key),
            sums=TenantSums(store, checkpoints, policies_of.known, world.monotonic),
            workers=self.membership.count,
            others=others,
        )
        self.starting.counters.on_denied = AuditTrail(store, world, tasks).denied
        self.requests = Requests(self.services, self.starting, listeners)
        self.new_runs = NewRuns(
            self.services,
            self.starting,
            self.admission,
            self.claims,
            self.cells,
            engine,
            policies_of,
            self._registered,
        )
        self.inbox = Inbox(self.services, self.starting, self.requests, self.new_runs)

    def _drivers(self, callbacks: Callbacks) -> Drivers:
        return Drivers(
            self.store,
            self.registry,
            self.admission,
            self.blocks,
            self.cells.cached,
            callbacks,
            self.listeners,
            on_room=self.claims.room_again,
            on_hooks=lambda key, names: self.inbox.runs.hooks_opened(key, names),
            on_due=lambda key: self.inbox.runs.timer_due(key),
            on_child=lambda: self.inbox.look_beside(),
            on_permits=lambda: self.inbox.permits.look_beside(),
        )

    def _services(
        self,
        world: World,
        timers: Timers,
        tasks: WorkerTasks,
        lanes: Lanes,
        checkpoints: Checkpoints,
        handle: Handle,
        thread: StoreThread,
        observers: Sequence[Observer],
    ) -> RunServices:
        """What each run is given."""
        hangs = self.membership.publish_soon
        committer = Committer(
            self.store, self.drivers.drives_one, thread, lanes.loop, on_sent=self.listeners.announce_sent
        )
        observer = Observing(observers) if observers else None
        return RunServices(
            store=self.store,
            checkpoints=checkpoints,
            world=world,
            timers=timers,
            lanes=lanes,
            registry=self.registry,
            cells=self.cells,
            log=committer if observer is None else ObservedLog(committer, observer, world.monotonic),
            ownership=self.claims,
            supervisor=self.drivers,
            child_runs=_ChildRuns(self, handle),
            quarantine=StepQuarantine(world, timers),
            runner=LocalRunner(StepThreads(on_hung=hangs), on_hung=hangs),
            tasks=tasks,
            observer=observer,
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
        begin_capture()
        try:
            await self.claims.begin()
            await policies_in_force(self.store, self.services.world.now(), self.new_runs.policies.in_force)
            self.inbox.remote.begin()
        except BaseException:
            end_capture()
            self.cells.end()
            raise

    async def look_at_holds(self) -> None:
        """Let go of runs that an operator holds back. What has come for those that are not any more is looked at anew."""
        if await self.new_runs.holds.look(self.drivers):
            self.inbox.look_at_all()

    def register(self, workflows: Iterable[Workflow], steps: Iterable[Step] = ()) -> None:
        """Execute these too, from now on; raises as `Registry.register`."""
        self.registry.register(workflows, steps)
        self._registered()
        self.inbox.remote.begin()

    def _registered(self) -> None:
        """Others may want what is new here, and have asked for it already."""
        self.membership.publish_soon()
        self.claims.expect(self.services.world.now())

    async def _driven_elsewhere(self, tenant: TenantId, most: int) -> int:
        """How many runs of a tenant other workers own: no question where there are none."""
        membership = self.membership
        return (
            0 if membership.count() == 1 else await self.store.leases.owned_by_others(membership.worker, tenant, most)
        )

    def _offers(self) -> str:
        return pack_offers(self.registry.workflows(), self.services.world.now(), self.services.runner.hung)

    async def cancel(self, key: RunKey, reason: str, request: int | None = None) -> None:
        """Ask for the end of a run, whoever executes it; returns when that is durable. `request` is accepted with it.

        Raises:
            NotFound: there is no such run.
        """
        try:
            await self.requests.cancel(key, reason, request)
        except HeldBack:
            raise
        except (LeasedElsewhere, LeaseLost):
            await self.inbox.ask(key, CANCEL, reason)

    async def workflow_of_row(self, row: RunRow) -> Workflow | None:
        """The workflow of a run as it is registered here; where the run's code cannot be read, by name alone."""
        found = self.registry.workflow(row.workflow)
        if found is not None:
            with contextlib.suppress(HistoryError):
                return self.registry.workflow_of(await self.cells.code(row.code))
        return found

    def take_moved(self) -> list[RunKey]:
        """The runs that were announced since the last call, in that order; counted from the first call on."""
        moved = self.listeners.take_moved()
        return self.drivers.keys() if moved is None else moved

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way, and nothing is left that could be."""
        drives = len(
            self.drivers
        )  # a task each, also of a run that has ended and waits for a step that was left behind
        return self.drivers.is_idle and len(self.services.tasks) <= drives and self.claims.is_idle

    # ---- the end ----

    async def close(self, drain_timeout_s: float) -> None:
        """Start nothing more, let running steps end (so long), record them, and let go."""
        self.drivers.is_closing = True
        self.services.timers.close()
        self.claims.stop()
        self.inbox.remote.stop()
        await asyncio.gather(*(driver.drain(drain_timeout_s) for driver in self.drivers))
        await self.services.tasks.end(TASKS_S_MAX)
        self.services.runner.close()
        await self.cells.close()
        self.services.lanes.close()
        await self.membership.leave()
        await self.services.log.close()
        self._closed()
        self.inbox.close()
        self.listeners.announce_others(())

    async def vanish(self) -> None:
        """Let go of everything at once, as a process that is killed: nothing more is started, recorded or announced."""
        self.drivers.is_closing = True
        await self.membership.stop_heartbeat()
        self.inbox.remote.stop()
        self.services.timers.close()
        for driver in self.drivers:
            driver.stop()
        watchers = self.claims.stop()
        await self.services.tasks.end(0)
        await asyncio.gather(*watchers, return_exceptions=True)
        self.services.runner.close()
        await self.services.log.close()
        self.cells.end()
        self.services.lanes.close()
        self._closed()

    def _closed(self) -> None:
        if not self.closed:
            end_capture()
        self.closed = True


def _heartbeat(thread: StoreThread, worker: str) -> bool:
    return thread.ask(lambda store: store.leases.heartbeat(worker))


class _Work:
    """Implements `Work`."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def adopt(self, row: RunRow) -> None:
        services = self._worker.services
        if services.observer is not None and row.wake_at is not None:
            services.observer.claimed(max(services.world.now() - row.wake_at, 0) / 1000)
        await self._worker.starting.adopt(row)

    async def look(self) -> None:
        worker = self._worker
        worker.new_runs.policies.look()
        await worker.look_at_holds()
        await worker.blocks.try_all(worker.drivers.__contains__)
        await worker.inbox.look()
        await worker.inbox.schedules.look()
        await worker.inbox.permits.look()
        worker.listeners.announce_others(worker.drivers.keys())
        worker.listeners.announce_sent()

    def lose_all(self) -> None:
        self._worker.drivers.lose_all(but=self._worker.name)


class _ChildRuns:
    """Implements `ChildRuns` of `run.ports`."""

    def __init__(self, worker: Worker, handle: Handle) -> None:
        self._worker = worker
        self._handle = handle
        self._descendants = Descendants(worker.store)

    async def start_child(self, start: ChildStart, limits: RunLimits) -> Any:
        """
        Raises:
            LimitExceeded: the parent may not start it.
        """
        store, most = self._worker.store, limits.policy.children
        is_new = await store.run(start.key) is None
        if is_new and not limits.counts_children:
            limits.has_children(await store.descendants(start.parent, most, are_direct=True))
        depth = limits.child_depth(start.workflow, is_new=is_new)
        begun = Begun.by(start, depth)
        if is_new and (before := await self._failed_before(start, limits)) is not None:
            # The run goes on from one whose child failed: so does the child.
            await self._worker.new_runs.retries.begin(start.key, Retry(before.run), depth=depth, parent=begun.parent)
            return self._handle(start.key, None)
        most = limits.policy.descendants
        async with self._descendants.one_more(start.key, most) if is_new else contextlib.nullcontext():
            found = await self._worker.new_runs.start(start.key, start.workflow, start.input, begun=begun)
        return self._handle(start.key, found)

    async def handle(self, key: RunKey) -> Any:
        """As `ChildRuns.handle`."""
        if await self._worker.store.run(key) is None:
            raise NotFound(f"there is no run {key} in this store", kind="run", id=key.run)
        return self._handle(key, None)

    async def _failed_before(self, start: ChildStart, limits: RunLimits) -> RunKey | None:
        """The child that this call had in the run that its run goes on from, if it can be retried."""
        before, waits = limits.keys.made_before(start.call), parent_of(start.key)
        if before is None or waits is None:
            return None
        key = child_key(before, waits[1], derived_ids=True)
        row = await self._worker.store.run(key)
        if row is None or row.status not in RETRIED:
            return None
        try:
            planned(row, await records_to_retry(self._worker.store, row), Retry(key.run))
        except UsageError:  # it begins anew
            return None
        return key

    async def has_workflow(self, tenant: TenantId, id: str, owner: str | None) -> bool:
        return await self._worker.new_runs.has(tenant, id, owner)

    async def cancel_unwanted(self, key: RunKey) -> None:
        post = child_unwanted(key)
        left = await self._worker.store.request(post.token)
        try:
            await self._worker.cancel(key, UNWANTED, left.id if left is not None else None)
        except HeldBack:  # it is canceled when it may go on
            await self._worker.store.post(key, post.kind, post.body, post.token, self._worker.services.world.now())
            raise

    async def forget_unwanted(self, key: RunKey) -> None:
        store = self._worker.store
        left, row = await store.request(child_unwanted(key).token), await store.run(key)
        if left is not None and (row is None or row.status in FINAL):
            await store.resolve(left.id, GRANTED)

    def stopped(self, key: RunKey) -> Listening:
        return self._worker.listeners.stopped(key)
