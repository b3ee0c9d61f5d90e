"""Events and commands of `guest/ABI.md`: inputs that enter the glass, requests that leave it.

Each message is a frozen dataclass: its fields in the order of the wire, after its number. `abi_name` is what `guest/ABI.md`
calls it, `kind` the kind of the record that holds it. Nothing on the host says any of these again, and a test compares them
with the CDDL, the guests and the SQL. `pack` gives the exact bytes that cross and are stored; what a guest wrote is read in
`history.output`.

Each is packed for the guest of its run: what an older version of the boundary cannot say is left out, as it was before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, TypeAlias, get_args

from cloche.errors import HistoryError
from cloche.history.check import NULL
from cloche.history.failures import Failure
from cloche.history.ids import CallId, Child, Name, Path, TimeMs
from cloche.history.records import Kind
from cloche.history.values import ABI, decode, encode_plain, plain

END_OF_EVENT = NULL
LOG_LEVELS = ("trace", "debug", "info", "warn", "error")

Level: TypeAlias = int  # a place in LOG_LEVELS
Outcome: TypeAlias = list[Any]  # [0, value] or [1, failure]
HookOptions: TypeAlias = dict[str, Any]
ChildOptions: TypeAlias = dict[str, Any]
Tags: TypeAlias = dict[str, Any]  # by name: a text, number, bool, or None


# ---- events: host -> guest -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Event:
    abi_name: ClassVar[str]
    number: ClassVar[int]
    kind: ClassVar[Kind]
    _packed: bytes = field(default=b"", init=False, repr=False, compare=False)
    _packed_for: int = field(default=0, init=False, repr=False, compare=False)

    def pack(self, abi: int = ABI) -> bytes:
        """The exact bytes that cross to a guest of `abi` and are stored; made once, since both uses come in the same turn."""
        if self._packed_for != abi:
            object.__setattr__(self, "_packed", encode_plain(self._wire(abi), abi))
            object.__setattr__(self, "_packed_for", abi)
        return self._packed

    def _wire(self, abi: int) -> list[Any]:
        raise AssertionError("each event says what it is on the wire")

    @classmethod
    def _read(cls, time: TimeMs, items: list[Any]) -> Self:
        """The event that `_wire` gave: `items` are those after the time."""
        return cls(time, *items)  # type: ignore[call-arg]  # of the class that it is called on


@dataclass(frozen=True, slots=True)
class Started(_Event):
    abi_name: ClassVar[str] = "start"
    number: ClassVar[int] = 0
    kind: ClassVar[Kind] = Kind.RUN_STARTED
    time: TimeMs
    seed: bytes  # 16 bytes
    input: Any
    given: dict[str, Any]  # "state", "context": both optional

    def _wire(self, abi: int) -> list[Any]:
        return [self.number, self.time, self.seed, plain(self.input, "input"), plain(self.given)]


@dataclass(frozen=True, slots=True)
class StepCompleted(_Event):
    """`state` are the keys of the run's state that the step changed, None if it changed nothing. Both are plain."""

    abi_name: ClassVar[str] = "completed"
    number: ClassVar[int] = 1
    kind: ClassVar[Kind] = Kind.STEP_COMPLETED
    time: TimeMs
    call: CallId
    value: Any
    state: dict[str, Any] | None = None

    def _wire(self, abi: int) -> list[Any]:
        return _with_state([self.number, self.time, self.call, self.value], self.state)


@dataclass(frozen=True, slots=True)
class StepFailed(_Event):
    abi_name: ClassVar[str] = "failed"
    number: ClassVar[int] = 2
    kind: ClassVar[Kind] = Kind.STEP_FAILED
    time: TimeMs
    call: CallId
    failure: Failure

    def _wire(self, abi: int) -> list[Any]:
        return [self.number, self.time, self.call, self.failure.to_wire(abi=abi)]

    @classmethod
    def _read(cls, time: TimeMs, items: list[Any]) -> Self:
        call, failure = items
        return cls(time, call, Failure.from_wire(failure))


