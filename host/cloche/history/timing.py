"""Where the time of steps went: queue, work, retry wait and suspension of each call and attempt, folded from records.

Only what the host measured of a step counts. The time that a guest takes to load, or to answer an event, lies between two
records of the run and is no step's time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from cloche.history.ids import CallId, Path, TimeMs
from cloche.history.notes import AttemptFailed, AttemptQueued, AttemptStarted, unpack_note
from cloche.history.records import Kind, Record

WORK, RETRY_WAIT, SUSPENDED, PERMIT = "work", "retry wait", "suspended", "permit"
_ENDS: Mapping[Kind, str] = {
    Kind.STEP_COMPLETED: "success",
    Kind.STEP_BAILED: "success",
    Kind.STEP_FAILED: "failed",
    Kind.CALL_ABANDONED: "abandoned",
}
_TIMED = frozenset(
    {
        Kind.STEP_CALLED,
        Kind.PERMIT_ASKED,
        Kind.ATTEMPT_STARTED,
        Kind.ATTEMPT_FAILED,
        Kind.ATTEMPT_QUEUED,
        Kind.STEP_SUSPENDED,
        Kind.STEP_RESUMED,
        *_ENDS,
    }
)


@dataclass(slots=True)
class Times:
    """Milliseconds. queue: ready, and waiting for its turn (a rate, a thread, a worker). work: the step's own.
    retry_wait: between an attempt that failed and the time at which the next was due. suspended: waiting for data."""

    queue_ms: int = 0
    work_ms: int = 0
    retry_wait_ms: int = 0
    suspended_ms: int = 0

    def to_data(self) -> dict[str, int]:
        return asdict(self)


@dataclass(slots=True)
class AttemptTimes:
    """One attempt. `outcome` is `success`, `failed`, `suspended`, `abandoned`, `lost` (its process ended) or `running`;
    `error` the name of what it failed with. Times in ms since 1970; of a lost one nobody knows when it ended."""

    attempt: int
    started_at: TimeMs
    queue_ms: int = 0
    work_ms: int = 0
    ended_at: TimeMs | None = None
    outcome: str = "running"
    error: str | None = None

    def to_data(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class CallTimes:
    """One call of a step. `ended_at` is None while it is open; `doing` says what it then does, since when `since`."""

    call: CallId
    path: Path
    called_at: TimeMs
    times: Times = field(default_factory=Times)
    attempts: list[AttemptTimes] = field(default_factory=list)
    ended_at: TimeMs | None = None
    outcome: str | None = None
    doing: str = "queue"
    since: TimeMs = TimeMs(0)

    def until(self, now: TimeMs) -> Times:
        """The times as they stand, what goes on now included."""
        times = Times(**self.times.to_data())
        if self.ended_at is None:
            _add(times, self.doing, max(0, now - self.since))
        return times


class Timing:
    """The calls of one run, as its records have them, nested workflows included. `open` are those that have not ended."""

    def __init__(self) -> None:
        self.calls: list[CallTimes] = []
        self.open: dict[CallId, CallTimes] = {}

    def take(self, record: Record) -> CallTimes | None:
        """Take in the next record; the call that it is about, if it is one of a step."""
        if record.kind not in _TIMED or record.call is None:
            return None
        if record.kind is Kind.STEP_CALLED:
            call = CallTimes(record.call, record.path or Path(""), record.time, since=record.time)
            self.calls.append(call)
            self.open[record.call] = call
            return call
        found = self.open.get(record.call)
        if found is not None:
            self._move(found, record)
        return found

    def end(self, at: TimeMs) -> None:
        """The run has ended, and with it what was open."""
        for call in self.open.values():
            call.times, call.ended_at, call.outcome = call.until(at), at, "abandoned"
        self.open.clear()

    def assume_begun(self) -> None:
        """Of a run that a worker drives: what is called has begun, and the record of that comes with the run's next commit."""
        for call in self.open.values():
            if call.doing == "queue":
                call.attempts.append(AttemptTimes(len(call.attempts) + 1, call.since))
                call.doing = WORK

    def _move(self, call: CallTimes, record: Record) -> None:
        match unpack_note(record) if record.kind not in _ENDS and record.kind not in _MOVES else None:
            case AttemptStarted(attempt=attempt, queued=queued):
                self._begin(call, attempt, queued, record.time)
            case AttemptQueued(ms=ms):
                _queued(call, ms)
            case AttemptFailed(failure=failure):
                _leave(call, record.time, "failed", failure.name)
                call.doing = RETRY_WAIT
            case None:
                self._turn(call, record)

    def _begin(self, call: CallTimes, attempt: int, queued: int, at: TimeMs) -> None:
        if call.doing == WORK and call.attempts:  # its process ended, and another one begins it again
            call.attempts[-1].outcome = "lost"
        elif call.doing in (RETRY_WAIT, SUSPENDED):
            _add(call.times, call.doing, max(0, at - queued - call.since))
        # What it waited for a permit is in `queued`.
        call.times.queue_ms += queued
        call.attempts.append(AttemptTimes(attempt, at, queued))
        call.doing, call.since = WORK, at

    def _turn(self, call: CallTimes, record: Record) -> None:
        if record.kind is Kind.STEP_SUSPENDED:
            _leave(call, record.time, "suspended")
            call.doing = SUSPENDED
        elif record.kind is Kind.PERMIT_ASKED:
            if call.doing == WORK and call.attempts:
                call.attempts[-1].outcome = "lost"
            _add(call.times, call.doing, max(0, record.time - call.since))
            call.doing, call.since = PERMIT, record.time
        elif record.kind is Kind.STEP_RESUMED:
            _add(call.times, call.doing, max(0, record.time - call.since))
            call.doing, call.since = "queue", record.time
        else:
            _leave(call, record.time, _ENDS[record.kind])
            if call.doing in (RETRY_WAIT, SUSPENDED, PERMIT):
                _add(call.times, call.doing, max(0, record.time - call.since))
            call.ended_at, call.outcome = record.time, _ENDS[record.kind]
            self.open.pop(call.call)


_MOVES = (Kind.STEP_SUSPENDED, Kind.STEP_RESUMED, Kind.PERMIT_ASKED)


def _add(times: Times, doing: str, ms: int) -> None:
    match doing:
        case "work":
            times.work_ms += ms
        case "retry wait":
            times.retry_wait_ms += ms
        case "suspended":
            times.suspended_ms += ms
        case "permit":
            times.queue_ms += ms


def _queued(call: CallTimes, ms: int) -> None:
    """The attempt under way waited so long for a thread, after its beginning was recorded."""
    if call.doing == WORK and call.attempts:
        last = call.attempts[-1]
        last.queue_ms += ms
        call.times.queue_ms += ms
        call.since = TimeMs(call.since + ms)


def _leave(call: CallTimes, at: TimeMs, outcome: str, error: str | None = None) -> None:
    """The attempt under way ends, if there is one."""
    if call.doing == WORK and call.attempts:
        last = call.attempts[-1]
        last.work_ms = max(0, at - call.since)
        last.ended_at, last.outcome, last.error = at, outcome, error
        call.times.work_ms += last.work_ms
        call.doing, call.since = "", at
