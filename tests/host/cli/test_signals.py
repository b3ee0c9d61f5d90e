"""Ctrl-C, kills and readers that go away, in real processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.apps import until
from support.commands import FLOWS, PATIENCE_S, cloche, ended, process

from cloche import Client

SLOW = f"{FLOWS}:slow"


@pytest.fixture(autouse=True)
def marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLOWS_MARKS", str(tmp_path / "marks.txt"))
    return tmp_path / "marks.txt"


def wait_for(marks: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not marks.exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_lets_the_step_end_and_leaves_a_run_that_a_worker_finishes(
    store: str, marks: Path, number: signal.Signals
) -> None:
    child = process("run", SLOW, "--input", "1", "--store", store, "--run-id", "r1")
    wait_for(marks)
    child.send_signal(number)
    ran = ended(child)
    assert (ran.code, ran.out) == (75, "")
    again = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    assert ran.err.splitlines() == [
        f"waiting up to 10 s for what runs: step 'marked' of run r1; {again} again ends at once",
        f"interrupted: run r1 goes on with 'cloche worker {SLOW} --store {store}'",
    ]
    kinds = [record["kind"] for record in cloche("log", "r1", "--store", store, "--json").lines()]
    assert kinds[-2:] == ["step_completed", "step_called"]
    worked = ended(process("worker", SLOW, "--store", store, "--once"))
    assert (worked.code, worked.err) == (0, "")
    assert worked.out.splitlines()[-1] == "✓ r1  slow  success"
    assert marks.read_text() == "r1\n"


def test_a_second_ctrl_c_does_not_wait_for_the_step(store: str, marks: Path) -> None:
    child = process("run", f"{FLOWS}:endless", "--input", "1", "--store", store, "--run-id", "r1")
    wait_for(marks)
    child.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.5)
    child.send_signal(signal.SIGINT)
    ran = ended(child)
    assert (ran.code, ran.out, "Traceback" in ran.err) == (130, "", False)
    assert cloche("show", "r1", "--store", store, "--json").json()["status"] == "running"


def test_programs_are_told_of_an_interruption_too(store: str, marks: Path) -> None:
    child = process("run", SLOW, "--input", "1", "--store", store, "--run-id", "r1", "--json")
    wait_for(marks)
    child.send_signal(signal.SIGINT)
    ran = ended(child)
    assert (ran.code, json.loads(ran.out)) == (75, {"run_id": "r1", "status": "running"})


def test_a_killed_run_is_finished_by_a_worker(store: str, marks: Path) -> None:
    child = process("run", SLOW, "--input", "1", "--store", store, "--run-id", "r1")
    wait_for(marks)
    child.kill()
    assert ended(child).code == -signal.SIGKILL
    assert cloche("show", "r1", "--store", store, "--json").json()["status"] == "running"
    worked = ended(process("worker", SLOW, "--store", store, "--once", "--json"))
    assert worked.code == 0
    assert [(row["run_id"], row["status"]) for row in worked.lines()] == [("r1", "running"), ("r1", "success")]
    assert marks.read_text() == "r1\nr1\n"  # it had begun, and nobody knows whether it ended: it is made again


def test_run_says_which_other_runs_it_goes_on_with(store: str, marks: Path) -> None:
    child = process("run", SLOW, "--input", "1", "--store", store, "--run-id", "r1")
    wait_for(marks)
    child.kill()
    ended(child)
    ran = ended(process("run", SLOW, "--input", "2", "--store", store, "--run-id", "r2"))
    assert ran.code == 0
    assert ran.err.splitlines()[:1] == ["this process goes on with 1 open run of the store as well: r1"]


def test_a_worker_waits_for_more_until_it_is_told_to_end(store: str, marks: Path) -> None:
    child = process("worker", SLOW, "--store", store)
    deadline = time.monotonic() + PATIENCE_S
    while not Path(store).exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    ran = ended(child)
    assert (ran.code, ran.out, ran.err) == (0, "", "this worker has ended; what is open goes on with the next one\n")


def test_a_worker_without_the_steps_says_what_is_missing(store: str, marks: Path) -> None:
    child = process("run", SLOW, "--input", "1", "--store", store, "--run-id", "r1")
    wait_for(marks)
    child.kill()
    ended(child)
    ran = ended(process("worker", f"{FLOWS}:math", "--store", store, "--once"))
    assert (ran.code, "Traceback" in ran.err) == (75, False)
    shown = cloche("show", "r1", "--store", store)
    assert "blocked: run r1 needs step 'marked', which this process does not have" in shown.out
    assert "start a worker that has this step" in shown.out
    assert ended(process("worker", SLOW, "--store", store, "--once")).code == 0


def test_a_reader_that_goes_away_is_no_fault(store: str) -> None:
    cloche("run", f"{FLOWS}:escaping", "--store", store, "--run-id", "r1")
    line = f"{sys.executable} -m cloche.cli log r1 --store {store} --json | head -c 1; exit ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "{", "")


def test_a_terminal_shows_progress_and_obeys_nothing(store: str) -> None:
    """With a terminal on both ends: records appear as they are made, colours are ours, control characters are not sent."""
    import pty

    main, terminal = pty.openpty()
    line = [sys.executable, "-m", "cloche.cli", "run", f"{FLOWS}:escaping", "--store", store, "--run-id", "r1"]
    child = subprocess.Popen(line, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    seen = b""
    try:
        while data := os.read(main, 65536):
            seen += data
    except OSError:  # Linux: the other end is closed
        pass
    os.close(main)
    assert child.wait(PATIENCE_S) == 0
    text = seen.decode()
    assert "step completed" in text
    assert "\\u001b]0;owned\\u0007" in text
    assert all(bad not in text for bad in ("\x1b]", "\x1b[2J", "\x9b", "‮", "\x07", "\x00"))


def test_help_needs_no_engine() -> None:
    script = (
        "import sys; from click.testing import CliRunner; from cloche.cli import main; "
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0; "
        "print(sorted({'wasmtime', 'pydantic', 'sqlite3', 'asyncio', 'cbor2'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert set(eval(ran.stdout)) <= {"asyncio"}


COUNTS = """
import gc
from pathlib import Path

from cloche import create_step, create_workflow

counts = create_workflow(id="counts").then(create_step(id="count", execute=lambda data: gc.get_freeze_count())).commit()
"""


def test_what_a_worker_has_loaded_is_looked_through_once(store: str, tmp_path: Path) -> None:
    """By the garbage collector, for which every thread stands still."""
    file = tmp_path / "counts.py"
    file.write_text(COUNTS)

    async def counted() -> int:
        async with Client(store) as client:
            found: int = (await (await client.start("counts", 1)).result()).unwrap()
            return found

    cloche("run", f"{file}:counts", "--store", store)  # makes the store
    worker = process("worker", f"{file}:counts", "--store", store)
    try:
        asyncio.run(until(counted, (10_000).__lt__))  # the first run may begin before all is loaded
    finally:
        worker.send_signal(signal.SIGTERM)
        ended(worker)
