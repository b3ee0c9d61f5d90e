"""Real processes on a real store, killed with `kill -9` at moments drawn from a seed, and a worker that finishes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import crash_workload
from support.apps import in_loop
from support.guests import needs_python
from support.two_workers import prove, torture

SEED = int(os.environ.get("CLOCHE_SEED", "20261122"))
KILLS = 8  # of one store; `make torture` takes many
ROUNDS = max(1, int(os.environ.get("CLOCHE_KILLS", "6")) * 2 // KILLS)
PATIENCE_S = 60.0
WORKLOAD = Path(crash_workload.__file__)


@pytest.mark.parametrize("turn", range(ROUNDS))
@in_loop
async def test_kill_9_at_any_moment_loses_nothing_and_repeats_nothing(tmp_path: Path, turn: int) -> None:
    print(f"CLOCHE_SEED={SEED}")
    moments = random.Random(SEED + turn)
    places = {"CRASH_STORE": str(tmp_path / "crash.db"), "CRASH_JOURNAL": str(tmp_path / "journal.txt")}
    environment = {**os.environ, **places, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    killed = 0
    while killed < KILLS:
        child = subprocess.Popen([sys.executable, str(WORKLOAD)], env=environment)
        if not _begins(child, tmp_path / "journal.txt"):
            break  # it was done before it could be killed again
        time.sleep(moments.uniform(0, 0.06))  # with less, one and the same step is met so often that it is suspected
        child.send_signal(signal.SIGKILL)
        killed += child.wait(PATIENCE_S) == -signal.SIGKILL
    assert killed >= 2
    # A run that no process had begun to store is started by the same ids: that is what they are for.
    subprocess.run([sys.executable, str(WORKLOAD)], env=environment, check=True, timeout=PATIENCE_S)
    worker = [sys.executable, "-m", "cloche.cli", "worker", f"{WORKLOAD}:workflow", "--once"]
    subprocess.run([*worker, "--store", places["CRASH_STORE"]], env=environment, check=True, timeout=PATIENCE_S)
    await prove(tmp_path)


@pytest.mark.parametrize("guest", ["javascript", "python"])
@in_loop
async def test_a_worker_finishes_what_a_killed_process_began(tmp_path: Path, guest: str) -> None:
    if guest == "python":
        needs_python()
    places = {
        "CRASH_GUEST": guest,
        "CRASH_STORE": str(tmp_path / "crash.db"),
        "CRASH_JOURNAL": str(tmp_path / "journal.txt"),
    }
    environment = {**os.environ, **places, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    child = subprocess.Popen([sys.executable, str(WORKLOAD)], env=environment)
    assert _begins(child, tmp_path / "journal.txt", lines=30)
    child.kill()
    child.wait(PATIENCE_S)
    worker = [sys.executable, "-m", "cloche.cli", "worker", f"{WORKLOAD}:workflow", "--once"]
    subprocess.run([*worker, "--store", places["CRASH_STORE"]], env=environment, check=True, timeout=PATIENCE_S)
    await prove(tmp_path, runs_min=1)  # those that had begun


def _begins(child: subprocess.Popen[bytes], journal: Path, lines: int = 1) -> bool:
    """Wait until the child has begun `lines` more steps; False if it has ended instead."""
    deadline = time.monotonic() + PATIENCE_S
    wanted = _count(journal) + lines
    while _count(journal) < wanted:
        assert time.monotonic() < deadline
        if child.poll() is not None:
            return False
        time.sleep(0.001)
    return True


def _count(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


@pytest.mark.parametrize("turn", range(max(1, ROUNDS // 4)))
@in_loop
async def test_two_workers_share_a_store_and_either_may_be_killed(tmp_path: Path, turn: int) -> None:
    print(f"CLOCHE_SEED={SEED}")
    assert await torture(tmp_path, 3, SEED + turn) >= 1
