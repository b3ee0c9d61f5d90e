"""A deploy as an operator makes it: files change, processes die, and open runs go on under the old code or the new."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from support.commands import cloche, ended, process

WORKFLOW = """
from cloche import create_step, create_workflow

async def note(data): return {{"v": data["v"] + {add}}}
async def ask(data, ctx):
    if ctx.resume_data is None:
        ctx.suspend()
    return {{"v": data["v"] + ctx.resume_data["v"]}}
async def last(data): return {{"v": data["v"] * {times}}}

workflow = (
    create_workflow(id="w")
    .then(create_step(id="{first}", execute=note))
    .then(create_step(id="ask", execute=ask))
    .then(create_step(id="{third}", execute=last))
    .commit()
)
"""


def version(folder: Path, *, first: str = "note", third: str = "last", add: int = 1, times: int = 2) -> str:
    file = folder / "flow.py"
    file.write_text(WORKFLOW.format(first=first, third=third, add=add, times=times))
    return f"{file}:workflow"


@pytest.fixture
def suspended(tmp_path: Path, store: str) -> str:
    """Run r1 waits in the store, begun by a process that has ended."""
    target = version(tmp_path)
    ran = ended(process("run", target, "--input", '{"v": 1}', "--store", store, "--run-id", "r1"))
    assert ran.code == 75, ran.err
    return store


def test_a_change_that_open_runs_do_not_fit_is_seen_before_the_deploy(tmp_path: Path, suspended: str) -> None:
    target = version(tmp_path, first="begin")
    ran = ended(process("check", target, "--store", suspended))
    assert ran.code == 3
    assert "r1  suspended  does not fit since record 3" in ran.out
    data = ended(process("check", target, "--store", suspended, "--json"))
    (fit,) = [json.loads(line) for line in data.out.splitlines()]
    assert (data.code, fit["ok"], fit["since"], fit["divergence"]["expected"]["name"]) == (3, False, 3, "note")
    ran = ended(process("upgrade", target, "r1", "--store", suspended))
    assert (ran.code, "the history has step 'note'" in ran.err) == (3, True)
    replayed = ended(process("replay", "r1", "--with", target, "--store", suspended))
    assert replayed.code == 3


def test_the_old_run_goes_on_under_its_old_code_after_the_deploy(tmp_path: Path, suspended: str) -> None:
    target = version(tmp_path, third="other", times=100)
    ran = ended(process("resume", "r1", "--data", '{"v": 3}', "--store", suspended))
    assert ran.code in (0, 75), ran.err
    with process("worker", target, "--store", suspended, "--json") as worker:
        try:
            _wait_for(suspended, "blocked")  # its own code wants the step 'last', which the new file does not have
        finally:
            worker.terminate()
    shown = cloche("show", "r1", "--store", suspended)
    assert "needs step 'last'" in shown.out + shown.err


def test_a_run_that_fits_is_moved_and_ends_under_the_new_code(tmp_path: Path, suspended: str) -> None:
    target = version(tmp_path, third="other", times=100)
    assert ended(process("check", target, "--store", suspended)).code == 0
    ran = ended(process("upgrade", target, "--all", "--store", suspended))
    assert (ran.code, ran.out) == (0, "✓ run r1 goes on under today's code\n")
    assert "has this code" in ended(process("check", target, "--store", suspended)).out
    assert ended(process("resume", "r1", "--data", '{"v": 3}', "--store", suspended)).code in (0, 75)
    with process("worker", target, "--store", suspended, "--json") as worker:
        try:
            _wait_for(suspended, "success")
        finally:
            worker.terminate()
    assert cloche("show", "r1", "--store", suspended, "--json").json()["result"] == {"v": 500}
    assert ended(process("replay", "r1", "--store", suspended)).code == 0
    assert ended(process("verify", "--deep", "--store", suspended)).code == 0


def test_upgrade_wants_to_be_told_which(tmp_path: Path, suspended: str) -> None:
    target = version(tmp_path)
    for wrong in ((), ("r1", "--all")):
        ran = cloche("upgrade", target, *wrong, "--store", suspended)
        assert (ran.code, "name the runs to move, or --all" in ran.err) == (2, True)
    assert cloche("upgrade", target, "nobody", "--store", suspended).code == 4


def test_a_store_without_open_runs_fits_anything(tmp_path: Path, one_run: str) -> None:
    ran = cloche("check", version(tmp_path), "--store", one_run)
    assert (ran.code, ran.out) == (0, "")


def _wait_for(store: str, status: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if cloche("show", "r1", "--store", store, "--json").json()["status"] == status:
            return
        time.sleep(0.1)
    raise AssertionError(f"the run never was {status}")
