"""The attempts of one run's steps that are under way in this process: effects that end as inputs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cloche.errors import MissingStep
from cloche.history import Batch, CallId, Failure, TimeMs
from cloche.history.effects import StartStep
from cloche.history.lifecycles import StepPhase
from cloche.history.machine import AT_ONCE, Input
from cloche.history.messages import StepBailed, StepCompleted, StepFailed, StepSuspended
from cloche.history.notes import AnyNote, AttemptFailed, AttemptStarted, PermitAsked
from cloche.run.beginnings import StepCall, filled_input, note_of_beginning, queued_ms
from cloche.run.outcomes import Outcomes, left_behind, redispatched_too_often, unknown_outcome
from cloche.run.permits import Permits
from cloche.run.remote import RemoteCalls, is_remote
from cloche.run.step_lines import StepLines
from cloche.run.undriven import interrupted, working
from cloche.steps.attempt import attempt
from cloche.steps.binding import Arguments
from cloche.steps.context import AbortSignal
from cloche.steps.failing import failure_of

if TYPE_CHECKING:
    from cloche.history import RunKey, RunMachine
    from cloche.run.inputs import Inputs
    from cloche.run.live_run import LiveRun
    from cloche.run.ports import RunServices
    from cloche_codegen import Step

REDISPATCHES_MAX = 5  # how often an attempt is begun again because its process has ended
QUARANTINE_FROM = 3  # begun again so often because a process had ended, and not in good order: less may be anything
UNSAFE_RETRY_MS = 500
NOTES_MAX = 500  # in one commit

log = logging.getLogger("cloche.run")


class Attempts:
    """Starts attempts, and tells their run how they ended."""

    def __init__(self, run: LiveRun, inputs: Inputs, services: RunServices) -> None:
        self._run = run
        self._inputs = inputs
        self._services = services
        self._outcomes = Outcomes(run, inputs, services)
        self.calls: dict[CallId, StepCall] = {}
        self.tasks: dict[asyncio.Task[None], StepCall] = {}
        self._pending_notes: list[AnyNote] = []  # of attempts: they go with the next append, nobody waits for them
        self.remote = RemoteCalls(
            run, inputs, services, lambda start: self.calls.setdefault(start.call, StepCall(start))
        )
        self.permits = Permits(run, inputs, services, self)
        self._draining = False
        self._stopped = False

    @property
    def idle(self) -> bool:
        """Nothing is under way, and nothing is left to record."""
        return not self._pending_notes and all(task.done() for task in self.tasks)

    @property
    def is_ending(self) -> bool:
        """Whether nothing begins here any more."""
        return self._stopped or self._draining

    @property
    def under_way(self) -> list[str]:
        """The attempts that are made now, for people."""
        return [task.get_name() for task in self.tasks]

    def take_pending_notes(self) -> tuple[list[AnyNote], bool]:
        """Those for the next commit, the oldest; and whether that is all of them: a large turn begins many attempts."""
        notes, self._pending_notes = self._pending_notes[:NOTES_MAX], self._pending_notes[NOTES_MAX:]
        return notes, not self._pending_notes

    # ---- beginning ----

    def start(self, start: StartStep) -> None:
        """Begin an attempt, or wait until its time has come.

        Raises:
            MissingStep: this process does not have the step, or has it with a schema that what it is given does not fit.
        """
        if self._stopped or (self._draining and not start.is_recorded) or self.remote.is_away(start):
            return
        is_own = self._services.registry.entry(self._run.code, start.path) is not None
        named = self._services.registry.named(start.name)
        if not start.is_recorded and not is_own and (refusal := self._run.limits.refusal(start, named)) is not None:
            self._inputs.add(StepFailed(self._services.world.now(), start.call, refusal))
            return
        known = self.calls.get(start.call)
        may_begin = known is not None and known.start is start  # it has waited, for its record or its time
        call = self.calls.setdefault(start.call, StepCall(start))
        call.start = start
        step = self.step_of(start)
        if not is_own and self.permits.holds_back(step, start):
            return
        wait_s = 0.0 if may_begin or is_own else self._run.limits.start_wait_s(start)
        if wait_s:
            call.is_announced = True
            call.queued_from = call.queued_from or self._services.world.now()
            due = TimeMs(self._services.world.now() + max(1, round(wait_s * 1000)))
            self._services.timers.at(due, lambda: self._start(step, call, start, has_waited=True))
        else:
            self._start(step, call, start)

    def _start(self, step: Step, call: StepCall, start: StartStep, *, has_waited: bool = False) -> None:
        """Now. One that `has_waited` until its tenant may begin another step may not be wanted any more."""
        if has_waited:
            if not (
                call.is_announced
                and call.start is start
                and _may_begin(self._run.machine, start, is_ending=self._stopped or self._draining)
            ):
                return
            call.is_announced = False
        now = self._services.world.now()
        draws = start.filled is None and not start.is_recorded and start.not_before <= now
        if draws and (given := filled_input(self._services, self._run, step, start)) is not None:
            self._announce(step, call, replace(start, filled=given), now)
            return
        if start.is_recorded:  # it begins, whatever is done to the clock
            self._begin(step, call)
        elif start.not_before > now:
            self._services.timers.at(start.not_before, lambda: self._look_again(start))
        elif is_remote(step) and (misfit := self.remote.misfit(step, start)) is not None:
            self._pending_notes.append(AttemptStarted(now, start.call, start.attempt))
            self._outcomes.tell_failed(step, start, misfit)
        elif start.redispatched or step.at_most_once or is_remote(step):
            self._announce(step, call, start, now)
        else:
            self._pending_notes.append(note_of_beginning(step, start, now, queued_ms(call, start, now)))
            self._begin(step, call)

    def prepare(self, batch: Batch) -> Iterator[None]:
        """Add to a batch that was accepted, and is not written yet, what steps that are called in it draw of their inputs.

        What is drawn is in the note of their beginning. So they begin after the commit, which costs none of its own.
        It is done in pieces: between two of them the caller may do something else.
        """
        machine = self._run.machine
        if self._draining or not machine.moves:
            return
        for index, effect in enumerate(batch.effects):
            if index % AT_ONCE == AT_ONCE - 1:
                yield
            step = self._services.registry.step(effect.name) if isinstance(effect, StartStep) else None
            if step is None or not isinstance(effect, StartStep) or effect.filled is not None:
                continue
            call = machine.open.get(effect.call)
            if not self._draining and self.permits.ask_in(batch, index, step, effect):
                continue
            if is_remote(step) and self.remote.is_ready(step, effect):
                given = filled_input(self._services, self._run, step, effect)
                start = replace(effect, filled=given, is_recorded=True)
                machine.add_note(note_of_beginning(step, start, self._services.world.now()))
                batch.effects[index] = start
                continue
            if call is not None and call.filled is not None:  # it was drawn in the run that this one goes on from
                batch.effects[index] = replace(effect, filled=call.filled)
                continue
            given = (
                filled_input(self._services, self._run, step, effect)
                if call is not None and call.phase is StepPhase.CALLED
                else None
            )
            if (
                given is not None
                and self._run.limits.refusal(effect, self._services.registry.named(effect.name)) is None
            ):
                start = replace(effect, filled=given, is_recorded=True)
                machine.add_note(note_of_beginning(step, start, self._services.world.now()))
                batch.effects[index] = start

    def start_again(self, start: StartStep) -> None:
        """As `start`, in a run that was rebuilt: the attempt may have begun in a process that ended. That is recorded first.

        One that must not be repeated fails, and so does one with which a process ended too often: it may be the cause. Before
        that it begins alone.
        """
        now = self._services.world.now()
        call = self._run.machine.open[start.call]
        if call.phase is StepPhase.BACKOFF and call.due > now:
            self.start(start)
        elif call.phase is StepPhase.QUEUED:  # nothing of it has begun, unless its permits were free at once
            self.start(replace(start, redispatched=call.redispatched + 1))
        elif call.at_most_once and call.phase is StepPhase.RUNNING:
            self._inputs.add(StepFailed(now, start.call, unknown_outcome(start.path)))
        elif call.redispatched >= REDISPATCHES_MAX:
            self._inputs.add(StepFailed(now, start.call, redispatched_too_often(start, REDISPATCHES_MAX)))
        elif call.redispatched >= QUARANTINE_FROM and self._services.registry.step(start.name) is not None:
            attempt_id = (self._run.key, start.call)
            self._services.quarantine.begin(attempt_id, lambda: self._start_isolated(start))
        else:
            self.start(replace(start, redispatched=call.redispatched + 1))

    def again(self, recorded: Sequence[Input]) -> list[StartStep]:
        """The attempts that may begin now: their records, or those of failures that they answer, are durable."""
        starts: list[StartStep] = []
        if self._services.quarantine:
            _release_from_quarantine(self._services, self._run.key, recorded)
        if not self._run.machine.moves:
            return starts
        for one in recorded:
            if isinstance(one, StepCompleted | StepFailed | StepBailed):
                self.calls.pop(one.call, None)
            elif isinstance(one, PermitAsked):
                if (waiting := self.permits.again(one)) is not None:
                    starts.append(waiting)
            elif isinstance(one, AttemptStarted | AttemptFailed) and (call := self.calls.get(one.call)) is not None:
                if isinstance(one, AttemptStarted):
                    if call.is_announced:
                        call.is_announced = False
                        starts.append(call.start)
                elif (open_call := self._run.machine.open.get(one.call)) is not None:
                    # As it is recorded: the attempt before may have changed its arguments in place.
                    start = self._run.machine.open.start_of(one.call)
                    again = replace(start, attempt=one.attempt + 1, not_before=open_call.due)
                    starts.append(replace(again, redispatched=0, is_recorded=False))
        return starts

    # ---- ending ----

    def interrupt(self) -> None:
        """The run is being canceled, and another process began its steps: what they did is not known."""
        message = "the process ended while the run was being canceled; the step's outcome is unknown"
        for failed in interrupted(self._run.machine, self._services.world.now(), message):
            self._inputs.add(failed)

    def leave_behind(self, seconds: int) -> None:
        """The run was canceled so long ago, and ends without the steps that go on. What still comes of them is late.

        Those on the event loop are canceled; a thread cannot be.
        """
        for call_id, call in working(self._run.machine):
            log.warning(
                "step '%s' of run %s goes on %s s after it was canceled: it is left behind",
                call.path,
                self._run.key,
                seconds,
            )
            failure = left_behind(call.path, seconds)
            if call.at_most_once:
                failure = unknown_outcome(call.path, f"did not end within {seconds} s of the run being canceled")
            self._inputs.add(StepFailed(self._services.world.now(), call_id, failure))
        for task, begun in self.tasks.items():
            step = self._services.registry.step(begun.start.name)
            if step is not None and step.is_async and begun.start.call in self._run.machine.open:
                task.cancel()

    def refuse_announced(self) -> None:
        """The run is being canceled: what has not begun does not begin."""
        failure = Failure("Canceled", "the run was canceled before this step began")
        announced = {call_id: call for call_id, call in self.calls.items() if call.is_announced}
        for call in announced.values():
            call.is_announced = False
        queued = (id for id, call in self._run.machine.open.items() if call.phase is StepPhase.QUEUED)
        for call_id in dict.fromkeys([*announced, *queued]):
            self._inputs.add(StepFailed(self._services.world.now(), call_id, failure))

    def abort(self, call_id: CallId | None = None) -> None:
        """Set the signal of one step that runs, or of all."""
        for call in set(self.tasks.values()) if call_id is None else filter(None, [self.calls.get(call_id)]):
            if call.signal is not None:
                call.signal._set()

    async def drain(self, timeout_s: float) -> None:
        """Let what runs end; start nothing more. What takes longer is cut off."""
        self._draining = True
        if self.tasks:
            await asyncio.wait(list(self.tasks), timeout=timeout_s)
        if self.tasks:
            for task in self.tasks:
                log.warning("%s did not end within %g s and is cut off", task.get_name(), timeout_s)
            _hand_over(self)
            self.stop()
            await asyncio.wait(list(self.tasks), timeout=1.0)

    def stop(self) -> None:
        """Let go of whatever still runs; what was not recorded is done again when the run is recovered."""
        self._stopped = True
        for task in self.tasks:
            task.cancel()
        self.permits.stop()
        self._services.quarantine.leave(self._run.key)

    # ---- inside ----

    def step_of(self, start: StartStep) -> Step:
        step = self._services.registry.step_at(start.name, self._run.code, start.path)
        if step is None:
            name = start.name.rpartition("//")[2]
            by_name = f": in Python a function called {name} (--steps FILE.py), or one on Node (--node-steps FILE)"
            raise MissingStep(
                f"run {self._run.key} needs step '{start.name}', which this process does not have: "
                f"open the store with the workflows or steps that it needs{by_name if name != start.name else ''}",
                run_id=self._run.key.run,
                step=start.name,
            )
        self._services.registry.check_pinned(step, self._run.code, start.path, start.given, start.resume_data)
        return step

    def _announce(self, step: Step, call: StepCall, start: StartStep, now: TimeMs) -> None:
        """Record the beginning first; the attempt begins after that."""
        call.start, call.is_announced = replace(start, is_recorded=True), True
        self._inputs.add(note_of_beginning(step, start, now, queued_ms(call, start, now)))

    def _begin(self, step: Step, call: StepCall) -> None:
        if is_remote(step):  # it was sent by its record
            return
        if not call.attempts or call.signal is None:
            call.signal = AbortSignal()
        call.attempts += 1
        name = f"step '{call.start.path}' of run {self._run.key}"
        task = asyncio.create_task(self._attempt(step, call.start, call.signal), name=name)
        self.tasks[task] = call
        task.add_done_callback(self._ended)

    async def _attempt(self, step: Step, start: StartStep, signal: AbortSignal) -> None:
        outcomes, services = self._outcomes, self._services
        lines = StepLines(self._run.key, start, self._inputs, services)
        try:
            checks = services.registry.checks(self._run.code)
            context, tenant = outcomes.contexts(step, start, signal), self._run.key.tenant
            asked = Arguments(start.given, start.keywords)
            work = attempt(services.runner, step, tenant, asked, context, checks)
            if services.observer is not None:
                work = services.observer.attempted(self._run, step, start, work)
            outcome = await work
            lines.end()
            outcomes.tell(start, outcome)
        except asyncio.CancelledError as error:
            if self._stopped:
                raise
            lines.end()
            outcomes.tell_failed(step, start, error)
        except KeyboardInterrupt:  # Ctrl-C, as far as anybody knows: it ends the process
            log.critical("step '%s' of run %s was interrupted, and the process ends", start.path, self._run.key)
            raise
        except GeneratorExit:  # this coroutine is ended; if not, `_ended` tells
            raise
        except BaseException as error:  # whatever an author's code raises is a failure of its step
            lines.end()
            outcomes.tell_failed(step, start, error)

    def _ended(self, task: asyncio.Task[None]) -> None:
        call = self.tasks.pop(task)
        call.attempts -= 1
        self.permits.attempt_ended(call.start.call)
        if self._stopped:
            return
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, KeyboardInterrupt):
            # It told nobody, or its failure could not be told: without this its run would wait for ever.
            log.error("an attempt of run %s ended without a result", self._run.key, exc_info=error)
            self._inputs.add(StepFailed(self._services.world.now(), call.start.call, failure_of(error).told_to(None)))

    def _start_isolated(self, start: StartStep) -> bool:
        if not _may_begin(self._run.machine, start, is_ending=self._stopped or self._draining):
            return False
        call = self._run.machine.open[start.call]
        self.start(replace(start, redispatched=call.redispatched + 1))
        return True

    def _look_again(self, start: StartStep) -> None:
        """The time of an attempt has come."""
        if self._waits(start):
            self._services.tasks.spawn(self._start_if_waiting(start))

    def _waits(self, start: StartStep) -> bool:
        machine = self._run.machine
        if self._stopped or not machine.moves:
            return False
        call = machine.open.get(start.call)
        return call is not None and call.phase is StepPhase.BACKOFF

    async def _start_if_waiting(self, start: StartStep) -> None:
        is_safe = await self._services.ownership.is_safe()
        if not self._waits(start):  # any more: it was asked meanwhile
            return
        if is_safe:
            self.start(start)
        else:  # no commit has just said that the run is ours, and another worker may have taken it
            due = TimeMs(self._services.world.now() + UNSAFE_RETRY_MS)
            self._services.timers.at(due, lambda: self._look_again(start))


def _hand_over(attempts: Attempts) -> None:
    """Record of what is cut off that its process ended in good order: that is no reason to suspect the step."""
    services, run = attempts._services, attempts._run
    for start in {call.start.call: call.start for call in attempts.tasks.values()}.values():
        step = services.registry.step(start.name)
        open_call = run.machine.open.get(start.call)
        if step is not None and open_call is not None and open_call.redispatched:
            attempts._inputs.add(note_of_beginning(step, replace(start, redispatched=0), services.world.now()))


def _may_begin(machine: RunMachine, start: StartStep, *, is_ending: bool) -> bool:
    return not is_ending and machine.moves and start.call in machine.open


def _release_from_quarantine(services: RunServices, key: RunKey, recorded: Sequence[Input]) -> None:
    """Those that have ended were not at fault."""
    for one in recorded:
        if isinstance(one, StepCompleted | StepFailed | StepBailed | StepSuspended | AttemptFailed):
            services.quarantine.over((key, one.call))
