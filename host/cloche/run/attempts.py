"""The attempts of one run's steps that are under way in this process: deeds that end as facts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from cloche.errors import FatalError, InvalidInput, LimitExceeded, MissingStep, RetryableError
from cloche.history import CallId, Failure, Kind, Note, RunKey, RunMachine, TimeMs
from cloche.history.failures import traceback_of
from cloche.history.lifecycles import RunPhase, StepPhase
from cloche.history.machine import Fact, StartStep
from cloche.history.messages import CancelRequested, Started, StepBailed, StepCompleted, StepFailed, StepSuspended
from cloche.history.retry import asked_delay_ms
from cloche.history.values import encode_plain
from cloche.run.inputs import Arrival, Deferred
from cloche.steps.context import (
    AbortSignal,
    Bail,
    StateChange,
    StepContext,
    Suspension,
    Writer,
    frozen,
    merged,
    perform,
    validated,
)
from cloche.steps.redaction import without_places
from cloche.worker.quarantine import SUSPECT_FROM

if TYPE_CHECKING:
    from cloche.client.runs import Run
    from cloche.engines import Code
    from cloche.run.limits import Enforcement
    from cloche.worker.worker import Scheduler
    from cloche_codegen import Step

EVENT_BYTES_MAX = (8 << 20) - 1024
REDISPATCHES_MAX = 5  # how often an attempt is begun again because its process has ended
UNSAFE_RETRY_MS = 500

log = logging.getLogger("cloche.run")


class Owner(Protocol):
    """The driver, as far as attempts need it."""

    key: RunKey
    code: Code
    machine: RunMachine
    started: Started | None
    enforcement: Enforcement

    def tell(self, fact: Arrival) -> None: ...


class Attempts:
    """Starts attempts, gives them their context, and tells the driver how they ended."""

    def __init__(self, owner: Owner, scheduler: Scheduler) -> None:
        self._owner = owner
        self._scheduler = scheduler
        self._tasks: dict[asyncio.Task[None], CallId] = {}
        self._signals: dict[CallId, AbortSignal] = {}
        self._wishes: dict[CallId, StartStep] = {}
        self._announced: dict[CallId, StartStep] = {}  # attempts whose beginning is recorded before they begin
        self._riders: list[Note] = []  # records of attempts: they ride with the next append and are never waited for
        self._draining = False
        self._stopped = False

    @property
    def idle(self) -> bool:
        """Nothing is under way, and nothing is left to record."""
        return not self._riders and all(task.done() for task in self._tasks)

    def take_riders(self) -> list[Note]:
        riders, self._riders = self._riders, []
        return riders

    # ---- beginning and ending ----

    def start(self, wish: StartStep) -> None:
        """Begin an attempt, or wait until its time has come.

        Raises:
            MissingStep: this process does not have the step.
        """
        if self._draining and not wish.is_recorded:
            return
        if not wish.is_recorded and (refusal := self._owner.enforcement.refusal(wish)) is not None:
            self._owner.tell(StepFailed(self._scheduler.world.now(), wish.call, refusal))
            return
        self._wishes[wish.call] = wish
        step = self._scheduler.step(wish.name)
        if step is None:
            raise MissingStep(
                f"run {self._owner.key} needs step '{wish.name}', which this process does not have: "
                "open the store with the workflows or steps that it needs",
                run_id=self._owner.key.run,
                step=wish.name,
            )
        now = self._scheduler.world.now()
        if (
            wish.not_before > now and not wish.is_recorded
        ):  # once it is recorded it begins, whatever is done to the clock
            self._scheduler.timers.at(wish.not_before, lambda: self._start_if_waiting(wish))
            return
        if not wish.is_recorded:
            note = Note(Kind.ATTEMPT_STARTED, now, _beginning(step, wish), wish.call)
            if wish.redispatched or step.at_most_once:
                self._announced[wish.call] = replace(wish, is_recorded=True)
                self._owner.tell(note)
                return
            self._riders.append(note)
        task = asyncio.create_task(self._attempt(step, wish), name=f"step '{wish.path}' of run {self._owner.key}")
        self._tasks[task] = wish.call
        task.add_done_callback(self._forget)

    def start_again(self, wish: StartStep) -> None:
        """As `start`, in a run that was rebuilt: the attempt may have begun in a process that ended. That is recorded first.

        One that must not be repeated fails, and so does one with which a process ended too often: it may be the cause. Before
        that it begins alone.
        """
        now = self._scheduler.world.now()
        call = self._owner.machine.open[wish.call]
        if call.phase is StepPhase.BACKOFF and call.due > now:
            self.start(wish)
        elif call.at_most_once and call.phase is StepPhase.RUNNING:
            self._owner.tell(StepFailed(now, wish.call, _unknown_outcome(wish)))
        elif call.redispatched >= REDISPATCHES_MAX:
            self._owner.tell(StepFailed(now, wish.call, _redispatched_too_often(wish)))
        elif call.redispatched >= SUSPECT_FROM and self._scheduler.step(wish.name) is not None:
            self._scheduler.suspects.begin((self._owner.key, wish.call), lambda: self._start_alone(wish))
        else:
            self.start(replace(wish, redispatched=call.redispatched + 1))

    def _start_alone(self, wish: StartStep) -> bool:
        machine = self._owner.machine
        call = machine.open.get(wish.call)
        if self._stopped or self._draining or not machine.moves or call is None:
            return False
        self.start(replace(wish, redispatched=call.redispatched + 1))
        return True

    def interrupt(self) -> None:
        """The run is being canceled, and another process began its steps: what they did is not known."""
        failure = Failure(
            "Interrupted", "the process ended while the run was being canceled; the step's outcome is unknown"
        )
        for call_id, call in self._owner.machine.open.items():
            if call.phase in (StepPhase.CALLED, StepPhase.RUNNING):
                self._owner.tell(StepFailed(self._scheduler.world.now(), call_id, failure))

    def refuse_announced(self) -> None:
        """The run is being canceled: what has not begun does not begin."""
        failure = Failure("Canceled", "the run was canceled before this step began")
        for call in self._announced:
            self._owner.tell(StepFailed(self._scheduler.world.now(), call, failure))
        self._announced.clear()

    def again(self, facts: Sequence[Fact]) -> list[StartStep]:
        """The attempts that may begin now: their records, or those of failures that they answer, are durable."""
        wishes: list[StartStep] = []
        if self._scheduler.suspects:
            self._clear(facts)
        if not self._owner.machine.moves:
            return wishes
        for fact in facts:
            if isinstance(fact, StepCompleted | StepFailed | StepBailed):
                self._wishes.pop(fact.call, None)
            if isinstance(fact, Note) and fact.kind is Kind.ATTEMPT_STARTED and fact.call in self._announced:
                wishes.append(self._announced.pop(fact.call))
            if not isinstance(fact, Note) or fact.kind is not Kind.ATTEMPT_FAILED or fact.call is None:
                continue
            call = self._owner.machine.open.get(fact.call)
            if call is not None:
                attempt = fact.content["attempt"] + 1
                wish = self._wishes[fact.call]
                wishes.append(replace(wish, attempt=attempt, not_before=call.due, redispatched=0, is_recorded=False))
        return wishes

    def _clear(self, facts: Sequence[Fact]) -> None:
        """Those that have ended were not at fault."""
        for fact in facts:
            if isinstance(fact, StepCompleted | StepFailed | StepBailed | StepSuspended) or (
                isinstance(fact, Note) and fact.kind is Kind.ATTEMPT_FAILED
            ):
                self._scheduler.suspects.over((self._owner.key, fact.call))

    def abort(self, call: CallId | None = None) -> None:
        """Set the signal of one step that runs, or of all."""
        for open_call, signal in self._signals.items():
            if call in (None, open_call):
                signal._set()

    async def drain(self, timeout_s: float) -> None:
        """Let what runs end; start nothing more. What takes longer is cut off."""
        self._draining = True
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=timeout_s)
        if self._tasks:
            self._hand_over()
            self.stop()
            await asyncio.wait(list(self._tasks), timeout=1.0)

    def stop(self) -> None:
        """Let go of whatever still runs; what was not recorded is done again when the run is recovered."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        self._scheduler.suspects.leave(self._owner.key)

    def _hand_over(self) -> None:
        """Record of what is cut off that its process ended in good order: that is no reason to suspect the step."""
        now = self._scheduler.world.now()
        for call in dict.fromkeys(self._tasks.values()):
            wish = self._wishes.get(call)
            step = self._scheduler.step(wish.name) if wish is not None else None
            open_call = self._owner.machine.open.get(call)
            if wish is not None and step is not None and open_call is not None and open_call.redispatched:
                self._owner.tell(Note(Kind.ATTEMPT_STARTED, now, _beginning(step, replace(wish, redispatched=0)), call))

    def _forget(self, task: asyncio.Task[None]) -> None:
        call = self._tasks.pop(task)
        if call not in self._tasks.values():
            self._signals.pop(call, None)
        if self._stopped:
            return
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, KeyboardInterrupt):
            self._tell_unreported(call, error)

    def _tell_unreported(self, call: CallId, error: BaseException) -> None:
        """An attempt ended and told nobody, or its failure could not be told: without this its run would wait for ever."""
        log.error("an attempt of run %s ended without a result", self._owner.key, exc_info=error)
        try:
            failure = _fitting(without_places(Failure.from_exception(error)))
        except Exception:
            failure = Failure(type(error).__name__, "what the step raised could not be read")
        self._owner.tell(StepFailed(self._scheduler.world.now(), call, failure))

    def _start_if_waiting(self, wish: StartStep) -> None:
        machine = self._owner.machine
        if self._stopped or not machine.moves:
            return
        call = machine.open.get(wish.call)
        if call is None or call.phase is not StepPhase.BACKOFF:
            return
        if self._scheduler.claims.are_safe():
            self.start(wish)
        else:  # no commit has just said that the run is ours, and another worker may have taken it
            due = TimeMs(self._scheduler.world.now() + UNSAFE_RETRY_MS)
            self._scheduler.timers.at(due, lambda: self._start_if_waiting(wish))

    # ---- one attempt ----

    async def _attempt(self, step: Step, wish: StartStep) -> None:
        try:
            await self._perform(step, wish)
        except asyncio.CancelledError as error:
            if self._stopped:
                raise
            self._tell_failed(step, wish, error)
        except (KeyboardInterrupt, GeneratorExit):  # the process, or this coroutine, is ended; if not, `_forget` tells
            raise
        except BaseException as error:  # whatever an author's code raises is a failure of its step
            self._tell_failed(step, wish, error)

    async def _perform(self, step: Step, wish: StartStep) -> None:
        changes: list[StateChange] = []
        scheduler = self._scheduler
        try:
            checks = scheduler.checks(self._owner.code)
            context = self._contexts(step, wish, changes)
            value = await perform(step, wish.arguments, context, scheduler.step_pool, checks)
            self._tell_end(step, StepCompleted(scheduler.world.now(), wish.call, value), changes)
        except Suspension as suspension:
            self._tell_suspended(wish, suspension)
        except Bail as bail:
            self._tell_end(step, StepBailed(scheduler.world.now(), wish.call, bail.value), changes)

    def _tell_suspended(self, wish: StartStep, suspension: Suspension) -> None:
        event = StepSuspended(self._scheduler.world.now(), wish.call, wish.path, suspension.payload, suspension.labels)
        self._owner.enforcement.check_labels(suspension.labels)
        self._owner.enforcement.check_inbound(event)
        self._owner.tell(event)

    def _tell_end(self, step: Step, end: StepCompleted | StepBailed, changes: list[StateChange]) -> None:
        if any(callable(change) for change in changes):
            self._owner.tell(Deferred(end.call, end, changes))
            return
        if changes:
            end = replace(end, state=merged({}, changes))
        self._owner.enforcement.check_inbound(end)
        self._owner.tell(end)

    def _tell_failed(self, step: Step, wish: StartStep, error: BaseException) -> None:
        now = self._scheduler.world.now()
        try:
            delay = self._delay(step, wish, error)
        except TypeError as odd:
            error, delay = odd, None
        failure = _fitting(without_places(Failure.from_exception(error)))
        content = {
            "attempt": wish.attempt,
            "failure": failure.to_wire(),
            "retry_at": None if delay is None else now + delay,
            "traceback": traceback_of(error),
        }
        self._owner.tell(Note(Kind.ATTEMPT_FAILED, now, content, wish.call))
        if delay is None or self._owner.machine.phase is RunPhase.CANCELING:
            self._owner.tell(StepFailed(now, wish.call, failure))

    def _delay(self, step: Step, wish: StartStep, error: BaseException) -> int | None:
        """Milliseconds until the next attempt, None if there is none.

        Raises:
            TypeError: the step says when to try again in another form than seconds or a timedelta.
        """
        if isinstance(error, FatalError | InvalidInput | LimitExceeded):
            return None
        policy = self._scheduler.retry_policy(step, self._owner.code)
        names = [kind.__name__ for kind in type(error).__mro__]
        if policy.retry_on is not None and not any(name in policy.retry_on for name in names):
            return None
        delay: int | None = policy.delay_after(wish.attempt, f"{self._owner.key.run}:{wish.call}")
        asked = asked_delay_ms(error) if delay is not None and isinstance(error, RetryableError) else None
        return delay if asked is None else asked

    # ---- what a step sees ----

    def _contexts(self, step: Step, wish: StartStep, changes: list[StateChange]) -> Callable[[Any], StepContext]:
        signal = self._signals.setdefault(wish.call, AbortSignal())

        def made(data: Any) -> StepContext:
            owner = self._owner
            started = owner.started
            assert started is not None
            adapter = step.resume_adapter() if wish.is_resumed and wish.resume_data is not None else None
            resumed = validated(adapter, wish.resume_data, "resume data") if adapter else wish.resume_data
            return StepContext(
                input_data=data,
                run_id=owner.key.run,
                workflow_id=owner.code.workflow,
                step_id=step.id,
                tenant=owner.key.tenant,
                path=wish.path,
                attempt=wish.attempt,
                idempotency_key=f"{owner.key.token}:{wish.call}",
                state=frozen(owner.machine.state),
                request_context=frozen(started.given.get("context")),
                resume_data=resumed,
                suspend_data=wish.suspend_data,
                abort_signal=signal,
                writer=Writer(_ServicesOf(self, wish).write),
                log=log.getChild(step.id),
                _step=step,
                _init_data=started.input,
                _services=_ServicesOf(self, wish),
                _changes=changes,
            )

        return made


