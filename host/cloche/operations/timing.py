"""Where time goes: of one run by step, with what its steps said; and of many runs, by workflow and step (`cloche top`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from cloche.history import Kind, Seq, TimeMs
from cloche.history.marks import step_of
from cloche.history.messages import LOG_LEVELS, WriteLog
from cloche.history.notes import StepLogged
from cloche.history.reading import message_of
from cloche.history.timing import WORK, AttemptTimes, CallTimes, Times, Timing
from cloche.status import FINAL, RunStatus
from cloche.store import RunFilter, RunRow, read_through

if TYPE_CHECKING:
    from cloche.history import Record, RunKey
    from cloche.store import Store

ATTEMPTS_SHOWN, LINES_SHOWN = 20, 50  # of a step: the last ones
TOP_RUNS_MAX, TOP_RECORDS_MAX = 2_000, 200_000  # that one `top` reads
USUAL_RUNS, USUAL_RECORDS = (
    20,
    500,
)  # what "usually" is learned from: the last runs that succeeded, so many records of each
USUAL_CALLS_MIN = 5  # of fewer nobody can say what is usual
FAR_TIMES, FAR_MS = 3, 1_000  # far longer than usual: so many times the 95th percentile, and so much in any case
_PAGE = 200


@dataclass(frozen=True, slots=True)
class Line:
    """A line that a step, or with `step` "" the workflow, has said. `attempt` is 0 for a workflow's. `at` in ms since 1970."""

    at: TimeMs
    level: str
    text: str
    attempt: int = 0


@dataclass(slots=True)
class StepStory:
    """One step of a run, all its calls together, those of loops and lists too: `step` is its path without their numbers.

    attempts: the last ones. lines: the last that it said; `dropped` how many more it said than were kept.
    """

    step: str
    calls: int = 0
    attempts_made: int = 0
    times: Times = field(default_factory=Times)
    attempts: deque[AttemptTimes] = field(default_factory=lambda: deque(maxlen=ATTEMPTS_SHOWN))
    lines: deque[Line] = field(default_factory=lambda: deque(maxlen=LINES_SHOWN))
    dropped: int = 0

    def to_data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "step": self.step,
            "calls": self.calls,
            "attempts_made": self.attempts_made,
            **self.times.to_data(),
            "attempts": [one.to_data() for one in self.attempts],
            "lines": [asdict(one) for one in self.lines],
            "dropped": self.dropped,
        }


async def stories(store: Store, row: RunRow, now: TimeMs) -> list[StepStory]:
    """The steps of a run in the order of their first call, nested ones too; what the workflow itself said stands under "".

    Raises:
        HistoryError: it is damaged.
    """
    telling = _Telling()
    await read_through(store, row.key, telling.take)
    return telling.end(_until(row, now), is_driven=row.owner is not None)


def _until(row: RunRow, now: TimeMs) -> TimeMs:
    """Until when what has not ended goes on: in a run that has ended, until that."""
    return row.updated_at if row.status in FINAL else now


class _Telling:
    def __init__(self) -> None:
        self._timing = Timing()
        self._found: dict[str, StepStory] = {}
        self._paths: dict[int, str] = {}

    def take(self, page: Sequence[Record]) -> None:
        for record in page:
            self._timing.take(record)
            if record.kind is Kind.STEP_CALLED and record.call is not None:
                self._paths[record.call] = step_of(record.path or "")
                self._of(self._paths[record.call])
            elif record.kind in (Kind.STEP_LOGGED, Kind.LOG_LINE):
                self._say(record)

    def end(self, now: TimeMs, *, is_driven: bool) -> list[StepStory]:
        if is_driven:
            self._timing.assume_begun()
        for call in self._timing.calls:
            story, times = self._of(step_of(call.path)), call.until(now)
            story.calls += 1
            story.attempts_made += len(call.attempts)
            story.attempts.extend(call.attempts)
            for name in Times.__dataclass_fields__:
                setattr(story.times, name, getattr(story.times, name) + getattr(times, name))
        return list(self._found.values())

    def _of(self, step: str) -> StepStory:
        return self._found.setdefault(step, StepStory(step))

    def _say(self, record: Record) -> None:
        match message_of(record):
            case StepLogged(call=call, attempt=attempt, lines=lines, dropped=dropped):
                story = self._of(self._paths.get(call, ""))
                story.lines.extend(Line(record.time, LOG_LEVELS[level], text, attempt) for level, text in lines)
                story.dropped += dropped
            case WriteLog(level=level, text=text):
                self._of("").lines.append(Line(record.time, LOG_LEVELS[level], text))


# ---- many runs ----


