"""One run as a state machine: facts and commands in, records and wishes out.

The machine opens nothing, sleeps never and reads no clock: time and hashes come from its arguments and its records. It
holds what is open (calls and their attempts) and the head of the chain, not the past. If an append fails, the machine
is dropped together with its cell and both are rebuilt from the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from cloche.errors import HistoryError, MalformedOutput
from cloche.history import lifecycles
from cloche.history.bounds import Bounds
from cloche.history.calls import OpenCalls
from cloche.history.failures import Failure
from cloche.history.ids import CallId, Path, RunKey, Seq, TimeMs
from cloche.history.lifecycles import ChildPhase, HookPhase, RunPhase, StepPhase, TimerPhase, follow
from cloche.history.messages import (
    AbandonCall,
    CallStep,
    CancelRequested,
    ChildEnded,
    Command,
    CompleteRun,
    Enter,
    Event,
    FailRun,
    HookReceived,
    Leave,
    OpenHook,
    SetTimer,
    StartChild,
    Started,
    StepBailed,
    StepCompleted,
    StepFailed,
    StepResumed,
    StepSuspended,
    TakePatch,
    TimerFired,
    Upgraded,
    WriteLog,
    split_output,
    unpack_command,
)
from cloche.history.records import ENDS, Kind, Record, genesis, make_record
from cloche.history.values import decode, encode, encode_plain


@dataclass(frozen=True, slots=True)
class Note:
    """A fact of the host's own: recorded, never delivered. `content` is a mapping of plain values."""

    kind: Kind
    time: TimeMs
    content: dict[str, Any]
    call: CallId | None = None


Fact: TypeAlias = Event | Note


@dataclass(frozen=True, slots=True)
class StartStep:
    """Run a step. `attempt` is the number of the attempt to make, from 1; not before `not_before`."""

    call: CallId
    path: Path
    name: str
    arguments: list[Any]
    attempt: int = 1
    not_before: TimeMs = TimeMs(0)
    suspend_data: Any = None  # what the step suspended with, if it was resumed
    resume_data: Any = None
    is_resumed: bool = False
    redispatched: int = 0  # how often this attempt was begun before, in processes that ended
    is_recorded: bool = False  # the record of its beginning is durable


@dataclass(frozen=True, slots=True)
class StartTimer:
    call: CallId
    due: TimeMs


@dataclass(frozen=True, slots=True)
class StartRun:
    """Start a child, or find the one that was started, and tell what comes of it."""

    call: CallId
    workflow: str
    input: Any


@dataclass(frozen=True, slots=True)
class StopCall:
    """Nobody waits for this call any more."""

    call: CallId


Wish: TypeAlias = StartStep | StartTimer | StartRun | StopCall


@dataclass(frozen=True, slots=True)
class Suspension:
    """A step that waits to be resumed: by its path, or by one of its labels."""

    call: CallId
    path: Path
    payload: Any
    labels: tuple[str, ...]


@dataclass(slots=True)
class Batch:
    """What one turn adds to the log: all of it or nothing. `expect` is the seq it must stand behind."""

    expect: Seq
    records: list[Record] = field(default_factory=list)
    wishes: list[Wish] = field(default_factory=list)
    given_up: set[CallId] = field(default_factory=set)  # by commands of this batch


CANCELED = "Canceled"  # the name of what is raised in code that is told to end
EVENT_KIND: dict[type[Any], Kind] = {
    Started: Kind.RUN_STARTED,
    StepCompleted: Kind.STEP_COMPLETED,
    StepFailed: Kind.STEP_FAILED,
    StepSuspended: Kind.STEP_SUSPENDED,
    StepResumed: Kind.STEP_RESUMED,
    StepBailed: Kind.STEP_BAILED,
    TimerFired: Kind.TIMER_FIRED,
    HookReceived: Kind.HOOK_RECEIVED,
    ChildEnded: Kind.CHILD_ENDED,
    CancelRequested: Kind.CANCEL_REQUESTED,
    Upgraded: Kind.RUN_UPGRADED,
}
COMMAND_KIND: dict[type[Any], Kind] = {
    CallStep: Kind.STEP_CALLED,
    SetTimer: Kind.TIMER_SET,
    OpenHook: Kind.HOOK_OPENED,
    StartChild: Kind.CHILD_STARTED,
    WriteLog: Kind.LOG_LINE,
    Enter: Kind.ENTERED,
    Leave: Kind.LEFT,
    CompleteRun: Kind.RUN_COMPLETED,
    FailRun: Kind.RUN_FAILED,
    AbandonCall: Kind.CALL_ABANDONED,
    TakePatch: Kind.PATCHED,
}


