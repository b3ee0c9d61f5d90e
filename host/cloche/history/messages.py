"""Events and commands of `guest/ABI.md`: facts that enter the glass, wishes that leave it.

Each message is a frozen dataclass whose field order is the order of the wire, behind its number. `pack` gives the exact
bytes that cross and are stored; `unpack_commands` reads what a guest wrote, checked before anything is built.

The grammar has more kinds than there are classes here: operation and operation-ended belong to a feature that the host does
not have yet, and a guest that asks for one is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from cloche.errors import HistoryError, MalformedOutput
from cloche.history.bounds import Bounds
from cloche.history.failures import Failure
from cloche.history.ids import CallId, Path, TimeMs, is_name, is_path, was_name
from cloche.history.values import NULL, decode, encode_plain, ends, plain

END_OF_EVENT = NULL
LOG_LEVELS = ("trace", "debug", "info", "warn", "error")


# ---- events: host -> guest -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Event:
    _packed: bytes = field(default=b"", init=False, repr=False, compare=False)

    def pack(self) -> bytes:
        """The exact bytes that cross and are stored; made once, since both uses come in the same turn."""
        if not self._packed:
            object.__setattr__(self, "_packed", encode_plain(self._wire()))
        return self._packed

    def _wire(self) -> list[Any]:
        raise AssertionError("each event says what it is on the wire")


@dataclass(frozen=True, slots=True)
class Started(_Event):
    number: ClassVar[int] = 0
    time: TimeMs
    seed: bytes  # 16 bytes
    input: Any
    given: dict[str, Any]  # "state", "context": both optional

    def _wire(self) -> list[Any]:
        return [0, self.time, self.seed, plain(self.input, "input"), plain(self.given)]


@dataclass(frozen=True, slots=True)
class StepCompleted(_Event):
    """`state` are the keys of the run's state that the step changed, None if it changed nothing. Both are plain."""

    number: ClassVar[int] = 1
    time: TimeMs
    call: CallId
    value: Any
    state: dict[str, Any] | None = None

    def _wire(self) -> list[Any]:
        return _with_state([1, self.time, self.call, self.value], self.state)


@dataclass(frozen=True, slots=True)
class StepFailed(_Event):
    number: ClassVar[int] = 2
    time: TimeMs
    call: CallId
    failure: Failure

    def _wire(self) -> list[Any]:
        return [2, self.time, self.call, self.failure.to_wire()]


@dataclass(frozen=True, slots=True)
class StepSuspended(_Event):
    """The step waits for outside data: its call stays open. `labels` are names to resume it by."""

    number: ClassVar[int] = 3
    time: TimeMs
    call: CallId
    path: Path
    payload: Any = None
    labels: tuple[str, ...] = ()

    def _wire(self) -> list[Any]:
        info: dict[str, Any] = {"path": self.path}
        if self.labels:
            info["labels"] = list(self.labels)
        if self.payload is not None:
            info["payload"] = self.payload
        return [3, self.time, self.call, plain(info)]


@dataclass(frozen=True, slots=True)
class StepResumed(_Event):
    """Outside data has come: the step runs again from its beginning, with `data`."""

    number: ClassVar[int] = 9
    time: TimeMs
    call: CallId
    path: Path
    data: Any = None

    def _wire(self) -> list[Any]:
        info: dict[str, Any] = {"path": self.path}
        if self.data is not None:
            info["data"] = self.data
        return [9, self.time, self.call, plain(info)]


@dataclass(frozen=True, slots=True)
class StepBailed(_Event):
    """The step ends its innermost workflow as a success with `value`."""

    number: ClassVar[int] = 10
    time: TimeMs
    call: CallId
    value: Any
    state: dict[str, Any] | None = None

    def _wire(self) -> list[Any]:
        return _with_state([10, self.time, self.call, self.value], self.state)


@dataclass(frozen=True, slots=True)
class HookReceived(_Event):
    """What a hook waited for."""

    number: ClassVar[int] = 5
    time: TimeMs
    call: CallId
    value: Any

    def _wire(self) -> list[Any]:
        return [5, self.time, self.call, self.value]


@dataclass(frozen=True, slots=True)
class TimerFired(_Event):
    number: ClassVar[int] = 4
    time: TimeMs
    call: CallId

    def _wire(self) -> list[Any]:
        return [4, self.time, self.call]


