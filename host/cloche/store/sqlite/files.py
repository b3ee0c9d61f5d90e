"""Whether the files of a store are still what this process thinks they are: the file, its write-ahead log, its index.

SQLite trusts the file system: what is removed, renamed or copied beside it makes it lose commits without a word. Three things
stand against that, and none of them is a write in each commit.

* A lock of our own (`_Hold`). SQLite takes POSIX locks, which a process loses as soon as anything in it opens and closes the
  same file (a copy, say); then the next process that ends takes itself for the last one and deletes the write-ahead log. Ours
  belong to an open file, so a close elsewhere does not drop them (Linux).
* Before a commit is acknowledged, the paths must still lead to the inodes that were opened.
* The store's *life*, a number in the file and in `<store>.lock`. It grows when what was written since the last growth may have
  been moved from the write-ahead log into the file. So a file whose number is below the one in the lock lacks commits that
  were acknowledged: its log was removed, or it is an older copy.

The layout of the index is that of sqlite.org/walformat.html, section 2.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import struct
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cloche.errors import DamagedStore, StoreFailed, StoreUnavailable
from cloche.store.private import PRIVATE

if TYPE_CHECKING:
    from collections.abc import Iterator

_SET = getattr(fcntl, "F_OFD_SETLK", None)  # locks that belong to the open file; absent where the system has none
_FLOCK = "hhqqi4x"  # struct flock of 64-bit Linux: type, whence, start, length, pid
_SHARED = (0x40000002, 510)  # the bytes of the file that a connection of SQLite locks for as long as it is open
_PRESENT = (128, 1)  # the byte of the index that says that somebody uses it
_INDEX = struct.Struct("=I12xI12x8s56xI")  # version, last frame, salts, frames that are in the file by now
_INDEX_VERSION = 3007000
_LIFE_BYTES = 20  # digits of the life in the lock file

_holds: dict[tuple[int, int], _Hold] = {}  # by inode: what this process holds, whatever the number of its connections
_holds_lock = threading.RLock()


@dataclass(slots=True)
class _Hold:
    """Locks on the file and the index of a store, kept for as long as a connection of this process is open."""

    inode: tuple[int, int]
    file: int
    index: int
    users: int = 0

    def lock(self, kind: int) -> None:
        if _SET is not None:
            for descriptor, (start, length) in ((self.file, _SHARED), (self.index, _PRESENT)):
                fcntl.fcntl(descriptor, _SET, struct.pack(_FLOCK, kind, os.SEEK_SET, start, length, 0))

    def close(self) -> None:
        os.close(self.file)
        os.close(self.index)


@dataclass(frozen=True, slots=True)
class _Index:
    """What the index says of the write-ahead log: `salts` name it, from one reset to the next."""

    last_frame: int
    salts: bytes
    moved: int


class StoreFiles:
    """The files under one open connection to the store at `path`.

    Raises:
        DamagedStore: commits that were acknowledged are missing from what was opened.
        StoreUnavailable: a file cannot be opened or locked.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._file, self._wal = str(path), f"{path}-wal"
        self._connection = connection
        with _holds_lock:
            self._hold = _hold_of(path)
            self._hold.users += 1
        try:
            self._wal_inode = _inode(self._wal)
            self._seen = self._index()  # nothing of this connection's is in it yet
        except OSError as error:
            raise StoreUnavailable(f"the store {path} cannot be opened: {error}", path=str(path)) from error
        self._life_frame: int | None = None  # where the log says the life that the lock file has; None: nowhere yet

    def acknowledge(self) -> None:
        """See to it that what was just committed is found again. Called between a commit and its acknowledgement.

        Raises:
            StoreFailed: the files at the path are not those that were written.
        """
        self.check_inodes()
        index = self._index()
        is_known = self._life_frame is not None and index.salts == self._seen.salts and index.moved < self._life_frame
        if not is_known:
            _begin_life(self._path, self._connection)
            index = self._index()
            self._life_frame = index.last_frame
        self._seen = index

    def close(self) -> None:
        """Close the connection, and let go of the files: if no other process has them, SQLite makes them one file."""
        with _holds_lock:
            self._hold.users -= 1
            is_last = self._hold.users == 0
            if is_last:
                _holds.pop(self._hold.inode, None)
                self._hold.lock(fcntl.F_UNLCK)
            self._connection.close()
            if is_last:  # only now: closing a file drops all of SQLite's locks on it
                self._hold.close()

    def check_inodes(self) -> None:
        for path, inode in ((self._file, self._hold.inode), (self._wal, self._wal_inode)):
            try:
                found = _inode(path)
            except OSError:
                found = None
            if found != inode:
                raise StoreFailed(
                    f"{path} was {'removed or renamed' if found is None else 'replaced'} while the store was open: what is "
                    "written now would be lost. End this process, put the files back, and start again",
                    path=str(self._path),
                )

    def _index(self) -> _Index:
        version, last_frame, salts, moved = _INDEX.unpack(os.pread(self._hold.index, _INDEX.size, 0))
        if version != _INDEX_VERSION:
            raise StoreFailed(f"the index of {self._path} has the unknown version {version}", path=str(self._path))
        return _Index(last_frame, salts, moved)


