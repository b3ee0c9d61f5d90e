"""A control group of its own for each process with cells: where the operator has delegated some to this service.

The kernel then bounds all memory of a process, also what no other limit counts, ends it as a whole when it has more, and
shares cores out by tenant, not by thread. systemd delegates with `Delegate=yes` and `DelegateSubgroup=host` in the unit: the
service is in a group of its own then, and makes others beside it. Anywhere else nothing is made.
"""

from __future__ import annotations

import itertools
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path

TASKS_MAX = 64  # threads: as many as serve, and the clock's
BEYOND_BYTES = 256 << 20  # what a process has beside the memory that it may write to: code, the compiled guest

log = logging.getLogger("cloche.sandbox")
_numbers = itertools.count(1)


def delegated() -> Path | None:
    """The group below which this process may make groups, None where there is none."""
    if sys.platform != "linux":
        return None
    try:
        [own] = [line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::/")]
        [root] = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if _is_root(line)]
        parent = Path(root + own).parent
        return parent if _is_delegated(parent) and os.access(parent / "cgroup.procs", os.W_OK) else None
    except (OSError, ValueError):
        return None


def _is_root(mount: str) -> bool:
    """Whether a line of `mountinfo` is the hierarchy of groups, from its root on."""
    return " - cgroup2 " in mount and mount.split()[3] == "/"


def _is_delegated(group: Path) -> bool:
    """As systemd marks it. Without a mark a group that this process could write to is somebody else's business."""
    for name in ("trusted.delegate", "user.delegate"):
        with suppress(OSError):
            if os.getxattr(group, name) == b"1":
                return True
    return False


class Group:
    """One below `parent`.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, parent: Path) -> None:
        for controller in ("memory", "pids"):
            _write(parent / "cgroup.subtree_control", f"+{controller}")
        self.path = parent / f"cloche-{os.getpid()}-{next(_numbers)}"
        self.path.mkdir()
        _write(self.path / "pids.max", str(TASKS_MAX))
        _write(self.path / "memory.oom.group", "1")

    def take(self, pid: int) -> bool:
        """Whether the process is in it from now on."""
        return _write(self.path / "cgroup.procs", str(pid))

    def allow(self, memory_bytes: int) -> None:
        """So much may be written to. Where memory is not controlled, it is bounded by what else bounds it."""
        _write(self.path / "memory.max", str(memory_bytes + BEYOND_BYTES))

    def remove(self) -> None:
        """Nothing is in it any more."""
        with suppress(OSError):
            self.path.rmdir()


def _write(file: Path, text: str) -> bool:
    """Into a file that the kernel has made, if it has."""
    try:
        with open(file, "r+") as opened:
            opened.write(text)
    except OSError as error:
        log.debug("%s was not written to %s: %s", text, file, error)
        return False
    return True
