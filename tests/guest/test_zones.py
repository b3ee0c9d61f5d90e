"""Time zones under glass: the offsets of IANA's data, as Python reads the same files, written as Node writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from guest.cells import run
from guest.test_web import judged, node

from cloche_guest.artifacts import SOURCES, _cache_directory
from cloche_guest.zones import Zone, zones_folder

FAR = [datetime(year, month, 3, 12, tzinfo=UTC) for year in (2040, 2100, 2399) for month in (1, 3, 6, 10)]
AT_NODE = 30  # instants of each zone that Node is asked for
SINCE = datetime(2025, 1, 1, tzinfo=UTC)  # from here on data of another release may have other rules
SEASONS = [datetime(year, month, 15, 12, tzinfo=UTC) for year in (2008, 2016, 2023, 2024) for month in (1, 7)]
CORRECTED = {"America/Bogota": 1992, "Asia/Tehran": 1979, "Iran": 1979}  # by IANA, after 2025c: zone and year
TO_THE_MINUTE = ("Africa/Monrovia", 63_593_070_000)  # CLDR's name begins half a minute after the change


@cache
def files() -> dict[str, Path]:
    """Those that the guest was made from, by the name of the zone."""
    folder = zones_folder(SOURCES.zones, _cache_directory(), lambda _: None) / "tzdata" / "zoneinfo"
    found = sorted(file for file in folder.rglob("*") if file.is_file() and file.read_bytes()[:4] == b"TZif")
    return {file.relative_to(folder).as_posix(): file for file in found}


def instants(file: Path) -> list[datetime]:
    """Around each change of a zone, and far after the last."""
    changes = [time for time, _ in Zone.read(file.read_bytes()).changes]
    near = [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=time + by) for time in changes for by in (-1, 0)]
    return [*near, *FAR]


def ms(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


WALL = """const two = (n) => String(n).padStart(2, "0");
return input.map(([timeZone, times]) => {
  const format = new Intl.DateTimeFormat("en-US", { timeZone, hourCycle: "h23", year: "numeric", month: "2-digit",
    day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" });
  return times.map((ms) => format.format(ms)).join("|");
});"""


def test_every_zone_has_pythons_wall_clock_around_every_change() -> None:
    by_content = {file.read_bytes(): name for name, file in files().items()}  # of links one
    given = [(name, [ms(at) for at in instants(files()[name])]) for name in by_content.values()]
    answers = run(WALL, given)
    wrong = []
    for (name, _), answer in zip(given, answers, strict=True):
        with files()[name].open("rb") as data:
            zone = ZoneInfo.from_file(data)
        wanted = [at.astimezone(zone) for at in instants(files()[name])]
        texts = [f"{w.month:02}/{w.day:02}/{w.year}, {w:%H:%M:%S}" for w in wanted]
        wrong += [(name, one, other) for one, other in zip(answer.split("|"), texts, strict=True) if one != other]

    assert wrong == []
    assert len(given) > 300


def test_every_name_is_known_in_any_case_and_stays_as_iana_writes_it() -> None:
    body = """return input.map((timeZone) => new Intl.DateTimeFormat("en", { timeZone }).resolvedOptions().timeZone)"""
    answers = run(body, [name.swapcase() for name in files()])

    assert [one for one, name in zip(answers, files(), strict=True) if one not in (name, "UTC")] == []
    assert sum(one == "UTC" for one in answers) == 18  # names of UTC, as Node has them


NODE = """return input.map(([timeZone, times]) => {
  try { // of names of UTC Node writes some as GMT
    if (new Intl.DateTimeFormat("en-US", { timeZone }).resolvedOptions().timeZone === "UTC") return null;
  } catch { return null }
  const forms = ["short", "shortOffset", "longOffset"].map((timeZoneName) => new Intl.DateTimeFormat("en-US", { timeZone,
    timeZoneName, dateStyle: undefined, year: "numeric", month: "short", day: "numeric", hour: "numeric", minute: "2-digit",
    second: "2-digit" }));
  return times.map((ms) => forms.map((format) => format.format(ms)).concat(new Date(ms).toLocaleString("en-US", { timeZone })));
});"""


def test_dates_in_zones_are_written_as_node_writes_them() -> None:
    """Between 1970 and 2025, which Node's data and ours have alike; of each zone some changes, drawn once."""
    node()
    begin, chance, given = datetime(1970, 1, 1, tzinfo=UTC), Random(20), []
    for name, file in files().items():
        times = [at for at in [*instants(file), *SEASONS, begin] if begin <= at < SINCE]
        times = [at for at in times if CORRECTED.get(name) != at.year and (name, ms(at)) != TO_THE_MINUTE]
        given.append([name, [ms(at) for at in chance.sample(times, min(AT_NODE, len(times)))]])
    ours, theirs = run(NODE, given), judged(NODE, given)

    wrong = [
        (name, at, one, other)
        for (name, times), mine, nodes in zip(given, ours, theirs, strict=True)
        if mine is not None and nodes is not None
        for at, one, other in zip(times, mine, nodes, strict=True)
        if one != other
    ]
    assert wrong == []


def test_a_zone_may_be_an_offset() -> None:
    body = """return input.map((timeZone) => { const format = new Intl.DateTimeFormat("en", { timeZone, timeStyle: "long" });
        return [format.resolvedOptions().timeZone, format.format(0)] })"""

    assert run(body, ["+05:30", "-0800", "+01", "-00:00"]) == [
        ["+05:30", "5:30:00 AM GMT+5:30"], ["-08:00", "4:00:00 PM GMT-8"], ["+01:00", "1:00:00 AM GMT+1"],
        ["+00:00", "12:00:00 AM GMT+0"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("zone", "options"),
    [
        ("Mars/Olympus", {}), ("Europe", {}), ("Europe/Berlin ", {}), ("+24:00", {}), ("+1:00", {}), ("+01:60", {}),
        ("Europe/Berlin\0", {}), ("", {}), ("é", {}), ("Europe/Berlin", {"timeZoneName": "long"}),
        ("Europe/Berlin", {"timeStyle": "full"}), ("Europe/Berlin", {"timeZoneName": "longGeneric"}),
    ],
)  # fmt: skip
def test_what_is_no_zone_and_names_that_are_not_there_are_refused(zone: str, options: dict[str, Any]) -> None:
    body = "try { return new Intl.DateTimeFormat('en', input) } catch (e) { return e.name }"

    assert run(body, {"timeZone": zone, **options}) == "RangeError"


def test_the_names_that_there_are_are_those_of_zone_tab() -> None:
    names = run("return Intl.supportedValuesOf('timeZone')")

    assert names == sorted(names)
    assert {"Europe/Berlin", "America/Argentina/Buenos_Aires", "Asia/Kolkata"} <= set(names)
    assert "US/Eastern" not in names
    assert run("return input.filter((timeZone) => !new Intl.DateTimeFormat('en', { timeZone }))", names) == []
