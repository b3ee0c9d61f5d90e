"""What tells a worker whose process has ended from one that lives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cloche.errors import StoreUnavailable
from cloche.store.sqlite.lock import Presence

HOLDER = """
import sys
from pathlib import Path
from cloche.store.sqlite.lock import Presence
presence = Presence(Path(sys.argv[1]))
print(presence.hold(set()), flush=True)
sys.stdin.read()
"""


def test_a_process_that_was_killed_has_gone(tmp_path: Path) -> None:
    here = Presence(tmp_path / "runs.db")
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "runs.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        assert (here.is_dead(1), here.hold(set())) == (False, 2)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert here.is_dead(1)
    here.release()


def test_two_workers_of_one_process_are_two(tmp_path: Path) -> None:
    first, second = Presence(tmp_path / "runs.db"), Presence(tmp_path / "runs.db")
    assert (first.hold(set()), second.hold({2})) == (1, 3)
    assert (first.is_dead(3), second.is_dead(1), second.is_dead(2)) == (False, False, True)
    first.release()
    assert second.is_dead(1)
    second.release()


def test_a_place_without_room_for_a_lock_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be locked"):
        Presence(tmp_path / "none" / "runs.db")
