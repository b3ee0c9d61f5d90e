"""What may follow what, as tables. The machine walks them; a test walks them to see every row used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TypeAlias, TypeVar

from cloche.errors import HistoryError
from cloche.history.records import Kind

Phase = TypeVar("Phase", bound=StrEnum)
Lifecycle: TypeAlias = Mapping[Phase, Mapping[Kind, Phase]]


class RunPhase(StrEnum):
    ABSENT = "absent"
    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    CLEANING_UP = "cleaning"  # the code was told to end, and does what it must before that; the text is stored
    CANCELING = "canceling"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"
    CONTINUED = "continued"


class StepPhase(StrEnum):
    ABSENT = "absent"
    CALLED = "called"
    QUEUED = "queued"  # an attempt waits for permits of limits that hold for all workers
    RUNNING = "running"
    BACKOFF = "backoff"
    AWAY = "away"  # a remote worker performs it, or will: nothing of it is under way here
    SUSPENDED = "suspended"
    DONE = "done"


class TimerPhase(StrEnum):
    ABSENT = "absent"
    SET = "set"
    DONE = "done"


class HookPhase(StrEnum):
    ABSENT = "absent"
    OPEN = "open"
    DONE = "done"


class ChildPhase(StrEnum):
    ABSENT = "absent"
    OPEN = "under way"  # not "open": as texts they are equal, and a hook that waits would count as a child that works
    DONE = "done"


_STAYS_RUNNING = (
    Kind.STEP_CALLED,
    Kind.PERMIT_ASKED,
    Kind.ATTEMPT_STARTED,
    Kind.ATTEMPT_SENT,
    Kind.ATTEMPT_FAILED,
    Kind.STEP_COMPLETED,
    Kind.STEP_FAILED,
    Kind.STEP_SUSPENDED,
    Kind.STEP_RESUMED,
    Kind.STEP_BAILED,
    Kind.TIMER_SET,
    Kind.TIMER_FIRED,
    Kind.HOOK_OPENED,
    Kind.HOOK_RECEIVED,
    Kind.HOOK_FAILED,
    Kind.CHILD_STARTED,
    Kind.CHILD_ENDED,
    Kind.ENTERED,
    Kind.LEFT,
    Kind.LOG_LINE,
    Kind.CALL_ABANDONED,
    Kind.LATE_RESULT,
    Kind.STEP_WROTE,
    Kind.STEP_LOGGED,
    Kind.ATTEMPT_QUEUED,
    Kind.RUN_UPGRADED,
    Kind.PATCHED,
    Kind.TAGS_SET,
    Kind.TAGGED,
    Kind.DEADLINE_SET,
)
_STAYS_CANCELING = (
    Kind.ATTEMPT_STARTED,
    Kind.ATTEMPT_FAILED,
    Kind.STEP_COMPLETED,
    Kind.STEP_FAILED,
    Kind.STEP_SUSPENDED,
    Kind.STEP_BAILED,
    Kind.CHILD_ENDED,
    Kind.LATE_RESULT,
    Kind.STEP_WROTE,
    Kind.STEP_LOGGED,
    Kind.ATTEMPT_QUEUED,
    Kind.TAGS_SET,
)

RUN: Lifecycle[RunPhase] = {
    RunPhase.ABSENT: {Kind.RUN_CREATED: RunPhase.PENDING},
    RunPhase.PENDING: {Kind.RUN_STARTED: RunPhase.RUNNING, Kind.RUN_CANCELED: RunPhase.CANCELED},
    RunPhase.RUNNING: {
        **dict.fromkeys(_STAYS_RUNNING, RunPhase.RUNNING),
        Kind.RUN_PAUSED: RunPhase.PAUSED,
        Kind.CANCEL_REQUESTED: RunPhase.CANCELING,
        Kind.CANCEL_DELIVERED: RunPhase.CLEANING_UP,
        Kind.RUN_COMPLETED: RunPhase.SUCCESS,
        Kind.RUN_FAILED: RunPhase.FAILED,
        Kind.RUN_STOPPED: RunPhase.FAILED,
        Kind.RUN_CONTINUED_AS_NEW: RunPhase.CONTINUED,
    },
    RunPhase.CLEANING_UP: {
        **dict.fromkeys((kind for kind in _STAYS_RUNNING if kind is not Kind.RUN_UPGRADED), RunPhase.CLEANING_UP),
        Kind.CANCEL_REQUESTED: RunPhase.CANCELING,  # it took too long
        Kind.RUN_COMPLETED: RunPhase.SUCCESS,
        Kind.RUN_FAILED: RunPhase.FAILED,
        Kind.RUN_CANCELED_BY_CODE: RunPhase.CANCELED,
        Kind.RUN_STOPPED: RunPhase.FAILED,
    },
    RunPhase.PAUSED: {Kind.RUN_CONTINUED: RunPhase.RUNNING, Kind.CANCEL_REQUESTED: RunPhase.CANCELING},
    RunPhase.CANCELING: {
        **dict.fromkeys(_STAYS_CANCELING, RunPhase.CANCELING),
        Kind.RUN_CANCELED: RunPhase.CANCELED,
        Kind.RUN_STOPPED: RunPhase.FAILED,  # its deadline has passed
    },
    RunPhase.SUCCESS: {Kind.LATE_RESULT: RunPhase.SUCCESS},
    RunPhase.FAILED: {Kind.LATE_RESULT: RunPhase.FAILED},
    RunPhase.CANCELED: {Kind.LATE_RESULT: RunPhase.CANCELED},
    RunPhase.CONTINUED: {Kind.LATE_RESULT: RunPhase.CONTINUED},
}

STEP: Lifecycle[StepPhase] = {
    StepPhase.ABSENT: {Kind.STEP_CALLED: StepPhase.CALLED},
    StepPhase.CALLED: {
        Kind.PERMIT_ASKED: StepPhase.QUEUED,
        Kind.ATTEMPT_STARTED: StepPhase.RUNNING,
        Kind.ATTEMPT_SENT: StepPhase.AWAY,
        Kind.STEP_FAILED: StepPhase.DONE,  # refused before any attempt: bad input, unknown step
        Kind.CALL_ABANDONED: StepPhase.DONE,
    },
    StepPhase.QUEUED: {
        Kind.PERMIT_ASKED: StepPhase.QUEUED,  # anew: the run was blocked meanwhile, or its step has other limits now
        Kind.ATTEMPT_STARTED: StepPhase.RUNNING,
        Kind.ATTEMPT_SENT: StepPhase.AWAY,
        Kind.STEP_FAILED: StepPhase.DONE,
        Kind.CALL_ABANDONED: StepPhase.DONE,
    },
    StepPhase.RUNNING: {
        Kind.PERMIT_ASKED: StepPhase.QUEUED,  # it has lost its permits: the run was blocked meanwhile
        Kind.ATTEMPT_STARTED: StepPhase.RUNNING,  # started again after a crash
        Kind.ATTEMPT_SENT: StepPhase.AWAY,
        Kind.ATTEMPT_FAILED: StepPhase.BACKOFF,
        Kind.STEP_COMPLETED: StepPhase.DONE,
        Kind.STEP_FAILED: StepPhase.DONE,
        Kind.STEP_BAILED: StepPhase.DONE,
        Kind.STEP_SUSPENDED: StepPhase.SUSPENDED,
        Kind.CALL_ABANDONED: StepPhase.DONE,
    },
    StepPhase.SUSPENDED: {Kind.STEP_RESUMED: StepPhase.CALLED, Kind.CALL_ABANDONED: StepPhase.DONE},
    StepPhase.AWAY: {
        Kind.ATTEMPT_SENT: StepPhase.AWAY,  # sent again: its worker fell silent
        Kind.ATTEMPT_FAILED: StepPhase.BACKOFF,
        Kind.STEP_COMPLETED: StepPhase.DONE,
        Kind.STEP_FAILED: StepPhase.DONE,
        Kind.STEP_BAILED: StepPhase.DONE,
        Kind.STEP_SUSPENDED: StepPhase.SUSPENDED,
        Kind.CALL_ABANDONED: StepPhase.DONE,
    },
    StepPhase.BACKOFF: {
        Kind.PERMIT_ASKED: StepPhase.QUEUED,
        Kind.ATTEMPT_STARTED: StepPhase.RUNNING,
        Kind.ATTEMPT_SENT: StepPhase.AWAY,
        Kind.STEP_FAILED: StepPhase.DONE,
        Kind.CALL_ABANDONED: StepPhase.DONE,
    },
    StepPhase.DONE: {},
}

TIMER: Lifecycle[TimerPhase] = {
    TimerPhase.ABSENT: {Kind.TIMER_SET: TimerPhase.SET},
    TimerPhase.SET: {Kind.TIMER_FIRED: TimerPhase.DONE, Kind.CALL_ABANDONED: TimerPhase.DONE},
    TimerPhase.DONE: {},
}


HOOK: Lifecycle[HookPhase] = {
    HookPhase.ABSENT: {Kind.HOOK_OPENED: HookPhase.OPEN},
    HookPhase.OPEN: {
        Kind.HOOK_RECEIVED: HookPhase.DONE,
        Kind.HOOK_FAILED: HookPhase.DONE,
        Kind.CALL_ABANDONED: HookPhase.DONE,
    },
    HookPhase.DONE: {},
}

CHILD: Lifecycle[ChildPhase] = {
    ChildPhase.ABSENT: {Kind.CHILD_STARTED: ChildPhase.OPEN},
    ChildPhase.OPEN: {Kind.CHILD_ENDED: ChildPhase.DONE, Kind.CALL_ABANDONED: ChildPhase.DONE},
    ChildPhase.DONE: {},
}


def follow(lifecycle: Lifecycle[Phase], phase: Phase, kind: Kind, what: Callable[[], str]) -> Phase:
    """The phase after `kind`.

    Raises:
        HistoryError: the table has no such row; `what` names the thing for the message.
    """
    try:
        return lifecycle[phase][kind]
    except KeyError:
        name = kind.name.lower().replace("_", " ")
        raise HistoryError(f"{what()} is {phase}: '{name}' cannot follow") from None
