"""A cell that conducts a run whose history somebody else keeps: events in, open calls out, nothing else.

`Conductor` is a function of the events it is given. It does no I/O and reads no clock: what it asks for stands in `open`, and
an engine answers with events. So an engine that gives the same events in the same order leads it to the same place, and
`freeze` makes bytes from which another one goes on.

An event is given with the path of the call that it answers. If another call stands there, the code has changed under the run,
and that is a `Divergence`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeAlias

from cloche.engines import is_native
from cloche.errors import CheckpointRejected, Divergence, GuestFault, HistoryError, InvalidResult, UsageError
from cloche.foreign.report import Report
from cloche.history import DEFAULT_TENANT, CallId, Failure, TimeMs
from cloche.history.messages import (
    AbandonCall,
    CallStep,
    CancelRequested,
    ChildEnded,
    CompleteRun,
    ContinueRun,
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
    TimerFired,
    WriteLog,
    unpack_event,
)
from cloche.history.output import split_output, unpack_command
from cloche.history.values import decode, encode_plain

if TYPE_CHECKING:
    from cloche.foreign.hosted import Hosted

FORM = 1  # of frozen runs
CANCELED = "Canceled"  # the name of what is raised in code that is told to end

Asked: TypeAlias = CallStep | SetTimer | OpenHook | StartChild
CallEvent: TypeAlias = (
    StepCompleted | StepFailed | StepSuspended | StepResumed | StepBailed | TimerFired | HookReceived | ChildEnded
)


@dataclass(frozen=True, slots=True)
class RunCanceled:
    """The run was canceled, and its code has cleaned up where it can."""

    reason: str


Outcome: TypeAlias = CompleteRun | FailRun | RunCanceled


def unpacked(packed: bytes) -> StepCompleted | StepFailed | StepSuspended | StepBailed:
    """The event with which an attempt ended, from the bytes that the engine has kept."""
    event = unpack_event(packed)
    if not isinstance(event, StepCompleted | StepFailed | StepSuspended | StepBailed):
        raise HistoryError(f"the engine gives a {type(event).__name__} as the end of an attempt")
    return event


class OutOfTurn(Exception):
    """An event of a batch answers a call that was given up within it: lead a new conductor through one event at a time."""


@dataclass(slots=True)
class News:
    """What has changed since it was looked at: calls that were made, calls that were given up, lines that were logged.

    A line is its level, its text and the number of the event, from 1, that it followed.
    """

    opened: list[CallId] = field(default_factory=list)
    closed: list[Call] = field(default_factory=list)
    logs: list[tuple[int, str, int]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.opened or self.closed or self.logs)


@dataclass(slots=True, eq=False)
class Call:
    """One open call: what was asked for, as the guest wrote it in `body`, and how far a step is.

    `attempt` is the number of the attempt that is under way or next, from 1; `due` when it may begin, in ms.
    """

    number: CallId
    path: str
    body: bytes
    attempt: int = 1
    due: int = 0
    suspended: bytes | None = None  # the last such event
    resumed: bytes | None = None
    is_suspended: bool = False
    _asked: Asked | None = None

    @property
    def asked(self) -> Asked:
        """The command; read when somebody wants to know, for most calls of a history that is led again are answered."""
        if self._asked is None:
            command = unpack_command(self.body, is_new=True)
            assert isinstance(command, CallStep | SetTimer | OpenHook | StartChild)
            self._asked = command
        return self._asked

    def suspend_info(self) -> dict[str, Any]:
        """`payload` and `labels` that the step suspended with, if it did."""
        return dict(decode(self.suspended)[3]) if self.suspended else {}

    def resume_data(self) -> Any:
        return decode(self.resumed)[3].get("data") if self.resumed else None

    def saved(self) -> list[Any]:
        of_call = [self.number, self.path, self.body, self.attempt, self.due]
        return [*of_call, self.suspended, self.resumed, self.is_suspended]


class Conductor:
    """One run. `open` are the calls that wait for an answer, in the order in which they were made; `outcome` is how it ended.

    `news` collects what changes for whoever answers the calls, who puts an empty one in its place. `results` are the outputs of
    steps and blocks outside of loops, by path. `state_version` counts the changes of `state`.
    """

    def __init__(self, hosted: Hosted) -> None:
        self.hosted = hosted
        self._cell = hosted.cells.open(hosted.code, hosted.guest, hosted.cells.limits(), DEFAULT_TENANT)
        self.open: dict[CallId, Call] = {}
        self.news = News()
        self.started: Started | None = None
        self.state: dict[str, Any] = {}
        self.state_version = 0
        self.results: dict[str, Any] = {}
        self.outcome: Outcome | None = None
        self.events = 0
        self.now = TimeMs(0)  # of the last event
        self.report: Report | None = None
        self._last_call = 0
        self._canceling: str | None = None

    # ---- events ----

    def begin(self, identity: str, now: int, input: Any, given: Mapping[str, Any] | None = None) -> None:
        """The run begins, at `now` (ms). Its chance comes from `identity`, so that every life of the run begins alike."""
        seed = blake2b(identity.encode(), digest_size=16).digest()
        self.started = Started(TimeMs(now), seed, input, dict(given or {}))
        self.state = dict(self.started.given.get("state", {}))
        self._turn([self.started])

    def deliver(self, path: str, event: CallEvent) -> bool:
        """Give the answer to the call at `path`; False if nobody waits for it any more.

        Raises:
            Divergence: another call has its number.
        """
        if self.outcome is not None or not self._waits(path, event):
            return False
        self._turn([event])
        return True

    def deliver_all(self, answers: Sequence[tuple[str, bytes]]) -> None:
        """As `deliver` of each packed event in order, in one crossing.

        Raises:
            OutOfTurn: one of them was given up by what an earlier one led to. The conductor is spoilt.
        """
        if not answers:
            return
        with self._faults_end_it():
            commands = self._commands(self._cell.turn([packed for _, packed in answers]))
            for path, packed in answers:
                call = self.open.get(decode(packed)[2])
                if self.outcome is not None or call is None or call.path != path:
                    self._waits(path, unpacked(packed))
                    raise OutOfTurn
                self._take_packed(call, packed)
                for body in next(commands):
                    self._command(body)

    def cancel(self, now: int, reason: str, *, by: CallEvent | None = None) -> None:
        """The run is to end: code that can clean up is told, once; any other is over. `by` ends the step that asked for it."""
        if self.outcome is not None:
            return
        request = CancelRequested(TimeMs(now), reason)
        if self._canceling is None and is_native(self.hosted.code):
            self._canceling = reason
            self._turn([request])
            return
        if self.report is not None:
            events: list[Event] = [request] if by is None else [request, by]
            self.report.take(events, [self._attempt_of(event) for event in events], b"")
        self._end(RunCanceled(reason))

    @property
    def is_canceling(self) -> bool:
        """Its code was told to end, and cleans up."""
        return self._canceling is not None

    def stop(self, failure: Failure) -> None:
        """The run fails with what its code has not said itself."""
        if self.outcome is None:
            self._end(FailRun(failure))

    @property
    def resident_bytes(self) -> int:
        """About what its cell takes of the process's memory."""
        return self._cell.resident_bytes

    def waiting(self) -> list[Call]:
        """The calls of steps that wait to be resumed."""
        return [call for call in self.open.values() if call.is_suspended]

    # ---- between two lives ----

    def freeze(self) -> bytes | None:
        """Cell and open calls: what `thaw` goes on with. None where the cell cannot be frozen."""
        pack = self._cell.freeze()
        if pack is None or self.started is None:
            return None
        state_hash, cell = pack()
        calls = [call.saved() for call in self.open.values()]
        report = self.report.saved() if self.report is not None else None
        of_run = [self.started.pack(), self.now, calls, self._last_call, self.state, self.state_version, self.results]
        return encode_plain([FORM, self.hosted.digest, state_hash, cell, *of_run, self._canceling, report])

    @classmethod
    def thaw(cls, hosted: Hosted, packed: bytes) -> Conductor:
        """The run that was frozen into these bytes, which nobody but the engine has held.

        Raises:
            Divergence: it was frozen under other code: a cell holds code and data, so it cannot go on under this one.
            CheckpointRejected: the bytes are damaged, or of another form.
        """
        form, digest, state_hash, cell, *of_run, canceling, report = decode(packed)
        if form != FORM:
            raise CheckpointRejected(f"a frozen run has form {form}, and this cloche reads {FORM}")
        if digest != hosted.digest:
            raise Divergence(
                f"a run of workflow '{hosted.id}' went on by a checkpoint of other code ({digest[:8]}, and this worker has "
                f"{hosted.digest[:8]}): finish it with a worker of the version it began with",
                report=None,
            )
        run = cls(hosted)
        thawed = hosted.cells.thaw(hosted.code, hosted.guest, hosted.cells.limits(), DEFAULT_TENANT, cell)
        if thawed is None or thawed.state_hash() != state_hash:
            raise CheckpointRejected(f"the frozen cell of a run of workflow '{hosted.id}' is not what it was")
        run._cell, run._canceling = thawed, canceling
        started, run.now, calls, run._last_call, run.state, run.state_version, run.results = of_run
        event = unpack_event(started)
        assert isinstance(event, Started)
        run.started = event
        run.open = {call[0]: Call(*call) for call in calls}
        run.news.opened = list(run.open)
        if report is not None:
            run.report = Report.restored(hosted, report)
        return run

    # ---- inside ----

    def _waits(self, path: str, event: CallEvent) -> bool:
        call = self.open.get(event.call)
        if call is not None and call.path == path:
            return True
        if call is None and event.call <= self._last_call:
            return False  # it was given up meanwhile
        has = f"'{call.path}'" if call is not None else "nothing"
        raise Divergence(
            f"the engine's history of this run has '{path}' here, but workflow '{self.hosted.id}' asked for {has}. Its code "
            "changed while the run was open: finish the run with the version it began with, or start a new one",
            report=None,
        )

    def _turn(self, events: Sequence[Event]) -> None:
        with self._faults_end_it():
            output = self._cell.turn([event.pack(self.hosted.code.abi) for event in events])
            commands, attempts = self._commands(output), list[int]()
            for event in events:
                attempts.append(self._attempt_of(event))
                self._take(event)
                for body in next(commands):
                    self._command(body)
            if self.report is not None:
                self.report.take(events, attempts, output)

    def _commands(self, output: bytes) -> Iterator[list[bytes]]:
        """What the guest asked for after each event."""
        return split_output(output, None, self.hosted.cells.validator)

    @contextmanager
    def _faults_end_it(self) -> Iterator[None]:
        """A fault of the cell ends the run; one that may not come again is the engine's to try again."""
        try:
            yield
        except GuestFault as fault:
            if not fault.deterministic:
                raise
            self._end(FailRun(Failure.from_exception(fault)))

    def _take_packed(self, call: Call, packed: bytes) -> None:
        """As `_take`, for the end of an attempt; that of a step that completed without more is not built."""
        number, time, id, *rest = decode(packed)
        if number == StepCompleted.number and len(rest) == 1:
            self.events += 1
            self.now = time
            self._keep(call.path, rest[0])
            del self.open[id]
        else:
            self._take(unpacked(packed))

    def _attempt_of(self, event: Event) -> int:
        call = self.open.get(getattr(event, "call", CallId(0)))
        return call.attempt if call is not None else 0

    def _take(self, event: Event) -> None:
        self.events += 1
        self.now = event.time
        match event:
            case StepSuspended(call=number):
                call = self.open[number]
                call.suspended, call.is_suspended = event.pack(), True
            case StepResumed(call=number):
                call = self.open[number]
                call.resumed, call.is_suspended, call.attempt, call.due = event.pack(), False, 1, 0
            case (
                StepCompleted(call=number, value=value, state=state) | StepBailed(call=number, value=value, state=state)
            ):
                self._keep(self.open[number].path, value)
                if state:
                    self.state.update(state)
                    self.state_version += 1
                del self.open[number]
            case (
                StepFailed(call=number) | TimerFired(call=number) | HookReceived(call=number) | ChildEnded(call=number)
            ):
                del self.open[number]

    def _command(self, body: bytes) -> None:
        match decode(body):
            case [0 | 1 | 2 | 3, int(call), str(path), *_] if call > self._last_call:
                self.open[CallId(call)] = Call(CallId(call), path, body)
                self.news.opened.append(CallId(call))
                self._last_call = call
                return
        match command := unpack_command(body, is_new=True):
            case AbandonCall(call):
                self._give_up(call)
            case Leave(path, outcome):
                for call in [n for n, one in self.open.items() if one.path.startswith((path + "/", path + "["))]:
                    self._give_up(call)
                if outcome[0] == 0:
                    self._keep(path, outcome[1])
            case FailRun(failure) if self._canceling is not None and failure.name == CANCELED:
                self._end(RunCanceled(self._canceling))
            case CompleteRun(value):
                self._end(self._ended_with(value))
            case FailRun():
                self._end(command)
            case ContinueRun():
                why = "continue_as_new needs a store of cloche's own: a foreign engine keeps one history of a run"
                self._end(FailRun(Failure.of(UsageError, why)))
            case WriteLog(level, text):
                self.news.logs.append((level, text, self.events))

    def _ended_with(self, value: Any) -> Outcome:
        """Of another type than its workflow says it is a failure."""
        try:
            self.hosted.check_result(value)
        except InvalidResult as misfit:
            return FailRun(Failure.from_exception(misfit))
        return CompleteRun(value)

    def _keep(self, path: str, value: Any) -> None:
        if "[" not in path:  # a turn of a loop: there may be any number
            self.results[path] = value

    def _give_up(self, call: CallId) -> None:
        if (closed := self.open.pop(call, None)) is not None:
            self.news.closed.append(closed)

    def _end(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.news.closed += self.open.values()
        self.open.clear()
