"""The memory that a process with cells may write to: what its cells were granted, and as much again as freezing one takes."""

from __future__ import annotations

import logging
import math
import os
import resource
import sys
import threading
from collections import deque
from pathlib import Path

from cloche.sandbox.process.cgroups import Group

OWN_BYTES = 512 << 20  # what a process may write to besides its cells
COPIES = 4  # of a cell's memory, while it is frozen

log = logging.getLogger("cloche.sandbox")


class Grants:
    """The cells of one process by number. Cells that are dropped are collected until the next message tells the process."""

    def __init__(self, group: Group | None = None) -> None:
        self._group = group
        self._last = 0
        self._bytes: dict[int, int] = {}  # cell -> most bytes of its memory
        self._dropped: deque[int] = deque()
        self._lock = threading.Lock()

    def add(self, memory_bytes: int, pid: int | None) -> int:
        """The number of a new cell, whose memory process `pid` may write to from now on (None: it has ended)."""
        with self._lock:
            self._last += 1
            self._bytes[self._last] = memory_bytes
            if pid is not None:
                self._limit(pid)
            return self._last

    def drop(self, cell: int) -> None:
        """The cell is not used any more. Takes no lock: it is called by the garbage collector, in whatever thread that runs."""
        self._dropped.append(cell)

    def take_dropped(self) -> list[int]:
        """The cells that were dropped since this was asked last. The next limit counts them no more."""
        cells = []
        while self._dropped:
            cells.append(self._dropped.popleft())
        if cells:
            with self._lock:
                for cell in cells:
                    self._bytes.pop(cell, None)
        return cells

    def _limit(self, pid: int) -> None:
        """A cell must get what its limits allow it, or replay would not be exact: so the process may have all of it."""
        if sys.platform != "linux":
            return
        most = OWN_BYTES + sum(self._bytes.values()) + COPIES * max(self._bytes.values(), default=0)
        if self._group is not None:
            self._group.allow(most)
        try:
            resource.prlimit(pid, resource.RLIMIT_DATA, (most, resource.RLIM_INFINITY))
        except (OSError, ValueError):  # it has just ended, or a lower limit is in force here
            log.debug("process %d has no limit of its memory", pid)


def seen(pid: int) -> tuple[int | None, int | None]:
    """The user of a process and its capabilities, as the kernel tells others; None where it does not."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None, None
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return int(status["Uid"].split()[1]), int(status["CapEff"], 16)


def limit_cpu(pid: int, seconds: float) -> None:
    """End the process once it has used so much more CPU than until now, in whole seconds."""
    if sys.platform != "linux":
        return
    try:
        behind_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used_s = (int(behind_name[11]) + int(behind_name[12])) / os.sysconf("SC_CLK_TCK")
        _, most = resource.prlimit(pid, resource.RLIMIT_CPU)
        soft = math.ceil(used_s + seconds)
        resource.prlimit(pid, resource.RLIMIT_CPU, (soft if most < 0 else min(soft, most), most))
    except (OSError, ValueError, IndexError):
        log.debug("process %d has no limit of its CPU time", pid)