@dataclass(frozen=True, slots=True)
class StepSuspended(_Event):
    """The step waits for outside data: its call stays open. `labels` are names to resume it by, `state` the keys of the run's
    state that the step changed before (ABI 2)."""

    abi_name: ClassVar[str] = "suspended"
    number: ClassVar[int] = 3
    kind: ClassVar[Kind] = Kind.STEP_SUSPENDED
    time: TimeMs
    call: CallId
    path: Path
    payload: Any = None
    labels: tuple[str, ...] = ()
    state: dict[str, Any] | None = None

    def _wire(self, abi: int) -> list[Any]:
        info: dict[str, Any] = {"path": self.path}
        if self.labels:
            info["labels"] = list(self.labels)
        if self.payload is not None:
            info["payload"] = self.payload
        return _with_state([self.number, self.time, self.call, plain(info)], self.state if abi > 1 else None)

    @classmethod
    def _read(cls, time: TimeMs, items: list[Any]) -> Self:
        call, info, *state = items
        return cls(time, call, info["path"], info.get("payload"), tuple(info.get("labels", ())), *state)


@dataclass(frozen=True, slots=True)
class StepResumed(_Event):
    """Outside data has come: the step runs again from its beginning, with `data`."""

    abi_name: ClassVar[str] = "resumed"
    number: ClassVar[int] = 9
    kind: ClassVar[Kind] = Kind.STEP_RESUMED
    time: TimeMs
    call: CallId
    path: Path
    data: Any = None

    def _wire(self, abi: int) -> list[Any]:
        info: dict[str, Any] = {"path": self.path}
        if self.data is not None:
            info["data"] = self.data
        return [self.number, self.time, self.call, plain(info)]

    @classmethod
    def _read(cls, time: TimeMs, items: list[Any]) -> Self:
        call, info = items
        return cls(time, call, info["path"], info.get("data"))


@dataclass(frozen=True, slots=True)
class StepBailed(_Event):
    """The step ends its innermost workflow as a success with `value`."""

    abi_name: ClassVar[str] = "bailed"
    number: ClassVar[int] = 10
    kind: ClassVar[Kind] = Kind.STEP_BAILED
    time: TimeMs
    call: CallId
    value: Any
    state: dict[str, Any] | None = None

    def _wire(self, abi: int) -> list[Any]:
        return _with_state([self.number, self.time, self.call, self.value], self.state)


@dataclass(frozen=True, slots=True)
class HookReceived(_Event):
    """What a hook waited for."""

    abi_name: ClassVar[str] = "received"
    number: ClassVar[int] = 5
    kind: ClassVar[Kind] = Kind.HOOK_RECEIVED
    time: TimeMs
    call: CallId
    value: Any

    def _wire(self, abi: int) -> list[Any]:
        return [self.number, self.time, self.call, self.value]


@dataclass(frozen=True, slots=True)
class HookFailed(_Event):
    """What a hook waited for will not come: somebody outside says so, or has not been heard of for too long (ABI 2)."""

    abi_name: ClassVar[str] = "hook-failed"
    number: ClassVar[int] = 13
    kind: ClassVar[Kind] = Kind.HOOK_FAILED
    time: TimeMs
    call: CallId
    failure: Failure

    def _wire(self, abi: int) -> list[Any]:
        return [self.number, self.time, self.call, self.failure.to_wire(abi=abi)]

    @classmethod
    def _read(cls, time: TimeMs, items: list[Any]) -> Self:
        call, failure = items
        return cls(time, call, Failure.from_wire(failure))


@dataclass(frozen=True, slots=True)
class TimerFired(_Event):
    abi_name: ClassVar[str] = "fired"
    number: ClassVar[int] = 4
    kind: ClassVar[Kind] = Kind.TIMER_FIRED
    time: TimeMs
    call: CallId

    def _wire(self, abi: int) -> list[Any]:
        return [self.number, self.time, self.call]


@dataclass(frozen=True, slots=True)
class ChildEnded(_Event):
    """What came of a child run; `outcome` is plain."""

    abi_name: ClassVar[str] = "child-ended"
    number: ClassVar[int] = 6
    kind: ClassVar[Kind] = Kind.CHILD_ENDED
    time: TimeMs
    call: CallId
    outcome: Outcome

    @classmethod
    def failed(cls, time: TimeMs, call: CallId, failure: Failure) -> ChildEnded:
        return cls(time, call, [1, failure.to_wire()])

    def _wire(self, abi: int) -> list[Any]:
        which, value = self.outcome
        if which == 1 and abi == 1:
            value = Failure.from_wire(value).to_wire(1, abi)
        return [self.number, self.time, self.call, [which, value]]


