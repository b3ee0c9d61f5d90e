"""The instants of a schedule: over changes of clocks, counted from the end, with a jitter that is always the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from cloche.errors import UsageError
from cloche.history import TenantId, TimeMs
from cloche.worker.schedule_spec import ScheduleSpec

ACME = TenantId("acme")

# Time zone, cron, the moment after which, and the instants that follow: in UTC.
TABLE = {
    "Berlin, spring: a time that is skipped": (
        "Europe/Berlin", "30 2 * * *", "2026-03-28T00:00", ["2026-03-28T01:30", "2026-03-29T01:00", "2026-03-30T00:30"],
    ),
    "Berlin, spring: two that are skipped come as one": (
        "Europe/Berlin", "0,30 2 * * *", "2026-03-29T00:00", ["2026-03-29T01:00", "2026-03-30T00:00"],
    ),
    "Berlin, spring: with the hour after": (
        "Europe/Berlin", "0 2,3 * * *", "2026-03-29T00:00", ["2026-03-29T01:00", "2026-03-30T00:00"],
    ),
    "Berlin, autumn: a time that comes twice": (
        "Europe/Berlin", "30 2 * * *", "2026-10-24T00:00", ["2026-10-24T00:30", "2026-10-25T00:30", "2026-10-26T01:30"],
    ),
    "Berlin, autumn: from within the second of them": (
        "Europe/Berlin", "30 2 * * *", "2026-10-25T01:10", ["2026-10-26T01:30"],
    ),
    "Berlin, autumn: each hour": (
        "Europe/Berlin", "0 * * * *", "2026-10-24T23:30", ["2026-10-25T00:00", "2026-10-25T01:00", "2026-10-25T02:00"],
    ),
    "Berlin, spring: each half an hour": (
        "Europe/Berlin", "*/30 * * * *", "2026-03-29T00:00", ["2026-03-29T00:30", "2026-03-29T01:00", "2026-03-29T01:30"],
    ),
    "New York, spring": (
        "America/New_York", "30 2 * * *", "2026-03-07T12:00", ["2026-03-08T07:00", "2026-03-09T06:30"],
    ),
    "New York, autumn": (
        "America/New_York", "30 1 * * *", "2026-10-31T12:00", ["2026-11-01T05:30", "2026-11-02T06:30"],
    ),
    "Havana, spring: midnight is skipped": (
        "America/Havana", "0 0 * * *", "2026-03-07T12:00", ["2026-03-08T05:00", "2026-03-09T04:00"],
    ),
    "Lord Howe, spring: half an hour is skipped": (
        "Australia/Lord_Howe", "15 2 * * *", "2026-10-02T20:00", ["2026-10-03T15:30", "2026-10-04T15:15"],
    ),
    "Lord Howe, autumn: half an hour comes twice": (
        "Australia/Lord_Howe", "45 1 * * *", "2026-04-03T20:00", ["2026-04-04T14:45", "2026-04-05T15:15"],
    ),
    "Lord Howe, autumn: each half an hour": (
        "Australia/Lord_Howe", "*/30 * * * *", "2026-04-04T14:10", ["2026-04-04T14:30", "2026-04-04T15:00", "2026-04-04T15:30"],
    ),
    "Apia: a day that never was": (
        "Pacific/Apia", "0 12 * * *", "2011-12-29T00:00", ["2011-12-29T22:00", "2011-12-30T10:00", "2011-12-30T22:00"],
    ),
    "Kwajalein: a day that never was": (
        "Pacific/Kwajalein", "0 9 * * *", "1993-08-20T00:00", ["1993-08-20T21:00", "1993-08-21T12:00", "1993-08-21T21:00"],
    ),
    "UTC: the last day of the month": (
        "UTC", "0 0 L * *", "2028-02-01T00:00", ["2028-02-29T00:00", "2028-03-31T00:00"],
    ),
    "UTC: with seconds": ("UTC", "*/20 * * * * *", "2026-01-01T00:00", ["2026-01-01T00:00:20", "2026-01-01T00:00:40"]),
}  # fmt: skip


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize("case", TABLE)
def test_instants_over_changes_of_clocks(case: str) -> None:
    tz, cron, moment, expected = TABLE[case]
    found = list(islice(ScheduleSpec("w", cron=cron, tz=tz).checked().after(ms(moment)), len(expected)))
    assert found == [ms(text) for text in expected]


@pytest.mark.parametrize(
    "tz", ["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Tehran"]
)
@pytest.mark.parametrize("cron", ["*/15 * * * *", "0 * * * *", "7 */3 * * *"])
def test_what_comes_each_hour_or_minute_goes_by_elapsed_time(tz: str, cron: str) -> None:
    """Each minute of a year is held against the clocks of the zone: none is left out, none comes twice."""
    spec, zone, begin = ScheduleSpec("w", cron=cron, tz=tz), ZoneInfo(tz), ms("2011-12-20T00:00")
    minutes = {"*/15": (0, 15, 30, 45), "0": (0,), "7": (7,)}[cron.split()[0]]
    hours = range(0, 24, 3) if "*/3" in cron else range(24)
    expected = []
    for minute in range(1, 20 * 24 * 60):
        local = datetime.fromtimestamp(begin / 1000 + minute * 60, zone)
        if local.minute in minutes and local.hour in hours:
            expected.append(begin + minute * 60_000)
    assert list(islice(spec.after(begin), len(expected))) == expected


@pytest.mark.parametrize("cron", ["30 2 * * *", "*/5 * * * *", "0 0 1 * *", "0 2,3 * * *"])
@pytest.mark.parametrize("month", [3, 10])
def test_from_wherever_one_asks_the_instants_are_the_same(cron: str, month: int) -> None:
    spec, begin = ScheduleSpec("w", cron=cron, tz="Europe/Berlin"), ms(f"2026-{month:02}-20T00:00")
    end = begin + 12 * 86_400_000
    every = [instant for instant in islice(spec.after(begin), 4_000) if instant <= end]
    assert every == sorted(set(every))
    for hours in range(0, 12 * 24, 7):
        moment = begin + hours * 3_600_000 + 1
        assert spec.next_after(moment) == next((one for one in every if one > moment), spec.next_after(end))


@pytest.mark.parametrize(
    "spec",
    [
        ScheduleSpec("w", cron="*/7 * * * *", tz="Europe/Berlin"),
        ScheduleSpec("w", every_ms=90_000),
        ScheduleSpec("w", at=5_000),
    ],
    ids=["cron", "every", "at"],
)
@pytest.mark.parametrize("most", [1, 5, 1_000])
def test_the_newest_are_found_from_the_end(spec: ScheduleSpec, most: int) -> None:
    first = spec.next_after(0)
    assert first is not None
    for until in (first, first + 3_000_000, first + 50_000_000):
        every = [one for one in islice(spec.after(first - 1), 2_000) if one <= until]
        assert spec.newest(first, until, most) == every[-most:]


def test_a_year_that_nobody_saw_costs_a_look_at_its_end() -> None:
    spec, year_ms = ScheduleSpec("w", every_ms=1_000), 365 * 86_400_000
    assert spec.newest(1_000, year_ms, 3) == [year_ms - 2_000, year_ms - 1_000, year_ms]
    assert spec.count(1_000, year_ms, 1_000) == 1_000


def test_each_quarter_of_an_hour_is_on_the_quarter() -> None:
    spec = ScheduleSpec("w", every_ms=900_000)
    assert spec.next_after(ms("2026-01-01T10:07")) == ms("2026-01-01T10:15")


def test_jitter_follows_from_schedule_and_instant_and_ends_before_the_next() -> None:
    spec = ScheduleSpec("w", every_ms=60_000, jitter_ms=3_600_000)
    instants = [TimeMs(60_000 * n) for n in range(1, 200)]
    late = [spec.due(ACME, "a", one) - one for one in instants]
    assert late == [spec.due(ACME, "a", one) - one for one in instants]
    assert all(0 <= one < 60_000 for one in late)
    assert len(set(late)) > 150
    assert late != [spec.due(ACME, "b", one) - one for one in instants]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ScheduleSpec("w"), "one of cron=, every= and at="),
        (ScheduleSpec("w", cron="0 0 * * *", every_ms=5_000), "one of cron=, every= and at="),
        (ScheduleSpec("w", cron="61 * * * *"), "no cron expression"),
        (ScheduleSpec("w", cron="0 0 30 2 *"), "no cron expression"),
        (ScheduleSpec("w", cron="* * *"), "no cron expression"),
        (ScheduleSpec("w", cron="0 0 * * * " + " " * 300 + "1"), "no cron expression"),
        (ScheduleSpec("w", cron="0 0 * * *", tz="Mars/Olympus"), "no time zone"),
        (ScheduleSpec("w", cron="0 0 * * *", tz="../etc/passwd"), "no time zone"),
        (ScheduleSpec("w", every_ms=10), "every is from"),
        (ScheduleSpec("w", every_ms=5_000, overlap="wait"), "overlap is one of skip, queue, allow, replace"),
        (ScheduleSpec("w", every_ms=5_000, catch_up="some"), "catch_up is one of none, latest, all"),
        (ScheduleSpec("w", every_ms=5_000, catch_up_max=5_000), "catch_up_max is from"),
        (ScheduleSpec("w", every_ms=5_000, jitter_ms=-1), "jitter_s is from"),
    ],
)
def test_what_cannot_be_meant_is_refused(spec: ScheduleSpec, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        spec.checked()


def test_a_spec_is_packed_the_same_each_time() -> None:
    spec = ScheduleSpec("w", {"b": 1, "a": timedelta(1) / timedelta(2)}, cron="0 0 * * *")
    assert ScheduleSpec.unpack(spec.pack()) == spec
    assert spec.pack() == ScheduleSpec.unpack(spec.pack()).pack()
