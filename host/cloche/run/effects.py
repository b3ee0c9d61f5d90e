"""What follows from a commit: attempts of steps, child runs, timers. Nothing here begins before its record is durable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cloche.history import Batch, CallId, Kind, TimeMs
from cloche.history.effects import Effect, StartRun, StartStep, StartTimer, StopCall, WatchHook
from cloche.history.lifecycles import RunPhase, TimerPhase
from cloche.history.machine import OVERDUE, Input
from cloche.history.messages import CancelRequested, OpenHook, TimerFired
from cloche.history.output import unpack_command
from cloche.history.resting import waits_for_others
from cloche.run.attempts import Attempts
from cloche.run.children import LEFT_AFTER_MS, Children
from cloche.run.hooks import Hooks
from cloche.run.remote import AwaySteps

if TYPE_CHECKING:
    from cloche.run.inputs import Inputs
    from cloche.run.live_run import LiveRun
    from cloche.run.ports import RunServices

BEGUN_AT_ONCE = 100  # attempts, timers and children of one turn, before others may go on: each is a task


class Effects:
    """Of one run while it is driven. `is_driven` says whether this object still speaks for its run."""

    def __init__(self, services: RunServices, run: LiveRun, inputs: Inputs, is_driven: Callable[[], bool]) -> None:
        self.attempts = Attempts(run, inputs, services)
        self.children = Children(run, inputs, services)
        self.away = AwaySteps(services, run, inputs)
        self._hooks = Hooks(services, run, inputs, is_driven)
        self._services = services
        self._run = run
        self._inputs = inputs
        self._is_driven = is_driven
        self._planned = TimeMs(0)  # when it looks again whether it can be let go
        self._fired: set[CallId] = set()  # timers of which the run was told

    async def follow(self, batch: Batch, inputs: Sequence[Input]) -> None:
        """Do what a batch asks for, now that it is durable; `inputs` are those that it recorded.

        Raises:
            MissingStep, MissingWorkflow: this process does not have one that is needed.
        """
        machine = self._run.machine
        is_over = machine.phase is RunPhase.CANCELING or machine.ended
        if is_over:
            self.attempts.abort()
        if machine.phase is RunPhase.CANCELING:
            self.attempts.refuse_announced()
        begins = [
            *_new_to_watch(machine.committed(batch), batch),
            *self.attempts.again(inputs),
        ]  # before the store is asked for anything
        if is_over:
            await self.children.cancel_all()
        for effect in batch.effects:
            if isinstance(effect, StopCall):
                await self.stop_call(effect.call)
        await self.dispatch(begins)
        kinds = {record.kind for record in batch.records}
        if batch.freed:
            self._services.supervisor.look_for_requests()
        if Kind.CANCEL_DELIVERED in kinds:
            self.bound_clean_up()
        if Kind.CANCEL_REQUESTED in kinds and not machine.ended:
            self._bound_cancellation()
        if Kind.RUN_CONTINUED in kinds:
            await self.dispatch(machine.pending())
        if Kind.DEADLINE_SET in kinds or Kind.RUN_STARTED in kinds:
            self.bound_run()
        if Kind.RUN_CONTINUED in kinds:  # a paused run is given no event
            self._services.supervisor.hooks_opened(self._run.key, list(machine.open.awaited))
        elif Kind.HOOK_OPENED in kinds:
            opened = (unpack_command(record.body) for record in batch.records if record.kind is Kind.HOOK_OPENED)
            names = [command.name for command in opened if isinstance(command, OpenHook)]
            self._services.supervisor.hooks_opened(self._run.key, names)
        if self._fired:
            self._fired.intersection_update(machine.open)

    def others_are_left(self) -> bool:
        """Whether nothing is under way but children that can be left to themselves and steps that wait for permits.

        No timer is due soon then.
        """
        now, left_from = self._services.world.now(), self._left_from()
        due = self._run.machine.open.next_due
        return left_from is not None and left_from <= now and (due is None or due - now >= LEFT_AFTER_MS)

    def plan_to_leave(self) -> None:
        """Wake the run when it can be let go."""
        left_from = self._left_from()
        if left_from is not None and left_from > max(self._services.world.now(), self._planned):
            self._planned = left_from
            self._services.timers.at(left_from, self._inputs.wake)
        self.away.plan_to_leave()

    def _left_from(self) -> TimeMs | None:
        """From when on all that it waits for can be left to itself; None: it waits for something else."""
        if not waits_for_others(self._run.machine):
            return None
        parts = (self.children.left_from(), self.attempts.permits.left_from())
        known = [one for one in parts if one is not None]
        return max(known) if len(known) == len(parts) else None

    async def stop_call(self, call: CallId) -> None:
        """Nobody waits for this call any more."""
        self.attempts.abort(call)
        await self.children.cancel(call)

    async def dispatch(self, effects: Sequence[Effect]) -> None:
        """Begin each of them.

        Raises:
            MissingStep, MissingWorkflow: as `follow`.
        """
        for number, effect in enumerate(effects, 1):
            if number % BEGUN_AT_ONCE == 0:
                await asyncio.sleep(0)
            match effect:
                case StartStep():
                    self.attempts.start(effect)
                case StartRun():
                    await self.children.start(effect)
                case WatchHook():
                    self._hooks.watch(effect)
                case StartTimer():
                    self._services.timers.at(effect.due, lambda effect=effect: self.fire(effect))  # type: ignore[misc]

    async def dispatch_again(self) -> None:
        """What a run waits for that another process began: its steps may have begun there."""
        for effect in self._run.machine.pending():
            if isinstance(effect, StartStep):
                self.attempts.start_again(effect)
            else:
                await self.dispatch([effect])

    async def interrupt(self) -> None:
        """The run is being canceled, and another process began what it waits for."""
        self.attempts.interrupt()
        await self.children.cancel_all()

    def fire(self, timer: StartTimer) -> None:
        """A timer is due: the run is told if it still waits for it, and is still driven here.

        Where it waits for something from outside too, what came before the timer's time goes before it: see `worker.run_inbox`.
        """
        open = self._run.machine.open
        if not self._is_set(timer.call) or not self._is_driven():
            return
        if open.awaited or open.suspended:
            self._services.supervisor.timer_due(self._run.key)
        else:
            self.fired(timer.call)

    def fired(self, call: CallId) -> TimerFired | None:
        """Tell the run that this timer has fired, once; the input."""
        if call in self._fired or not self._is_set(call):
            return None
        self._fired.add(call)
        event = TimerFired(self._services.world.now(), call)
        self._inputs.add(event)
        return event

    def _is_set(self, call: CallId) -> bool:
        found = self._run.machine.open.get(call)
        return found is not None and found.phase is TimerPhase.SET

    def bound_run(self) -> None:
        """The run is told to end at its deadline, if it has one."""
        due = self._run.machine.open.deadline

        def end() -> None:
            machine = self._run.machine
            if machine.open.deadline == due and machine.phase is RunPhase.RUNNING and self._is_driven():
                self._inputs.add(CancelRequested(self._services.world.now(), OVERDUE))

        if due:
            self._services.timers.at(due, end)

    def bound_clean_up(self) -> None:
        """The code was told to end: what it has not done by then, it does not do any more. A crash begins the time anew."""
        most_s, world = self._run.limits.policy.clean_up_s, self._services.world

        def end() -> None:
            if self._run.machine.phase is RunPhase.CLEANING_UP and self._is_driven():
                self._inputs.add(
                    CancelRequested(world.now(), f"it did not end within {most_s} s of being told", is_final=True)
                )

        self._services.timers.at(TimeMs(world.now() + most_s * 1000), end)

    def _bound_cancellation(self) -> None:
        """The run ends when its steps have: what has not by then is left behind. A crash ends it at once (`interrupt`)."""
        most_s, world = self._run.limits.policy.cancel_s, self._services.world

        def end() -> None:
            if self._run.machine.phase is RunPhase.CANCELING and self._is_driven():
                self.attempts.leave_behind(most_s)

        self._services.timers.at(TimeMs(world.now() + most_s * 1000), end)

    def stop(self) -> None:
        """Let go of whatever still runs; what was not recorded is done again when the run is recovered."""
        self.attempts.stop()
        self.children.stop()


def _new_to_watch(effects: Sequence[Effect], batch: Batch) -> list[Effect]:
    """Without hooks that go on: one that has a token opens again under it with each payload."""
    went_on = [one for one in effects if isinstance(one, WatchHook) and one.token and one.name not in batch.awaited]
    return [one for one in effects if one not in went_on] if went_on else list(effects)