@dataclass(frozen=True, slots=True)
class CancelRequested(_Event):
    """The run is to end. Code that can clean up is told (`RunMachine.handles_cancel`). For other code, and if `is_final`, this
    and whatever comes later is recorded and not delivered."""

    abi_name: ClassVar[str] = "cancel-requested"
    number: ClassVar[int] = 7
    kind: ClassVar[Kind] = Kind.CANCEL_REQUESTED
    time: TimeMs
    reason: str
    is_final: bool = False  # not on the wire: whether it was delivered is the kind of its record

    def _wire(self, abi: int) -> list[Any]:
        return [self.number, self.time, plain(self.reason)]


@dataclass(frozen=True, slots=True)
class Upgraded(_Event):
    """The run goes on under other code, which has just replayed its whole history. Both are digests."""

    abi_name: ClassVar[str] = "upgraded"
    number: ClassVar[int] = 11
    kind: ClassVar[Kind] = Kind.RUN_UPGRADED
    time: TimeMs
    code: str
    guest: str

    def _wire(self, abi: int) -> list[Any]:
        return [self.number, self.time, {"code": self.code, "guest": self.guest}]

    @classmethod
    def _read(cls, time: TimeMs, items: list[Any]) -> Self:
        (codes,) = items
        return cls(time, codes["code"], codes["guest"])


Event: TypeAlias = (
    Started
    | StepCompleted
    | StepFailed
    | StepSuspended
    | StepResumed
    | StepBailed
    | TimerFired
    | HookReceived
    | HookFailed
    | ChildEnded
    | CancelRequested
    | Upgraded
)


@dataclass(frozen=True, slots=True)
class Replaying:
    """Comes before the history of a run that was upgraded: it is in no record, and made when one is replayed."""

    abi_name: ClassVar[str] = "replaying"
    number: ClassVar[int] = 12
    patches: list[str]

    def pack(self) -> bytes:
        return encode_plain([self.number, 0, self.patches])


def _with_state(wire: list[Any], state: dict[str, Any] | None) -> list[Any]:
    return wire if state is None else [*wire, plain(state)]


# ---- commands: guest -> host ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallStep:
    abi_name: ClassVar[str] = "step"
    number: ClassVar[int] = 0
    kind: ClassVar[Kind] = Kind.STEP_CALLED
    call: CallId
    path: Path
    name: Name
    arguments: list[Any]
    keywords: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SetTimer:
    abi_name: ClassVar[str] = "timer"
    number: ClassVar[int] = 1
    kind: ClassVar[Kind] = Kind.TIMER_SET
    call: CallId
    path: Path
    due: TimeMs
    value: Any


@dataclass(frozen=True, slots=True)
class OpenHook:
    """A named place where the run waits for an event from outside. `options` may have `token`, which is its name then
    and that of no other hook of the tenant, and `heartbeat`: how many milliseconds it may be silent before it fails."""

    abi_name: ClassVar[str] = "hook"
    number: ClassVar[int] = 2
    kind: ClassVar[Kind] = Kind.HOOK_OPENED
    call: CallId
    path: Path
    name: Name
    value: Any
    options: HookOptions = field(default_factory=dict)

    @property
    def token(self) -> str | None:
        token: str | None = self.options.get("token")
        return token

    @property
    def heartbeat_ms(self) -> int:
        """0 without one."""
        return int(self.options.get("heartbeat", 0))


@dataclass(frozen=True, slots=True)
class StartChild:
    """A run of its own, of that workflow. Its id follows from the run and the call, or the id that its author gives it, so it
    is started once."""

    abi_name: ClassVar[str] = "child"
    number: ClassVar[int] = 3
    kind: ClassVar[Kind] = Kind.CHILD_STARTED
    call: CallId
    path: Path
    workflow: Name
    input: Any
    options: ChildOptions = field(default_factory=dict)

    @property
    def child(self) -> Child:
        """Which child of its run it is."""
        given: str | None = self.options.get("id")
        return self.call if given is None else given


