"""One executing process per store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloche.errors import StoreLeased, StoreUnavailable
from cloche.store import ExecutionLock

HOLDER = """
import sys
from pathlib import Path
from cloche.store import ExecutionLock
lock = ExecutionLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def holder(store: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its input is closed."""
    command = [sys.executable, "-c", HOLDER, str(store)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


def test_a_second_process_is_refused_and_told_who_holds_the_store(tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    with holder(store) as process, pytest.raises(StoreLeased) as raised:
        ExecutionLock(store)
    assert (raised.value.holder, raised.value.path, raised.value.retryable) == (f"pid {process.pid}", str(store), True)
    assert raised.value.message == (
        f"the store {store} is executed by another process (pid {process.pid}): stop it first, or let it do the work "
        "('cloche runs', 'show' and 'log' work beside it)"
    )


def test_the_lock_is_gone_when_its_holder_was_killed(tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    with holder(store) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        ExecutionLock(store).release()
    assert (tmp_path / "runs.db.lock").read_text() == f"pid {os.getpid()}\n"


def test_a_lock_that_was_let_go_can_be_taken_again(tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    first = ExecutionLock(store)
    with pytest.raises(StoreLeased, match=f"pid {os.getpid()}"):
        ExecutionLock(store)
    first.release()
    first.release()
    ExecutionLock(store).release()


def test_stores_side_by_side_have_locks_of_their_own(tmp_path: Path) -> None:
    locks = [ExecutionLock(tmp_path / name) for name in ("a.db", "b.db")]
    for lock in locks:
        lock.release()


def test_a_place_without_room_for_a_lock_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be locked"):
        ExecutionLock(tmp_path / "none" / "runs.db")
