"""The commands of an operator: `failures`, `runs` with filters, `retry` and `bulk`."""

from __future__ import annotations

import pytest
from support.commands import FLOWS, MATH, cloche


@pytest.fixture
def failed(store: str) -> str:
    """The store, with two runs that failed at refuse, and one of math that did not."""
    for number in (1, 2):
        ran = cloche("run", f"{FLOWS}:failing", "--run-id", f"f{number}", "--store", store, "--tag", f"n={number}")
        assert ran.code == 1
    assert cloche("run", MATH, "--input", '{"x": 5}', "--store", store, "--run-id", "m1").code == 0
    return store


def test_failures_are_grouped_with_an_example(failed: str) -> None:
    [group] = cloche("failures", "--store", failed, "--json").lines()
    assert (group["error"], group["step"], group["count"], group["example"]) == ("ValueError", "refuse", 2, "f2")
    assert cloche("failures", "--store", failed).out.startswith("      2  ValueError at refuse ")
    [split] = cloche("failures", "--store", failed, "--group-by", "error,step,workflow", "--json").lines()
    assert split["workflow"] == "failing"
    assert cloche("failures", "--store", failed, "--since", "2999-01-01").out == ""


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--status", "failed"], ["f2", "f1"]),
        (["--error", "ValueError", "--step", "refuse"], ["f2", "f1"]),
        (["--error", "KeyError"], []),
        (["--tag", "n=1"], ["f1"]),
        (["--workflow", "math"], ["m1"]),
        (["--text", "20"], ["m1"]),
        (["--since", "1h"], ["m1", "f2", "f1"]),
        (["--until", "1h"], []),
    ],
)
def test_runs_are_found_by_what_they_are(failed: str, options: list[str], found: list[str]) -> None:
    assert [one["run_id"] for one in cloche("runs", *options, "--store", failed, "--json").lines()] == found


def test_runs_are_paged_by_a_cursor(failed: str) -> None:
    first = cloche("runs", "--limit", "2", "--store", failed, "--json")
    cursor = first.err.split("--cursor ")[1].split()[0]
    rest = cloche("runs", "--limit", "2", "--cursor", cursor, "--store", failed, "--json")
    assert [one["run_id"] for one in [*first.lines(), *rest.lines()]] == ["m1", "f2", "f1"]
    assert cloche("runs", "--cursor", "no", "--store", failed).code == 2


def test_runs_say_when_other_tenants_have_some(failed: str) -> None:
    assert cloche("run", MATH, "--input", '{"x": 1}', "--store", failed, "--tenant", "acme", "--run-id", "a").code == 0
    assert "other tenants have runs here too (acme): --all-tenants" in cloche("runs", "--store", failed).err
    every = cloche("runs", "--all-tenants", "--store", failed, "--json")
    assert (every.lines()[0]["tenant"], every.err) == ("acme", "")


def test_a_run_is_retried_and_the_new_id_is_printed(failed: str) -> None:
    ran = cloche("retry", "f1", "--store", failed)
    assert (ran.code, ran.out.split(";")[0]) == (0, "f1 › r1 goes on from f1")
    again = cloche("retry", "f1", "--store", failed, "--json").json()
    assert again == {"run_id": "f1\x1fr1", "shown_id": "f1 › r1", "retry_of": "f1", "status": "pending"}
    assert cloche("worker", f"{FLOWS}:failing", "--once", "--store", failed).code in (0, 1)
    assert "goes on from f1\n" in cloche("show", "f1 › r1", "--store", failed).out
    assert "retried as f1 › r1\n" in cloche("show", "f1", "--store", failed).out


def test_what_cannot_be_retried_says_why(failed: str) -> None:
    assert cloche("retry", "m1", "--store", failed).code == 2
    assert "only a run that failed or was canceled is retried" in cloche("retry", "m1", "--store", failed).err
    assert cloche("retry", "nobody", "--store", failed).code == 4


def test_many_are_counted_and_shown_before_anything_is_done(failed: str) -> None:
    ran = cloche("retry", "--status", "failed", "--dry-run", "--store", failed)
    assert (ran.code, ran.out) == (0, "retry: 2 runs: f2, f1\n")
    refused = cloche("retry", "--status", "failed", "--store", failed)
    assert (refused.code, "nobody is there to ask: give --yes" in refused.err) == (2, True)
    done = cloche("retry", "--status", "failed", "--store", failed, "--yes", "--json").json()
    assert (done["done"], done["made"], done["failed"]) == (2, ["f2\x1fr1", "f1\x1fr1"], [])


def test_which_runs_are_meant_must_be_said(failed: str) -> None:
    assert "say which runs are meant" in cloche("bulk", "delete", "--yes", "--store", failed).err
    assert "not both" in cloche("retry", "f1", "--status", "failed", "--store", failed).err
    assert "is not NAME=VALUE" in cloche("runs", "--tag", "n", "--store", failed).err
    assert "is no time" in cloche("failures", "--since", "yesterday", "--store", failed).err


def test_bulk_deletes_what_a_filter_gives(failed: str) -> None:
    ran = cloche("bulk", "delete", "--status", "failed", "--yes", "--store", failed)
    assert ran.out == "delete: 2 runs: f2, f1\ndelete: done to 2 runs, failed on 0\n"
    assert [one["run_id"] for one in cloche("runs", "--store", failed, "--json").lines()] == ["m1"]