@dataclass(frozen=True, slots=True)
class WriteLog:
    abi_name: ClassVar[str] = "log"
    number: ClassVar[int] = 4
    kind: ClassVar[Kind] = Kind.LOG_LINE
    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class Enter:
    abi_name: ClassVar[str] = "entered"
    number: ClassVar[int] = 5
    kind: ClassVar[Kind] = Kind.ENTERED
    path: Path
    value: Any


@dataclass(frozen=True, slots=True)
class Leave:
    abi_name: ClassVar[str] = "left"
    number: ClassVar[int] = 6
    kind: ClassVar[Kind] = Kind.LEFT
    path: Path
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class CompleteRun:
    abi_name: ClassVar[str] = "complete"
    number: ClassVar[int] = 7
    kind: ClassVar[Kind] = Kind.RUN_COMPLETED
    value: Any


@dataclass(frozen=True, slots=True)
class FailRun:
    abi_name: ClassVar[str] = "fail"
    number: ClassVar[int] = 8
    kind: ClassVar[Kind] = Kind.RUN_FAILED
    failure: Failure


@dataclass(frozen=True, slots=True)
class AbandonCall:
    abi_name: ClassVar[str] = "abandon"
    number: ClassVar[int] = 9
    kind: ClassVar[Kind] = Kind.CALL_ABANDONED
    call: CallId


@dataclass(frozen=True, slots=True)
class TakePatch:
    """The run takes the path that was added to its code with this patch."""

    abi_name: ClassVar[str] = "patched"
    number: ClassVar[int] = 11
    kind: ClassVar[Kind] = Kind.PATCHED
    id: Name


@dataclass(frozen=True, slots=True)
class SetTags:
    """Tags that the run can be found by, beside those that it has; null removes one."""

    abi_name: ClassVar[str] = "tags"
    number: ClassVar[int] = 12
    kind: ClassVar[Kind] = Kind.TAGGED
    tags: Tags


@dataclass(frozen=True, slots=True)
class SetDeadline:
    """When the run must have ended; None takes it back."""

    abi_name: ClassVar[str] = "deadline"
    number: ClassVar[int] = 13
    kind: ClassVar[Kind] = Kind.DEADLINE_SET
    time: TimeMs | None = None


@dataclass(frozen=True, slots=True)
class ContinueRun:
    """This history ends, and the run goes on as its next one, which begins with this input. Nothing follows."""

    abi_name: ClassVar[str] = "continue"
    number: ClassVar[int] = 14
    kind: ClassVar[Kind] = Kind.RUN_CONTINUED_AS_NEW
    input: Any


Command: TypeAlias = (
    CallStep
    | SetTimer
    | OpenHook
    | StartChild
    | WriteLog
    | Enter
    | Leave
    | CompleteRun
    | FailRun
    | AbandonCall
    | TakePatch
    | SetTags
    | SetDeadline
    | ContinueRun
)


EVENT_TYPES: tuple[type[Event], ...] = get_args(Event)
COMMAND_TYPES: tuple[type[Command], ...] = get_args(Command)
# Two messages have a second kind of record: a cancellation that the code is told of, a failure that ends a cancellation.
MESSAGE_TYPES: dict[Kind, type[Event] | type[Command]] = {
    **{message.kind: message for message in (*EVENT_TYPES, *COMMAND_TYPES)},
    Kind.CANCEL_DELIVERED: CancelRequested,
    Kind.RUN_CANCELED_BY_CODE: FailRun,
}
# The kinds of what a guest is given, and of what it writes.
EVENTS = frozenset(kind for kind, message in MESSAGE_TYPES.items() if message in EVENT_TYPES) - {Kind.CANCEL_REQUESTED}
COMMANDS = frozenset(kind for kind, message in MESSAGE_TYPES.items() if message in COMMAND_TYPES)
_EVENT_BY_NUMBER: dict[int, type[Event]] = {event.number: event for event in EVENT_TYPES}


def unpack_event(data: bytes) -> Event:
    """An event from the bytes of its record; packing it again gives the same bytes.

    Raises:
        HistoryError: it is of a kind that this version does not know, or has other fields.
    """
    number, time, *items = decode(data)
    event = _EVENT_BY_NUMBER.get(number)
    if event is not None:
        try:
            return event._read(time, items)
        except (TypeError, ValueError, KeyError, AttributeError):
            pass
    raise HistoryError(f"event {number} is of a kind that this cloche does not know: use a newer version")