def check_life(path: Path, connection: sqlite3.Connection, *, is_empty: bool) -> None:
    """Whether the file and its write-ahead log hold all that was acknowledged. `is_empty`: nothing was ever written to it.

    Raises:
        DamagedStore: they do not.
    """
    if (promised := _life_in_lock(path)) == 0:
        return
    has_life = not is_empty and connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'life'").fetchone()
    found = int(connection.execute("SELECT number FROM life").fetchone()[0]) if has_life else 0
    if found < promised:
        raise DamagedStore(
            f"{path} lacks commits that were acknowledged: its write-ahead log, {path.name}-wal, was removed, or the file is "
            f"an older copy. Put the files back that belong together; if they are gone for good, or this is a backup that "
            f"you want, remove {path.name}.lock to open what is here",
            path=str(path),
        )


def check_path(path: Path) -> None:
    """Before SQLite opens or makes the file at `path`: what it would damage or take for empty is refused.

    A file that is not there begins a new store, whatever an earlier one at this path had promised.

    Raises:
        StoreUnavailable: there is another link to the file; its write-ahead log is found by its name.
        DamagedStore: only the write-ahead log is there; SQLite would delete it.
    """
    wal = Path(f"{path}-wal")
    if not path.exists():
        if wal.exists() and wal.stat().st_size > 0:
            raise DamagedStore(
                f"there is no file {path}, but its write-ahead log, {wal.name}: put the file back beside it, or remove the log",
                path=str(path),
            )
        if _life_in_lock(path):
            _promise(path, 0)
    elif path.is_file() and (names := path.stat().st_nlink) > 1:
        raise StoreUnavailable(
            f"{path} has {names} names (hard links): opened by two of them, it would be damaged. "
            "Keep one name, or make a copy with 'cloche backup'",
            path=str(path),
        )


def _begin_life(path: Path, connection: sqlite3.Connection) -> None:
    """Count the life up in the file, and then in the lock file: there it is never ahead of what is durable."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE life SET number = number + 1")
    connection.execute("COMMIT")
    connection.execute("BEGIN IMMEDIATE")  # one process at a time
    try:
        number = int(connection.execute("SELECT number FROM life").fetchone()[0])
        _promise(path, number)
    finally:
        connection.execute("ROLLBACK")


def _promise(path: Path, life: int) -> None:
    with _lock_file(path) as lock:
        os.pwrite(lock, f"{life:0{_LIFE_BYTES}}\n".encode(), 0)
        os.fsync(lock)


def _life_in_lock(path: Path) -> int:
    if not Path(f"{path}.lock").exists():
        return 0
    with _lock_file(path) as lock:
        written = os.pread(lock, _LIFE_BYTES, 0)
    return int(written) if written.isdigit() else 0


@contextmanager
def _lock_file(path: Path) -> Iterator[int]:
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    except OSError as error:
        raise StoreUnavailable(f"the store {path} cannot be locked: {error}", path=str(path)) from error
    try:
        yield lock
    except OSError as error:
        raise StoreUnavailable(f"{path}.lock cannot be written: {error}", path=str(path)) from error
    finally:
        os.close(lock)


def _hold_of(path: Path) -> _Hold:
    """What this process holds of the store at `path`; it is locked when the first connection asks."""
    inode = _inode(path)
    if (found := _holds.get(inode)) is None:
        found = _Hold(
            inode, os.open(path, os.O_RDONLY | os.O_CLOEXEC), os.open(f"{path}-shm", os.O_RDONLY | os.O_CLOEXEC)
        )
        found.lock(fcntl.F_RDLCK)
        _holds[inode] = found
    return found


def _inode(path: str | Path) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino
