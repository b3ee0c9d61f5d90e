"""Whether the process of a worker still lives: it holds one byte of a file beside the store, let go by the kernel when it dies.

An optimisation beside the heartbeat, never the truth: a process that was killed is noticed at once, one that hangs (and one
on a system without locks of open files) by its silence.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

from cloche.errors import StoreUnavailable
from cloche.store.private import PRIVATE

# Locks that belong to the open file (Linux): those of the process would be the same for two workers within one.
_SET, _GET = (getattr(fcntl, name, None) for name in ("F_OFD_SETLK", "F_OFD_GETLK"))
SLOTS_MAX = 4_096  # workers of a store at one time, with those that died and were not evicted yet
_FLOCK = "hhqqi4x"  # struct flock of 64-bit Linux: type, whence, start, length, pid


class Presence:
    """One worker's byte (its *slot*) in the lock file of the store at `store`, and a look at those of others.

    Raises:
        StoreUnavailable: the lock file cannot be made there.
    """

    def __init__(self, store: Path) -> None:
        self._path = store.parent / f"{store.name}.lock"
        self._own: int | None = None
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
        except OSError as error:
            raise StoreUnavailable(f"the store {store} cannot be locked: {error}", path=str(store)) from error

    def hold(self, taken: set[int]) -> int:
        """Hold the first byte that is neither `taken` nor held by another process, and return its number.

        Raises:
            StoreUnavailable: there is none. Whoever may read the file can hold them all.
        """
        for slot in range(1, SLOTS_MAX + 1):
            if slot not in taken and self._lock(slot):
                self._own = slot
                return slot
        raise StoreUnavailable(
            f"another process holds all {SLOTS_MAX:,} slots of {self._path}: no worker can say that it lives. See who has the "
            "file open (lsof), and who may read it (chmod 600)",
            path=str(self._path),
        )

    def is_dead(self, slot: int) -> bool:
        """Whether it is certain that no process holds this byte any more: the worker of this slot is dead."""
        if _GET is None or slot == self._own:  # the kernel tells of locks that are in the way, and one's own never is
            return False
        found = fcntl.fcntl(self._file, _GET, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, slot, 1, 0))
        return bool(struct.unpack(_FLOCK, found)[0] == fcntl.F_UNLCK)

    def release(self) -> None:
        os.close(self._file)

    def _lock(self, slot: int) -> bool:
        if _SET is None:
            return True
        try:
            fcntl.fcntl(self._file, _SET, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, slot, 1, 0))
        except BlockingIOError:
            return False
        return True
