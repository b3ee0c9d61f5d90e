"""One run as a state machine: inputs and commands in, records and effects out.

The machine opens nothing, sleeps never and reads no clock: time and hashes come from its arguments and its records. It
holds what is open (calls and their attempts) and the head of the chain, not the past. If an append fails, the machine
is dropped together with its cell and both are rebuilt from the store.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from cloche.errors import HistoryError, MalformedOutput
from cloche.history import lifecycles
from cloche.history.bounds import Bounds
from cloche.history.calls import PASSED, OpenCalls
from cloche.history.check import Validator
from cloche.history.effects import Effect, StartRun, StartStep, StopCall, effects_of
from cloche.history.failures import Failure
from cloche.history.gate import Gate
from cloche.history.ids import CallId, Path, RunKey, Seq, TimeMs
from cloche.history.lifecycles import RunPhase, follow
from cloche.history.marks import MARKING, STEP, marks_of, step_of
from cloche.history.messages import (
    CallStep,
    CancelRequested,
    ChildEnded,
    Command,
    Event,
    FailRun,
    OpenHook,
    SetDeadline,
    SetTimer,
    StartChild,
    StepBailed,
    StepCompleted,
    StepFailed,
    StepResumed,
    StepSuspended,
    unpack_event,
)
from cloche.history.notes import (
    AnyNote,
    LateResult,
    Note,
    RunCanceled,
    RunContinued,
    RunCreated,
    RunPaused,
    RunStopped,
    unpack_created,
    unpack_note,
)
from cloche.history.output import NAMES, console_bytes, split_output, unpack_command
from cloche.history.pending import left_to_do
from cloche.history.places import Places
from cloche.history.reading import Message, last_error, unpack_started
from cloche.history.records import ENDS, Kind, Record, genesis, make_record
from cloche.history.values import ABI, decode, encode_plain
from cloche.status import RunStatus

Input: TypeAlias = Event | AnyNote

OVERDUE = "the deadline of the run has passed"  # the reason of a cancellation; the guest knows it (`_loop.py`)
CANCELED = "Canceled"  # the name of what is raised in code that is told to end
FIVE_ITEMS = 0x85  # the head of a CBOR array of five: an event that carries state
AT_ONCE = 500  # commands that are taken before whoever makes the turn may do something else: about 5 ms
_WITH_STATE = (Kind.STEP_COMPLETED, Kind.STEP_BAILED, Kind.STEP_SUSPENDED)
_BESIDE_CALLS = (
    Kind.LATE_RESULT,
    Kind.STEP_WROTE,
    Kind.STEP_LOGGED,
    Kind.ATTEMPT_QUEUED,
)  # they name a call and do not move it
_STATUS = {
    RunPhase.ABSENT: RunStatus.PENDING,
    RunPhase.PENDING: RunStatus.PENDING,
    RunPhase.PAUSED: RunStatus.PAUSED,
    RunPhase.CLEANING_UP: RunStatus.RUNNING,
    RunPhase.SUCCESS: RunStatus.SUCCESS,
    RunPhase.FAILED: RunStatus.FAILED,
    RunPhase.CANCELED: RunStatus.CANCELED,
    RunPhase.CONTINUED: RunStatus.CONTINUED,
}


@dataclass(slots=True)
class Batch:
    """What one turn adds to the log: all of it or nothing. It comes after record `expect` and `bytes_before` bytes."""

    expect: Seq
    bytes_before: int = 0
    records: list[Record] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    abandoned: set[CallId] = field(default_factory=set)  # by commands of this batch
    awaited: list[str] = field(default_factory=list)  # names of events that are waited for from now on,
    unawaited: list[str] = field(default_factory=list)  # and those that are no more
    marks: dict[str, str] = field(default_factory=dict)  # by which the run is found from now on
    sent: dict[CallId, None] = field(default_factory=dict)  # calls whose attempts remote workers perform from now on,
    returned: list[CallId] = field(default_factory=list)  # and those that they perform no more
    asked: dict[CallId, None] = field(default_factory=dict)  # calls that wait for permits from now on,
    freed: list[CallId] = field(default_factory=list)  # and those that have no use for theirs any more

    @classmethod
    def of(cls, machine: RunMachine) -> Batch:
        """One that begins where the machine stands."""
        machine.open.awaited.mark()
        machine.open.returned.clear()
        machine.open.permits.freed.clear()
        return cls(machine.head_seq, machine.log_bytes)

    def ended(self, machine: RunMachine) -> Batch:
        """The same, with what the machine waits for now."""
        self.awaited, self.unawaited = machine.open.awaited.since_mark()
        self.returned = [call for call in machine.open.returned if call not in machine.open.away]
        self.freed = [*machine.open.permits.freed]
        if machine.phase is RunPhase.FAILED and self.marks and machine.open.failed_at is not None:
            self.marks[STEP] = step_of(machine.open.failed_at)
        return self


class RunMachine:
    """The state of one run; see the module. Begin with `RunMachine(key)` and `absorb` its records, if it has any."""

    __slots__ = (
        "_batch",
        "_left_open",
        "abi",
        "bounds",
        "gate",
        "handles_cancel",
        "head_hash",
        "head_seq",
        "key",
        "log_bytes",
        "open",
        "phase",
        "places",
        "state",
        "validator",
    )

    def __init__(self, key: RunKey) -> None:
        self.key = key
        self.head_seq = Seq(0)
        self.head_hash = genesis(key)
        self.phase = RunPhase.ABSENT
        self.open = OpenCalls()
        self.places = Places()
        self.state: dict[str, Any] = {}
        self.log_bytes = 0  # of all records, with their payloads
        self.gate: Gate | None = None
        self.bounds: Bounds | None = None  # for what is new
        self.validator: Validator | None = None  # of what the guest writes, where compiled code does it
        self.abi = ABI  # of the run's guest: what it is told is packed for it
        self.handles_cancel = False  # whether the code can clean up; for what is new
        self._batch = Batch(Seq(0))
        self._left_open: list[CallId] = []  # calls that the last `left` closed

    @property
    def ended(self) -> bool:
        return self.phase in (RunPhase.SUCCESS, RunPhase.FAILED, RunPhase.CANCELED, RunPhase.CONTINUED)

    @property
    def status(self) -> RunStatus:
        """The run's status as users see it: what it waits for, if it waits."""
        known = _STATUS.get(self.phase)
        if known is not None:
            return known
        if self.open.active or not self.open:
            return RunStatus.RUNNING
        if self.open.suspended and self.open.next_due is None:
            return RunStatus.SUSPENDED
        return RunStatus.WAITING

    @property
    def wake_at(self) -> TimeMs | None:
        """When the earliest timer or retry is due, if no step is at work."""
        may_rest = self.phase not in (RunPhase.PAUSED, RunPhase.CLEANING_UP) and not self.open.active
        return self.open.wake_at if may_rest else None

    # ---- from the log ----

    def absorb(self, record: Record, message: Message | None = None) -> None:
        """Take in a record that is in the log, or is about to be.

        `message` is what it holds, where that is at hand: reading it again would cost as much as the rest.

        Raises:
            HistoryError: it cannot follow what came before.
        """
        kind, call_id = record.kind, record.call
        self.phase = follow(lifecycles.RUN, self.phase, kind, lambda: f"run {self.key}")
        self.head_seq, self.head_hash = record.seq, record.hash
        self.log_bytes += len(record.packed) + (record.payload.size if record.payload is not None else 0)
        if call_id is not None and kind not in _BESIDE_CALLS:
            self._apply_to_call(record, call_id, message)
        elif kind in ENDS:
            self.open.clear()
            self.places = Places()
        elif kind is Kind.ENTERED and record.path is not None:
            self.places.enter(record.path, record.seq)
        elif kind is Kind.LEFT and record.path is not None:
            self.places.leave(record.path)
            # What is still open in a block that was left is not wanted any more: it was bailed out of, or it failed.
            self._left_open = self.open.under(record.path)
            for open_call in self._left_open:
                self.open.close(open_call)
        elif kind is Kind.RUN_CONTINUED and self.gate is not None:
            note = message or unpack_note(record)
            assert isinstance(note, RunContinued)
            self.gate.reopen(per_step=note.per_step)
        elif kind is Kind.RUN_CREATED:
            created = message if isinstance(message, RunCreated) else unpack_created(record)
            self.open.deadline = created.deadline
            if created.permits:
                self.open.permits.add_run()
        elif kind is Kind.DEADLINE_SET:
            self.open.deadline = cast("SetDeadline", message or unpack_command(record.body)).time
        elif kind in (Kind.CANCEL_DELIVERED, Kind.CANCEL_REQUESTED):
            if cast("CancelRequested", message or unpack_event(record.body)).reason == OVERDUE:
                self.open.deadline = PASSED
        elif kind is Kind.RUN_STARTED:
            self.state = dict(unpack_started(record.body).given.get("state", {}))
        if self.gate is not None:
            self.gate.see(self.open)

    def pass_to(self, seq: Seq, head_hash: bytes, last_call: CallId, log_bytes: int) -> None:
        """Stand at record `seq`. What came between was steps that are done, of numbers up to `last_call`, or was absorbed."""
        self.head_seq, self.head_hash, self.log_bytes = seq, head_hash, log_bytes
        self.open.pass_number(last_call)

    def saved(self) -> bytes:
        """What is open at the head of the log: all that `restore` needs to go on as if it had absorbed everything."""
        gate = self.gate.saved() if self.gate is not None else None
        head = [self.head_seq, self.head_hash, self.phase.value, self.state]
        return encode_plain([*head, self.open.saved(), gate, self.log_bytes, self.places.saved(), self.open.failed_at])

    def restore(self, data: bytes) -> None:
        """Become, from nothing, the machine that was `saved`."""
        head_seq, self.head_hash, phase, self.state, calls, gate, self.log_bytes, places, *failed_at = decode(data)
        self.head_seq, self.phase = Seq(head_seq), RunPhase(phase)
        self.open = OpenCalls.restored(calls)
        self.places, self.open.failed_at = Places(places), next(iter(failed_at), None)  # older releases do not say
        if self.gate is not None and gate is not None:
            self.gate.restore(gate)

    def pending(self) -> list[Effect]:
        """What a rebuilt run still waits for, to be dispatched again."""
        return self.open.effects() if self.moves else []

    # ---- a turn ----

    def deliver(self, inputs: Iterable[Input]) -> list[bytes]:
        """The events among `inputs` that the guest must see, packed, in order: nothing after a cancellation."""
        events: list[bytes] = []
        if not self._delivers:
            return events
        for one in inputs:
            if self.stops_delivery(one):
                break
            if not isinstance(one, Note):
                events.append(one.pack(self.abi))
        return events

    def accept(self, inputs: Sequence[Input], output: bytes, now: TimeMs) -> Batch:
        """Inputs and the commands they led to, as one batch to append.

        `output` is the turn's, for the events that `deliver` gave; empty if it gave none.

        Raises:
            MalformedOutput: the output is not in the grammar, or asks for what cannot follow. The machine is spoilt.
            LimitExceeded: a bound was met. The machine is spoilt.
        """
        work = self.accepting(inputs, output, now)
        while True:
            try:
                next(work)
            except StopIteration as end:
                batch: Batch = end.value
                return batch

    def accepting(self, inputs: Sequence[Input], output: bytes, now: TimeMs) -> Generator[None, None, Batch]:
        """As `accept`, in pieces of `AT_ONCE` commands: between two of them the caller may do something else.

        The machine follows the records that were made so far, and nothing but this may change it meanwhile.
        """
        batch = self._batch = Batch.of(self)
        delivers, bounds = self._delivers, self.bounds
        outputs = split_output(output, bounds, self.validator)
        left = AT_ONCE  # of this piece
        for one in inputs:
            if self.ended and not isinstance(one, LateResult):  # what came after the end is not part of the run
                continue
            if isinstance(one, Note):
                self.add_note(one)
                continue
            stops_delivery = self.stops_delivery(one)
            delivers = delivers and not stops_delivery
            self._add_event(one)
            if stops_delivery:
                self._refuse_unstarted(one.time)
            elif delivers:
                commands = next(outputs, None)
                if commands is None:
                    raise MalformedOutput("the guest answered fewer events than it was given")
                for body in commands:
                    if not left:
                        yield
                        left = AT_ONCE
                    left -= 1
                    self._add_command(body, one.time)
                if bounds is not None:
                    bounds.check_console(console_bytes(commands))
        if not self.ended and next(outputs, None) is not None:
            raise MalformedOutput("the guest answered more events than it was given")
        self._close(now)
        if bounds is not None and not self.ended:
            bounds.check_log(self.head_seq, self.log_bytes, len(self.open), self.open.counts)
        return batch.ended(self)

    def stop(self, inputs: Sequence[Input], failure: Failure, code: str, now: TimeMs) -> Batch:
        """The batch that ends the run because the guest could not take `inputs`: `code` is the fault's."""
        batch = self._batch = Batch.of(self)
        for one in inputs:
            if self.stops_delivery(one):  # it came after the event that did it
                break
            if isinstance(one, Note):
                self.add_note(one)
            else:
                self._add_event(one)
        self.add_note(RunStopped(now, failure, code))
        return batch.ended(self)

    @property
    def _delivers(self) -> bool:
        return self.phase in (RunPhase.ABSENT, RunPhase.PENDING) or self.moves

    @property
    def moves(self) -> bool:
        """Whether what the guest asks for is done: the run is under way, or cleans up."""
        return self.phase in (RunPhase.RUNNING, RunPhase.CLEANING_UP)

    def stops_delivery(self, one: Input) -> bool:
        """Whether the guest is given neither this cancellation nor anything after it."""
        if not isinstance(one, CancelRequested):
            return False
        return one.is_final or not self.handles_cancel or self.phase is not RunPhase.RUNNING

    def add_note(self, note: AnyNote) -> None:
        """Add it to the batch that is being made, or that `accept` has just given."""
        call = getattr(note, "call", None)
        if not self._is_abandoned(call):
            self._add(note.kind, note.time, call, None, note.pack(), note)

    def committed(self, batch: Batch) -> list[Effect]:
        """The effects of a batch that is durable now: only at this point may they be dispatched."""
        if not self.moves:
            return []
        effects = [one for one in batch.effects if isinstance(one, StopCall) or one.call in self.open]
        return effects if batch.expect else left_to_do(self.open, effects)

    # ---- inside ----

    def _add_event(self, event: Event) -> None:
        call = getattr(event, "call", None)
        if self._is_abandoned(call):
            raise MalformedOutput(f"the guest abandoned call {call} and was given its end in the same turn")
        path = self.open[call].path if call is not None and call in self.open else None
        kind = event.kind
        if kind is Kind.CANCEL_REQUESTED and not self.stops_delivery(event):
            kind = Kind.CANCEL_DELIVERED
        self._add(kind, event.time, call, path, event.pack(self.abi), event)
        if isinstance(event, StepResumed):
            self._batch.effects.append(self.open.start_of(event.call))

    def _is_abandoned(self, call: CallId | None) -> bool:
        """Whether a command of this very batch abandoned `call`: its end, in the same batch, came too late.

        Such an event was delivered and must not have been. The cell is dropped, and the inputs are taken one by one.
        """
        return call is not None and call in self._batch.abandoned and call not in self.open

    def _refuse_unstarted(self, time: TimeMs) -> None:
        """What was asked for in this batch, before the cancellation in it, never begins: nothing else would end it."""
        for effect in self._batch.effects:
            if isinstance(effect, StartStep) and effect.call in self.open:
                failure = Failure(CANCELED, "the run was canceled before this step began")
                self._add_event(StepFailed(time, effect.call, failure))
            elif isinstance(effect, StartRun) and effect.call in self.open:
                failure = Failure(CANCELED, "the run was canceled before this child began")
                self._add_event(ChildEnded.failed(time, effect.call, failure))

    def _add_command(self, body: bytes, time: TimeMs) -> None:
        command: Command = unpack_command(body, is_new=self.bounds is None or not self.bounds.has_old_names)
        call = getattr(command, "call", None)
        if self.bounds is not None:
            for name in NAMES[type(command)]:
                self.bounds.check_name(getattr(command, name))
        if isinstance(command, CallStep | SetTimer | OpenHook | StartChild) and not self.open.is_new(command.call):
            raise MalformedOutput(f"the guest used call {call} again")
        kind = command.kind
        if isinstance(command, FailRun) and self.phase is RunPhase.CLEANING_UP and command.failure.name == CANCELED:
            kind = Kind.RUN_CANCELED_BY_CODE
        try:
            self._add(kind, time, call, getattr(command, "path", None), body, command)
        except HistoryError as error:
            raise MalformedOutput(f"the guest asked for what cannot follow: {error.message}") from error
        effects = effects_of(command, self._left_open, time)
        self._batch.effects += effects
        self._batch.abandoned.update(effect.call for effect in effects if isinstance(effect, StopCall))

    def _close(self, now: TimeMs) -> None:
        """The end that follows from the state alone: a cancellation that is through, a run that can never move again."""
        if self.phase is RunPhase.CANCELING and not self.open.active:
            is_overdue = self.open.deadline == PASSED
            self.add_note(RunStopped(now, Failure("DeadlineExceeded", OVERDUE)) if is_overdue else RunCanceled(now))
        elif self.phase is RunPhase.RUNNING and self.gate is not None and self.gate.holds(self.open):
            self.add_note(RunPaused(now))
        elif self.moves and not self.open:
            failure = Failure(
                "Deadlock",
                "the workflow waits for something that nothing outside will ever answer: no step, timer, hook or "
                "child is open, and it has neither returned nor raised" + last_error(self._batch.records),
            )
            self.add_note(RunStopped(now, failure))

    def _add(
        self, kind: Kind, time: TimeMs, call: CallId | None, path: Path | None, body: bytes, message: Message
    ) -> None:
        record = make_record(self.head_hash, Seq(self.head_seq + 1), kind, time, call, path, body)
        self.absorb(record, message)
        self._batch.records.append(record)
        if call is not None and kind in (Kind.ATTEMPT_SENT, Kind.PERMIT_ASKED):
            (self._batch.sent if kind is Kind.ATTEMPT_SENT else self._batch.asked)[call] = None
        if call is None and kind in MARKING:
            self._batch.marks.update(marks_of(message))

    def _apply_to_call(self, record: Record, call_id: CallId, message: Message | None) -> None:
        try:
            self.open.apply(record, call_id, message)
        except HistoryError as error:
            raise HistoryError(f"run {self.key}, {error.message}") from None
        if record.kind in _WITH_STATE and record.body[0] == FIVE_ITEMS:
            # As it is recorded: the event at hand may hold objects of the author's.
            event = unpack_event(record.body)
            assert isinstance(event, StepCompleted | StepBailed | StepSuspended)
            self.state.update(event.state or {})
