"""What becomes of a schedule that is due: which runs begin, which instants are skipped, and when it is due again. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from cloche.history.ids import SCHEDULED, TimeMs, schedule_run_key
from cloche.store import Firing, ScheduleRow
from cloche.worker.schedule_spec import CatchUp, Overlap, ScheduleSpec

LATE_MS = 60_000  # after which an instant has been missed
FIRED_AT_ONCE = 100  # in one commit
QUEUED_MAX = 100  # instants that wait for the run before
COUNTED_MAX = 1_000  # of those that were skipped together


@dataclass(slots=True)
class Move:
    """`row` is the schedule as it is to stand. The runs of `starts` begin, each at its instant; those of `cancels` end."""

    row: ScheduleRow
    starts: list[tuple[str, TimeMs]] = field(default_factory=list)
    cancels: list[str] = field(default_factory=list)
    firings: list[Firing] = field(default_factory=list)

    def start(self, run: str, instant: TimeMs, now: TimeMs) -> None:
        self.starts.append((run, instant))
        self.row = replace(self.row, last_run=run)
        self._write(instant, now, run, "")

    def skip(self, instant: TimeMs, now: TimeMs, reason: str, until: TimeMs | None = None, count: int = 1) -> None:
        self._write(instant, now, None, reason, until, count)

    def _write(
        self, instant: TimeMs, now: TimeMs, run: str | None, reason: str, until: TimeMs | None = None, count: int = 1
    ) -> None:
        self.row = replace(self.row, firings=self.row.firings + 1)
        self.firings.append(Firing(self.row.firings, instant, now, run, reason, until, count))


def moved(row: ScheduleRow, spec: ScheduleSpec, now: TimeMs, *, is_open: bool, refused: str | None = None) -> Move:
    """What becomes of it at `now`. `is_open`: the run that it has begun last has not ended. `refused`: why none may begin.

    The row that comes of it is the next version, also where nothing else has changed.
    """
    move = Move(replace(row, version=row.version + 1, updated_at=now))
    if row.queued and not is_open:
        move.row = replace(move.row, queued=row.queued[1:])
        move.start(run_of(row, row.queued[0]), row.queued[0], now)
        is_open = True
    instants, following = _due(move, spec, now)
    for place, instant in enumerate(instants):
        if refused is not None:
            move.skip(instant, now, refused)
        else:
            is_open = _fire(move, spec, instant, now, is_open=is_open, is_last=place == len(instants) - 1)
    move.row = with_next(move.row, spec, following, now)
    return move


def with_next(row: ScheduleRow, spec: ScheduleSpec, instant: TimeMs | None, now: TimeMs) -> ScheduleRow:
    """The row, for which `instant` is the next."""
    due = spec.due(row.tenant, row.id, instant) if instant is not None else None
    if row.queued:
        due = now
    return replace(row, next_at=instant, due_at=None if row.is_paused else due)


def run_of(row: ScheduleRow, instant: TimeMs) -> str:
    """The id of the run that begins at an instant."""
    return schedule_run_key(row.tenant, row.id, SCHEDULED, instant).run


def _due(move: Move, spec: ScheduleSpec, now: TimeMs) -> tuple[Sequence[TimeMs], TimeMs | None]:
    """The instants that are due and count, so many as go in one commit, and the one after those. The others are skipped."""
    row, first = move.row, move.row.next_at
    if first is None or row.is_paused or spec.due(row.tenant, row.id, first) > now:
        return [], first
    most = spec.catch_up_max if spec.catch_up == CatchUp.ALL else 1
    found = spec.newest(first, now, most + 1)
    following = spec.next_after(found[-1])
    if len(found) > 1 and spec.due(row.tenant, row.id, found[-1]) > now:  # in its jitter
        following = found.pop()
    chosen = found[-most:]
    if spec.catch_up == CatchUp.NONE and now - spec.due(row.tenant, row.id, chosen[-1]) > LATE_MS:
        chosen = []
    before = chosen[0] if chosen else following
    _skip_missed(move, spec, first, before if before is not None else TimeMs(now + 1), now)
    if len(chosen) > FIRED_AT_ONCE:
        return chosen[:FIRED_AT_ONCE], chosen[FIRED_AT_ONCE]
    return chosen, following


def _skip_missed(move: Move, spec: ScheduleSpec, first: TimeMs, before: TimeMs, now: TimeMs) -> None:
    """One entry for all instants from `first` on that are before the other."""
    if first >= before:
        return
    count = spec.count(first, before, COUNTED_MAX)
    last = spec.newest(first, before - 1, 1)[-1]
    reason = f"no worker saw to it in time, and catch_up is {spec.catch_up}"
    if spec.catch_up == CatchUp.ALL:
        reason += f", of {spec.catch_up_max} at most"
    move.skip(first, now, reason, last if last > first else None, count)


def _fire(move: Move, spec: ScheduleSpec, instant: TimeMs, now: TimeMs, *, is_open: bool, is_last: bool) -> bool:
    """See to one instant; whether a run of the schedule is open then."""
    row = move.row
    if is_open and spec.overlap == Overlap.SKIP:
        move.skip(instant, now, f"the run before has not ended: {row.last_run}")
    elif (is_open or row.queued) and spec.overlap == Overlap.QUEUE:
        if len(row.queued) < QUEUED_MAX:
            move.row = replace(row, queued=(*row.queued, instant))
        else:
            move.skip(instant, now, f"{QUEUED_MAX} wait already for the run before to end")
    elif spec.overlap == Overlap.REPLACE and not is_last:
        move.skip(instant, now, "the next one has come too, and takes its place")
    else:
        if is_open and spec.overlap == Overlap.REPLACE and row.last_run is not None:
            move.cancels.append(row.last_run)
        move.start(run_of(row, instant), instant, now)
        return True
    return is_open