@dataclass(frozen=True, slots=True)
class ChildEnded(_Event):
    """What came of a child run; `outcome` is plain."""

    number: ClassVar[int] = 6
    time: TimeMs
    call: CallId
    outcome: list[Any]  # [0, value] or [1, failure]

    @classmethod
    def failed(cls, time: TimeMs, call: CallId, failure: Failure) -> ChildEnded:
        return cls(time, call, [1, failure.to_wire()])

    def _wire(self) -> list[Any]:
        return [6, self.time, self.call, self.outcome]


@dataclass(frozen=True, slots=True)
class CancelRequested(_Event):
    """The run is to end. Code that can clean up is told (`RunMachine.tells_cancel`); else, and if `is_final`, this and whatever
    comes later is recorded and not delivered."""

    number: ClassVar[int] = 7
    time: TimeMs
    reason: str
    is_final: bool = False  # not on the wire: which it was is the kind of its record

    def _wire(self) -> list[Any]:
        return [7, self.time, plain(self.reason)]


@dataclass(frozen=True, slots=True)
class Upgraded(_Event):
    """The run goes on under other code, which has just led its whole history again. Both are digests."""

    number: ClassVar[int] = 11
    time: TimeMs
    code: str
    guest: str

    def _wire(self) -> list[Any]:
        return [11, self.time, {"code": self.code, "guest": self.guest}]


Event: TypeAlias = (
    Started
    | StepCompleted
    | StepFailed
    | StepSuspended
    | StepResumed
    | StepBailed
    | TimerFired
    | HookReceived
    | ChildEnded
    | CancelRequested
    | Upgraded
)


def replaying(patches: list[str]) -> bytes:
    """The event in front of the history of a run that was upgraded: it is in no record, and made when one is replayed."""
    return encode_plain([12, 0, patches])


def _with_state(wire: list[Any], state: dict[str, Any] | None) -> list[Any]:
    return wire if state is None else [*wire, plain(state)]


# ---- commands: guest -> host ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallStep:
    number: ClassVar[int] = 0
    call: CallId
    path: Path
    name: str
    arguments: list[Any]


@dataclass(frozen=True, slots=True)
class SetTimer:
    number: ClassVar[int] = 1
    call: CallId
    path: Path
    due: TimeMs
    value: Any


@dataclass(frozen=True, slots=True)
class OpenHook:
    """A named place where the run waits for an event from outside."""

    number: ClassVar[int] = 2
    call: CallId
    path: Path
    name: str
    value: Any


@dataclass(frozen=True, slots=True)
class StartChild:
    """A run of its own, of the workflow of that id. Its id follows from the run and the call, so it is started once."""

    number: ClassVar[int] = 3
    call: CallId
    path: Path
    name: str
    input: Any


@dataclass(frozen=True, slots=True)
class WriteLog:
    number: ClassVar[int] = 4
    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Enter:
    number: ClassVar[int] = 5
    path: Path
    value: Any


@dataclass(frozen=True, slots=True)
class Leave:
    number: ClassVar[int] = 6
    path: Path
    outcome: list[Any]  # [0, value] or [1, failure]


@dataclass(frozen=True, slots=True)
class CompleteRun:
    number: ClassVar[int] = 7
    value: Any


@dataclass(frozen=True, slots=True)
class FailRun:
    number: ClassVar[int] = 8
    failure: Failure


@dataclass(frozen=True, slots=True)
class AbandonCall:
    number: ClassVar[int] = 9
    call: CallId


@dataclass(frozen=True, slots=True)
class TakePatch:
    """The run takes the way that was added with this patch."""

    number: ClassVar[int] = 11
    id: str


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
)

_FIELDS: dict[int, tuple[type[Any], tuple[type[Any], ...]]] = {
    0: (CallStep, (int, str, str, list)),
    1: (SetTimer, (int, str, int, object)),
    2: (OpenHook, (int, str, str, object)),
    3: (StartChild, (int, str, str, object)),
    4: (WriteLog, (int, str)),
    5: (Enter, (str, object)),
    6: (Leave, (str, list)),
    7: (CompleteRun, (object,)),
    8: (FailRun, (dict,)),
    9: (AbandonCall, (int,)),
    11: (TakePatch, (str,)),
}
_NAMED: dict[type[Any], int] = {CallStep: 2, OpenHook: 2, StartChild: 2, TakePatch: 0}  # where in the fields
_PLACED: dict[type[Any], int] = {CallStep: 1, SetTimer: 1, OpenHook: 1, StartChild: 1, Enter: 0, Leave: 0}
_LATER = {10: "operation"}


