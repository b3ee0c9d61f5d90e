"""Effects: what a run asks of the world. They follow from the log, and are dispatched once that is durable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from cloche.history.ids import CallId, Child, Path, TimeMs
from cloche.history.messages import AbandonCall, CallStep, Command, Leave, OpenHook, SetTimer, StartChild


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
    keywords: dict[str, Any] = field(default_factory=dict)
    is_recorded: bool = False  # the record of its beginning is durable
    filled: Any = None  # its input as the step's schema filled it, where that draws something

    @property
    def given(self) -> list[Any]:
        """What each attempt of the call is given: the arguments, the input filled as it was recorded."""
        return self.arguments if self.filled is None else [self.filled, *self.arguments[1:]]


@dataclass(frozen=True, slots=True)
class StartTimer:
    call: CallId
    due: TimeMs


@dataclass(frozen=True, slots=True)
class StartRun:
    """Start a child, or find the one that was started, and give back what comes of it."""

    call: CallId
    workflow: str
    input: Any
    child: Child


@dataclass(frozen=True, slots=True)
class StopCall:
    """Nobody waits for this call any more."""

    call: CallId


@dataclass(frozen=True, slots=True)
class WatchHook:
    """See that nobody else has the token of a hook, and that it is not silent for too long.

    `token` is empty, and `heartbeat_ms` 0, where there is none; the first sign of life is due at `due`.
    """

    call: CallId
    name: str
    token: str
    heartbeat_ms: int
    due: TimeMs


Effect: TypeAlias = StartStep | StartTimer | StartRun | StopCall | WatchHook


@dataclass(frozen=True, slots=True)
class Suspension:
    """A step that waits to be resumed: by its path, or by one of its labels. `step` is the id that it is registered under."""

    call: CallId
    path: Path
    payload: Any
    labels: tuple[str, ...]
    step: str


def watch_of(command: OpenHook, due: TimeMs) -> WatchHook:
    return WatchHook(command.call, command.name, command.token or "", command.heartbeat_ms, due)


def start_of(command: StartChild) -> StartRun:
    return StartRun(command.call, command.workflow, command.input, command.child)


def effects_of(command: Command, left_open: Sequence[CallId], time: TimeMs) -> list[Effect]:
    """What a command of that time asks of the world; `left_open` are the calls that it closed, if it is a `left`."""
    match command:
        case CallStep():
            asked = command.call, command.path, command.name, command.arguments
            return [StartStep(*asked, keywords=command.keywords)]
        case SetTimer():
            return [StartTimer(command.call, command.due)]
        case StartChild():
            return [start_of(command)]
        case OpenHook(options=options) if options:
            return [watch_of(command, TimeMs(time + command.heartbeat_ms))]
        case AbandonCall():
            return [StopCall(command.call)]
        case Leave():
            return [StopCall(call) for call in left_open]
    return []
