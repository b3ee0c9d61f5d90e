"""Permits of one run: what its steps ask for before an attempt begins, and what becomes of that.

An attempt of a step that has limits asks for permits in the commit that calls it (`Kind.PERMIT_ASKED`), and begins when it has
all of them: at once where they were free, else when a request in the inbox says so. It has them until it has ended or was
suspended: that commit gives them back. Nothing is under way while it waits, so the run may be let go.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from cloche.errors import ClocheError, LeaseLost, StoreUnavailable
from cloche.history import Batch, CallId, TimeMs
from cloche.history.effects import StartStep
from cloche.history.lifecycles import StepPhase
from cloche.history.messages import StepFailed
from cloche.history.notes import AttemptStarted, PermitAsked
from cloche.run.asked import input_of, limits_asked
from cloche.run.beginnings import StepCall, filled_input, note_of_beginning, queued_ms
from cloche.steps.failing import failure_of
from cloche.store.permits import Limit, PermitAsk, PermitRow

if TYPE_CHECKING:
    from cloche.history.calls import OpenCall
    from cloche.run.inputs import Inputs
    from cloche.run.live_run import LiveRun
    from cloche.run.ports import RunServices
    from cloche_codegen import Step

RESTS_AFTER_MS = 1_000  # a run that waits for permits alone is let go so long after it has asked for the last
RETRY_S = 0.5


class Beginner(Protocol):
    """Who begins attempts."""

    calls: dict[CallId, StepCall]
    tasks: dict[asyncio.Task[None], StepCall]

    def start(self, start: StartStep) -> None:
        """Raises ClocheError: this process cannot begin it."""

    def step_of(self, start: StartStep) -> Step:
        """Raises as `start`."""

    @property
    def is_ending(self) -> bool:
        """Whether nothing begins here any more."""


class Permits:
    """`attempts` begin when they have their permits."""

    def __init__(self, run: LiveRun, inputs: Inputs, services: RunServices, attempts: Beginner) -> None:
        self._run = run
        self._inputs = inputs
        self._services = services
        self._attempts = attempts
        self.trouble: ClocheError | None = (
            None  # keeps an attempt that has its permits from beginning: it blocks the run
        )
        self._having: set[CallId] = set()  # calls of which it is known here that they have theirs
        self._waiting: dict[CallId, TimeMs] = {}  # those that wait, and since when that is known
        self._wanted: dict[CallId, StartStep] = {}  # attempts of which the store is asked
        self._detached: set[CallId] = set()  # calls whose attempt goes on here and nobody waits for
        self._looking: asyncio.Task[None] | None = None

    # ---- asking ----

    def asked(self, step: Step, start: StartStep, now: TimeMs) -> PermitAsked | None:
        """The note that asks for the permits of an attempt; None: it needs none.

        Raises:
            BadKey, Exception: a key cannot be had of its input; what an author's function raised.
        """
        limits = limits_asked(self._run.limits.policy, self._run.key.tenant, step.limits, *input_of(step, start))
        if not limits:
            return None
        asked = [list(limit) for limit in limits]
        return PermitAsked(now, start.call, start.attempt, asked, start.redispatched, start.filled)

    def holds_back(self, step: Step, start: StartStep) -> bool:
        """Whether an attempt that could begin now does not: it asks for permits first, or waits for them."""
        call = self._run.machine.open.get(start.call)
        if call is None or start.is_recorded or not (step.limits or call.limits is not None):
            return False
        if start.not_before > self._services.world.now():
            return False
        if start.call in self._having:
            return False
        if call.phase in (StepPhase.QUEUED, StepPhase.RUNNING) and call.limits is not None:
            self._wanted[start.call] = start
            self._look_soon()
            return True
        return self._ask(step, start)

    def _ask(self, step: Step, start: StartStep) -> bool:
        now = self._services.world.now()
        try:
            note = self.asked(step, start, now)
        except Exception as error:  # of an author's function too: the attempt has failed before it began
            self._inputs.add(StepFailed(now, start.call, failure_of(error).told_to(None)))
            return True
        if note is not None:
            self._inputs.add(note)
        return note is not None

    def ask_in(self, batch: Batch, index: int, step: Step, start: StartStep) -> bool:
        """Have an attempt whose step has limits ask for permits in the batch that calls it: it begins after that.

        `index` is the place of its effect. False: it does not ask there.
        """
        machine = self._run.machine
        call = machine.open.get(start.call)
        if not step.limits or call is None or call.phase is not StepPhase.CALLED:
            return False
        if self._run.limits.refusal(start) is not None:
            return False
        known = call.filled
        given = known if known is not None else filled_input(self._services, self._run, step, start)
        start = start if given is None else replace(start, filled=given)
        try:
            note = self.asked(step, start, self._services.world.now())
        except Exception:  # it is told when the attempt would begin
            return False
        if note is not None:
            machine.add_note(note)
            batch.effects[index] = start
        return note is not None

    # ---- what the store says ----

    def _look_soon(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name=f"permits of run {self._run.key}")

    async def _look(self) -> None:
        """See which of those that are wanted have their permits."""
        while self._wanted:
            try:
                rows = {row.call: row for row in await self._services.store.permits_of(self._run.key)}
            except StoreUnavailable:
                await asyncio.sleep(RETRY_S)
                continue
            wanted, self._wanted = self._wanted, {}
            try:
                for call, start in wanted.items():
                    self._follow(call, start, rows.get(call))
            except ClocheError as error:
                self.trouble = error
                self._inputs.wake()

    def _follow(self, call_id: CallId, start: StartStep, row: PermitRow | None) -> None:
        call = self._run.machine.open.get(call_id)
        if call is None or not self._run.machine.moves:
            return
        if row is None:  # they were given back: the run was blocked meanwhile
            start = self.start_of(call_id, call) if call.phase is StepPhase.QUEUED else start
            step = self._services.registry.step_at(start.name, self._run.code, start.path)
            if step is None or not self._ask(step, start):
                self._have(start)
        elif row.granted_at is not None and not (row.is_posted and call.phase is StepPhase.QUEUED):
            self._have(start)
        else:  # the request that says that it has them is in the inbox, or will be
            self._waiting[call_id] = self._services.world.now()
            self._services.supervisor.permits_wait()
            self._inputs.wake()

    def _have(self, start: StartStep) -> None:
        self._waiting.pop(start.call, None)
        self._having.add(start.call)
        self._call(start)
        self._attempts.start(start)

    def _call(self, start: StartStep) -> StepCall:
        """The call, which has waited since it asked."""
        call = self._attempts.calls.setdefault(start.call, StepCall(start))
        call.queued_from = self._run.machine.open[start.call].asked_at or None
        return call

    async def begin(self, call_id: CallId, permit: int, request: int) -> AttemptStarted | None:
        """Record that an attempt begins that has its permits since now, with the request that said so; it begins after that.

        None: nothing waits for them any more, or it ends here.

        Raises:
            MissingStep: this process does not have the step; the run is to be blocked.
            StoreError: the store did not say whether that is still so.
        """
        if self._attempts.is_ending or (start := await self._granted(call_id, permit)) is None:
            return None
        try:
            step = self._attempts.step_of(start)
        except ClocheError as error:
            self.trouble = error
            raise
        now, call = self._services.world.now(), self._call(start)
        note = note_of_beginning(step, start, now, queued_ms(call, start, now))
        call.start, call.is_announced = replace(start, is_recorded=True), True
        self._inputs.add(note, request)
        return note

    async def _granted(self, call_id: CallId, permit: int) -> StartStep | None:
        """What begins now that the inbox says that a call has its permits."""
        call = self._run.machine.open.get(call_id)
        if call is None or call.phase is not StepPhase.QUEUED or call_id in self._having:
            return None
        rows = await self._services.store.permits_of(self._run.key)
        is_so = any(row.call == call_id and row.id == permit and row.granted_at is not None for row in rows)
        call = self._run.machine.open.get(call_id)
        if not is_so or call is None or call.phase is not StepPhase.QUEUED or call_id in self._having:
            return None
        self._wanted.pop(call_id, None)
        self._waiting.pop(call_id, None)
        self._having.add(call_id)
        return self.start_of(call_id, call)

    def start_of(self, call_id: CallId, call: OpenCall) -> StartStep:
        """The attempt that has asked for permits."""
        return replace(self._run.machine.open.start_of(call_id), redispatched=call.redispatched)

    def again(self, one: PermitAsked) -> StartStep | None:
        """Of a note that is durable now: the attempt that waits for what it asks for."""
        self._having.discard(one.call)
        call = self._run.machine.open.get(one.call)
        return self.start_of(one.call, call) if call is not None and call.phase is StepPhase.QUEUED else None

    # ---- what a commit has to do with them ----

    def asks(self, batch: Batch) -> list[PermitAsk]:
        """What a batch asks for. A call may have ended in the same batch."""
        open_calls, found = self._run.machine.open, []
        for call in batch.asked:
            if call in open_calls.permits and (limits := open_calls[call].limits) is not None:
                start = open_calls.start_of(call)
                found.append(PermitAsk(call, start.name, start.path, [Limit(*one) for one in limits]))
        return found

    def freed(self, batch: Batch) -> tuple[list[CallId], list[CallId]]:
        """The calls that have no use for permits any more once a batch is durable, and those whose attempt goes on here."""
        ended = [call for call in batch.freed if call not in self._run.machine.open.permits]
        at_work = {call.start.call for task, call in self._attempts.tasks.items() if not task.done()}
        detached = [call for call in ended if call in at_work]
        self._detached.update(detached)
        for call in ended:
            self._having.discard(call)
            self._waiting.pop(call, None)
        return [call for call in ended if call not in detached], detached

    def attempt_ended(self, call: CallId) -> None:
        """An attempt has ended in this process: if nobody waited for it, its permits are free now."""
        if call in self._detached:
            self._detached.discard(call)
            self._services.tasks.spawn(self._free(call))

    async def _free(self, call: CallId) -> None:
        while True:
            try:
                await self._services.store.free_permits(self._run.key, [call], self._services.world.now())
                break
            except StoreUnavailable:
                await asyncio.sleep(RETRY_S)
            except (LeaseLost, ClocheError):  # when this worker is gone they are free
                return
        self._services.supervisor.look_for_requests()

    # ---- resting ----

    def left_from(self) -> TimeMs | None:
        """From when on the run may be let go, as far as those that wait are concerned; None: of one that is not known."""
        machine = self._run.machine
        queued = [call for call, one in machine.open.items() if one.phase is StepPhase.QUEUED]
        if not all(call in self._waiting for call in queued):
            return None
        return TimeMs(max((self._waiting[call] for call in queued), default=0) + RESTS_AFTER_MS)

    def stop(self) -> None:
        """Ask no more."""
        if self._looking is not None:
            self._looking.cancel()
