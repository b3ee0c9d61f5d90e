"""How a run comes to be driven here: begun, queued, or claimed and taken up again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from cloche.engines import Code, graph_outline
from cloche.errors import (
    ClocheError,
    DamagedStore,
    HistoryError,
    LeasedElsewhere,
    MissingStep,
    NotFound,
    NotSuspended,
    RunConflict,
    SeqConflict,
    StoreUnavailable,
)
from cloche.history import RunKey, TimeMs
from cloche.history.machine import Input
from cloche.history.messages import Started
from cloche.history.notes import RunCreated, unpack_created
from cloche.history.values import ABI
from cloche.run.driver import RunDriver
from cloche.run.limits import RateCounters, RunLimits
from cloche.run.live_run import LiveRun
from cloche.run.stepping import EntryGate
from cloche.status import FINAL, RunStatus
from cloche.store import HELD_BACK, Lease, NewRun, RunRow, first_record
from cloche.worker import ending, holds, queue

NEWER_MS = 5_000  # after which a run that is for a newer cloche is looked at again

if TYPE_CHECKING:
    from cloche.run.ports import RunServices
    from cloche.worker.admission import Admission
    from cloche.worker.blocks import Blocks
    from cloche.worker.cells import WorkerCells
    from cloche.worker.drivers import Drivers
    from cloche.worker.others import Others
    from cloche.worker.tenant_sums import TenantSums


class Starting:
    """Makes the drivers of one worker.

    `on_begun` is called with a run that is in the store since now, `on_taken_up` with one that was there and is driven again.
    """

    def __init__(
        self,
        services: RunServices,
        drivers: Drivers,
        cells: WorkerCells,
        admission: Admission,
        blocks: Blocks,
        *,
        on_begun: Callable[[RunKey], None],
        on_taken_up: Callable[[RunKey], None],
        sums: TenantSums,
        others: Others,
        workers: Callable[[], int] = lambda: 1,
    ) -> None:
        """`workers` says how many the store has, `sums` what lies in it of each tenant, `others` whose runs are not taken."""
        self.sums = sums
        self.counters = RateCounters(services.world.monotonic, workers)
        self._services = services
        self._drivers = drivers
        self._cells = cells
        self._admission = admission
        self._blocks = blocks
        self._on_begun = on_begun
        self._on_taken_up = on_taken_up
        self._others = others
        self._being_claimed: WeakValueDictionary[RunKey, asyncio.Lock] = WeakValueDictionary()

    # ---- new runs ----

    async def start(self, key: RunKey, code: Code, inputs: Sequence[Input], request: int | None = None) -> None:
        """Begin a run with `inputs`: its creation, its start, and what a fork brings along. Returns when they are durable.

        `request` is the row of the inbox that is accepted in the same commit.

        Raises:
            RunConflict: there was a run of that id, which was deleted.
            SeqConflict: there is a run of that id; somebody else was faster.
            LimitExceeded: the tenant has as many open or blocked runs, or as much in the store, as it may.
            StoreUnavailable: the store did not take it; there is no such run.
        """
        created = next(one for one in inputs if isinstance(one, RunCreated))
        started = next(one for one in inputs if isinstance(one, Started))
        async with self.sums.one_more_run(key.tenant):
            async with self.alone(key):
                driver = self._driver(key, code, created, Lease(self._services.ownership.worker, 1))
                self._drivers.enter(driver)
            if request is not None:
                driver.inputs.accept(started, request)
            await self._recorded(key, self._begin(driver, inputs, started, self._cells.new_run(code)))

    async def begun(self, key: RunKey) -> None:
        """Wait until a run that is being begun here is in the store, or is not."""
        if (driver := self._drivers.get(key)) is not None:
            with contextlib.suppress(Exception):  # whoever begins it is told
                await asyncio.shield(driver.ready)

    def lend(self, lender: RunKey, key: RunKey) -> bool:
        """Whether the run `key` has the place of the run that begins it, until one of them has ended."""
        return self._drivers.places.lend(lender, key)

    def leave_place(self, key: RunKey) -> None:
        """The run was lent a place, and did not begin."""
        if key not in self._drivers:
            self._drivers.places.leave(key)

    async def queue(self, key: RunKey, code: Code, created: RunCreated, request: int | None = None) -> None:
        """Record a run that begins when runs of its tenant have made room: `created` has all that its start needs.

        Raises:
            QueueFull: too many wait already; there is no such run.
            RunConflict, SeqConflict, LimitExceeded, StoreUnavailable: as `start`.
        """
        most = self._admission.queue_max(key.tenant)
        async with self.sums.one_more_run(key.tenant):
            new = self._cells.new_run(code)
            await self._recorded(key, queue.queue(self._services, key, new, created, request, most))
        self._services.ownership.queued(key.tenant)

    async def begin_permitted(self, key: RunKey) -> None:
        """A run that waited for permits has them: it is due now, in the order of all that are.

        Raises:
            LeasedElsewhere: another worker has it.
        """
        row = await self._services.store.run(key)
        if row is None or row.status != RunStatus.PENDING or row.wake_at != HELD_BACK:
            return
        async with self.alone(key):
            if (claimed := await self._services.ownership.claim(key)) is None or claimed.lease is None:
                raise LeasedElsewhere(f"run {key} is executed by another worker", run_id=key.run, owner=None)
            await self._services.store.leases.release(key, claimed.lease, RunStatus.PENDING, None)
        self._services.ownership.queued(key.tenant)

    async def cancel_undriven(self, row: RunRow, reason: str, request: int | None) -> None:
        """End a run that has not begun, or is blocked, and leave its children the request to end too.

        Raises:
            LeasedElsewhere: a worker has just taken it.
            SeqConflict: this one has.
            HistoryError, DamagedStore: its records cannot be read; it is blocked, as it was.
            StoreUnavailable: it may have ended or not; if not, it is tried again in its turn.
        """
        key, code, lease = row.key, await self._code_of(row), None
        async with self.alone(key):
            try:
                claimed = await ending.claimed(self._services, row)
                lease = claimed.lease
                await ending.cancel(self._services, claimed, code.abi if code is not None else None, reason, request)
            except StoreUnavailable as error:  # it may be this worker's, and nobody drives it
                self._blocks.try_again(key, error)
                raise
            except (HistoryError, DamagedStore) as error:
                await self._blocks.block(key, error, lease)
                raise
        self._blocks.report(key, None)
        self._drivers.ended_undriven(key, code)

    async def _code_of(self, row: RunRow) -> Code | None:
        """None: it is not there, or damaged."""
        with contextlib.suppress(HistoryError):
            return await self._cells.code(row.code)
        return None

    async def _recorded(self, key: RunKey, beginning: Coroutine[Any, Any, None]) -> None:
        """In a task of its own: a caller who gives up leaves a whole run, or none."""
        try:
            await asyncio.shield(self._spawn(key, beginning))
        except SeqConflict as conflict:
            if await self._services.store.run(key) is not None:
                raise
            message = f"run {key} was deleted, and its id is not used again: give the new run another one"
            raise RunConflict(message, run_id=key.run) from conflict
        self._on_begun(key)

    def _spawn(self, key: RunKey, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task whose time is charged to the run's tenant."""
        return self._services.tasks.spawn(self._services.lanes.loop.counted(key.tenant, work))

    async def _begin(self, driver: RunDriver, inputs: Sequence[Input], started: Started, new: NewRun) -> None:
        try:
            await driver.begin(inputs, started, new)
        except MissingStep as error:  # it has begun, and goes on where a worker has the step
            driver.ready.set_result(None)
            driver.stop()
            await self._blocks.block(driver.key, error, driver.lease)
            self._drivers.finished(driver)
            return
        except BaseException as error:
            driver.fail(error)
            self._drivers.finished(driver)
            if isinstance(error, StoreUnavailable):  # it may have begun: then somebody must go on with it
                self._blocks.try_again(driver.key, error)
            raise
        self._spawn(driver.key, driver.drive())

    # ---- runs that are in the store ----

    async def wake(self, key: RunKey) -> RunDriver | None:
        """The driver of an unfinished run, claimed and rebuilt if it had none. None for a run that has ended.

        Raises:
            NotFound: there is no such run.
            LeasedElsewhere: another worker executes it.
            HeldBack: nobody does, by the word of an operator.
        """
        if (driver := await self._driver_of(key)) is not None:
            return driver
        async with self._claiming(key):
            return await self._driver_of(key) or await self._claim(key)

    async def _driver_of(self, key: RunKey) -> RunDriver | None:
        """The one that drives the run here. One that takes nothing any more is waited for: the next one does."""
        while (driver := self._drivers.get(key)) is not None and driver.leaving is not None:
            await asyncio.shield(driver.leaving)
        return driver

    def _claiming(self, key: RunKey) -> asyncio.Lock:
        """Held by whoever is about to drive the run: between two answers of the store nobody else here does the same."""
        return self._being_claimed.setdefault(key, asyncio.Lock())

    @asynccontextmanager
    async def alone(self, key: RunKey) -> AsyncIterator[None]:
        """While nobody here drives the run, or is about to.

        Raises:
            SeqConflict: somebody does.
        """
        async with self._claiming(key):
            if key in self._drivers:
                raise SeqConflict(f"run {key} is executed here already", run_id=key.run, expected=0)
            yield

    async def _claim(self, key: RunKey) -> RunDriver | None:
        row = await self._services.store.run(key)
        if row is None:
            raise NotFound(f"there is no run {key} in this store", kind="run", id=key.run)
        if row.status in FINAL or (row.status == RunStatus.PENDING and row.owner != self._services.ownership.worker):
            return None
        if (await self._cells.code(row.code)).abi > ABI:
            message = f"run {key} was begun by a newer cloche, and waits for a worker of that"
            raise LeasedElsewhere(message, run_id=key.run, owner=row.owner)
        if await self._others.have(await self._cells.code(row.code)):
            message = f"run {key} is of workflow '{row.workflow}', which this worker does not have: it is left to one that has"
            raise LeasedElsewhere(message, run_id=key.run, owner=row.owner)
        claimed = await self._services.ownership.claim(key)
        if claimed is None:
            await holds.check(self._services.store, key.tenant, row.code)
            message = f"run {key} is executed by another worker, '{row.owner}'"
            raise LeasedElsewhere(message, run_id=key.run, owner=row.owner)
        return await self._drive(claimed)

    async def adopt(self, row: RunRow) -> None:
        """Drive a run that this worker has claimed, unless it does already."""
        async with self._claiming(row.key):
            driver = self._drivers.get(row.key)
            if driver is None:
                with contextlib.suppress(LeasedElsewhere):
                    await self._drive(row)
            elif driver.lease is None or driver.lease.fence < row.fence:
                # It has let the run go, or lost it, and is still there: it has one driver.
                driver.lose()
                self._services.tasks.spawn(self._take_up_after(driver))

    async def _take_up_after(self, driver: RunDriver) -> None:
        await self._drivers.left(driver)
        await self._blocks.try_now(driver.key)

    async def _drive(self, row: RunRow) -> RunDriver | None:
        """Drive a run that was claimed. None: it cannot be driven, and is blocked or left to newer workers.

        Raises:
            LeasedElsewhere: this worker was evicted meanwhile.
        """
        key = row.key
        try:
            code = await self._cells.code(row.code)
            if code.abi > ABI:
                await self._leave_to_newer(row)
                return None
            if await self._others.have(code):
                await self._leave_to_others(row)
                return None
            created = unpack_created(await first_record(self._services.store, key))
            driver = self._driver(key, code, created, row.lease)
            driver.inputs.not_before(row.updated_at)
            if row.head_seq == 1:  # also one that was blocked before it began
                driver.begin_queued(queue.beginning_of(key, created, self._services.world.now()))
        except ClocheError as error:
            await self._blocks.block(key, error, row.lease)
            return None
        if row.owner != self._services.ownership.worker:
            raise LeasedElsewhere(f"run {key} belongs to another worker now", run_id=key.run, owner=None)
        if isinstance(parked := self._cells.cached.get(key), LiveRun):
            driver.live.take_over(parked)
        self._drivers.enter(driver)
        self._spawn(key, driver.recover())
        self._on_taken_up(key)
        return driver

    async def _leave_to_newer(self, row: RunRow) -> None:
        """Let go of a run whose guest is newer than this worker, as it was.

        One that is due would be claimed here again at once: it is due in a moment, for whichever worker looks then.
        """
        now, due = self._services.world.now(), row.wake_at
        if row.lease is not None:
            soon = TimeMs(now + NEWER_MS) if due is None or due <= now else due
            await self._services.store.leases.release(row.key, row.lease, row.status, soon)

    async def _leave_to_others(self, row: RunRow) -> None:
        """Let go of a run whose workflow other workers have and this one lacks, as it was: it is not claimed here again."""
        if row.lease is not None:
            await self._services.store.leases.release(row.key, row.lease, row.status, row.wake_at)

    @asynccontextmanager
    async def with_driver(self, key: RunKey) -> AsyncIterator[RunDriver]:
        """The driver of a run, which is not parked meanwhile.

        Raises:
            NotSuspended: the run has ended, or has not begun.
            ClocheError: what blocks it.
            NotFound, LeasedElsewhere: as `wake`.
        """
        driver = await self.wake(key)
        if driver is None:
            if (error := self._blocks.last_error(key)) is not None:  # it was blocked just now
                raise error
            row = await self._services.store.run(key)
            status = row.status if row else "gone"
            moves = "not begun" if status == RunStatus.PENDING else "ended"
            raise NotSuspended(f"run {key} has {moves}: {status}", run_id=key.run)
        async with driver.kept_active():
            yield driver

    def _driver(self, key: RunKey, code: Code, created: RunCreated, lease: Lease | None) -> RunDriver:
        """A driver for a run that was created so; one that goes entry by entry has a gate."""
        gate = partial(EntryGate, graph_outline(code)) if created.per_step and code.graph else None
        limits = RunLimits.of(created, key, self.counters)
        limits.sums = self.sums if self.sums.bounds_writing(key.tenant) else None
        return RunDriver(self._services, key, code, limits, gate, lease)
