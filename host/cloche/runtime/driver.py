"""The driver of one run: the I/O around its machine and its cell.

Facts come in (results, timers, wishes of outsiders), one turn takes all that have arrived, one commit makes them and their
consequences durable, and only then do wishes become deeds. If anything goes wrong in between, machine and cell are dropped
and rebuilt from the store.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cloche.errors import (
    ClocheError,
    Divergence,
    FatalError,
    GuestFault,
    InvalidInput,
    MissingStep,
    RetryableError,
    StoreUnavailable,
)
from cloche.history import Batch, Failure, Kind, Note, RunKey, RunMachine
from cloche.history.failures import traceback_of
from cloche.history.lifecycles import RunPhase, StepPhase, TimerPhase
from cloche.history.machine import Fact, StartStep, StartTimer, Wish
from cloche.history.messages import CancelRequested, Started, StepCompleted, StepFailed, TimerFired
from cloche.history.replay import find_divergence, script
from cloche.history.values import decode, encode_plain
from cloche.runtime.steps import AbortSignal, StepContext, frozen, perform
from cloche.store import Append, NewRun

if TYPE_CHECKING:
    from cloche.engines import Cell, Code
    from cloche.runtime.scheduler import Scheduler
    from cloche_codegen import Step

LIGHT_TURN_EVENTS = 64  # a longer batch is a replay: it leaves the event loop's thread
EVENT_BYTES_MAX = (8 << 20) - 1024
FAULT_TRIES = 3  # for faults that depend on the machine
PARK_AFTER_MS = 10_000  # a run that sleeps longer gives up its cell
RETRY_AFTER_S_MAX = 10 * 366 * 86_400.0  # what a step may ask for; beyond it is no time but a mistake

log = logging.getLogger("cloche.run")


class RunDriver:
    """Drives one run from its beginning, or from what is in the store, to its end or until it only waits for time."""

    def __init__(self, scheduler: Scheduler, key: RunKey, code: Code, limits: dict[str, Any]) -> None:
        self.key = key
        self._scheduler = scheduler
        self._code = code
        self._limits = limits
        self._machine = RunMachine(key)
        self._cell: Cell | None = None
        self._facts: deque[Fact] = deque()
        self._riders: list[Note] = []  # attempt records: they ride with the next append and are never waited for
        self._taken: list[int] = []  # inbox rows that the next append answers
        self._new: NewRun | None = None
        self._wakeup = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._abort = AbortSignal()
        self._started: Started | None = None
        self._calls: dict[int, StartStep] = {}
        self._draining = False
        self._stopped = False

    # ---- for the scheduler ----

    async def begin(self, created: Note, started: Started, new: NewRun) -> None:
        """The first turn of a new run; it returns when that is durable."""
        self._new = new
        self._started = started
        await self._turn([created, started])

    async def rebuild(self) -> None:
        """Machine and cell as the store has them.

        Raises:
            HistoryError: the history cannot be read, or the code asks for something else than it says.
        """
        machine = RunMachine(self.key)
        records = list(self._scheduler.store.records(self.key))
        for record in records:
            machine.absorb(record)
            if record.kind is Kind.RUN_STARTED:
                _, time, seed, given_input, given = decode(record.body)
                self._started = Started(time, seed, given_input, given)
        self._machine, self._cell = machine, None
        if machine.ended or not records:
            return
        part = script(records)
        output = await self._pass(part.events) if part.events else b""
        if output != b"".join(part.expected):
            report = find_divergence(self.key.run, part, output, self._code.lines)
            raise Divergence(str(report), report=report)

    async def drive(self) -> None:
        """Go on until the run ends, is blocked, or can be parked."""
        try:
            await self._loop()
        except ClocheError as error:
            self._scheduler.block(self.key, error)
        except Exception as error:
            log.exception("run %s stopped by a fault of cloche itself", self.key.run)
            self._scheduler.block(self.key, ClocheError(f"a fault in cloche itself stopped the run: {error!r}"))
        finally:
            self.stop()
            self._scheduler.finished(self)

    async def recover(self) -> None:
        """As `drive`, for a run that is in the store: rebuild it first, and dispatch again what it waits for."""
        try:
            await self.rebuild()
            if self._machine.phase is RunPhase.CANCELING or self._is_told_to_cancel():
                self._interrupt_steps()
            else:
                self._dispatch(self._machine.pending())
        except ClocheError as error:
            self.stop()
            self._scheduler.block(self.key, error)
            self._scheduler.finished(self)
            return
        await self.drive()

    def tell(self, fact: Fact, taken: int | None = None) -> None:
        """A fact has arrived. A cancellation goes before what arrived with it: nothing new may start."""
        if taken is not None:
            self._taken.append(taken)
        if isinstance(fact, CancelRequested):
            self._facts.appendleft(fact)
        else:
            self._facts.append(fact)
        self._wakeup.set()

    async def drain(self, timeout_s: float) -> None:
        """Let running steps end and record them; start nothing more. Those that take longer are cut off."""
        self._draining = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        if self._tasks:
            self.stop()
            await asyncio.wait(self._tasks, timeout=1.0)
        self._wakeup.set()

    def stop(self) -> None:
        """Let go of whatever still runs; what was not recorded is done again when the run is recovered."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()

    # ---- turns ----

    async def _loop(self) -> None:
        while not self._machine.ended:
            if not self._facts:
                if (self._draining and not self._tasks) or self._may_park():
                    return
                self._wakeup.clear()
                await self._wakeup.wait()
                continue
            facts = list(self._facts)
            self._facts.clear()
            await self._turn(facts)

    async def _turn(self, facts: Sequence[Fact]) -> None:
        """Facts through the glass and into the log, then deeds."""
        riders, self._riders = self._riders, []
        facts = self._awaited([*riders, *facts])
        if not facts:
            return
        batch: Batch | None = None
        wait_s = 0.0
        while True:
            try:
                if wait_s:
                    await asyncio.sleep(wait_s)
                    await self.rebuild()
                    if batch is not None and self._machine.head_hash == batch.records[-1].hash:
                        break  # it was written after all: only the answer was lost
                count, batch = await self._answered(facts)
                await self._append(batch)
                break
            except StoreUnavailable as error:
                # Nothing was written. The facts are kept: a step that ran is not run again for a full disk.
                log.warning("run %s waits for its store: %s", self.key.run, error.message)
                self._scheduler.trouble(self.key, error)
                wait_s = min(wait_s * 2 or 0.05, 5.0)
        self._new = None
        self._taken.clear()
        self._facts.extendleft(reversed(facts[count:]))
        self._scheduler.trouble(self.key, None)
        wishes = self._machine.committed(batch)
        if self._machine.phase is RunPhase.CANCELING:
            self._abort._set()
        self._dispatch([*wishes, *self._retries(facts[:count])])
        self._scheduler.announce(self.key)

    def _awaited(self, facts: Sequence[Fact]) -> list[Fact]:
        """Without what arrives too late: the run has ended, nobody waits for the call, or the run is being canceled."""
        awaited: list[Fact] = []
        canceling = self._machine.phase is RunPhase.CANCELING
        for fact in facts:
            call = getattr(fact, "call", None)
            if self._machine.ended or (call is not None and call not in self._machine.open):
                continue
            if canceling and isinstance(fact, CancelRequested | TimerFired):
                continue
            canceling = canceling or isinstance(fact, CancelRequested)
            awaited.append(fact)
        return awaited

    async def _answered(self, facts: Sequence[Fact]) -> tuple[int, Batch]:
        """How many of the facts were taken, and what they led to."""
        machine = self._machine
        now = self._scheduler.world.now()
        try:
            events = machine.deliver(facts)
            output = await self._pass(events) if events else b""
            return len(facts), machine.accept(facts, output, now)
        except GuestFault as fault:
            return await self._after_fault(facts, fault)

    async def _after_fault(self, facts: Sequence[Fact], fault: GuestFault) -> tuple[int, Batch]:
        """As `_answered` after a stopped turn: it was passing, or the run ends at exactly the event that did it."""
        tries = 1
        while True:
            await self.rebuild()
            machine, now = self._machine, self._scheduler.world.now()
            events = machine.deliver(facts)
            if len(events) > 1:
                facts = facts[: next(index for index, fact in enumerate(facts, 1) if not isinstance(fact, Note))]
            elif fault.deterministic or tries == FAULT_TRIES:
                return len(facts), machine.stop(facts, Failure.from_exception(fault), fault.code, now)
            else:
                tries += 1
            try:
                return len(facts), machine.accept(facts, await self._pass(machine.deliver(facts)), now)
            except GuestFault as again:
                fault = again

    async def _pass(self, events: list[bytes]) -> bytes:
        """One crossing. Short turns stay on this thread (a hop costs more); replays leave the loop free."""
        if self._cell is None:
            self._cell = self._scheduler.open_cell(self._code, self._limits)
        if len(events) <= LIGHT_TURN_EVENTS:
            return self._cell.turn(events)
        return await asyncio.get_running_loop().run_in_executor(self._scheduler.turn_pool, self._cell.turn, events)

    async def _append(self, batch: Batch) -> None:
        if not batch.records:
            return
        machine = self._machine
        append = Append(
            self.key,
            batch.expect,
            batch.records,
            machine.status,
            machine.wake_at,
            batch.records[-1].time,
            self._new,
            tuple(self._taken),
        )
        await self._scheduler.committer.append(append, alone=self._scheduler.drives_one())

    def _may_park(self) -> bool:
        due = self._machine.wake_at
        if due is None or self._riders or due - self._scheduler.world.now() < PARK_AFTER_MS:
            return False
        if any(not task.done() for task in self._tasks):  # one that has just ended is still in the set
            return False
        self._scheduler.park(self.key, due)
        return True

    # ---- deeds ----

    def _dispatch(self, wishes: Sequence[Wish]) -> None:
        for wish in wishes:
            match wish:
                case StartStep():
                    self._calls[wish.call] = wish
                    self._start_step(wish)
                case StartTimer():
                    self._scheduler.timers.at(wish.due, lambda wish=wish: self._fire(wish))  # type: ignore[misc]

    def _fire(self, wish: StartTimer) -> None:
        call = self._machine.open.get(wish.call)
        if call is not None and call.phase is TimerPhase.SET and not self._stopped:
            self.tell(TimerFired(self._scheduler.world.now(), wish.call))

    def _retries(self, facts: Sequence[Fact]) -> list[StartStep]:
        """Attempts that a failure, recorded just now, asks for."""
        wishes: list[StartStep] = []
        if self._machine.phase is not RunPhase.RUNNING:
            return wishes
        for fact in facts:
            if isinstance(fact, StepCompleted | StepFailed):
                self._calls.pop(fact.call, None)
            if not isinstance(fact, Note) or fact.kind is not Kind.ATTEMPT_FAILED or fact.call is None:
                continue
            call = self._machine.open.get(fact.call)
            if call is not None:
                attempt = fact.content["attempt"] + 1
                wishes.append(replace(self._calls[fact.call], attempt=attempt, not_before=call.due))
        return wishes

    def _start_step(self, wish: StartStep) -> None:
        if self._draining:
            return
        step = self._scheduler.step(wish.name)
        if step is None:
            raise MissingStep(
                f"run {self.key.run} needs step '{wish.name}', which this process does not have: "
                "open the store with the workflows or steps that it needs",
                run_id=self.key.run,
                step=wish.name,
            )
        if wish.not_before > self._scheduler.world.now():
            self._scheduler.timers.at(wish.not_before, lambda: self._start_step_if_waiting(wish))
            return
        self._riders.append(
            Note(Kind.ATTEMPT_STARTED, self._scheduler.world.now(), {"attempt": wish.attempt}, wish.call)
        )
        task = asyncio.create_task(self._attempt(step, wish), name=f"{self.key.run}:{wish.path}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _start_step_if_waiting(self, wish: StartStep) -> None:
        if self._stopped or self._machine.phase is not RunPhase.RUNNING:
            return
        call = self._machine.open.get(wish.call)
        if call is not None and call.phase is StepPhase.BACKOFF:
            self._start_step(wish)

    async def _attempt(self, step: Step, wish: StartStep) -> None:
        scheduler = self._scheduler
        try:
            value = await perform(
                step,
                wish.arguments,
                lambda data: self._context(step, wish, data),
                scheduler.step_pool,
                scheduler.validates(self._code.workflow),
            )
            completed = StepCompleted(scheduler.world.now(), wish.call, value)
            if len(completed.pack()) > EVENT_BYTES_MAX:
                raise InvalidInput(
                    f"step '{step.id}' returned {len(completed.pack())} bytes, and 8 MiB can enter the glass: "
                    "store large data elsewhere and return a reference",
                    path="result",
                )
            self.tell(completed)
        except asyncio.CancelledError as error:
            if self._stopped:
                raise
            self._tell_failed(step, wish, error)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # whatever an author's code raises is a failure of its step
            self._tell_failed(step, wish, error)

    def _tell_failed(self, step: Step, wish: StartStep, error: BaseException) -> None:
        now = self._scheduler.world.now()
        failure = _fitting(Failure.from_exception(error))
        delay = self._delay(step, wish, error)
        content = {
            "attempt": wish.attempt,
            "failure": failure.to_wire(),
            "retry_at": None if delay is None else now + delay,
            "traceback": traceback_of(error),
        }
        self._facts.append(Note(Kind.ATTEMPT_FAILED, now, content, wish.call))
        if delay is None or self._machine.phase is RunPhase.CANCELING:
            self._facts.append(StepFailed(now, wish.call, failure))
        self._wakeup.set()

    def _delay(self, step: Step, wish: StartStep, error: BaseException) -> int | None:
        """Milliseconds until the next attempt, None if there is none."""
        if isinstance(error, FatalError | InvalidInput):
            return None
        policy = self._scheduler.retry_policy(step, self._code)
        delay: int | None = policy.delay_after(wish.attempt, f"{self.key.run}:{wish.call}")
        if delay is not None and isinstance(error, RetryableError) and math.isfinite(error.retry_after or 0):
            return delay if error.retry_after is None else _milliseconds(error.retry_after)
        return delay

    def _context(self, step: Step, wish: StartStep, data: Any) -> StepContext:
        started = self._started
        assert started is not None
        return StepContext(
            input_data=data,
            run_id=self.key.run,
            workflow_id=self._code.workflow,
            step_id=step.id,
            tenant=self.key.tenant,
            path=wish.path,
            attempt=wish.attempt,
            idempotency_key=f"{self.key.tenant}:{self.key.run}:{wish.call}",
            state=frozen(started.given.get("state")),
            request_context=frozen(started.given.get("context")),
            abort_signal=self._abort,
            log=log.getChild(step.id),
            _init_data=started.input,
            _lookup=lambda path: self._scheduler.result(self.key, path),
            _abort=lambda: self._scheduler.on_loop(
                lambda: self.tell(CancelRequested(self._scheduler.world.now(), f"asked for by step '{step.id}'"))
            ),
        )

    def _is_told_to_cancel(self) -> bool:
        return any(isinstance(fact, CancelRequested) for fact in self._facts)

    def _interrupt_steps(self) -> None:
        """The run is being canceled, and another process began its steps: what they did is not known."""
        now = self._scheduler.world.now()
        failure = Failure(
            "Interrupted", "the process ended while the run was being canceled; the step's outcome is unknown"
        )
        for call_id, call in self._machine.open.items():
            if call.phase in (StepPhase.CALLED, StepPhase.RUNNING):
                self.tell(StepFailed(now, call_id, failure))


def _fitting(failure: Failure) -> Failure:
    """The failure as it can enter the glass; one that is too large loses its data and its cause."""
    if len(encode_plain(failure.to_wire())) <= EVENT_BYTES_MAX:
        return failure
    return Failure(failure.name, failure.message)


def _milliseconds(seconds: float) -> int:
    return int(min(max(seconds, 0.0), RETRY_AFTER_S_MAX) * 1000)
