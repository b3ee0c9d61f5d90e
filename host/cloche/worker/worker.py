"""The runs of one process on one store: which are driven, which are parked until a time, which are set aside.

Several schedulers share a store: each drives the runs that it owns (`claims`). What is wished of the others goes through the
store's inbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from cloche.engines import Cell, CellSource, Code
from cloche.errors import (
    ClocheError,
    DamagedStore,
    HistoryError,
    LeasedElsewhere,
    LimitExceeded,
    MissingStep,
    NotFound,
    NotSuspended,
    RunConflict,
    SeqConflict,
    StoreError,
    StoreUnavailable,
    UsageError,
)
from cloche.history import Kind, Note, Path, RunId, RunKey, Seq, TenantId, TimeMs
from cloche.history.machine import Fact, Suspension
from cloche.history.messages import CancelRequested, Started, StepResumed
from cloche.history.retry import RetryPolicy
from cloche.history.values import plain
from cloche.operations.deploy import workflow_of_graph
from cloche.run.checkpoints import EVENTS_BETWEEN
from cloche.run.clock import Timers, World
from cloche.run.code import graph_of, load_code, load_guest, policy_of
from cloche.run.driver import RunDriver
from cloche.run.lanes import Lanes
from cloche.run.limits import Enforcement, Taken
from cloche.run.results import FINAL
from cloche.run.selection import chosen, id_path
from cloche.run.stepping import EntryGate
from cloche.steps.context import Checks, validated
from cloche.store import GRANTED, Checkpoints, Lease, MemoryCheckpoints, NewRun, RunRow, Store, blob_digest
from cloche.tenancy import Policy
from cloche.worker import queue
from cloche.worker.admission import Admission
from cloche.worker.callbacks import Callbacks
from cloche.worker.cell_cache import BYTES_MAX, WarmCells
from cloche.worker.claims import STORE_RETRY_MS, Claims
from cloche.worker.committer import Committer
from cloche.worker.heartbeat import LOOP_STALL_MAX_S
from cloche.worker.inbox import Inbox
from cloche.worker.listeners import Listeners
from cloche.worker.membership import LEASE_TTL_S, Membership
from cloche.worker.quarantine import Suspects

if TYPE_CHECKING:
    from cloche.client.runs import Run
    from cloche.client.workflows import Workflow
    from cloche.run.attempts import Owner
    from cloche_codegen import Step

STEP_THREADS = 32
_NOT_MOVING = {"pending": "not begun"}
BLOCKED_TRIED = 100
CHECKPOINTS_S_MAX = 2.0  # how long the end of a scheduler waits for those on their way

log = logging.getLogger("cloche")


class Scheduler:
    """Owns the drivers. Made inside a running event loop."""

    def __init__(
        self,
        store: Store,
        world: World,
        engine: CellSource,
        checkpoints: Checkpoints | None = None,
        *,
        checkpoint_every: int = EVENTS_BETWEEN,
        warm_bytes: int = BYTES_MAX,
        lease_ttl_s: float = LEASE_TTL_S,
        loop_stall_max_s: float = LOOP_STALL_MAX_S,
        policy_of: Callable[[str], Policy] = lambda _: Policy(),
    ) -> None:
        self.store = store
        self.membership = Membership(store.leases, world, lease_ttl_s, loop_stall_max_s)
        self.claims = Claims(self, self.membership)
        self.checkpoints = checkpoints or MemoryCheckpoints()
        self.checkpoint_every = checkpoint_every
        self.cells = WarmCells(warm_bytes)
        self.world = world
        self.engine = engine
        self.timers = Timers(world)
        self.suspects = Suspects(world, self.timers)
        self.closed = False
        self._store_lock = threading.Lock()  # steps in threads look up results while the loop commits
        self.committer = Committer(store, self._store_lock)
        self.step_pool = ThreadPoolExecutor(STEP_THREADS, "cloche-step")
        self.admission = Admission(store, policy_of)
        self.lanes = Lanes(self.admission.driven)
        self._drivers: dict[RunKey, RunDriver] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.listeners = Listeners()
        self.announce = self.listeners.announce
        self._troubles: dict[RunKey, ClocheError] = {}
        self._codes: dict[str, Code] = {}
        self._policies: dict[tuple[str, str, str], RetryPolicy] = {}
        self.taken = Taken(world.monotonic)
        self._steps: dict[str, Step] = {}
        self._workflows: dict[str, Workflow] = {}
        self.inbox = Inbox(self)
        self._writes: set[Future[None]] = set()  # checkpoints on their way
        self.callbacks = Callbacks(self)
        self.starter: Callable[..., Awaitable[Run]] | None = None  # how a step starts a child run
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    # ---- what may run ----

    def register(self, workflows: Iterable[Workflow], steps: Iterable[Step]) -> None:
        """Workflows with their steps, and further steps by id.

        Raises:
            UsageError: two different steps or workflows have one id.
        """
        found: list[Any] = list(workflows)
        for workflow in found:  # which grows meanwhile
            self._add(self._workflows, workflow.id, workflow, "workflows")
            if workflow.committed:
                _ = workflow.graph  # a native one knows its steps and children only then
            steps = [*steps, *workflow.steps.values()]
            found += [child for child in workflow.children.values() if child not in found]
        for step in steps:
            self._add(self._steps, step.id, step, "steps")

    def _add(self, table: dict[str, Any], id: str, thing: Any, what: str) -> None:
        known = table.setdefault(id, thing)
        if known is not thing and getattr(known, "execute", known) is not getattr(thing, "execute", thing):
            raise UsageError(f"two {what} have the id '{id}': give one of them another with clone_step or id=")

    def workflow(self, id: str) -> Workflow | None:
        return self._workflows.get(id)

    def has_workflow(self, tenant: TenantId, id: str) -> bool:
        """Whether a run of this workflow can be started here: it is registered, or the tenant has deployed it."""
        return id in self._workflows or self.store.version_of(tenant, id) is not None

    def step(self, id: str) -> Step | None:
        return self._steps.get(id)

    def retry_policy(self, step: Step, code: Code) -> RetryPolicy:
        """How often and after what wait the step is tried again in runs of `code`."""
        key = (code.graph, code.owner, step.id)
        known = self._policies.get(key)
        if known is None:
            known = self._policies[key] = policy_of(code, step)
        return known

    def workflow_of(self, code: Code) -> Workflow | None:
        """The workflow of a run's code as it is registered here. Code that a tenant brought is never one of the host's."""
        return None if code.owner else self._workflows.get(code.workflow)

    def workflow_of_row(self, row: RunRow) -> Workflow | None:
        """As `workflow_of`; where the code of a run cannot be read, by name alone."""
        found = self._workflows.get(row.workflow)
        if found is not None:
            with contextlib.suppress(HistoryError):
                return self.workflow_of(self.code(row.code))
        return found

    def checks(self, code: Code) -> Checks:
        """Which schemas are applied to the steps of the runs of a code."""
        owner = self.workflow_of(code)
        return Checks(owner.validate_inputs, owner.validate_outputs) if owner is not None else Checks()

    # ---- runs ----

    async def start(self, key: RunKey, code: Code, facts: Sequence[Fact]) -> None:
        """Begin a run with `facts`: its creation, its start, and what a fork brings along. Returns when they are durable.

        Raises:
            RunConflict: there was a run of that id, which was deleted.
            SeqConflict: there is a run of that id; somebody else was faster.
            StoreUnavailable: the store did not take it; there is no such run.
        """
        new = self._new_run(code)
        created = next(fact for fact in facts if isinstance(fact, Note) and fact.kind is Kind.RUN_CREATED)
        started = next(fact for fact in facts if isinstance(fact, Started))
        lease = Lease(self.membership.worker, 1)
        driver = self._driver(key, code, created.content, lease)
        self._entered(driver)
        await self._recorded(key, self._begin(driver, facts, started, new))

    async def queue(self, key: RunKey, code: Code, created: Note) -> None:
        """Record a run that begins when runs of its tenant have made room: `created` has all that its start needs.

        Raises:
            QueueFull: too many wait already; there is no such run.
            RunConflict, SeqConflict, StoreUnavailable: as `start`.
        """
        with self.admission.queueing(key.tenant):
            await self._recorded(key, queue.queue(self, key, self._new_run(code), created))
        self.claims.held.add(key.tenant)
        self.claims.room_again()  # the store does not tell of own writes, and the last run may have ended meanwhile

    async def _recorded(self, key: RunKey, beginning: Coroutine[Any, Any, None]) -> None:
        """In a task of its own: a caller who gives up leaves a whole run, or none."""
        try:
            await asyncio.shield(self.spawn(beginning))
        except SeqConflict as conflict:
            if self.store.run(key) is not None:
                raise
            message = f"run {key} was deleted, and its id is not used again: give the new run another one"
            raise RunConflict(message, run_id=key.run) from conflict

    def _entered(self, driver: RunDriver) -> None:
        self._drivers[driver.key] = driver
        self.admission.entered(driver.key.tenant)

    async def _begin(self, driver: RunDriver, facts: Sequence[Fact], started: Started, new: NewRun) -> None:
        try:
            await driver.begin(facts, started, new)
        except MissingStep as error:  # it has begun, and goes on where somebody has the step
            driver.ready.set_result(None)
            driver.stop()
            self.block(driver.key, error, driver.lease)
            self.finished(driver)
            return
        except BaseException as error:
            driver.fail(error)
            self.finished(driver)
            if isinstance(error, StoreUnavailable):  # it may have begun: then somebody must go on with it
                self._try_again(driver.key, error)
            raise
        self.spawn(driver.drive())

    def _driver(self, key: RunKey, code: Code, created: Mapping[str, Any], lease: Lease | None) -> RunDriver:
        """A driver for a run that was created so; one that goes entry by entry has a gate."""
        graph = graph_of(code) if created.get("per_step") else None
        gate = partial(EntryGate, graph) if graph is not None else None
        return RunDriver(self, key, code, Enforcement.of(created, key, self.taken), gate, lease)

    def recover(self) -> None:
        """Join the workers of the store, and go on with every run that nobody owns, now or when its time comes."""
        self.claims.begin()

    def wake(self, key: RunKey) -> RunDriver | None:
        """The driver of an unfinished run, claimed and rebuilt if it had none. None for a run that has ended.

        Raises:
            NotFound: there is no such run.
            LeasedElsewhere: another worker executes it.
        """
        if key in self._drivers:
            return self._drivers[key]
        row = self.store.run(key)
        if row is None:
            raise NotFound(f"there is no run {key} in this store", kind="run", id=key.run)
        if row.status in FINAL or row.status == "pending":
            return None
        claimed = self.store.leases.claim(self.membership.worker, key)
        if claimed is None:
            message = f"run {key} is executed by another worker, '{row.owner}'"
            raise LeasedElsewhere(message, run_id=key.run, owner=row.owner)
        return self.adopt(claimed)

    def adopt(self, row: RunRow) -> RunDriver | None:
        """Drive a run that this worker has just claimed."""
        key = row.key
        try:
            first = next(iter(self.store.records(key)))
            driver = self._driver(key, self.code(row.code), first.content(), row.lease)
            if row.status == "pending":
                driver.tell_start(queue.start_of(key, first.content(), self.world.now()))
        except (ClocheError, StopIteration) as error:
            why = error if isinstance(error, ClocheError) else HistoryError(f"run {key} has no records")
            self.block(key, why, row.lease)
            return None
        if parked := self.cells.get(key):
            driver.adopt(parked)
        self._entered(driver)
        self.spawn(driver.recover())
        self.inbox.driven_again(key)
        return driver

    def try_blocked(self) -> None:
        """Another worker may lack what this one has: a run that was blocked elsewhere gets its chance here, once."""
        for row in self.store.runs(status="blocked", limit=BLOCKED_TRIED + len(self._troubles)):
            if row.key not in self._troubles and row.key not in self._drivers:
                self._try(row.key)

    def _try(self, key: RunKey) -> None:
        try:
            self.wake(key)
        except (LeasedElsewhere, NotFound):
            self._troubles.pop(key, None)
        except StoreError as error:
            self._try_again(key, error)

    def _try_again(self, key: RunKey, error: StoreError) -> None:
        self.trouble(key, error)
        self.timers.at(TimeMs(self.world.now() + STORE_RETRY_MS), lambda: self._try(key))

    def block(self, key: RunKey, error: ClocheError, lease: Lease | None) -> None:
        """Set a run aside, by name and with a reason; the others go on. A store that did not answer is asked again."""
        log.error("run %s is blocked: %s", key, error.message)
        self._troubles[key] = error
        if isinstance(error, StoreError) and error.retryable:
            self._try_again(key, error)
        elif isinstance(error, DamagedStore) or not isinstance(error, StoreError):
            problem = {"reason": error.code, "message": error.message, "what_to_do": error.what_to_do}
            with contextlib.suppress(StoreError):
                self.store.set_problem(key, json.dumps(problem), lease)
        self.announce(key, stopped=True)

    def release(self, driver: RunDriver) -> None:
        """The driver does nothing more: the next worker may take its run."""
        lease, driver.lease = driver.lease, None
        if lease is None or self._closing:  # at the end all of them are let go at once
            return
        machine = driver.machine
        status, wake_at = machine.status, machine.wake_at
        try:
            row = self.store.run(driver.key)
            if row is not None and row.head_hash != machine.head_hash:  # it is ahead: its last append was not written
                status, wake_at = row.status, row.wake_at
            self.store.leases.release(driver.key, lease, status, wake_at)
        except StoreError as error:
            log.warning("run %s could not be let go: %s", driver.key, error.message)
            self._try_again(driver.key, error)

    def lose_all(self) -> None:
        """This worker was buried: its runs are others' now, and whatever it still does for them is late."""
        for driver in list(self._drivers.values()):
            driver.lose()

    @property
    def driven_count(self) -> int:
        return len(self._drivers)

    def trouble(self, key: RunKey, error: ClocheError | None) -> None:
        """Something outside keeps the run from going on for now; None: not any more."""
        if error is not None:
            self._troubles[key] = error
            self.announce(key, stopped=True)
        else:
            self._troubles.pop(key, None)

    def finished(self, driver: RunDriver, *, is_warm: bool = False) -> None:
        """It is driven no more. The cell of one that `is_warm` may be of use yet."""
        if self._drivers.get(driver.key) is driver:
            del self._drivers[driver.key]
            self.admission.left(driver.key.tenant)
        if not is_warm:
            self.cells.drop(driver)
        self.claims.room_again()
        self.stopped_moving(driver)

    def stopped_moving(self, driver: RunDriver) -> None:
        """Tell those who wait for it: callbacks once, then everybody else."""
        self.callbacks.call(driver, self.workflow_of(driver.code))
        self.announce(driver.key, stopped=True)

    async def cancel(self, key: RunKey, reason: str, taken: int | None = None) -> None:
        """Ask for the end of a run; returns when that is durable. One that has ended, or is about to, is left alone.

        Raises:
            NotFound: there is no such run.
            LeasedElsewhere, LeaseLost: another worker executes it.
        """
        driver = self.wake(key)
        try:
            if driver is None and (row := self.store.run(key)) is not None and row.status == "pending":
                return await queue.cancel(self, row, taken)
            if driver is not None:
                await driver.record(CancelRequested(self.world.now(), reason), taken)
                return
        except NotSuspended:
            pass
        if taken is not None:
            self.store.settle(taken, GRANTED)

    async def resume(self, key: RunKey, wish: Mapping[str, Any], taken: int | None = None) -> None:
        """Give data to suspended steps, or let a paused run go on; returns when that is durable. One caller wins.

        `wish` has `data`, and `step`, `label`, `foreach_index` as `resuming.chosen` takes them; `per_step` is for a paused
        run: one entry of its graph, or on to its end.

        Raises:
            NotSuspended: nothing that is named is suspended.
            InvalidInput: the data does not fit the step's resume schema; nothing has changed.
            LeasedElsewhere, LeaseLost: another worker executes it.
        """
        async with self.attending(key) as driver:
            if taken is not None and not self.waits(driver, taken):
                return
            first, *others = self._resumed(driver, dict(wish))
            for event in others:
                driver.tell(event)
            await driver.record(first, taken)

    def waits(self, driver: RunDriver, inbox_id: int) -> bool:
        """Whether a wish still waits, now that this worker owns its run: one that had it before may have granted it."""
        return not driver.grants(inbox_id) and self.store.waits(inbox_id)

    def _resumed(self, driver: RunDriver, wish: dict[str, Any]) -> Sequence[Fact]:
        now, data, per_step = self.world.now(), wish.pop("data"), wish.pop("per_step", False)
        if driver.machine.status == "paused":
            return [Note(Kind.RUN_CONTINUED, now, {"per_step": per_step})]
        found = chosen(driver.key.run, driver.suspensions(), **wish)
        return [StepResumed(now, one.call, one.path, self._checked_resume(one, data)) for one in found]

    def _checked_resume(self, one: Suspension, data: Any) -> Any:
        step = self._steps.get(id_path(one.path)[-1])
        adapter = step.resume_adapter() if step is not None and data is not None else None
        if adapter is not None:
            data = validated(adapter, data, f"the resume data of step '{one.path}'")
        return plain(data, "resume_data")

    def checked_event(self, code: Code, name: str, payload: Any) -> Any:
        """What an event carries, as the workflow's schema for it has it.

        Raises:
            InvalidInput: it does not fit, or cannot cross.
        """
        owner = workflow_of_graph(code.graph) if code.owner and code.graph else self.workflow_of(code)
        adapter = owner.event_adapter(name) if owner is not None else None
        if adapter is not None:
            payload = validated(adapter, payload, f"what event '{name}' carries")
        return plain(payload, "payload")

    @asynccontextmanager
    async def attending(self, key: RunKey) -> AsyncIterator[RunDriver]:
        driver = self.wake(key)
        if driver is None:
            if (problem := self.problem(key)) is not None:  # it was set aside just now
                raise problem
            row = self.store.run(key)
            status = row.status if row else "gone"
            raise NotSuspended(f"run {key} has {_NOT_MOVING.get(status, 'ended')}: {status}", run_id=key.run)
        async with driver.attended():
            yield driver

    async def start_child(self, parent: Owner, workflow: Any, input_data: Any, run_id: str) -> Run:
        """
        Raises:
            LimitExceeded: the parent may not start it.
        """
        assert self.starter is not None
        is_new = self.store.run(RunKey(parent.key.tenant, RunId(run_id))) is None
        depth = parent.enforcement.child_depth(workflow, is_new=is_new)
        return await self.starter(parent.key.tenant, workflow, input_data, run_id, depth)

    def result(self, key: RunKey, path: str) -> Any:
        """The output recorded last at `path` of a run; None if it has not succeeded."""
        with self._store_lock:
            record = self.store.result(key, Path(path))
        if record is None:
            return None
        content = record.content()
        if record.kind in (Kind.STEP_COMPLETED, Kind.STEP_BAILED):
            return content[3]
        if record.kind is Kind.LEFT and content[2][0] == 0:
            return content[2][1]
        return None

    # ---- waiting ----

    def announce_elsewhere(self) -> None:
        """Somebody wrote: those who wait for a run that is not driven here look at it again."""
        self.listeners.announce_others(self._drivers)

    def take_moved(self) -> list[RunKey]:
        """The runs that were announced since the last call, in that order; counted from the first call on."""
        moved = self.listeners.take_moved()
        return list(self._drivers) if moved is None else moved

    def problem(self, key: RunKey) -> ClocheError | None:
        return self._troubles.get(key)

    def drives_one(self) -> bool:
        return len(self._drivers) == 1

    @property
    def is_idle(self) -> bool:
        return not self._drivers and not self._tasks and self.claims.is_idle

    def is_driver(self, driver: RunDriver) -> bool:
        return self._drivers.get(driver.key) is driver

    def is_driven(self, key: RunKey) -> bool:
        return key in self._drivers

    def on_loop(self, deed: Callable[[], None]) -> None:
        """Do it on the loop's thread: at once, or soon if this is another one (a step's)."""
        if threading.get_ident() == self._thread:
            deed()
        else:
            self._loop.call_soon_threadsafe(deed)

    # ---- code and cells ----

    async def open_cell(self, tenant: TenantId, code: Code, limits: dict[str, Any]) -> Cell:
        guest = partial(load_guest, self.store, code.guest)
        return await self.lanes.open(tenant, code, limits, partial(self.engine.open, code, guest, limits, tenant))

    async def prewarm(self, tenant: TenantId, codes: Sequence[Code]) -> None:
        """Have the engine load these, one after the other, in the threads for heavy turns."""

        def load() -> None:
            for code in codes:
                try:
                    self.engine.load(code, lambda: b"", self.engine.limits(), tenant)
                except ClocheError as error:
                    log.warning("the code of workflow '%s' does not load: %s", code.workflow, error.message)

        await asyncio.get_running_loop().run_in_executor(self.lanes.pool, load)

    def thaw_cell(self, tenant: TenantId, code: Code, limits: dict[str, Any], frozen: bytes) -> Cell | None:
        return self.engine.thaw(code, partial(load_guest, self.store, code.guest), limits, tenant, frozen)

    def keep_checkpoint(self, key: RunKey, seq: Seq, pack: Callable[[], bytes]) -> None:
        """Pack a checkpoint and write it, beside the loop; it is lost if the process ends before."""

        def write() -> None:
            try:
                self.checkpoints.put(key, seq, pack())
            except LimitExceeded as error:
                log.warning("%s; it is not kept", error.message)
            except Exception:
                log.exception("a checkpoint of run %s was not written; the run is not affected", key)

        self._writes = {write for write in self._writes if not write.done()}
        self._writes.add(self.lanes.pool.submit(write))

    def _new_run(self, code: Code) -> NewRun:
        """A run that is pinned to the code and its guest, which go into the store with it if they are not there."""
        packed = code.pack()
        digest = blob_digest(packed)
        self._codes.setdefault(digest, code)
        guest_digest, wasm = self.engine.guest(code.language)
        return NewRun(code.workflow, digest, {guest_digest: wasm, digest: packed})

    def code(self, digest: str) -> Code:
        if digest not in self._codes:
            self._codes[digest] = load_code(self.store, digest)
        return self._codes[digest]

    # ---- the end ----

    async def close(self, drain_timeout_s: float) -> None:
        """Start nothing more, let running steps end (so long), record them, and let go."""
        self._closing = True
        self.timers.close()
        self.claims.stop()
        drivers = list(self._drivers.values())
        await asyncio.gather(*(driver.drain(drain_timeout_s) for driver in drivers))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.step_pool.shutdown(wait=False, cancel_futures=True)
        wait(self._writes, timeout=CHECKPOINTS_S_MAX)
        self.lanes.close()
        self.membership.leave()
        self.closed = True
        self.inbox.wake_waiting()
        self.listeners.announce_others(())

    async def vanish(self) -> None:
        """Let go of everything at once, as a process that is killed: nothing more is started, recorded or told."""
        self._closing = True
        self.membership.stop_heartbeat()
        self.timers.close()
        for driver in self._drivers.values():
            driver.stop()
        tasks = [*self._tasks, *self.claims.stop()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.step_pool.shutdown(wait=False, cancel_futures=True)
        self.lanes.close()
        self.closed = True

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
