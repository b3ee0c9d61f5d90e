"""Schedules from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.commands import MATH, cloche


@pytest.fixture
def store(tmp_path: Path) -> str:
    """One that has a workflow's runs."""
    made = str(tmp_path / "runs.db")
    cloche("run", MATH, "--input", '{"x": 5}', "--store", made)
    return made


def schedule(store: str, *words: str) -> dict[str, object]:
    made = cloche("schedule", *words, "--store", store, "--json")
    assert made.code == 0, made.err
    found: dict[str, object] = made.json()
    return found


def test_a_schedule_is_put_shown_fired_and_deleted(store: str) -> None:
    made = schedule(store, "put", "s", "math", "--cron", "30 2 * * *", "--tz", "Europe/Berlin", "--input", '{"x": 1}')
    assert (made["id"], made["when"], made["tz"], made["input"]) == ("s", "cron 30 2 * * *", "Europe/Berlin", {"x": 1})
    assert schedule(store, "pause", "s")["is_paused"] is True
    assert schedule(store, "resume", "s")["next_at"] == made["next_at"]
    run = str(schedule(store, "fire", "s")["run"])
    shown = schedule(store, "show", "s")
    assert [(one["outcome"], one["run"]) for one in shown["firings"]] == [("fired", run)]  # type: ignore[attr-defined]
    assert cloche("worker", MATH, "--store", store, "--once").code == 0
    assert cloche("show", run, "--store", store, "--json").json()["status"] == "success"
    text = cloche("schedule", "show", "s", "--store", store).out
    assert "fired by hand" in text
    assert "overlap skip, catch-up latest" in text
    assert cloche("schedule", "delete", "s", "--store", store).out == "schedule s is deleted; its runs stay\n"
    assert cloche("schedule", "list", "--store", store).out == ""


def test_all_that_a_schedule_says_is_taken(store: str) -> None:
    rules = ["--overlap", "queue", "--catch-up", "all", "--catch-up-max", "7", "--jitter", "30s"]
    made = schedule(store, "put", "s", "math", "--every", "15m", *rules)
    said = [made[name] for name in ("when", "overlap", "catch_up", "catch_up_max", "jitter_s")]
    assert said == ["every 900 s", "queue", "all", 7, 30.0]
    schedule(store, "put", "later", "math", "--in", "10m")
    schedule(store, "put", "once", "math", "--at", "2046-01-01T09:00", "--tz", "Europe/Berlin")
    whens = [one["when"] for one in cloche("schedule", "list", "--store", store, "--json").lines()]
    assert (whens[1], whens[2]) == ("at 2046-01-01T08:00:00.000Z", "every 900 s")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["put"], 2, "say which schedule"),
        (["put", "s"], 2, "say which workflow"),
        (["put", "s", "math"], 2, "one of cron=, every= and at="),
        (["put", "s", "math", "--cron", "x"], 2, "no cron expression"),
        (["put", "s", "math", "--at", "noon"], 2, "at is a datetime"),
        (["put", "s", "math", "--at", "2046-01-01", "--in", "5m"], 2, "not both"),
        (["put", "s", "math", "--every", "1h", "--tz", "Mars"], 2, "no time zone 'Mars'"),
        (["show", "nobody"], 4, "no schedule 'nobody'"),
        (["fire", "nobody"], 4, "no schedule 'nobody'"),
        (["delete", "nobody"], 4, "no schedule 'nobody'"),
    ],
)
def test_what_cannot_be_meant_is_said(store: str, words: list[str], code: int, said: str) -> None:
    refused = cloche("schedule", *words, "--store", store)
    assert (refused.code, said in refused.err) == (code, True), refused.err


def test_an_empty_list_says_so(store: str) -> None:
    assert "has no schedules" in cloche("schedule", "list", "--store", store).err
