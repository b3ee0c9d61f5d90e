"""One run as a state machine: facts and commands in, records and wishes out.

The machine opens nothing, sleeps never and reads no clock: time and hashes come from its arguments and its records. It
holds what is open (calls and their attempts) and the head of the chain, not the past. If an append fails, the machine
is dropped together with its cell and both are rebuilt from the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Any, TypeAlias

from cloche.errors import HistoryError, MalformedOutput
from cloche.history import lifecycles
from cloche.history.failures import Failure
from cloche.history.ids import CallId, Path, RunKey, Seq, TimeMs
from cloche.history.lifecycles import RunPhase, StepPhase, TimerPhase, follow
from cloche.history.messages import (
    AbandonCall,
    CallStep,
    CancelRequested,
    Command,
    CompleteRun,
    Enter,
    Event,
    FailRun,
    Leave,
    SetTimer,
    Started,
    StepCompleted,
    StepFailed,
    TimerFired,
    WriteLog,
    split_output,
    unpack_command,
)
from cloche.history.records import ENDS, Kind, Record, genesis, make_record
from cloche.history.values import encode


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


@dataclass(frozen=True, slots=True)
class StartTimer:
    call: CallId
    due: TimeMs


@dataclass(frozen=True, slots=True)
class StopCall:
    """Nobody waits for this call any more."""

    call: CallId


Wish: TypeAlias = StartStep | StartTimer | StopCall


@dataclass(slots=True)
class OpenCall:
    """A step or timer whose end is not in the history. `body` is the command as the guest wrote it.

    `due` is when a timer fires, or when a step that failed is tried again.
    """

    path: Path
    body: bytes
    phase: StepPhase | TimerPhase
    attempt: int = 0
    due: TimeMs = TimeMs(0)


@dataclass(slots=True)
class Batch:
    """What one turn adds to the log: all of it or nothing. `expect` is the seq it must stand behind."""

    expect: Seq
    records: list[Record] = field(default_factory=list)
    wishes: list[Wish] = field(default_factory=list)


_EVENT_KIND: dict[type[Any], Kind] = {
    Started: Kind.RUN_STARTED,
    StepCompleted: Kind.STEP_COMPLETED,
    StepFailed: Kind.STEP_FAILED,
    TimerFired: Kind.TIMER_FIRED,
    CancelRequested: Kind.CANCEL_REQUESTED,
}
_COMMAND_KIND: dict[type[Any], Kind] = {
    CallStep: Kind.STEP_CALLED,
    SetTimer: Kind.TIMER_SET,
    WriteLog: Kind.LOG_LINE,
    Enter: Kind.ENTERED,
    Leave: Kind.LEFT,
    CompleteRun: Kind.RUN_COMPLETED,
    FailRun: Kind.RUN_FAILED,
    AbandonCall: Kind.CALL_ABANDONED,
}


class RunMachine:
    """The state of one run; see the module. Begin with `RunMachine(key)` and `absorb` its records, if it has any."""

    __slots__ = ("_active", "_batch", "_dues", "_last_call", "created", "head_hash", "head_seq", "key", "open", "phase")

    def __init__(self, key: RunKey) -> None:
        self.key = key
        self.head_seq = Seq(0)
        self.head_hash = genesis(key)
        self.phase = RunPhase.ABSENT
        self.open: dict[CallId, OpenCall] = {}
        self.created: Record | None = None
        self._active = 0  # steps that are called or running
        self._last_call = 0  # numbers only grow: one that comes again is seen without keeping the past
        self._dues: list[tuple[TimeMs, CallId]] = []  # a heap
        self._batch = Batch(Seq(0))

    @property
    def ended(self) -> bool:
        return self.phase in (RunPhase.SUCCESS, RunPhase.FAILED, RunPhase.CANCELED)

    @property
    def status(self) -> str:
        """The run's status as users see it."""
        if self.phase in (RunPhase.RUNNING, RunPhase.CANCELING):
            return "waiting" if self.wake_at is not None else "running"
        return self.phase.value

    @property
    def wake_at(self) -> TimeMs | None:
        """When the earliest timer or retry is due, if nothing but these is open; None if something else is awaited."""
        if self._active or not self.open:
            return None
        while True:  # entries of calls that have ended meanwhile are dropped as they come up
            due, call_id = self._dues[0]
            call = self.open.get(call_id)
            if call is not None and call.due == due:
                return due
            heappop(self._dues)

    # ---- from the log ----

    def absorb(self, record: Record) -> None:
        """Take in a record that is in the log already.

        Raises:
            HistoryError: it cannot follow what came before.
        """
        self._apply(record)

    def pending(self) -> list[Wish]:
        """What a rebuilt run still waits for, to be dispatched again: an attempt that had begun is made once more."""
        wishes: list[Wish] = []
        if self.phase is not RunPhase.RUNNING:
            return wishes
        for call_id, call in self.open.items():
            command = unpack_command(call.body)
            match command:
                case SetTimer():
                    wishes.append(StartTimer(call_id, command.due))
                case CallStep():
                    attempt = call.attempt + 1 if call.phase is StepPhase.BACKOFF else max(call.attempt, 1)
                    wishes.append(StartStep(call_id, command.path, command.name, command.arguments, attempt, call.due))
        return wishes

    # ---- a turn ----

    def deliver(self, facts: Iterable[Fact]) -> list[bytes]:
        """The events among `facts` that the guest must see, packed, in order: nothing behind a cancellation."""
        events: list[bytes] = []
        if not self._delivers:
            return events
        for fact in facts:
            if isinstance(fact, CancelRequested):
                break
            if not isinstance(fact, Note):
                events.append(fact.pack())
        return events

    def accept(self, facts: Sequence[Fact], output: bytes, now: TimeMs) -> Batch:
        """Facts and the commands they led to, as one batch to append.

        `output` is the turn's, for the events that `deliver` gave; empty if it gave none.

        Raises:
            MalformedOutput: the output is not in the grammar, or asks for what cannot follow. The machine is spoilt.
        """
        batch = self._batch = Batch(self.head_seq)
        delivers = self._delivers
        outputs = split_output(output)
        for fact in facts:
            if self.ended:  # an earlier fact of this batch ended the run: what came later is not part of it
                break
            if isinstance(fact, Note) and self._is_given_up(fact.call):
                continue
            delivers = delivers and not isinstance(fact, CancelRequested)
            self._add_fact(fact)
            if isinstance(fact, CancelRequested):
                self._refuse_unstarted(fact.time)
            elif delivers and not isinstance(fact, Note):
                commands = next(outputs, None)
                if commands is None:
                    raise MalformedOutput("the guest answered fewer events than it was given")
                for body in commands:
                    self._add_command(body, fact.time)
        if not self.ended and next(outputs, None) is not None:
            raise MalformedOutput("the guest answered more events than it was given")
        self._close(now)
        return batch

    def stop(self, facts: Sequence[Fact], failure: Failure, code: str, now: TimeMs) -> Batch:
        """The batch that ends the run because the guest could not be led through `facts`: `code` is the fault's."""
        batch = self._batch = Batch(self.head_seq)
        for fact in facts:
            if isinstance(fact, CancelRequested):  # it came behind the event that did it
                break
            self._add_fact(fact)
        self._add(Kind.RUN_STOPPED, now, None, None, encode({"failure": failure.to_wire(), "fault": code}))
        return batch

    @property
    def _delivers(self) -> bool:
        return self.phase in (RunPhase.ABSENT, RunPhase.PENDING, RunPhase.RUNNING)

    def committed(self, batch: Batch) -> list[Wish]:
        """The wishes of a batch that is durable now: only at this point may they become deeds."""
        if self.phase is not RunPhase.RUNNING:
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
        path = self.open[call].path if call in self.open else None
        self._add(_EVENT_KIND[type(event)], event.time, call, path, event.pack())

    def _is_given_up(self, call: CallId | None) -> bool:
        """Whether a command of this very batch abandoned `call`: its end, in the same batch, came too late.

        Such an event was delivered and must not have been. The cell is dropped, and the facts are led through one by one.
        """
        return call is not None and call not in self.open and StopCall(call) in self._batch.wishes

    def _refuse_unstarted(self, time: TimeMs) -> None:
        """Steps asked for in this batch, before the cancellation in it, are never begun: nobody else would end them."""
        failure = Failure("Canceled", "the run was canceled before this step began")
        for wish in self._batch.wishes:
            if isinstance(wish, StartStep) and wish.call in self.open:
                self._add_event(StepFailed(time, wish.call, failure))

    def _add_command(self, body: bytes, time: TimeMs) -> None:
        command: Command = unpack_command(body)
        call = getattr(command, "call", None)
        if isinstance(command, CallStep | SetTimer) and command.call <= self._last_call:
            raise MalformedOutput(f"the guest used call {call} again")
        try:
            self._add(_COMMAND_KIND[type(command)], time, call, getattr(command, "path", None), body)
        except HistoryError as error:
            raise MalformedOutput(f"the guest asked for what cannot follow: {error.message}") from error
        match command:
            case CallStep():
                self._batch.wishes.append(StartStep(command.call, command.path, command.name, command.arguments))
            case SetTimer():
                self._batch.wishes.append(StartTimer(command.call, command.due))
            case AbandonCall():
                self._batch.wishes.append(StopCall(command.call))

    def _close(self, now: TimeMs) -> None:
        """The end that follows from the state alone: a cancellation that is through, a run that can never move again."""
        if self.phase is RunPhase.CANCELING and not self._active:
            self._add(Kind.RUN_CANCELED, now, None, None, encode({}))
        elif self.phase is RunPhase.RUNNING and not self.open:
            failure = Failure(
                "Deadlock",
                "the workflow waits for something that nothing outside will ever answer: no step, timer or hook is "
                "open, and it has neither returned nor raised",
            )
            self._add(Kind.RUN_STOPPED, now, None, None, encode({"failure": failure.to_wire()}))

    def _add(self, kind: Kind, time: TimeMs, call: CallId | None, path: Path | None, body: bytes) -> None:
        record = make_record(self.head_hash, Seq(self.head_seq + 1), kind, time, call, path, body)
        self._apply(record)
        self._batch.records.append(record)

    def _apply(self, record: Record) -> None:
        kind, call_id = record.kind, record.call
        self.phase = follow(lifecycles.RUN, self.phase, kind, lambda: f"run {self.key.run}")
        self.head_seq, self.head_hash = record.seq, record.hash
        if kind is Kind.RUN_CREATED:
            self.created = record
        elif call_id is not None:
            self._apply_to_call(record, call_id)
        elif kind in ENDS:
            self.open.clear()
            self._active = 0

    def _apply_to_call(self, record: Record, call_id: CallId) -> None:
        kind = record.kind
        if kind is Kind.STEP_CALLED or kind is Kind.TIMER_SET:
            self._last_call = max(self._last_call, call_id)
        if kind is Kind.STEP_CALLED:
            self.open[call_id] = OpenCall(record.path or Path(""), record.body, StepPhase.CALLED)
            self._active += 1
            return
        if kind is Kind.TIMER_SET:
            command = unpack_command(record.body)
            assert isinstance(command, SetTimer)
            self.open[call_id] = OpenCall(command.path, record.body, TimerPhase.SET, due=command.due)
            self._note_due(command.due, call_id)
            return
        call = self.open.get(call_id)
        if call is None:
            raise HistoryError(f"run {self.key.run}, record {record.seq}: call {call_id} is not open")

        def what() -> str:
            return f"run {self.key.run}, record {record.seq}: call {call_id} ({call.path})"

        before = call.phase
        if isinstance(before, StepPhase):
            call.phase = follow(lifecycles.STEP, before, kind, what)
        else:
            call.phase = follow(lifecycles.TIMER, before, kind, what)
        self._active += (call.phase in _ACTIVE) - (before in _ACTIVE)
        if call.phase in (StepPhase.DONE, TimerPhase.DONE):
            del self.open[call_id]
        elif kind is Kind.ATTEMPT_STARTED:
            call.attempt, call.due = record.content()["attempt"], TimeMs(0)
        elif kind is Kind.ATTEMPT_FAILED:
            call.due = TimeMs(record.content().get("retry_at") or 0)
            self._note_due(call.due, call_id)

    def _note_due(self, due: TimeMs, call_id: CallId) -> None:
        """Keep the heap as large as what is open: timers that were given up would stay in it until they are due."""
        if len(self._dues) > 64 + 2 * len(self.open):
            self._dues = [entry for entry in self._dues if entry[1] in self.open]
            heapify(self._dues)
        heappush(self._dues, (due, call_id))


_ACTIVE = (StepPhase.CALLED, StepPhase.RUNNING)