@dataclass(frozen=True, slots=True)
class _ServicesOf:
    """`Services` for one attempt; may be called from a step's own thread."""

    attempts: Attempts
    wish: StartStep

    def result_of(self, path: str) -> Any:
        attempts = self.attempts
        return attempts._scheduler.result(attempts._owner.key, path)

    def abort_run(self, reason: str) -> None:
        self._tell(CancelRequested(self.attempts._scheduler.world.now(), reason))

    def write(self, value: Any) -> None:
        self._tell(Note(Kind.STEP_WROTE, self.attempts._scheduler.world.now(), {"value": value}, self.wish.call))

    async def start_child(self, workflow: Any, input_data: Any, run_id: str) -> Run:
        owner = self.attempts._owner
        return await self.attempts._scheduler.start_child(owner, workflow, input_data, run_id)

    def _tell(self, fact: Fact) -> None:
        self.attempts._scheduler.on_loop(lambda: self.attempts._owner.tell(fact))


def _beginning(step: Step, wish: StartStep) -> dict[str, Any]:
    """What the record of an attempt's beginning says."""
    content: dict[str, Any] = {"attempt": wish.attempt}
    if wish.redispatched:
        content["redispatched"] = wish.redispatched
    if step.at_most_once:
        content["at_most_once"] = True
    return content


def _unknown_outcome(wish: StartStep) -> Failure:
    return Failure(
        "UnknownOutcome",
        f"the process ended while step '{wish.path}' ran, and it is to run at most once: whether it did its work is not known. "
        "Look where it works, then go on with a fork of the run at this step, or behind it",
    )


def _redispatched_too_often(wish: StartStep) -> Failure:
    return Failure(
        "RedispatchedTooOften",
        f"step '{wish.path}' was begun {REDISPATCHES_MAX + 1} times, and each time its process ended before it did: it may be "
        "what ends it (memory, a native crash). Run it alone and mend it, then go on with a fork of the run at this step",
    )


def _fitting(failure: Failure) -> Failure:
    """The failure as it can enter the glass; one that is too large loses its data and its cause."""
    if len(encode_plain(failure.to_wire())) <= EVENT_BYTES_MAX:
        return failure
    return Failure(failure.name, failure.message)
