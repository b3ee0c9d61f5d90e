"""One executing process per store: an advisory lock on a file beside it, let go by the kernel when the process dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from cloche.errors import StoreLeased, StoreUnavailable


class ExecutionLock:
    """Held while a process executes runs of the store at `store`.

    Raises:
        StoreLeased: another process holds it; `holder` says which.
        StoreUnavailable: the lock file cannot be made there.
    """

    def __init__(self, store: Path) -> None:
        self._file: IO[str] | None = None
        try:
            self._file = (store.parent / f"{store.name}.lock").open("a+")
        except OSError as error:
            raise StoreUnavailable(f"the store {store} cannot be locked: {error}", path=str(store)) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise StoreLeased(
                f"the store {store} is executed by another process ({holder}): stop it first, or let it do the work "
                "('cloche runs', 'show' and 'log' work beside it)",
                path=str(store),
                holder=holder,
            ) from error
        self._file.truncate(0)
        self._file.write(f"pid {os.getpid()}\n")
        self._file.flush()

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
