"""What becomes of a schedule that is due: by overlap, by what was missed, by what waits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cloche.history import TenantId, TimeMs
from cloche.store import ScheduleRow
from cloche.worker.firing import FIRED_AT_ONCE, QUEUED_MAX, Move, moved, with_next
from cloche.worker.schedule_spec import ScheduleSpec

ACME, MINUTE = TenantId("acme"), 60_000
FIRST = TimeMs(100 * MINUTE)


def spec(**said: Any) -> ScheduleSpec:
    return ScheduleSpec("w", **{"every_ms": MINUTE, **said})


def row(of: ScheduleSpec, **said: Any) -> ScheduleRow:
    made = replace(ScheduleRow(ACME, "s", of.pack(), 1, FIRST, FIRST), **said)
    return with_next(made, of, made.next_at or FIRST, FIRST)


def after(minutes: float, of: ScheduleSpec, *, is_open: bool = False, refused: str | None = None, **said: Any) -> Move:
    """What becomes of it when somebody looks so many minutes after its first instant."""
    return moved(row(of, **said), of, TimeMs(FIRST + int(minutes * MINUTE)), is_open=is_open, refused=refused)


def begun(move: Move) -> list[int]:
    """Which of its instants have begun a run: 0 is the first."""
    return [(instant - FIRST) // MINUTE for _, instant in move.starts]


def skipped(move: Move) -> list[tuple[int, int, str]]:
    found = [one for one in move.firings if one.run is None]
    return [((one.instant - FIRST) // MINUTE, one.count, one.reason) for one in found]


LATE = "no worker saw to it in time, and catch_up is"
# What it says, how late somebody looks in minutes, whether the run before is open: what begins, and what is skipped.
TABLE: dict[str, tuple[ScheduleSpec, float, bool, list[int], list[tuple[int, int, str]]]] = {
    "on time": (spec(), 0, False, [0], []),
    "a moment late": (spec(), 0.5, False, [0], []),
    "not yet": (spec(), -0.5, False, [], []),
    "latest of five": (spec(), 4, False, [4], [(0, 4, f"{LATE} latest")]),
    "none, in time": (spec(catch_up="none"), 0.9, False, [0], []),
    "none of five, the last in time": (spec(catch_up="none"), 4.5, False, [4], [(0, 4, f"{LATE} none")]),
    "none, late": (spec(catch_up="none", every_ms=10 * MINUTE), 5, False, [], [(0, 1, f"{LATE} none")]),
    "all of five": (spec(catch_up="all", overlap="allow"), 4, False, [0, 1, 2, 3, 4], []),
    "all, three at most": (
        spec(catch_up="all", catch_up_max=3, overlap="allow"), 4, False, [2, 3, 4], [(0, 2, f"{LATE} all, of 3 at most")],
    ),
    "skip while one is open": (spec(), 0, True, [], [(0, 1, "the run before has not ended: old")]),
    "all, skipping": (
        spec(catch_up="all"), 2, False, [0],
        [(1, 1, "the run before has not ended: s\x1ft6000000"), (2, 1, "the run before has not ended: s\x1ft6000000")],
    ),
    "allow": (spec(overlap="allow"), 0, True, [0], []),
    "queue": (spec(overlap="queue"), 0, True, [], []),
    "queue, none is open": (spec(overlap="queue"), 0, False, [0], []),
    "replace": (spec(overlap="replace"), 0, True, [0], []),
    "replace, three": (
        spec(overlap="replace", catch_up="all"), 2, True, [2],
        [(0, 1, "the next one has come too, and takes its place"), (1, 1, "the next one has come too, and takes its place")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_what_begins_and_what_is_skipped(case: str) -> None:
    of, late, is_open, expected, reasons = TABLE[case]
    move = after(late, of, is_open=is_open, last_run="old" if is_open else None)
    assert (begun(move), skipped(move)) == (expected, reasons)


def test_the_run_before_is_canceled_where_it_is_replaced() -> None:
    assert after(0, spec(overlap="replace"), is_open=True, last_run="old").cancels == ["old"]
    assert after(0, spec(overlap="replace"), is_open=False, last_run="old").cancels == []


def test_what_is_queued_begins_one_after_the_other() -> None:
    of = spec(overlap="queue")
    waits = after(2, of, is_open=True, last_run="old", queued=(FIRST,), next_at=TimeMs(FIRST + MINUTE))
    assert ([one - FIRST for one in waits.row.queued], begun(waits)) == ([0, 2 * MINUTE], [])
    goes_on = moved(waits.row, of, waits.row.updated_at, is_open=False)
    assert (begun(goes_on), [one - FIRST for one in goes_on.row.queued]) == ([0], [2 * MINUTE])
    assert waits.row.due_at == waits.row.updated_at  # somebody looks whether the run before has ended


def test_a_queue_has_an_end() -> None:
    full = tuple(TimeMs(n) for n in range(QUEUED_MAX))
    move = after(0, spec(overlap="queue"), is_open=True, last_run="old", queued=full)
    assert skipped(move) == [(0, 1, "100 wait already for the run before to end")]


def test_a_run_has_the_id_of_schedule_and_instant() -> None:
    move = after(0, spec())
    assert [run for run, _ in move.starts] == [f"s\x1ft{FIRST}"]
    assert (move.row.last_run, move.row.next_at, move.row.version) == (f"s\x1ft{FIRST}", FIRST + MINUTE, 2)


def test_many_are_begun_a_hundred_at_a_time_and_each_once() -> None:
    of, now = spec(catch_up="all", catch_up_max=1_000, overlap="allow"), TimeMs(FIRST + 249 * MINUTE)
    current, seen = row(of), []
    while current.next_at is not None and current.next_at <= now:
        move = moved(current, of, now, is_open=False)
        assert 0 < len(move.starts) <= FIRED_AT_ONCE
        seen += begun(move)
        current = move.row
    assert seen == list(range(250))
    assert current.firings == 250


def test_what_the_policy_does_not_allow_is_skipped_with_its_reason() -> None:
    move = after(0, spec(), refused="the tenant has too many")
    assert (begun(move), skipped(move)) == ([], [(0, 1, "the tenant has too many")])


def test_a_schedule_that_is_paused_begins_nothing() -> None:
    move = after(5, spec(), is_paused=True)
    assert (move.starts, move.firings, move.row.next_at, move.row.due_at) == ([], [], FIRST, None)


def test_what_comes_once_is_over_then() -> None:
    move = after(1, spec(every_ms=None, at=FIRST))
    assert (begun(move), move.row.next_at, move.row.due_at) == ([0], None, None)


def test_an_instant_waits_for_its_jitter() -> None:
    of = spec(jitter_ms=50_000)
    due = of.due(ACME, "s", FIRST)
    assert FIRST < due < FIRST + 50_000
    assert begun(moved(row(of), of, TimeMs(due - 1), is_open=False)) == []
    assert begun(moved(row(of), of, due, is_open=False)) == [0]
