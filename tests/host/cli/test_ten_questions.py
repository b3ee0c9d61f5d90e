"""Ten questions of somebody who has the help of the command line, a prepared store, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import night
from support.commands import PATIENCE_S, Ran, cloche

NIGHT = Path(night.__file__)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> str:
    store = str(tmp_path_factory.mktemp("night") / "night.db")
    subprocess.run([sys.executable, str(NIGHT), store], check=True, timeout=PATIENCE_S)
    return store


Ask = Callable[..., Ran]


@pytest.fixture
def ask(prepared: str) -> Ask:
    """What a command says of the store; it must not fail."""

    def asked(*words: str) -> Ran:
        ran = cloche(*words, "--store", prepared)
        assert ran.code == 0, ran.err
        return ran

    return asked


def told_by_help(*words: str) -> None:
    """Each command is found in the help under what it is for, and its own help has an example of it."""
    command, *options = words
    line = next(one for one in cloche("--help").out.splitlines() if one.startswith(f"  {command} "))
    assert len(line.split()) > 3
    said = cloche(command, "--help").out
    assert f"cloche {command}" in said
    assert [one for one in options if one.startswith("--") and one not in said] == []


def test_1_why_is_this_one_not_moving(ask: Ask) -> None:
    told_by_help("show")
    assert "waits for data" in ask("show", "approval-1").out.splitlines()[0]
    assert re.search(r"Answer approve: cloche resume approval-1 --data JSON --store \S+", ask("show", "approval-1").out)
    assert ask("show", "ghost-1").out.startswith("pending: no worker has workflow 'ghost': start 'cloche worker")
    listed = next(line for line in ask("runs").out.splitlines() if "ghost-1" in line)
    assert "no worker has workflow 'ghost'" in listed


def test_2_what_fails_and_since_when(ask: Ask) -> None:
    told_by_help("failures", "--since")
    declined, odd = ask("failures").out.splitlines()
    for line, name in ((declined, "Declined"), (odd, "ValueError")):
        assert re.match(rf" +2  {name} at charge +first 20\S+ \S+  last 20\S+ \S+  e.g. order-\d", line)


def test_3_what_is_slow(ask: Ask) -> None:
    told_by_help("top", "--since")
    header, first, *_ = ask("top").out.splitlines()
    assert header.split()[:2] == ["calls", "work"]
    assert first.startswith("order render ")


def test_4_can_it_go_on_from_where_it_failed(ask: Ask) -> None:
    told_by_help("retry", "--from-step", "--onto")
    assert "Go on from where it failed, in a new run: cloche retry order-2" in ask("show", "order-2").out
    retried = ask("retry", "order-2", "--json").json()
    assert (retried["run_id"], retried["shown_id"]) == ("order-2\x1fr1", "order-2 › r1")
    assert "retried as order-2 › r1" in ask("show", "order-2").out
    for new in (retried["run_id"], retried["shown_id"]):
        assert ask("show", new).out.startswith("pending: ")
    [listed] = [one for one in ask("runs", "--json").lines() if one["run_id"] == retried["run_id"]]
    assert listed["shown_id"] == "order-2 › r1"


def test_5_can_all_of_them(ask: Ask) -> None:
    told_by_help("retry", "--dry-run", "--error", "--status", "--yes")
    assert ask("retry", "--error", "Declined", "--dry-run").out == "retry: 2 runs: order-4, order-1\n"
    assert "retry: done to 2 runs, failed on 0" in ask("retry", "--error", "Declined", "--yes").out


def test_6_who_has_canceled_it(ask: Ask) -> None:
    told_by_help("audit", "--run")
    [hint] = [line for line in ask("show", "approval-2").out.splitlines() if "who has canceled" in line]
    words = hint.split("cloche ")[1].split(" --store")[0].split()
    assert "canceled  by ada" in ask(*words).out


def test_7_what_will_the_schedule_do_next(ask: Ask) -> None:
    told_by_help("schedule")
    [line] = ask("schedule", "list").out.splitlines()
    assert re.match(r"nightly  order  cron 30 2 \* \* \* Europe/Berlin  next 20\S+ 0[01]:30:00", line)
    assert "no instant has come yet" in ask("schedule", "show", "nightly").out


def test_8_how_large_is_a_tenant(ask: Ask) -> None:
    told_by_help("usage", "--tenant", "--stored")
    stored = ask("usage", "--tenant", "acme", "--stored", "--json").json()
    parts = [stored[name] for name in ("log_bytes", "code_bytes", "checkpoint_bytes")]
    assert (stored["runs"], stored["open_runs"], stored["bytes"]) == (1, 0, sum(parts))
    assert re.match(
        r"acme  [\d,]+ bytes  1 runs \(0 open, 0 blocked\)", ask("usage", "--tenant", "acme", "--stored").out
    )


def test_9_which_version_runs(ask: Ask) -> None:
    assert re.search(r"workflow calc, version calc@\w+, 3 records", ask("show", "calc-1", "--tenant", "acme").out)
    seen = ask("show", "calc-1", "--tenant", "acme", "--json").json()["reason"]
    found = ask("runs", "--tenant", "acme", "--version", seen["version"], "--json").lines()
    assert [one["run_id"] for one in found] == ["calc-1"]
    assert re.search(r"workflow order, code \w{12}, \d+ records", ask("show", "order-0").out)


def test_10_where_did_the_time_go(ask: Ask) -> None:
    lines = ask("show", "order-0").out.split("time by step:\n")[1].splitlines()
    times = dict(re.findall(r"  (\w+)  work ([\d.]+ \w+)", "\n".join(lines[:3])))
    assert list(times) == ["reserve", "charge", "render"]
    told = ask("show", "order-0", "--json").json()["timing"]
    assert max(told, key=lambda one: int(one["work_ms"]))["step"] == "render"
    suspended = ask("show", "approval-2", "--json").json()["timing"][1]
    again = ask("show", "approval-2", "--json").json()["timing"][1]
    assert suspended["suspended_ms"] == again["suspended_ms"] > 0  # it has ended, and does not go on
