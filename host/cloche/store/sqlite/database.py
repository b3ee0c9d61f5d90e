"""One connection to the SQLite file of a store: opening, migrations, transactions, and SQLite's errors in our terms."""

from __future__ import annotations

import ctypes
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import Any

from cloche.errors import DamagedStore, ForeignStore, StoreFailed, StoreFull, StoreUnavailable
from cloche.store.sqlite import wal
from cloche.store.sqlite.files import StoreFiles, check_life, check_path

APPLICATION_ID = 0x636C6F63  # "cloc"
VERSION = 6
SQLITE_VERSION = sqlite3.sqlite_version_info
SQLITE_REQUIRED = (3, 37, 0)  # STRICT tables, RETURNING
_SYNC_FAILED = (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC)
# Our statements and what we store are right: what SQLite then says of a schema or a rule is said of a damaged file.
_MEAN_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH)
_SCHEMA = FilePath(__file__).with_name("sql")


class Database:
    """The connection that all facets of a `SqliteStore` share. `connection` is used within `transaction` or `translated` only.

    Safe to be called from one thread at a time, `transaction` from any: heartbeats come from a thread of their own.

    Raises:
        ForeignStore, DamagedStore, StoreUnavailable: as `SqliteStore`.
    """

    def __init__(self, path: str | FilePath, *, must_exist: bool = False) -> None:
        self.path = FilePath(path).resolve()  # a store behind a link is one store
        if must_exist and not self.path.exists():
            raise StoreUnavailable(f"there is no store at {self.path}: name another with --store", path=str(path))
        size = self.path.stat().st_size if self.path.is_file() else 0
        if size == 1 or (size == 0 and must_exist):  # SQLite takes a file of one byte for an empty one
            raise ForeignStore(f"{self.path} is an empty file, not a cloche store", path=str(path))
        check_path(self.path)
        self._failure: StoreFailed | None = None
        self._writing = threading.Lock()  # one transaction at a time, also beside the heartbeat's thread
        if (torn := wal.damage(self.path)) is not None:
            raise damaged(self.path, f"its write-ahead log, {self.path.name}-wal: {torn}")
        with self.translated():
            self.connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            self.connection.text_factory = _text
            try:
                self._open()
            except BaseException:
                self.connection.close()
                raise

    def _open(self) -> None:
        run = self.connection.execute
        run("PRAGMA busy_timeout = 5000")
        run("BEGIN")  # one snapshot: another process may be making this very file
        application, version = (run(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        fresh = application == 0 and not run("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
        run("COMMIT")
        if fresh or application == APPLICATION_ID:
            check_life(self.path, self.connection, is_empty=fresh)
        if not fresh and application != APPLICATION_ID:
            raise ForeignStore(
                f"{self.path} is a SQLite file of another program, not a cloche store", path=str(self.path)
            )
        if version < 1 and not fresh:  # both numbers are written in the transaction that makes the tables
            raise damaged(self.path, f"it says that it has store version {version}")
        if version > VERSION:
            raise ForeignStore(
                f"{self.path} was written by a newer cloche (store version {version}, this one knows {VERSION}): "
                "upgrade cloche to open it",
                path=str(self.path),
            )
        if run("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise StoreUnavailable(
                f"{self.path} lies where SQLite cannot keep a write-ahead log: put the store on a local disk",
                path=str(self.path),
            )
        run("PRAGMA synchronous = FULL")
        run("PRAGMA cell_size_check = ON")
        if version < VERSION:
            self._migrate()
        run("SELECT 1 FROM sqlite_schema").fetchall()  # the index is there from the first look on
        self._files = StoreFiles(self.path, self.connection)

    def _migrate(self) -> None:
        """Bring the file to the current version: one transaction, also when two processes open a new file at once."""
        self.connection.execute("BEGIN IMMEDIATE")
        version = self.connection.execute("PRAGMA user_version").fetchone()[0]
        for number in range(version + 1, VERSION + 1):
            for statement in (_SCHEMA / f"{number:04}.sql").read_text().split(";\n\n"):
                self.connection.execute(statement)
        self.connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self.connection.execute(f"PRAGMA user_version = {VERSION}")
        self.connection.execute("COMMIT")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One that writes: all of what the block does is durable when it is left, or nothing of it happened."""
        with self._writing, self.translated():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
                self._files.acknowledge()
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def select(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query."""
        with self.translated():
            return self.connection.execute(sql, values).fetchall()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """SQLite's errors in our terms. A sync that failed is the end of this connection: it answers with that from now on."""
        if self._failure is not None:
            raise StoreFailed(self._failure.message, path=str(self.path))
        try:
            with _translated(self.path):
                yield
        except StoreFailed as failure:
            self._failure = failure
            # Never closed, not even at the end of the process: SQLite would take the WAL that it could not sync as written.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.connection))
            raise

    def close(self) -> None:
        """Write the WAL back into the file and let go of it; a store that was closed is one file."""
        if self._failure is None:
            with self.translated():
                self._files.close()


class Facet:
    """One facet of a store, on a connection. A `SqliteStore` is all of them on one connection."""

    def __init__(self, database: Database) -> None:
        self._database = database


def _text(stored: bytes) -> str:
    """As it was stored; of a damaged row something, so that it can be named and the others be read."""
    return stored.decode(errors="replace")


@contextmanager
def _translated(path: FilePath) -> Iterator[None]:
    """SQLite's errors in our terms, told apart by its result code (sqlite.org/rescode.html)."""
    try:
        yield
    except UnicodeDecodeError as error:  # SQLite quotes the damaged schema in its message
        raise damaged(path, error) from error
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_NOTADB:
            raise ForeignStore(f"{path} is not a cloche store: it is not a SQLite file", path=str(path)) from error
        if getattr(error, "sqlite_errorcode", 0) in _SYNC_FAILED:
            raise StoreFailed(
                f"the disk of {path} did not confirm a write ({error}): end this process, look at the disk, start again",
                path=str(path),
            ) from error
        if code == sqlite3.SQLITE_FULL:
            raise StoreFull(
                f"the disk of {path} is full: make room; runs wait and go on by themselves", path=str(path)
            ) from error
        if code in _MEAN_DAMAGE or not hasattr(error, "sqlite_errorcode"):  # without: text that is not UTF-8
            raise damaged(path, error) from error
        raise StoreUnavailable(f"the store {path} did not take or give data: {error}", path=str(path)) from error


def damaged(path: FilePath, why: Exception | str) -> DamagedStore:
    return DamagedStore(
        f"{path} is damaged ({why}): keep a copy of the file, then run 'cloche verify' on it", path=str(path)
    )
