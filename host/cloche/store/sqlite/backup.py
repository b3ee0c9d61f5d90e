"""A copy of a store while it is used: one moment of it, verified before it has its name."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from cloche.errors import BrokenChain, StoreUnavailable
from cloche.store.private import make_private
from cloche.store.protocol import Finding
from cloche.store.sqlite.audit import audit
from cloche.store.sqlite.database import Database

_PAGES_A_STEP = 4096  # 16 MB between two looks at whether another process wants the disk


def back_up(store: Path, target: Path) -> int:
    """Write a copy of the store at `store` to the new file `target`; returns its size in bytes. Others may write meanwhile.

    Raises:
        StoreUnavailable: there is such a file already, or it cannot be written.
        BrokenChain: what was copied does not verify; no copy is left.
    """
    if target.exists():
        raise StoreUnavailable(f"there is a file at {target}: a backup is written to a new one", path=str(target))
    part = target.with_name(f"{target.name}.part")
    try:
        _copy(store, part)
        finding = _first_finding(part)
        if finding is not None:
            raise BrokenChain(f"the copy of {store} does not verify: {finding.problem}; see 'cloche verify'")
        os.link(part, target)  # fails if there is such a file by now
    except (OSError, sqlite3.Error) as error:
        raise StoreUnavailable(f"the backup {target} cannot be written: {error}", path=str(target)) from error
    finally:
        for rest in ("", "-wal", "-shm", "-journal"):
            with suppress(OSError):
                Path(f"{part}{rest}").unlink(missing_ok=True)
    return target.stat().st_size


def _first_finding(part: Path) -> Finding | None:
    copy = Database(part, must_exist=True)
    try:
        return next(audit(copy.connection), None)
    finally:
        copy.close_files()


def _copy(source: Path, part: Path) -> None:
    """All of one read transaction, so a writer beside it never makes it begin again; synced."""
    part.unlink(missing_ok=True)
    make_private(part)
    with closing(sqlite3.connect(source, isolation_level=None)) as reader, closing(sqlite3.connect(part)) as writer:
        reader.execute("BEGIN")
        reader.execute("SELECT 1 FROM sqlite_schema").fetchall()
        reader.backup(writer, pages=_PAGES_A_STEP, sleep=0)
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    folder = os.open(part.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
