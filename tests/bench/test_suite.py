"""Every benchmark runs, on the smallest sizes: what they check on the way (results come back, checkpoints are used) holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.commands import cloche

from benchmarks import SUITE, Scale, run_suite

COMPILING = ("metering", "cold-start")  # guests, for many seconds
ENGINES = (
    "inngest",
    "restate",
    "temporal",
)  # need servers and packages of others, and run for long: by hand


@pytest.mark.parametrize("name", [name for name in SUITE if name not in (*COMPILING, *ENGINES)])
def test_a_benchmark_gives_figures_beside_baselines(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    taken = list(run_suite([name], Scale(10)))
    assert taken or name == "python-guest"  # which need not be built
    for benchmark, figure in taken:
        assert benchmark == name
        assert figure.baseline
        assert figure.unit
        assert figure.baseline_value > 0
    assert list(tmp_path.iterdir()) == []


def test_the_command_lists_what_there_is() -> None:
    listed = cloche("bench", "--list", "--json")
    assert [json.loads(line)["name"] for line in listed.out.splitlines()] == list(SUITE)


def test_the_command_measures_and_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = cloche("bench", "load", "--json", "--most", "10", "--keep", "kept")
    assert done.code == 0, done.err
    assert json.loads(done.out)["benchmark"] == "load"
    [results] = (tmp_path / "kept").glob("*.json")
    assert json.loads(results.read_text())["command"] == "cloche bench load --most 10"


def test_an_unknown_benchmark_is_named_with_those_that_there_are() -> None:
    done = cloche("bench", "speed")
    assert done.code == 4
    assert "no benchmark 'speed'" in done.err
    assert "replay" in done.err
