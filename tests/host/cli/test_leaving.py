"""A process that is asked to leave does, whatever its steps do, and says what it waits for and what it left; real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support.commands import PATIENCE_S, Ran, cloche, ended, process

FLOWS = """
import asyncio, os, time
from cloche import Cloche, create_workflow, step

def here():
    open(os.environ["MARK"], "w").close()

@step
def thread(data):
    here()
    time.sleep(600)

@step
async def deaf(data):
    here()
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass

@step
async def blocks(data):
    here()
    time.sleep(600)

@step
async def quick(data):
    return data + 1

w_thread = create_workflow(id="w_thread").then(thread).commit()
w_deaf = create_workflow(id="w_deaf").then(deaf).commit()
w_blocks = create_workflow(id="w_blocks").then(blocks).commit()
one = create_workflow(id="one").then(quick).commit()
two = create_workflow(id="two").then(quick).then(deaf).commit()
app = Cloche("own.db", workflows=[one], drain_timeout_s=0.3)
both = Cloche("own.db", workflows=[one, two])
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "flows.py").write_text(FLOWS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MARK", str(tmp_path / "mark"))
    return tmp_path / "mark"


def begun(name: str, mark: Path, drain: str) -> subprocess.Popen[str]:
    """A process in which the step runs."""
    child = process("run", f"flows.py:{name}", "--store", "s.db", "--run-id", "r1", "--drain", drain)
    deadline = time.monotonic() + PATIENCE_S
    while not mark.exists():
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return child


def left(child: subprocess.Popen[str], *numbers: signal.Signals) -> Ran:
    for number in numbers:
        child.send_signal(number)
        time.sleep(0.3)
    try:
        return ended(child)
    finally:
        child.kill()


@pytest.mark.parametrize("name", ["thread", "deaf"])
def test_a_process_ends_though_its_step_does_not(here: Path, name: str) -> None:
    ran = left(begun(f"w_{name}", here, "0.3"), signal.SIGTERM)
    assert ran.code == 75
    assert ran.err.splitlines() == [
        f"waiting up to 0.3 s for what runs: step '{name}' of run r1; SIGTERM again ends at once",
        f"step '{name}' of run r1 did not end within 0.3 s and is cut off",
        f"interrupted: run r1 goes on with 'cloche worker flows.py:w_{name} --store s.db'",
    ]
    assert cloche("show", "r1", "--store", "s.db", "--json").json()["status"] == "running"


def test_a_process_ends_though_a_step_blocks_its_loop(here: Path) -> None:
    ran = left(begun("w_blocks", here, "0.1"), signal.SIGTERM)
    assert ran.code == 128 + signal.SIGTERM
    assert "what runs did not end, and blocks the process: it is ended" in ran.err


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", ["thread", "deaf", "blocks"])
def test_the_second_ctrl_c_ends_it_at_once(here: Path, name: str, first: signal.Signals) -> None:
    ran = left(begun(f"w_{name}", here, "600"), first, signal.SIGINT)
    assert ran.code == 130
    assert "Traceback" not in ran.err


def test_a_worker_ends_though_its_step_does_not(here: Path) -> None:
    left(begun("w_deaf", here, "600"), signal.SIGINT, signal.SIGINT)
    here.unlink()
    child = process("worker", "flows.py:w_deaf", "--store", "s.db", "--drain", "0.3")
    while not here.exists():
        assert child.poll() is None
        time.sleep(0.01)
    ran = left(child, signal.SIGINT)
    assert ran.code == 0
    assert "step 'deaf' of run r1 did not end within 0.3 s and is cut off" in ran.err


# ---- targets ---------------------------------------------------------------------------------------------------------


def test_targets_of_one_file_are_one_import() -> None:
    ran = ended(process("worker", "flows.py:one", "flows.py:two", "./flows.py:w_deaf", "--store", "s.db", "--once"))
    assert (ran.code, ran.err) == (0, "nothing to do: no run of this store can move now\n")


def test_a_cloche_is_a_target() -> None:
    ran = ended(process("run", "flows.py:app", "--input", "1", "--run-id", "r1"))
    assert (ran.code, ran.out) == (0, "2\n")
    assert cloche("show", "r1", "--store", "own.db", "--json").json()["status"] == "success"
    assert ended(process("worker", "flows.py:app", "--once")).code == 0


def test_a_cloche_says_itself_what_options_say() -> None:
    ran = cloche("worker", "flows.py:app", "--store", "s.db")
    assert (ran.code, "--store says what the target, a Cloche, says itself" in ran.err) == (2, True)
    ran = cloche("worker", "flows.py:app", "flows.py:one")
    assert (ran.code, "a target that is a Cloche stands alone" in ran.err) == (2, True)


def test_a_run_of_a_cloche_needs_to_know_its_workflow() -> None:
    ran = cloche("run", "flows.py:both")
    assert (ran.code, "its workflows are: one, two" in ran.err) == (2, True)


def test_the_store_of_the_environment_is_not_that_of_a_cloche(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOCHE_STORE", "other.db")
    assert ended(process("run", "flows.py:app", "--input", "1")).code == 0
    assert (os.path.exists("own.db"), os.path.exists("other.db")) == (True, False)
