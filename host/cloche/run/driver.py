"""The driver of one run: the loop around its inputs, its turns and its effects.

Inputs come in (results, timers, requests of outsiders), one turn takes all that have arrived, one commit makes them and their
consequences durable, and only then do effects begin. If anything goes wrong in between, machine and cell are dropped and
rebuilt from the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cloche.errors import ClocheError, LeaseLost, NotSuspended, StoreUnavailable
from cloche.history import CallId, Kind, RunKey, RunMachine
from cloche.history.effects import StartTimer
from cloche.history.ids import Child, parent_of
from cloche.history.lifecycles import RunPhase
from cloche.history.machine import Input
from cloche.history.messages import CancelRequested, Started
from cloche.history.resting import row_at_rest, waits_for_others
from cloche.run import checkpoints
from cloche.run.commit import Commit
from cloche.run.effects import Effects
from cloche.run.inputs import Incoming, Inputs, normalize
from cloche.run.limits import RunLimits, Sums
from cloche.run.live_run import LiveRun
from cloche.run.meter import Meter
from cloche.run.observing import starter_in, starter_of
from cloche.run.remote import Told
from cloche.run.turn import Turn
from cloche.run.waiters import Waiters
from cloche.status import RunStatus
from cloche.steps.output import SCOPE, Scope
from cloche.store import Lease, NewRun
from cloche.store.refusals import lease_lost

if TYPE_CHECKING:
    from cloche.engines import Code
    from cloche.history.gate import Gate
    from cloche.run.clock import World
    from cloche.run.ports import RunServices

ROOM_S = 0.5  # until a run looks again whether its tenant has room in the store
PARK_AFTER_MS = 10_000  # a run that sleeps longer is not driven meanwhile

log = logging.getLogger("cloche.run")


class RunDriver:
    """Drives one run from its beginning, or from what is in the store, until it ends or waits for something far away."""

    def __init__(
        self,
        services: RunServices,
        key: RunKey,
        code: Code,
        limits: RunLimits,
        gate: Callable[[], Gate] | None,
        lease: Lease | None,
    ) -> None:
        self.key = key
        self.limits = limits
        self.lease = lease  # None: the run was let go, and is claimed again if anything comes for it
        self.turns = 0  # since the run was last reported to its callbacks
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.leaving: asyncio.Future[None] | None = None  # set when it takes nothing more, done when it has let go
        self._services = services
        self._waiters = Waiters(key)
        self.inputs = Inputs(self._waiters)
        self.live = LiveRun(services, key, code, limits, gate, Meter(services.world.monotonic, services.cells.meter))
        self._effects = Effects(services, self.live, self.inputs, lambda: services.supervisor.is_driver(self))
        turn = Turn(services, self.live, self._effects.attempts.prepare)
        self._commit = Commit(services, self.live, turn, self.inputs, self, self._effects)
        self._draining = False
        self._kept_active = 0
        self._is_lost = False

    # ---- what others may know ----

    @property
    def code(self) -> Code:
        return self.live.code

    @property
    def machine(self) -> RunMachine:
        return self.live.machine

    @property
    def started(self) -> Started | None:
        return self.live.started

    @property
    def under_way(self) -> list[str]:
        """The attempts that are made now, for people."""
        return self._effects.attempts.under_way

    # ---- inputs ----

    def tell(self, one: Incoming, request: int | None = None) -> None:
        """An input has arrived; `request` is the row of the inbox that it accepts."""
        self.inputs.add(one, request)

    async def record(self, one: Input, request: int | None = None) -> None:
        """Give an input and wait until it is durable.

        Raises:
            NotSuspended: it came too late, nobody waits for it any more.
            LimitExceeded: it is larger than the run's policy allows.
        """
        self.limits.check_inbound(one)
        recorded = self._waiters.wait_for(one)
        self.tell(one, request)
        await recorded

    def child_ended(self, child: Child) -> RunKey | None:
        """Have a child looked at, which is said to have ended. Its key; None: nobody waits for it."""
        return self._effects.children.look_again(child)

    async def fire(self, timers: Sequence[StartTimer]) -> bool:
        """Tell the run that these timers have fired, and wait until that is recorded. False: it was told of all of them."""
        fired = [event for timer in timers if (event := self._effects.fired(timer.call)) is not None]
        if fired:
            with contextlib.suppress(NotSuspended):  # nobody waits for it any more
                await self._waiters.wait_for(fired[-1])
        return bool(fired)

    @asynccontextmanager
    async def kept_active(self) -> AsyncIterator[None]:
        """While somebody looks at the run, it is not parked. Entered before the driver has done anything."""
        self._kept_active += 1
        try:
            await asyncio.shield(self.ready)
            yield
        finally:
            self._kept_active -= 1
            self.inputs.wake()

    # ---- driving ----

    async def begin(self, inputs: Sequence[Input], started: Started, new: NewRun) -> None:
        """The first turn of a new run; it returns when that is durable."""
        self._commit.new = new
        self.live.started = started
        if (observer := self._services.observer) is not None:
            observer.activated(self, starter_in(inputs))
        with self.live.keeping_cell():
            await self._record(list(inputs))
        self.ready.set_result(None)

    def begin_queued(self, inputs: Sequence[Input]) -> None:
        """The run was queued, and begins with these: its start first."""
        started, *brought = inputs
        assert isinstance(started, Started)
        self.live.started = started
        if brought:
            self.inputs.beginning = list(inputs)
        else:
            self.tell(started)

    async def recover(self) -> None:
        """As `drive`, for a run that is in the store: rebuild it first, and dispatch again what it waits for."""
        try:
            await self._services.lanes.loop.turn(self.key.tenant)
            if (observer := self._services.observer) is not None:
                observer.activated(self, await starter_of(self._services.store, self.key))
            if not await self.live.is_at_head():
                with self.live.keeping_cell():
                    await self.live.rebuild()
            if self.live.machine.phase is RunPhase.CANCELING or self.inputs.of_kind(CancelRequested):
                await self._effects.interrupt()
            else:
                await self._effects.dispatch_again()
                self._effects.bound_run()
            if self.live.machine.phase is RunPhase.CLEANING_UP:
                self._effects.bound_clean_up()
        except ClocheError as error:
            await self._block(error)
            self.fail(error)
            _finished(self)
            return
        self.ready.set_result(None)
        self._services.supervisor.announce(self.key)  # one that waits for its children alone gives them its place
        await self.drive()

    async def drive(self) -> None:
        """Go on until the run ends, is blocked, or can be parked."""
        parked = False
        SCOPE.set(Scope(self.key.tenant, self.key.run))  # for what is logged meanwhile
        try:
            parked = await self._loop()
        except LeaseLost as error:  # machine and cell are dropped, and who waits for an answer asks the other worker
            log.warning("%s", error.message)
            self.lease = None
            self._waiters.reject(error)
        except ClocheError as error:
            await self._block(error)
        except Exception as error:
            log.exception("run %s stopped by a fault of cloche itself", self.key)
            await self._block(ClocheError(f"a fault in cloche itself stopped the run: {error!r}"))
        finally:
            self.leaving = asyncio.get_running_loop().create_future()
            self.stop()
            self._waiters.reject()
            try:
                await self._leave(parked=parked)
            finally:
                self.leaving.set_result(None)

    def lose(self) -> None:
        """The worker was evicted: nothing more comes of this driver."""
        self._is_lost = True
        self.stop()
        self.inputs.wake()

    def fail(self, error: BaseException) -> None:
        """The run did not begin."""
        self.stop()
        if not self.ready.done():
            self.ready.set_exception(error)
            self.ready.exception()  # whoever waits sees it; nobody waiting is no fault
        self._waiters.reject(error)

    async def drain(self, timeout_s: float) -> None:
        """Let running steps end and record them; start nothing more."""
        self._draining = True
        await self._effects.attempts.drain(timeout_s)
        self.inputs.wake()

    def stop(self) -> None:
        """Let go of whatever still runs; what was not recorded is done again when the run is recovered."""
        self._effects.stop()

    # ---- inside ----

    async def _loop(self) -> bool:
        """Until there is nothing more to do; whether the run was parked."""
        attempts = self._effects.attempts
        if beginning := self.inputs.beginning:
            self.inputs.beginning = []
            with self.live.keeping_cell():
                await self._record(beginning)
        while self.inputs.waiting or not (self.live.machine.ended and attempts.idle):
            if self._is_lost:
                raise lease_lost(self.key)
            if (trouble := attempts.remote.trouble or attempts.permits.trouble) is not None:
                raise trouble
            if not self.inputs.waiting:
                if self._draining and attempts.idle:
                    await self.live.save_checkpoint(checkpoints.EVENTS_WORTH_KEEPING)
                    return False
                if self._may_park():
                    return True
                self._effects.plan_to_leave()
                await self.inputs.wait()
                continue
            if self.limits.sums is not None and not await _has_room(self, self.limits.sums):
                continue
            await self._take(self.inputs.take())
            await self.live.save_checkpoint(self._services.cells.checkpoint_every)
        return False

    async def _take(self, arrived: Sequence[Incoming]) -> None:
        if self.lease is None and await self._commit.regain():
            await self._effects.dispatch(self.live.machine.pending())
        notes, are_all = self._effects.attempts.take_pending_notes()
        if not are_all:  # results come after them
            self.inputs.put_back(arrived)
            arrived = ()
        inputs = normalize(self.live.machine, [*notes, *arrived])
        if inputs:
            with self.live.keeping_cell():
                await self._record(inputs)
        else:
            self.inputs.dropped()

    async def _record(self, inputs: list[Input]) -> None:
        """Inputs through the glass and into the log, then effects."""
        count, batch = await self._commit.record(inputs, self._comes_to_rest)
        if (cell := self.live.cell) is not None:  # what it takes is known now: its turn may have grown it
            self._services.cells.used(self.key, cell.resident_bytes)
        if any(record.kind is not Kind.LATE_RESULT for record in batch.records):
            self.turns += 1
        if count < len(inputs):
            self.inputs.put_back(inputs[count:])
        self.inputs.committed(inputs[:count])
        if (observer := self._services.observer) is not None:
            observer.committed(self, batch.records)
        await self._effects.follow(batch, inputs[:count])
        supervisor = self._services.supervisor
        if self.live.machine.ended:  # what still runs is only waited for to be recorded as late
            supervisor.stopped_moving(self)
        supervisor.announce(self.key)
        if self.live.machine.status == RunStatus.CONTINUED:
            supervisor.look_for_requests()
        elif self.live.machine.ended and (waits := parent_of(self.key)) is not None:
            supervisor.child_ended(*waits)

    async def _block(self, error: ClocheError) -> None:
        if (observer := self._services.observer) is not None:
            observer.blocked(self, error)
        ends_in_s = self.limits.policy.clean_up_s if is_told_to_end(self.live.machine) else None
        await self._services.supervisor.block(self.key, error, self.lease, ends_in_s)
        self.lease = None

    async def _leave(self, *, parked: bool) -> None:
        """Driven no more. A parked run keeps its cell as long as there is room, for the next one that drives it."""
        supervisor = self._services.supervisor
        try:
            if self.live.machine.ended:
                await self.live.forget()
            await supervisor.release(self)
        finally:
            _finished(self, keeps_cell=parked and self.live.cell is not None)
        if parked and waits_for_others(self.live.machine):
            supervisor.look_for_requests()  # a child that ended meanwhile has left one, or who gave a permit

    def _comes_to_rest(self) -> bool:
        """Whether nothing is left to do here: the run is let go in the same commit."""
        if self._kept_active or self.inputs.waiting or not self._effects.attempts.idle:
            return False
        return self.live.machine.ended or (
            is_far_from_moving(self.live.machine, self._services.world) and self._effects.away.can_be_left()
        )

    def _may_park(self) -> bool:
        """Whether the run waits for outside data, or for a time that is far enough away to let go of its cell."""
        if self._kept_active or not self._effects.attempts.idle:
            return False
        # Once it was let go it is parked, whatever the clock says by now: others may claim it, and it has one driver.
        machine, world = self.live.machine, self._services.world
        if self.lease is not None and not (
            (is_far_from_moving(machine, world) and self._effects.away.can_be_left()) or self._effects.others_are_left()
        ):
            return False
        self._services.ownership.expect(row_at_rest(machine)[1])
        return True


def _finished(driver: RunDriver, *, keeps_cell: bool = False) -> None:
    driver._services.supervisor.finished(driver, keeps_cell=keeps_cell)
    if (observer := driver._services.observer) is not None:
        observer.left(driver)


async def tell_remote(driver: RunDriver, told: Told, request: int) -> bool:
    """Say what came of an attempt that is performed elsewhere, and wait until that is durable.

    False: it says nothing new, and the request was not accepted.

    Raises:
        NotSuspended: it came too late.
        MissingStep: this process does not have the step; the run is blocked.
    """
    try:
        one = driver._effects.attempts.remote.told(told, request)
    finally:
        driver.inputs.wake()
    if one is None:
        return False
    await driver._waiters.wait_for(one)
    return True


async def permit_granted(driver: RunDriver, call: CallId, permit: int, request: int) -> bool:
    """Begin what has its permits since now, and wait until that is durable. False: nothing waits for them any more.

    Raises:
        NotSuspended: it came too late.
        MissingStep: this process does not have the step; the run is blocked.
        StoreError: the store did not say whether it has them still.
    """
    try:
        one = await driver._effects.attempts.permits.begin(call, permit, request)
    finally:
        driver.inputs.wake()
    if one is None:
        return False
    await driver._waiters.wait_for(one)
    return True


def only_waits(driver: RunDriver) -> bool:
    """Whether nothing of its run is under way but child runs, and steps that wait for permits.

    Meanwhile it takes no place of its tenant's.
    """
    calls = driver.machine.open
    return (
        bool(calls.active) and driver._effects.attempts.idle and calls.child_runs + calls.permits.queued == calls.active
    )


def has_steps_under_way(driver: RunDriver) -> bool:
    """Whether steps of its run are at work, which may wait for what they have begun."""
    return not driver._effects.attempts.idle


async def _has_room(driver: RunDriver, sums: Sums) -> bool:
    """Whether the run may write; else in a moment. What is told to end, or is let go, always may."""
    if is_told_to_end(driver.live.machine) or driver.inputs.of_kind(CancelRequested) or driver._draining:
        return True
    try:
        await sums.check_room(driver.key.tenant)
    except StoreUnavailable as error:
        if not driver._commit.is_reported:
            log.warning("run %s waits for room in its store: %s", driver.key, error.message)
        driver._commit.report(error)
        await asyncio.sleep(ROOM_S)
        return False
    return True


def is_told_to_end(machine: RunMachine) -> bool:
    """Whether a run was canceled, or has ended."""
    return machine.ended or machine.phase in (RunPhase.CANCELING, RunPhase.CLEANING_UP)


def is_far_from_moving(machine: RunMachine, world: World) -> bool:
    """Whether a run waits for outside data, or for a time that is far enough away."""
    if machine.phase is RunPhase.PAUSED:
        return True
    if machine.open.active or machine.phase is RunPhase.CLEANING_UP:
        return False
    due = machine.wake_at
    if due is None:
        return machine.status in (RunStatus.SUSPENDED, RunStatus.WAITING)
    return due - world.now() >= PARK_AFTER_MS
