"""The key paths do no more than they did: fuel and calls against `benchmarks/counts.json`. No clock is asked.

Fuel is exact for one guest and wasmtime, so a difference is a change of the guest, of wasmtime or of the way there. If it is
meant, `make counts` renews the file, and its change is part of the commit.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.counts import calls, fuel

FILE = Path(__file__).parents[2] / "benchmarks" / "counts.json"
KEPT: dict[str, float] = json.loads(FILE.read_text())
MORE, LESS = 1.05, 0.8  # a path may cost 5 % more; one that costs a fifth less is worth keeping as such
CALLS_MORE = 1.25  # versions of Python differ in what is a call


def test_the_guests_burn_no_more_fuel_than_was_kept() -> None:
    found = {name: count for name, (count, _) in fuel().items()}
    strayed = {name: (KEPT[name], count) for name, count in found.items() if not _near(KEPT[name], count, MORE)}
    assert strayed == {}
    assert len([name for name in found if name.startswith("javascript guest")]) == 6


def test_the_host_makes_no_more_calls_than_were_kept() -> None:
    found = {name: count for name, (count, _) in calls().items()}
    assert {
        name: (KEPT[name], count) for name, count in found.items() if not _near(KEPT[name], count, CALLS_MORE)
    } == {}


def test_fuel_is_the_same_each_time() -> None:
    assert fuel() == fuel()


@pytest.mark.parametrize(("count", "is_near"), [(100, True), (104, True), (106, False), (81, True), (79, False)])
def test_what_is_near(count: float, is_near: bool) -> None:
    assert _near(100.0, count, MORE) is is_near


def _near(kept: float, count: float, more: float) -> bool:
    return kept * LESS <= count <= kept * more