# Kinds that hold the message of another one: what it led to is another thing.
AS_MESSAGE = {Kind.CANCEL_DELIVERED: Kind.CANCEL_REQUESTED, Kind.RUN_GAVE_WAY: Kind.RUN_FAILED}


class Gate(Protocol):
    """Lets a run go one entry of its graph at a time; see `run.stepping`."""

    def holds(self, calls: OpenCalls) -> bool:
        """Whether everything that is open belongs to an entry behind the one that may run."""

    def reopen(self, *, per_step: bool) -> None:
        """The run was continued."""

    def see(self, calls: OpenCalls) -> None:
        """These calls are open after a record, from the log or new: the same ones in every life of the run."""

    def saved(self) -> list[Any]:
        """What it knows, as plain data."""

    def restore(self, data: list[Any]) -> None:
        """Know what was `saved`."""


class RunMachine:
    """The state of one run; see the module. Begin with `RunMachine(key)` and `absorb` its records, if it has any."""

    __slots__ = (
        "_batch",
        "_given_up",
        "bounds",
        "gate",
        "head_hash",
        "head_seq",
        "key",
        "log_bytes",
        "open",
        "phase",
        "state",
        "tells_cancel",
    )

    def __init__(self, key: RunKey) -> None:
        self.key = key
        self.head_seq = Seq(0)
        self.head_hash = genesis(key)
        self.phase = RunPhase.ABSENT
        self.open = OpenCalls()
        self.state: dict[str, Any] = {}
        self.log_bytes = 0  # of all records, with their payloads
        self.gate: Gate | None = None
        self.bounds: Bounds | None = None  # for what is new
        self.tells_cancel = False  # whether the code can clean up; for what is new
        self._batch = Batch(Seq(0))
        self._given_up: list[CallId] = []  # calls that the last `left` closed

    @property
    def ended(self) -> bool:
        return self.phase in (RunPhase.SUCCESS, RunPhase.FAILED, RunPhase.CANCELED)

    @property
    def status(self) -> str:
        """The run's status as users see it: what it waits for, if it waits."""
        if self.phase is RunPhase.CLEANING:
            return "running"
        if self.phase not in (RunPhase.RUNNING, RunPhase.CANCELING):
            return self.phase.value
        if self.open.active or not self.open:
            return "running"
        if self.open.suspended and self.open.next_due is None:
            return "suspended"
        return "waiting"

    @property
    def wake_at(self) -> TimeMs | None:
        """When the earliest timer or retry is due, if no step is at work."""
        may_rest = self.phase not in (RunPhase.PAUSED, RunPhase.CLEANING) and not self.open.active
        return self.open.next_due if may_rest else None

    def suspensions(self) -> list[Suspension]:
        """The steps that wait to be resumed, in the order of their calls."""
        found = []
        for call_id, call in sorted(self.open.items()):
            if call.phase is StepPhase.SUSPENDED and call.suspended is not None:
                info = decode(call.suspended)[3]
                found.append(Suspension(call_id, call.path, info.get("payload"), tuple(info.get("labels", ()))))
        return found

    def hooks(self) -> list[OpenHook]:
        """The places where the run waits for events, in the order of their calls."""
        opened = (unpack_command(call.body) for _, call in sorted(self.open.items()) if call.phase is HookPhase.OPEN)
        return [command for command in opened if isinstance(command, OpenHook)]

    # ---- from the log ----

    def absorb(self, record: Record) -> None:
        """Take in a record that is in the log already.

        Raises:
            HistoryError: it cannot follow what came before.
        """
        self._apply(record)

    def pass_to(self, seq: Seq, head_hash: bytes, last_call: CallId, log_bytes: int) -> None:
        """Stand at record `seq`. What lay between was steps that are done, of numbers up to `last_call`, or was absorbed."""
        self.head_seq, self.head_hash, self.log_bytes = seq, head_hash, log_bytes
        self.open.pass_number(last_call)

    def saved(self) -> bytes:
        """What is open at the head of the log: all that `restore` needs to go on as if it had absorbed everything."""
        gate = self.gate.saved() if self.gate is not None else None
        of_the_log = [self.head_seq, self.head_hash, self.phase.value]
        return encode_plain([*of_the_log, self.state, self.open.saved(), gate, self.log_bytes])

    def restore(self, data: bytes) -> None:
        """Become, from nothing, the machine that was `saved`."""
        head_seq, self.head_hash, phase, self.state, calls, gate, self.log_bytes = decode(data)
        self.head_seq, self.phase = Seq(head_seq), RunPhase(phase)
        self.open = OpenCalls.restored(calls)
        if self.gate is not None and gate is not None:
            self.gate.restore(gate)

    def pending(self) -> list[Wish]:
        """What a rebuilt run still waits for, to be dispatched again: an attempt that had begun is made once more."""
        wishes: list[Wish] = []
        if not self.moves:
            return wishes
        for call_id, call in self.open.items():
            if isinstance(call.phase, TimerPhase):
                wishes.append(StartTimer(call_id, call.due))
            elif call.phase is ChildPhase.OPEN:
                wishes.append(self.start_of_child(call_id))
            elif call.phase in (StepPhase.CALLED, StepPhase.RUNNING, StepPhase.BACKOFF):
                wishes.append(self.start_of(call_id))
        return wishes

    def start_of(self, call_id: CallId) -> StartStep:
        """The wish to make the next attempt of an open step, with what it was resumed with."""
        call = self.open[call_id]
        command = unpack_command(call.body)
        assert isinstance(command, CallStep)
        attempt = call.attempt + 1 if call.phase is StepPhase.BACKOFF else max(call.attempt, 1)
        was = decode(call.suspended)[3] if call.suspended else {}
        now = decode(call.resumed)[3] if call.resumed else {}
        return StartStep(
            call_id,
            command.path,
            command.name,
            command.arguments,
            attempt,
            call.due,
            was.get("payload"),
            now.get("data"),
            call.resumed is not None,
        )

    def start_of_child(self, call_id: CallId) -> StartRun:
        command = unpack_command(self.open[call_id].body)
        assert isinstance(command, StartChild)
        return StartRun(call_id, command.name, command.input)

    def children(self) -> list[CallId]:
        """The calls that wait for a child run, in the order of their numbers."""
        return sorted(call_id for call_id, call in self.open.items() if call.phase is ChildPhase.OPEN)

    # ---- a turn ----

    def deliver(self, facts: Iterable[Fact]) -> list[bytes]:
        """The events among `facts` that the guest must see, packed, in order: nothing behind a cancellation."""
        events: list[bytes] = []
        if not self._delivers:
            return events
        for fact in facts:
            if self.ends_hearing(fact):
                break
            if not isinstance(fact, Note):
                events.append(fact.pack())
        return events

    def accept(self, facts: Sequence[Fact], output: bytes, now: TimeMs) -> Batch:
        """Facts and the commands they led to, as one batch to append.

        `output` is the turn's, for the events that `deliver` gave; empty if it gave none.

        Raises:
            MalformedOutput: the output is not in the grammar, or asks for what cannot follow. The machine is spoilt.
            LimitExceeded: a bound was met. The machine is spoilt.
        """
        batch = self._batch = Batch(self.head_seq)
        delivers, bounds = self._delivers, self.bounds
        outputs = split_output(output, bounds)
        for fact in facts:
            if self.ended and not _is_late(fact):  # what came behind the end is not part of the run
                continue
            if isinstance(fact, Note) and self._is_given_up(fact.call):
                continue
            ends_hearing = self.ends_hearing(fact)
            delivers = delivers and not ends_hearing
            self._add_fact(fact)
            if ends_hearing:
                self._refuse_unstarted(fact.time)
            elif delivers and not isinstance(fact, Note):
                commands = next(outputs, None)
                if commands is None:
                    raise MalformedOutput("the guest answered fewer events than it was given")
                for body in commands:
                    self._add_command(body, fact.time)
                if bounds is not None:
                    bounds.check_console(commands)
        if not self.ended and next(outputs, None) is not None:
            raise MalformedOutput("the guest answered more events than it was given")
        self._close(now)
        if bounds is not None and not self.ended:
            bounds.check_log(self.head_seq, self.log_bytes, self.open)
        return batch

    def stop(self, facts: Sequence[Fact], failure: Failure, code: str, now: TimeMs) -> Batch:
        """The batch that ends the run because the guest could not be led through `facts`: `code` is the fault's."""
        batch = self._batch = Batch(self.head_seq)
        for fact in facts:
            if self.ends_hearing(fact):  # it came behind the event that did it
                break
            self._add_fact(fact)
        self._add(Kind.RUN_STOPPED, now, None, None, encode({"failure": failure.to_wire(), "fault": code}))
        return batch

    @property
    def _delivers(self) -> bool:
        return self.phase in (RunPhase.ABSENT, RunPhase.PENDING) or self.moves

    @property
    def moves(self) -> bool:
        """Whether what the guest asks for is done: the run is under way, or cleans up."""
        return self.phase in (RunPhase.RUNNING, RunPhase.CLEANING)

    def ends_hearing(self, fact: Fact) -> bool:
        """Whether the guest is told neither of this cancellation nor of anything behind it."""
        if not isinstance(fact, CancelRequested):
            return False
        return fact.is_final or not self.tells_cancel or self.phase is not RunPhase.RUNNING

    def committed(self, batch: Batch) -> list[Wish]:
        """The wishes of a batch that is durable now: only at this point may they become deeds."""
        if not self.moves:
            return []
        return [wish for wish in batch.wishes if isinstance(wish, StopCall) or wish.call in self.open]

    # ---- inside ----

    def _add_fact(self, fact: Fact) -> None:
        if isinstance(fact, Note):
            self._add(fact.kind, fact.time, fact.call, None, encode(fact.content))
        else:
            self._add_event(fact)

    def _add_event(self, event: Event) -> None:
        call = getattr(event, "call", None)
        if self._is_given_up(call):
            raise MalformedOutput(f"the guest gave up call {call} and was given its end in the same turn")
        path = self.open[call].path if call is not None and call in self.open else None
        kind = EVENT_KIND[type(event)]
        if kind is Kind.CANCEL_REQUESTED and not self.ends_hearing(event):
            kind = Kind.CANCEL_DELIVERED
        self._add(kind, event.time, call, path, event.pack())
        if isinstance(event, StepResumed):
            self._batch.wishes.append(self.start_of(event.call))

    def _is_given_up(self, call: CallId | None) -> bool:
        """Whether a command of this very batch abandoned `call`: its end, in the same batch, came too late.

        Such an event was delivered and must not have been. The cell is dropped, and the facts are led through one by one.
        """
        return call is not None and call in self._batch.given_up and call not in self.open

    def _refuse_unstarted(self, time: TimeMs) -> None:
        """What was asked for in this batch, before the cancellation in it, never begins: nobody else would end it."""
        for wish in self._batch.wishes:
            if isinstance(wish, StartStep) and wish.call in self.open:
                failure = Failure("Canceled", "the run was canceled before this step began")
                self._add_event(StepFailed(time, wish.call, failure))
            elif isinstance(wish, StartRun) and wish.call in self.open:
                failure = Failure("Canceled", "the run was canceled before this child began")
                self._add_event(ChildEnded.failed(time, wish.call, failure))

    def _add_command(self, body: bytes, time: TimeMs) -> None:
        command: Command = unpack_command(body, is_new=True)
        call = getattr(command, "call", None)
        if self.bounds is not None:
            self.bounds.check_names(command)
        if isinstance(command, CallStep | SetTimer | OpenHook | StartChild) and not self.open.is_new(command.call):
            raise MalformedOutput(f"the guest used call {call} again")
        kind = COMMAND_KIND[type(command)]
        if isinstance(command, FailRun) and self.phase is RunPhase.CLEANING and command.failure.name == CANCELED:
            kind = Kind.RUN_GAVE_WAY
        try:
            self._add(kind, time, call, getattr(command, "path", None), body)
        except HistoryError as error:
            raise MalformedOutput(f"the guest asked for what cannot follow: {error.message}") from error
        match command:
            case CallStep():
                self._batch.wishes.append(StartStep(command.call, command.path, command.name, command.arguments))
            case SetTimer():
                self._batch.wishes.append(StartTimer(command.call, command.due))
            case StartChild():
                self._batch.wishes.append(StartRun(command.call, command.name, command.input))
            case AbandonCall():
                self._give_up(command.call)
            case Leave():
                for open_call in self._given_up:
                    self._give_up(open_call)

    def _give_up(self, call: CallId) -> None:
        self._batch.wishes.append(StopCall(call))
        self._batch.given_up.add(call)

    def _close(self, now: TimeMs) -> None:
        """The end that follows from the state alone: a cancellation that is through, a run that can never move again."""
        if self.phase is RunPhase.CANCELING and not self.open.active:
            self._add(Kind.RUN_CANCELED, now, None, None, encode({}))
        elif self.phase is RunPhase.RUNNING and self.gate is not None and self.gate.holds(self.open):
            self._add(Kind.RUN_PAUSED, now, None, None, encode({}))
        elif self.moves and not self.open:
            failure = Failure(
                "Deadlock",
                "the workflow waits for something that nothing outside will ever answer: no step, timer, hook or "
                "child is open, and it has neither returned nor raised",
            )
            self._add(Kind.RUN_STOPPED, now, None, None, encode({"failure": failure.to_wire()}))

    def _add(self, kind: Kind, time: TimeMs, call: CallId | None, path: Path | None, body: bytes) -> None:
        record = make_record(self.head_hash, Seq(self.head_seq + 1), kind, time, call, path, body)
        self._apply(record)
        self._batch.records.append(record)

    def _apply(self, record: Record) -> None:
        kind, call_id = record.kind, record.call
        self.phase = follow(lifecycles.RUN, self.phase, kind, lambda: f"run {self.key}")
        self.head_seq, self.head_hash = record.seq, record.hash
        self.log_bytes += len(record.packed) + (record.payload.size if record.payload is not None else 0)
        if call_id is not None and kind not in _BESIDE_CALLS:
            self._apply_to_call(record, call_id)
        elif kind in ENDS:
            self.open.clear()
        elif kind is Kind.LEFT and record.path is not None:
            # What is still open in a block that was left is not wanted any more: it was bailed out of, or it failed.
            self._given_up = self.open.under(record.path)
            for open_call in self._given_up:
                self.open.close(open_call)
        elif kind is Kind.RUN_CONTINUED and self.gate is not None:
            self.gate.reopen(per_step=record.content().get("per_step", False))
        elif kind is Kind.RUN_STARTED:
            self.state = dict(record.content()[4].get("state", {}))
        if self.gate is not None:
            self.gate.see(self.open)

    def _apply_to_call(self, record: Record, call_id: CallId) -> None:
        try:
            self.open.apply(record, call_id)
        except HistoryError as error:
            raise HistoryError(f"run {self.key}, {error.message}") from None
        if record.kind in (Kind.STEP_COMPLETED, Kind.STEP_BAILED) and record.body[0] == FIVE_ITEMS:
            self.state.update(record.content()[4])


def _is_late(fact: Fact) -> bool:
    return isinstance(fact, Note) and fact.kind is Kind.LATE_RESULT


_BESIDE_CALLS = (Kind.LATE_RESULT, Kind.STEP_WROTE)  # they name a call and do not move it
FIVE_ITEMS = 0x85  # the head of a CBOR array of five: an event that carries state