def split_output(data: bytes, bounds: Bounds | None = None) -> Iterator[list[bytes]]:
    """The commands of each event of a turn's output, in order, as the bytes the guest wrote, checked.

    Raises:
        MalformedOutput: not a sequence of commands closed by `f6` for each event.
        LimitExceeded: one is larger, deeper or of more items than `bounds` allow.
    """
    at, commands = 0, list[bytes]()
    for end in ends(data, bounds):
        if data[at] == END_OF_EVENT:
            yield commands
            commands = []
        else:
            commands.append(data[at:end])
        at = end
    if commands:
        raise MalformedOutput("the guest left an event open: its output ends without the closing mark", offset=at)


def unpack_started(data: bytes) -> Started:
    """The event that a run began with, from the body of its record."""
    _, time, seed, value, given = decode(data)
    return Started(time, seed, value, given)


def unpack_command(data: bytes, *, is_new: bool = False) -> Command:
    """One command from bytes that `split_output` has checked.

    Args:
        is_new: it is not recorded yet, so its name has to be one of today.

    Raises:
        MalformedOutput: an unknown kind, a missing field or one of another type.
    """
    items = decode(data)
    if not isinstance(items, list) or not items or type(items[0]) is not int:
        raise MalformedOutput("the guest wrote something that is not a command", offset=0)
    number, *rest = items
    if number in _LATER:
        raise MalformedOutput(f"the guest asked for an {_LATER[number]}, which this version of cloche cannot do yet")
    if number not in _FIELDS:
        raise MalformedOutput(f"the guest wrote a command of unknown kind {number}")
    kind, types = _FIELDS[number]
    if len(rest) < len(types) or not all(map(_fits, rest, types)):
        raise MalformedOutput(f"the guest wrote a {kind.__name__} command whose fields are not in the grammar")
    if kind in _NAMED and not (is_name if is_new else was_name)(rest[_NAMED[kind]]):
        raise MalformedOutput(
            f"the guest wrote a {kind.__name__} command whose name is not 1 to 200 characters that show"
        )
    if kind in _PLACED and not is_path(rest[_PLACED[kind]]):
        raise MalformedOutput(f"the guest wrote a {kind.__name__} command whose path is too long, or nested too deep")
    if kind is FailRun:
        if not _is_failure(rest[0]):
            raise MalformedOutput("the guest failed without a name and a message")
        return FailRun(Failure.from_wire(rest[0]))
    if kind is Leave and not _is_outcome(rest[1]):
        raise MalformedOutput("the guest left a path without an outcome")
    if kind is WriteLog and rest[0] >= len(LOG_LEVELS):
        raise MalformedOutput(f"the guest wrote a log line of unknown level {rest[0]}")
    command: Command = kind(*rest[: len(types)])
    return command


def _fits(item: object, kind: type[object]) -> bool:
    if kind is int:
        return type(item) is int and 0 <= item < 1 << 63
    return isinstance(item, kind)


def _is_outcome(outcome: list[Any]) -> bool:
    if len(outcome) != 2 or type(outcome[0]) is not int:
        return False
    return outcome[0] == 0 or (outcome[0] == 1 and _is_failure(outcome[1]))


def _is_failure(failure: Any) -> bool:
    match failure:
        case {"name": str(), "message": str()}:
            return "cause" not in failure or _is_failure(failure["cause"])
    return False


def unpack_event(data: bytes) -> Event:
    """An event from the bytes of its record; packing it again gives the same bytes.

    Raises:
        HistoryError: it is of a kind that this version does not know.
    """
    number, time, *rest = decode(data)
    match number, rest:
        case 0, [seed, value, given]:
            return Started(time, seed, value, given)
        case 1, [call, value, *state]:
            return StepCompleted(time, call, value, *state)
        case 2, [call, failure]:
            return StepFailed(time, call, Failure.from_wire(failure))
        case 3, [call, {"path": path} as info]:
            return StepSuspended(time, call, path, info.get("payload"), tuple(info.get("labels", ())))
        case 4, [call]:
            return TimerFired(time, call)
        case 5, [call, value]:
            return HookReceived(time, call, value)
        case 6, [call, outcome]:
            return ChildEnded(time, call, outcome)
        case 7, reason:
            return CancelRequested(time, *reason)
        case 9, [call, {"path": path} as info]:
            return StepResumed(time, call, path, info.get("data"))
        case 10, [call, value, *state]:
            return StepBailed(time, call, value, *state)
        case 11, [{"code": code, "guest": guest}]:
            return Upgraded(time, code, guest)
    raise HistoryError(f"event {number} is of a kind that this cloche does not know: use a newer version")