@dataclass(frozen=True, slots=True)
class Spread:
    """Of many times: the middle one, that which 95 in 100 do not exceed, and the longest. Milliseconds."""

    p50: int
    p95: int
    max: int

    @classmethod
    def of(cls, times: Iterable[int]) -> Spread:
        """`times` are one or more."""
        ordered = sorted(times)
        last = len(ordered) - 1
        return cls(ordered[last // 2], ordered[-(-last * 95 // 100)], ordered[last])


@dataclass(frozen=True, slots=True)
class Overdue:
    """A step that works far longer than it usually does. `since` in ms since 1970."""

    run_id: str
    tenant: str
    workflow: str
    step: str
    since: TimeMs
    worked_ms: int
    usually_ms: int


@dataclass(frozen=True, slots=True)
class SlowStep:
    """Where the time of one step of a workflow goes: `count` are its calls that have ended, `open` those that have not."""

    workflow: str
    step: str
    count: int
    open: int
    work: Spread
    queue: Spread
    retry_wait: Spread
    suspended: Spread


@dataclass(frozen=True, slots=True)
class TopReport:
    """What is slow: the steps that work longest first, and those at work now for far longer than they usually are.

    `runs` is how many were read, the newest first; `is_whole`: that is all that were asked for.
    """

    runs: int
    is_whole: bool
    steps: Sequence[SlowStep]
    overdue: Sequence[Overdue]

    def to_data(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


async def top(store: Store, filter: RunFilter, now: TimeMs, runs_max: int = TOP_RUNS_MAX) -> TopReport:
    """
    Raises:
        HistoryError: a run that was to be read is damaged.
    """
    calls: dict[tuple[str, str], list[CallTimes]] = {}
    at_work: list[tuple[RunRow, CallTimes]] = []
    looked, records, before, is_whole = 0, 0, None, False
    while looked < runs_max and records < TOP_RECORDS_MAX:
        page = await store.find(filter, limit=min(_PAGE, runs_max - looked), before=before)
        for row in page.rows:
            timing = Timing()
            records += await _read(store, row.key, timing, TOP_RECORDS_MAX - records)
            looked += 1
            if row.owner is not None:
                timing.assume_begun()
            if row.status in FINAL:
                timing.end(row.updated_at)
            for call in timing.calls:
                calls.setdefault((row.workflow, step_of(call.path)), []).append(call)
            at_work += [(row, call) for call in timing.open.values() if row.status == RunStatus.RUNNING]
        before = page.next
        if before is None:
            is_whole = True
            break
    usual = {name: usually_of(found) for name, found in calls.items()}
    steps = [_slow(*name, found, now) for name, found in calls.items()]
    steps.sort(key=lambda one: (-one.work.p95, -one.work.max, one.workflow, one.step))
    overdue = [
        Overdue(row.key.run, row.key.tenant, row.workflow, call.path, call.since, now - call.since, usually)
        for row, call in at_work
        if (usually := usual[row.workflow, step_of(call.path)]) is not None and is_far(call, usually, now)
    ]
    return TopReport(looked, is_whole, steps, sorted(overdue, key=lambda one: (one.since, one.run_id)))


async def usual_times(store: Store, row: RunRow) -> Mapping[str, int | None]:
    """How long each step of the run's workflow usually works, by its path without turns: in the last runs that succeeded."""
    same = RunFilter(row.key.tenant, RunStatus.SUCCESS, row.workflow)
    calls: dict[str, list[CallTimes]] = {}
    for other in (await store.find(same, limit=USUAL_RUNS)).rows:
        timing = Timing()
        await _read(store, other.key, timing, USUAL_RECORDS)
        for call in timing.calls:
            calls.setdefault(step_of(call.path), []).append(call)
    return {step: usually_of(found) for step, found in calls.items()}


def usually_of(calls: Sequence[CallTimes]) -> int | None:
    """The longest that 95 in 100 of the attempts which succeeded took, in ms; None: they are too few to say."""
    worked = [one.work_ms for call in calls for one in call.attempts if one.outcome == "success"]
    return Spread.of(worked).p95 if len(worked) >= USUAL_CALLS_MIN else None


def is_far(call: CallTimes, usually: int, now: TimeMs) -> bool:
    """Whether an open call is at work for far longer than usual."""
    worked = now - call.since
    return call.doing == WORK and worked >= FAR_MS + usually and worked >= FAR_TIMES * usually


async def _read(store: Store, key: RunKey, timing: Timing, most: int) -> int:
    """Take in up to `most` records of a run; how many there were."""
    seq = 0
    while seq < most:
        page = await store.records(key, Seq(seq), min(_PAGE, most - seq))
        for record in page:
            timing.take(record)
        seq += len(page)
        if len(page) < _PAGE:
            break
    return seq


def _slow(workflow: str, step: str, calls: Sequence[CallTimes], now: TimeMs) -> SlowStep:
    times = [call.until(now) for call in calls]
    ended = sum(call.ended_at is not None for call in calls)
    spreads = [
        Spread.of(getattr(one, name) for one in times)
        for name in ("work_ms", "queue_ms", "retry_wait_ms", "suspended_ms")
    ]
    return SlowStep(workflow, step, ended, len(calls) - ended, *spreads)
