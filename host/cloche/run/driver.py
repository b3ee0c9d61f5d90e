"""The driver of one run: the I/O around its machine and its cell.

Facts come in (results, timers, wishes of outsiders), one turn takes all that have arrived, one commit makes them and their
consequences durable, and only then do wishes become deeds. If anything goes wrong in between, machine and cell are dropped
and rebuilt from the store.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from cloche.errors import (
    CellGone,
    ClocheError,
    GuestFault,
    HeavyTurn,
    LeaseLost,
    StoreUnavailable,
)
from cloche.history import Batch, CallId, Failure, Kind, Note, Record, RunKey, RunMachine, TimeMs
from cloche.history.lifecycles import HookPhase, RunPhase, TimerPhase
from cloche.history.machine import Fact, StartRun, StartStep, StartTimer, StopCall, Suspension, Wish
from cloche.history.messages import (
    CancelRequested,
    HookReceived,
    OpenHook,
    Started,
    StepResumed,
    TimerFired,
    unpack_command,
)
from cloche.history.values import decode
from cloche.run import checkpoints
from cloche.run.attempts import Attempts
from cloche.run.children import Children
from cloche.run.code import is_native
from cloche.run.inputs import Arrival, awaited
from cloche.run.limits import Enforcement
from cloche.run.meter import Meter
from cloche.run.recovery import Rebuilder
from cloche.run.waiters import Answers, is_in
from cloche.store import Append, Lease, NewRun

if TYPE_CHECKING:
    from cloche.engines import Cell, Code
    from cloche.history.machine import Gate
    from cloche.worker.worker import Scheduler

FAULT_TRIES = 3  # for faults that depend on the machine
PARK_AFTER_MS = 10_000  # a run that sleeps longer is not driven meanwhile
_SAVED_IN = (RunPhase.RUNNING, RunPhase.PAUSED)  # behind a cancellation the cell hears nothing more

log = logging.getLogger("cloche.run")


class RunDriver:
    """Drives one run from its beginning, or from what is in the store, until it ends or waits for something far away."""

    def __init__(
        self,
        scheduler: Scheduler,
        key: RunKey,
        code: Code,
        enforcement: Enforcement,
        gate: Callable[[], Gate] | None,
        lease: Lease | None,
    ) -> None:
        self.key = key
        self.lease = lease  # None: the run was let go, and is claimed again if anything comes for it
        self.code = code
        self.started: Started | None = None
        self._scheduler = scheduler
        self.enforcement = enforcement
        self._limits = enforcement.policy.limits()
        self._gate = gate
        self._tells_cancel = is_native(code)
        self.machine = self._new_machine()
        self._cell: Cell | None = None
        self._meter = Meter(scheduler.world.monotonic, scheduler.engine.meter)
        self._facts: deque[Arrival] = deque()
        self._taken: list[tuple[Arrival, int]] = []  # facts that grant a wish, and its inbox row: appended together
        self._answers = Answers(key)
        self._new: NewRun | None = None
        self._wakeup = asyncio.Event()
        self._attempts = Attempts(self, scheduler)
        self._children = Children(self, scheduler)
        self._draining = False
        self._attended = 0
        self._is_lost = False
        self._is_turning = False
        self._tail = 0  # events that the cell has heard since the last checkpoint,
        self._fuel_saved = 0  # and what it had used up by then
        self._has_checkpoint = False
        self.turns = 0  # since the run was last reported to its callbacks
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # ---- for the scheduler ----

    async def begin(self, facts: Sequence[Fact], started: Started, new: NewRun) -> None:
        """The first turn of a new run; it returns when that is durable."""
        self._new = new
        self.started = started
        with self._keeping_cell():
            await self._record(list(facts))
        self.ready.set_result(None)

    async def rebuild(self) -> None:
        """Machine and cell as the store has them: from the newest checkpoint and what came after it, or from the beginning.

        Raises:
            HistoryError: the history cannot be read, or the code asks for something else than it says.
        """
        store = self._scheduler.store
        if self.started is None:
            self.started = next(
                (_started(one) for one in store.records(self.key) if one.kind is Kind.RUN_STARTED), None
            )
        self._cell = None  # whatever happens, it is not what the store has
        made = Rebuilder(self._scheduler, self.key, self.code, self._limits, self._new_machine)
        await made.rebuild()
        self.machine, self._cell, self._tail = made.machine, made.cell, made.tail
        self._fuel_saved = made.cell.fuel_used if made.cell is not None and made.has_checkpoint else 0
        self._has_checkpoint = self._has_checkpoint or made.has_checkpoint
        self._meter.burn(made.burnt)
        if made.cell is not None:
            self._scheduler.cells.add(self, made.cell.resident_bytes)

    async def drive(self) -> None:
        """Go on until the run ends, is blocked, or can be parked."""
        parked = False
        try:
            parked = await self._loop()
        except LeaseLost as error:
            self._lost(error)
        except ClocheError as error:
            self._set_aside(error)
        except Exception as error:
            log.exception("run %s stopped by a fault of cloche itself", self.key)
            self._set_aside(ClocheError(f"a fault in cloche itself stopped the run: {error!r}"))
        finally:
            self.stop()
            self._answers.refuse()
            self._leave(parked=parked)

    def _set_aside(self, error: ClocheError) -> None:
        self._scheduler.block(self.key, error, self.lease)
        self.lease = None

    def _lost(self, error: LeaseLost) -> None:
        """Another worker has the run: machine and cell are dropped, and who waits for an answer asks there."""
        log.warning("%s", error.message)
        self.lease = None
        self._answers.refuse(error)

    def lose(self) -> None:
        """The worker was buried: nothing more comes of this driver."""
        self._is_lost = True
        self.stop()
        self._wakeup.set()

    def fail(self, error: BaseException) -> None:
        """The run did not begin."""
        self.stop()
        if not self.ready.done():
            self.ready.set_exception(error)
            self.ready.exception()  # whoever waits sees it; nobody waiting is no fault
        self._answers.refuse(error)

    def _leave(self, *, parked: bool) -> None:
        """Driven no more. A parked run keeps its cell as long as there is room, for the next one that drives it."""
        if self.machine.ended:
            self.enforcement.forget()
            if self._has_checkpoint:
                self._scheduler.checkpoints.forget(self.key)
        self._scheduler.release(self)
        self._scheduler.finished(self, is_warm=parked and self._cell is not None)

    def adopt(self, parked: RunDriver) -> None:
        """Go on with machine and cell of a driver that was parked."""
        self.machine, self.started = parked.machine, parked.started
        self._cell, self._tail, self._has_checkpoint = parked._cell, parked._tail, parked._has_checkpoint
        self._fuel_saved = parked._fuel_saved
        if self._cell is not None:
            self._scheduler.cells.add(self, self._cell.resident_bytes)

    @contextmanager
    def _keeping_cell(self) -> Iterator[None]:
        """A turn or a rebuild is going on: the cell is not given up."""
        self._is_turning = True
        try:
            yield
        finally:
            self._is_turning = False

    def give_up_cell(self) -> bool:
        """Let go of the cell, behind a checkpoint if that is worth it; False while it is at work."""
        if self._is_turning:
            return False
        self.save_checkpoint(checkpoints.EVENTS_WORTH_KEEPING)
        self._cell = None
        return True

    def save_checkpoint(self, events_min: int) -> None:
        """Take a checkpoint if so many events, or events that computed so much, would have to be replayed without it.

        Written in another thread.
        """
        if self._cell is None or self.machine.phase not in _SAVED_IN:
            return
        if self._tail < events_min and self._cell.fuel_used - self._fuel_saved < checkpoints.FUEL_BETWEEN:
            return
        pack = checkpoints.taken(self.key, self.machine, self._cell, self.enforcement.policy.checkpoint_bytes)
        if pack is None:
            return
        self._tail, self._fuel_saved, self._has_checkpoint = 0, self._cell.fuel_used, True
        self._scheduler.keep_checkpoint(self.key, self.machine.head_seq, pack)

    async def recover(self) -> None:
        """As `drive`, for a run that is in the store: rebuild it first, and dispatch again what it waits for."""
        try:
            if not self._is_at_head():
                with self._keeping_cell():
                    await self.rebuild()
            if self.machine.phase is RunPhase.CANCELING or self._is_told_to_cancel():
                self._attempts.interrupt()
                self._children.cancel_all()
            else:
                self._dispatch_again()
            if self.machine.phase is RunPhase.CLEANING:
                self._bound_clean_up()
        except ClocheError as error:
            self._set_aside(error)
            self.fail(error)
            self._scheduler.finished(self)
            return
        self.ready.set_result(None)
        await self.drive()

    def _is_at_head(self) -> bool:
        """Whether there is a cell, of a driver that was parked, and nobody has appended since."""
        row = self._scheduler.store.run(self.key)
        return self._cell is not None and row is not None and row.head_hash == self.machine.head_hash

    def tell(self, fact: Arrival, taken: int | None = None) -> None:
        """A fact has arrived. A cancellation goes before what arrived with it: nothing new may start."""
        if taken is not None:
            self._taken.append((fact, taken))
        if isinstance(fact, CancelRequested):
            self._facts.appendleft(fact)
        else:
            self._facts.append(fact)
        self._wakeup.set()

    def tell_start(self, started: Started) -> None:
        """The run was queued, and begins with this."""
        self.started = started
        self.tell(started)

    def grants(self, inbox_id: int) -> bool:
        """Whether a fact that grants this wish is on its way into the log."""
        return any(taken == inbox_id for _, taken in self._taken)

    async def record(self, fact: Fact, taken: int | None = None) -> None:
        """Tell a fact and wait until it is durable.

        Raises:
            NotSuspended: it came too late, nobody waits for it any more.
            LimitExceeded: it is larger than the run's policy allows.
        """
        self.enforcement.check_inbound(fact)
        answer = self._answers.to(fact)
        self.tell(fact, taken)
        await answer

    @asynccontextmanager
    async def attended(self) -> AsyncIterator[None]:
        """While somebody looks at the run, it is not parked. Entered before the driver has done anything."""
        self._attended += 1
        try:
            await asyncio.shield(self.ready)
            yield
        finally:
            self._attended -= 1
            self._wakeup.set()

    def suspensions(self) -> list[Suspension]:
        """The steps that wait to be resumed, without those for which data has just arrived."""
        told = {fact.call for fact in self._facts if isinstance(fact, StepResumed)}
        return [one for one in self.machine.suspensions() if one.call not in told]

    def hooks(self) -> dict[str, CallId]:
        """The open hooks for which nothing has arrived yet, the first of each name. A run that is canceled has none."""
        if self.machine.phase is RunPhase.CANCELING:
            return {}
        told = {fact.call for fact in self._facts if isinstance(fact, HookReceived)}
        found: dict[str, CallId] = {}
        for call_id, call in self.machine.open.items():
            if call.phase is HookPhase.OPEN and call_id not in told:
                command = unpack_command(call.body)
                if isinstance(command, OpenHook):
                    found.setdefault(command.name, call_id)
        return found

    async def drain(self, timeout_s: float) -> None:
        """Let running steps end and record them; start nothing more."""
        self._draining = True
        await self._attempts.drain(timeout_s)
        self._wakeup.set()

    def stop(self) -> None:
        """Let go of whatever still runs; what was not recorded is done again when the run is recovered."""
        self._attempts.stop()
        self._children.stop()

    # ---- turns ----

    async def _loop(self) -> bool:
        """Until there is nothing more to do; whether the run was parked."""
        while self._facts or not (self.machine.ended and self._attempts.idle):
            if self._is_lost:
                raise self._lease_lost()
            if not self._facts:
                if self._draining and self._attempts.idle:
                    self.save_checkpoint(checkpoints.EVENTS_WORTH_KEEPING)
                    return False
                if self._may_park():
                    return True
                self._wakeup.clear()
                await self._wakeup.wait()
                continue
            facts = list(self._facts)
            self._facts.clear()
            await self._turn(facts)
            self._scheduler.cells.used(self.key)
            self.save_checkpoint(self._scheduler.checkpoint_every)
        return False

    async def _turn(self, arrivals: Sequence[Arrival]) -> None:
        if self.lease is None:
            await self._regain()
        facts = awaited(self.machine, [*self._attempts.take_riders(), *arrivals])
        if facts:
            with self._keeping_cell():
                await self._record(facts)
        else:
            self._forget_dropped()

    async def _record(self, facts: list[Fact]) -> None:
        """Facts through the glass and into the log, then deeds."""
        batch: Batch | None = None
        wait_s = 0.0
        while True:
            try:
                if wait_s:
                    await asyncio.sleep(wait_s)
                    await self.rebuild()
                    if batch is not None and await self._was_written(batch):
                        break
                    self._meter.waste()
                count, batch = await self._answered(facts)
                await self._append(batch, facts[:count])
                break
            except StoreUnavailable as error:
                if self._new is not None and not (batch is not None and await self._was_written(batch)):
                    raise  # there is no run yet: the caller is told, and may start it again
                # Nothing was written. The facts are kept: a step that ran is not run again for a full disk.
                log.warning("run %s waits for its store: %s", self.key, error.message)
                self._scheduler.trouble(self.key, error)
                wait_s = min(wait_s * 2 or 0.05, 5.0)
        if any(record.kind is not Kind.LATE_RESULT for record in batch.records):
            self.turns += 1
        self._meter.committed()
        self._new = None
        self._facts.extendleft(reversed(facts[count:]))
        self._scheduler.trouble(self.key, None)
        self._answers.give(facts[:count])
        self._forget_dropped()
        self._act(batch, facts[:count])
        if self.machine.ended:  # what still runs is only waited for to be recorded as late
            self._scheduler.stopped_moving(self)
        self._scheduler.announce(self.key)

    def _forget_dropped(self) -> None:
        """Nobody could use these facts: a wish that one of them grants waits again, and who waits for one is told."""
        self._taken = [one for one in self._taken if is_in(one[0], self._facts)]
        if not self._facts:
            self._answers.refuse()

    async def _regain(self) -> None:
        """Own the run again, which was let go when it came to rest; something has come for it since."""
        row = self._scheduler.store.leases.claim(self._scheduler.membership.worker, self.key)
        if row is None:
            raise self._lease_lost()
        self.lease = row.lease
        if row.head_hash != self.machine.head_hash:
            with self._keeping_cell():
                await self.rebuild()
            self._dispatch(self.machine.pending())

    async def _was_written(self, batch: Batch) -> bool:
        """Whether the log ends with `batch`, although the store said that it did not take it: only the answer was lost.

        Raises:
            StoreUnavailable: it cannot be said; try again.
            LeaseLost: another worker has the run.
        """
        row = self._scheduler.store.run(self.key)
        if row is None:
            return False
        if row.head_hash == batch.records[-1].hash:
            self.lease = row.lease if row.owner == self._scheduler.membership.worker else None
            return True
        if row.lease != self.lease:
            raise self._lease_lost()
        return False

    def _lease_lost(self) -> LeaseLost:
        return LeaseLost(f"run {self.key} belongs to another worker now", run_id=self.key.run)

    async def _answered(self, facts: Sequence[Fact]) -> tuple[int, Batch]:
        """How many of the facts were taken, and what they led to."""
        if self._cell is None and self.machine.head_seq and not self.machine.ended:
            await self.rebuild()  # the cell was given up to make room
        now = self._scheduler.world.now()
        try:
            events = self.machine.deliver(facts)
            output = await self._pass(events) if events else b""
            return len(facts), self._accepted(facts, output, now)
        except GuestFault as fault:
            return await self._after_fault(facts, fault)

    async def _after_fault(self, facts: Sequence[Fact], fault: GuestFault) -> tuple[int, Batch]:
        """As `_answered` after a stopped turn: it was passing, or the run ends at exactly the event that did it."""
        tries = 1
        while True:
            self._meter.waste()
            await self.rebuild()
            machine, now = self.machine, self._scheduler.world.now()
            events = machine.deliver(facts)
            if len(events) > 1:
                facts = facts[: next(index for index, fact in enumerate(facts, 1) if not isinstance(fact, Note))]
            elif fault.deterministic or tries == FAULT_TRIES:
                return len(facts), machine.stop(facts, Failure.from_exception(fault), fault.code, now)
            else:
                tries += 1
            try:
                output = await self._pass(machine.deliver(facts))
                return len(facts), self._accepted(facts, output, now)
            except GuestFault as again:
                fault = again

    def _accepted(self, facts: Sequence[Fact], output: bytes, now: TimeMs) -> Batch:
        batch = self.machine.accept(facts, output, now)
        self.enforcement.check_append(batch.records)
        return batch

    async def _pass(self, events: list[bytes]) -> bytes:
        """One crossing. A turn that turns out to be heavy is made again in the other lane, on a cell that is as it was."""
        cell = await self._live_cell()
        self.enforcement.check_turn(self.started, self._scheduler.world.now(), cell.fuel_used, events)
        while True:
            self._tail += len(events)
            try:
                output = await self._meter.cross(self._scheduler.lanes, self.key.tenant, self.code, cell, events)
                break
            except (HeavyTurn, CellGone):
                await self.rebuild()
                cell = await self._live_cell()
        self.enforcement.check_fuel(cell.fuel_used)
        return output

    async def _live_cell(self) -> Cell:
        if self._cell is None:
            self._cell = await self._scheduler.open_cell(self.key.tenant, self.code, self._limits)
            self._scheduler.cells.add(self, self._cell.resident_bytes)
        return self._cell

    async def _append(self, batch: Batch, facts: Sequence[Fact]) -> None:
        if not batch.records:
            return
        machine, release = self.machine, self._comes_to_rest()
        append = Append(
            self.key,
            batch.expect,
            batch.records,
            machine.status,
            machine.wake_at,
            batch.records[-1].time,
            self._new,
            tuple(taken for fact, taken in self._taken if is_in(fact, facts)),
            self.lease,
            release,
            metered=self._meter.amounts(batch.records, self._cell, comes_to_rest=release or machine.ended),
        )
        await self._scheduler.committer.append(append, alone=self._scheduler.drives_one())
        if release:
            self.lease = None

    def _comes_to_rest(self) -> bool:
        """Whether nothing is left to do here: the run is let go in the same commit."""
        if self._attended or self._facts or not self._attempts.idle:
            return False
        return self.machine.ended or self._is_far_from_moving()

    def _may_park(self) -> bool:
        """Whether the run waits for outside data, or for a time that is far enough away to give up its cell."""
        if self._attended or not self._attempts.idle:
            return False
        # Once it was let go it is parked, whatever the clock says by now: others may claim it, and it has one driver.
        if self.lease is not None and not self._is_far_from_moving():
            return False
        self._scheduler.claims.expect(self.machine.wake_at)
        return True

    def _is_far_from_moving(self) -> bool:
        if self.machine.phase is RunPhase.PAUSED:
            return True
        if self.machine.open.active or self.machine.phase is RunPhase.CLEANING:
            return False
        due = self.machine.wake_at
        if due is None:
            return self.machine.status in ("suspended", "waiting")
        return due - self._scheduler.world.now() >= PARK_AFTER_MS

    # ---- deeds ----

    def _act(self, batch: Batch, facts: Sequence[Fact]) -> None:
        machine = self.machine
        if machine.phase is RunPhase.CANCELING or machine.ended:
            self._attempts.abort()
            self._children.cancel_all()
        if machine.phase is RunPhase.CANCELING:
            self._attempts.refuse_announced()
        for wish in batch.wishes:
            if isinstance(wish, StopCall):
                self._attempts.abort(wish.call)
                self._children.cancel(wish.call)
        self._dispatch([*machine.committed(batch), *self._attempts.again(facts)])
        kinds = {record.kind for record in batch.records}
        if Kind.CANCEL_DELIVERED in kinds:
            self._bound_clean_up()
        if Kind.RUN_CONTINUED in kinds:
            self._dispatch(machine.pending())
        if Kind.HOOK_OPENED in kinds:
            self._scheduler.inbox.look(self.key)

    def _dispatch(self, wishes: Sequence[Wish]) -> None:
        for wish in wishes:
            match wish:
                case StartStep():
                    self._attempts.start(wish)
                case StartRun():
                    self._children.start(wish)
                case StartTimer():
                    self._scheduler.timers.at(wish.due, lambda wish=wish: self._fire(wish))  # type: ignore[misc]

    def _dispatch_again(self) -> None:
        """What a run waits for that another process began: its steps may have begun there."""
        for wish in self.machine.pending():
            if isinstance(wish, StartStep):
                self._attempts.start_again(wish)
            else:
                self._dispatch([wish])

    def _fire(self, wish: StartTimer) -> None:
        call = self.machine.open.get(wish.call)
        if call is not None and call.phase is TimerPhase.SET and self._scheduler.is_driver(self):
            self.tell(TimerFired(self._scheduler.world.now(), wish.call))

    def _bound_clean_up(self) -> None:
        """The code was told to end: what it has not done by then, it does not do any more. A crash begins the time anew."""
        most_s, world = self.enforcement.policy.clean_up_s, self._scheduler.world

        def end() -> None:
            if self.machine.phase is RunPhase.CLEANING and self._scheduler.is_driver(self):
                self.tell(
                    CancelRequested(world.now(), f"it did not end within {most_s} s of being told", is_final=True)
                )

        self._scheduler.timers.at(TimeMs(world.now() + most_s * 1000), end)

    def _is_told_to_cancel(self) -> bool:
        return any(isinstance(fact, CancelRequested) for fact in self._facts)

    def _new_machine(self) -> RunMachine:
        machine = RunMachine(self.key)
        machine.gate = self._gate() if self._gate is not None else None
        machine.bounds = self.enforcement.policy.bounds
        machine.tells_cancel = self._tells_cancel
        return machine


def _started(record: Record) -> Started:
    _, time, seed, given_input, given = decode(record.body)
    return Started(time, seed, given_input, given)
