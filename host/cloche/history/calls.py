"""The calls of a run that are open: steps, timers, hooks and children whose end is not in the history.

`OpenCalls` follows the records of calls. It holds as much as is open and forgets what has ended.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any, TypeAlias

from cloche.errors import HistoryError
from cloche.history import lifecycles
from cloche.history.effects import Effect, StartRun, StartStep, StartTimer, Suspension, start_of, watch_of
from cloche.history.hooks import OpenHooks
from cloche.history.ids import CallId, Path, Seq, TimeMs
from cloche.history.lifecycles import ChildPhase, HookPhase, Lifecycle, StepPhase, TimerPhase, follow
from cloche.history.messages import (
    CallStep,
    ChildEnded,
    OpenHook,
    SetTimer,
    StartChild,
    StepResumed,
    StepSuspended,
    unpack_event,
)
from cloche.history.notes import AttemptFailed, AttemptStarted, PermitAsked, unpack_note
from cloche.history.output import unpack_command
from cloche.history.permitted import WHOLE_RUN, PermittedCalls
from cloche.history.reading import Message
from cloche.history.records import Kind, Record

CallPhase: TypeAlias = StepPhase | TimerPhase | HookPhase | ChildPhase

_OPENS: dict[Kind, CallPhase] = {
    Kind.STEP_CALLED: StepPhase.CALLED,
    Kind.TIMER_SET: TimerPhase.SET,
    Kind.HOOK_OPENED: HookPhase.OPEN,
    Kind.CHILD_STARTED: ChildPhase.OPEN,
}
_LIFECYCLES: dict[type[CallPhase], Lifecycle[CallPhase]] = {
    StepPhase: lifecycles.STEP,  # type: ignore[dict-item]  # a mapping is invariant in its keys
    TimerPhase: lifecycles.TIMER,  # type: ignore[dict-item]
    HookPhase: lifecycles.HOOK,  # type: ignore[dict-item]
    ChildPhase: lifecycles.CHILD,  # type: ignore[dict-item]
}
# The order is stored: see `saved`.
_PHASES: tuple[type[CallPhase], ...] = (StepPhase, TimerPhase, HookPhase, ChildPhase)
_DONE = (StepPhase.DONE, TimerPhase.DONE, HookPhase.DONE, ChildPhase.DONE)
# What a call that stays open remembers something of.
_REMEMBERED = {
    Kind.ATTEMPT_STARTED, Kind.ATTEMPT_SENT, Kind.ATTEMPT_FAILED, Kind.STEP_SUSPENDED, Kind.STEP_RESUMED,
    Kind.PERMIT_ASKED,
}  # fmt: skip
_FAILING = (Kind.STEP_FAILED, Kind.CHILD_ENDED)
PASSED = TimeMs(0)  # in the place of a deadline
_ACTIVE = (StepPhase.CALLED, StepPhase.QUEUED, StepPhase.RUNNING, ChildPhase.OPEN)
_PERMITTED = (
    StepPhase.QUEUED,
    StepPhase.RUNNING,
    StepPhase.AWAY,
)  # a call has its permits as long as it is one of these


@dataclass(slots=True)
class OpenCall:
    """`body` is the command as the guest wrote it, `suspended` and `resumed` the latest events of that kind.

    `due` is when a timer fires, or when a step that failed is tried again.
    """

    path: Path
    body: bytes
    phase: CallPhase
    attempt: int = 0
    due: TimeMs = TimeMs(0)
    suspended: bytes | None = None
    resumed: bytes | None = None
    redispatched: int = 0  # how often the attempt was begun again because its process had ended
    at_most_once: bool = False  # the attempt that has begun is not made again
    filled: Any = None  # the input of a step as its schema filled it, once that is recorded
    sent: Seq = Seq(0)  # the record by which its attempt was left for a remote worker
    limits: list[list[Any]] | None = None  # whose permits it has or waits for, as they were asked for
    asked_at: TimeMs = TimeMs(0)  # when

    def suspension(self) -> StepSuspended | None:
        """The latest one of a step."""
        event = unpack_event(self.suspended) if self.suspended is not None else None
        return event if isinstance(event, StepSuspended) else None

    def resumption(self) -> StepResumed | None:
        """The latest one of a step."""
        event = unpack_event(self.resumed) if self.resumed is not None else None
        return event if isinstance(event, StepResumed) else None

    def saved(self) -> list[Any]:
        """All fields, in their order; the phase as [which lifecycle, its name]."""
        fields = [getattr(self, name) for name in self.__dataclass_fields__]
        fields[2] = [_PHASES.index(type(self.phase)), self.phase.value]
        return fields

    @classmethod
    def restored(cls, fields: list[Any]) -> OpenCall:
        path, body, (lifecycle, phase), *rest = fields
        return cls(path, body, _PHASES[lifecycle](phase), *rest)


class OpenCalls(dict[CallId, OpenCall]):
    """The open calls by number, with the counts that decide what a run is waiting for.

    `active` are the steps and children that are under way, `child_runs` the children, `suspended` the steps that are.
    `away` are the steps that remote workers perform, `returned` those that have ceased to be away since a mark.
    `permits` has the steps that have asked for permits.
    `awaited` has the open hooks by the name of their event, the first one first.
    """

    __slots__ = (
        "_dues",
        "_under",
        "active",
        "awaited",
        "away",
        "child_runs",
        "deadline",
        "failed_at",
        "last_call",
        "permits",
        "returned",
        "suspended",
    )

    def __init__(self) -> None:
        super().__init__()
        self.last_call = 0  # numbers only grow: one that comes again is seen without keeping the past
        self._dues: list[tuple[TimeMs, CallId]] = []  # a heap
        # The calls under a place, by the hash of its path: guests choose how long paths are.
        self._under: dict[int, set[CallId]] = {}
        self.active = 0
        self.child_runs = 0
        self.suspended = 0
        self.away: dict[CallId, None] = {}
        self.returned: list[CallId] = []
        self.permits = PermittedCalls()
        self.failed_at: Path | None = None  # the call that failed last, of those that have ended
        self.awaited = OpenHooks()
        self.deadline: TimeMs | None = None  # by when the run must have ended; PASSED: it has not

    @property
    def wake_at(self) -> TimeMs | None:
        """When the earliest timer, retry or sign of life is due, or the run itself."""
        due = self.next_due
        if not self.deadline:
            return due
        return self.deadline if due is None else min(due, self.deadline)

    def expect(self, call_id: CallId, due: TimeMs) -> None:
        """The next sign of life of a hook is due then."""
        if call_id in self:
            self._note_due(self[call_id], due, call_id)

    def is_new(self, call_id: CallId) -> bool:
        """Whether the guest may give this number to a call."""
        return call_id > self.last_call

    def pass_number(self, call_id: CallId) -> None:
        """Numbers up to this one have been used."""
        self.last_call = max(self.last_call, call_id)

    def under(self, path: str) -> list[CallId]:
        """The calls that are open at `path` or under it (`path/…`, `path[…`), in the order of their numbers."""
        calls = self._under.get(hash(path), ())  # usually none: a block is left when all in it has ended
        return sorted(call_id for call_id in calls if _is_under(self[call_id].path, path))

    @property
    def next_due(self) -> TimeMs | None:
        """When the earliest timer or retry is due."""
        while self._dues:  # entries of calls that have ended meanwhile are dropped as they come up
            due, call_id = self._dues[0]
            call = self.get(call_id)
            if call is not None and call.due == due:
                return due
            heappop(self._dues)
        return None

    def counts(self) -> dict[str, int]:
        """How many calls of each kind are open, by the name of the bound on them."""
        kinds = Counter(type(call.phase) for call in self.values())
        pending = kinds[StepPhase] + kinds[ChildPhase]
        return {"pending_steps": pending, "timers": kinds[TimerPhase], "hooks": kinds[HookPhase]}

    # ---- what they wait for ----

    def suspensions(self) -> list[Suspension]:
        """The steps that wait to be resumed, in the order of their calls."""
        found = []
        for call_id, call in sorted(self.items()):
            if call.phase is StepPhase.SUSPENDED and (event := call.suspension()) is not None:
                command = unpack_command(call.body)
                assert isinstance(command, CallStep)
                found.append(Suspension(call_id, call.path, event.payload, event.labels, command.name))
        return found

    def hooks(self) -> list[OpenHook]:
        """The places where the run waits for events, in the order of their calls."""
        opened = (unpack_command(call.body) for _, call in sorted(self.items()) if call.phase is HookPhase.OPEN)
        return [command for command in opened if isinstance(command, OpenHook)]

    def children(self) -> list[CallId]:
        """The calls that wait for a child run, in the order of their numbers."""
        return sorted(call_id for call_id, call in self.items() if call.phase is ChildPhase.OPEN)

    def effects(self) -> list[Effect]:
        """What all of them wait for, to be dispatched again: an attempt that had begun is made once more."""
        effects: list[Effect] = []
        for call_id, call in self.items():
            if isinstance(call.phase, TimerPhase):
                effects.append(StartTimer(call_id, call.due))
            elif call.phase is ChildPhase.OPEN:
                effects.append(self.start_of_child(call_id))
            elif call.phase is HookPhase.OPEN:
                effects += _watches(call)
            elif call.phase in (StepPhase.CALLED, StepPhase.QUEUED, StepPhase.RUNNING, StepPhase.BACKOFF):
                effects.append(self.start_of(call_id))
        return effects

    def start_of(self, call_id: CallId) -> StartStep:
        """The start of the next attempt of a step, with what it was resumed with."""
        call = self[call_id]
        command = unpack_command(call.body)
        assert isinstance(command, CallStep)
        attempt = call.attempt + 1 if call.phase is StepPhase.BACKOFF else max(call.attempt, 1)
        suspended, resumed = call.suspension(), call.resumption()
        return StartStep(
            call_id,
            command.path,
            command.name,
            command.arguments,
            attempt,
            call.due,
            suspended.payload if suspended is not None else None,
            resumed.data if resumed is not None else None,
            resumed is not None,
            keywords=command.keywords,
            filled=call.filled,
        )

    def start_of_child(self, call_id: CallId) -> StartRun:
        command = unpack_command(self[call_id].body)
        assert isinstance(command, StartChild)
        return start_of(command)

    # ---- what is kept ----

    def clear(self) -> None:
        self.awaited.clear()
        super().clear()
        self._dues.clear()
        self._under.clear()
        self.active = self.child_runs = self.suspended = 0
        self.returned += self.away
        self.away.clear()
        self.permits.end()

    def saved(self) -> list[Any]:
        """Everything there is to know, as plain data; `restored` makes it again."""
        entries = [[call_id, call.saved()] for call_id, call in self.items()]
        rest = [self.deadline, True] if WHOLE_RUN in self.permits else [] if self.deadline is None else [self.deadline]
        return [self.last_call, entries, *rest]

    @classmethod
    def restored(cls, data: list[Any]) -> OpenCalls:
        calls = cls()
        calls.last_call, entries, *rest = data
        calls.deadline = rest[0] if rest else None
        if len(rest) > 1:
            calls.permits.add_run()
        for call_id, fields in entries:
            call = calls[call_id] = OpenCall.restored(fields)
            calls._enlist(call_id, call.path)
            calls.active += call.phase in _ACTIVE
            calls.child_runs += call.phase is ChildPhase.OPEN
            calls.suspended += call.phase is StepPhase.SUSPENDED
            if call.phase is StepPhase.AWAY:
                calls.away[call_id] = None
            if call.limits is not None:
                calls.permits.restore(call_id, call.phase)
            if call.phase is HookPhase.OPEN:
                calls.awaited.open(_event_of(call), call_id)
            if call.due or call.phase is StepPhase.BACKOFF:
                calls._note_due(call, call.due, call_id)
        return calls

    def close(self, call_id: CallId) -> None:
        """Forget a call that nobody waits for any more."""
        if self[call_id].phase is HookPhase.OPEN:
            self.awaited.close(_event_of(self[call_id]), call_id)
        self._move(self[call_id], StepPhase.DONE, call_id)
        self._remove(call_id)

    def apply(self, record: Record, call_id: CallId, message: Message | None = None) -> None:
        """Follow a record of a call; `message` is what it holds, if that is at hand.

        Raises:
            HistoryError: it cannot follow what came before.
        """
        opened = _OPENS.get(record.kind)
        if opened is not None:
            self._open(record, call_id, opened, message)
            return
        call = self.get(call_id)
        if call is None:
            raise HistoryError(f"record {record.seq}: call {call_id} is not open")

        def what() -> str:
            return f"record {record.seq}: call {call_id} ({call.path})"

        self._move(call, follow(_LIFECYCLES[type(call.phase)], call.phase, record.kind, what), call_id)
        if call.phase is HookPhase.DONE:
            self.awaited.close(_event_of(self[call_id]), call_id)
        if call.phase in _DONE:
            if record.kind in _FAILING and _has_failed(record):
                self.failed_at = call.path
            self._remove(call_id)
        elif record.kind in _REMEMBERED:
            self._remember(record, call_id, call, message)

    def _open(self, record: Record, call_id: CallId, phase: CallPhase, message: Message | None) -> None:
        self.pass_number(call_id)
        call = self[call_id] = OpenCall(record.path or Path(""), record.body, phase)
        self._enlist(call_id, call.path)
        self.active += phase in _ACTIVE
        self.child_runs += phase is ChildPhase.OPEN
        if phase is TimerPhase.SET:
            command = message or unpack_command(record.body)
            assert isinstance(command, SetTimer)
            self._note_due(call, command.due, call_id)
        elif phase is HookPhase.OPEN:
            command = message or unpack_command(record.body)
            assert isinstance(command, OpenHook)
            self.awaited.open(command.name, call_id)
            if command.heartbeat_ms:
                self._note_due(call, TimeMs(record.time + command.heartbeat_ms), call_id)

    def _enlist(self, call_id: CallId, path: str) -> None:
        for place in _places(path):
            self._under.setdefault(place, set()).add(call_id)

    def _remove(self, call_id: CallId) -> None:
        for place in _places(self.pop(call_id).path):
            calls = self._under.get(place)
            if calls is None:  # two places of this path with one hash
                continue
            calls.discard(call_id)
            if not calls:
                del self._under[place]

    def _move(self, call: OpenCall, phase: CallPhase, call_id: CallId) -> None:
        before, call.phase = call.phase, phase
        self.active += (phase in _ACTIVE) - (before in _ACTIVE)
        self.child_runs -= before is ChildPhase.OPEN
        self.suspended += (phase is StepPhase.SUSPENDED) - (before is StepPhase.SUSPENDED)
        if phase is StepPhase.AWAY:
            self.away[call_id] = None
        elif before is StepPhase.AWAY:
            del self.away[call_id]
            self.returned.append(call_id)
        if self.permits:
            self.permits.follow(call_id, before, phase)

    def _remember(self, record: Record, call_id: CallId, call: OpenCall, message: Message | None) -> None:
        if record.kind is Kind.STEP_SUSPENDED:
            call.suspended = record.body
        elif record.kind is Kind.STEP_RESUMED:
            call.resumed, call.attempt = record.body, 0
            call.redispatched, call.at_most_once = 0, False
        else:
            match message or unpack_note(record):
                case AttemptStarted() as started:
                    call.attempt, call.due = started.attempt, TimeMs(0)
                    call.redispatched, call.at_most_once = started.redispatched, started.at_most_once
                    call.filled = call.filled if started.filled is None else started.filled
                    call.sent = record.seq if record.kind is Kind.ATTEMPT_SENT else Seq(0)
                case PermitAsked() as asked:
                    self.permits.add(call_id)
                    _ask(call, record.time, asked)
                case AttemptFailed(retry_at=due):
                    self._note_due(call, due or TimeMs(0), call_id)

    def _note_due(self, call: OpenCall, due: TimeMs, call_id: CallId) -> None:
        """Keep the heap as large as what is open: timers that were abandoned would stay in it until they are due."""
        call.due = due
        if len(self._dues) > 64 + 2 * len(self):
            self._dues = [entry for entry in self._dues if entry[1] in self]
            heapify(self._dues)
        heappush(self._dues, (due, call_id))


def _ask(call: OpenCall, time: TimeMs, asked: PermitAsked) -> None:
    call.limits, call.asked_at = [list(limit) for limit in asked.limits], time
    call.attempt, call.due, call.redispatched = asked.attempt, TimeMs(0), asked.redispatched
    call.at_most_once = False  # nothing of the attempt has begun
    call.filled = call.filled if asked.filled is None else asked.filled


def _has_failed(record: Record) -> bool:
    event = unpack_event(record.body) if record.kind is Kind.CHILD_ENDED else None
    return not isinstance(event, ChildEnded) or event.outcome[0] == 1


def _watches(call: OpenCall) -> list[Effect]:
    command = unpack_command(call.body)
    assert isinstance(command, OpenHook)
    return [watch_of(command, call.due)] if command.options else []


def _event_of(call: OpenCall) -> str:
    """The name of the event that a hook is open for."""
    command = unpack_command(call.body)
    assert isinstance(command, OpenHook)
    return command.name


def _places(path: str) -> list[int]:
    """Hashes of the path itself and of all that it stands in: `W[2]/ask` stands in `W[2]` and in `W`."""
    if "/" not in path and "[" not in path:
        return [hash(path)]
    return [hash(path), *(hash(path[:at]) for at in range(1, len(path)) if path[at] in "/[")]


def _is_under(path: str, place: str) -> bool:
    return path.startswith(place) and (len(path) == len(place) or path[len(place)] in "/[")
