"""One connection to the SQLite file of a store: opening, migrations, transactions, and SQLite's errors in our terms."""

from __future__ import annotations

import asyncio
import ctypes
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path as FilePath
from typing import Any, TypeVar

from cloche.errors import DamagedStore, ForeignStore, StoreError, StoreFailed, StoreFull, StoreUnavailable
from cloche.store.private import make_private
from cloche.store.sqlite import wal
from cloche.store.sqlite.files import StoreFiles, check_life, check_path
from cloche.store.sqlite.pieces import SHORT_BLOB, missing, piece_count, put_piece

T = TypeVar("T")

APPLICATION_ID = 0x636C6F63  # "cloc"
VERSION = 11
SQLITE_VERSION = sqlite3.sqlite_version_info
SQLITE_REQUIRED = (3, 37, 0)  # STRICT tables, RETURNING
_SYNC_FAILED = (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC)
# Our statements and what we store are right: what SQLite then says of a schema or a rule is said of a damaged file.
_MEAN_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH)
_PATIENT = "PRAGMA busy_timeout = 5000"
READERS = 4  # threads for long reads; one that is very long does not hold up the others
WAL_PAGES = 1_000  # after which a commit copies the WAL into the file: SQLite's own default
_SCHEMA = FilePath(__file__).with_name("sql")


class Database:
    """The connections that all facets of a `SqliteStore` share: one that writes, and readers beside it.

    What is short is done on the event loop's thread, where it takes microseconds: a hop to another one costs 60. It never waits
    there: a transaction that finds the file locked by another process is made again in the writer's thread, which waits, and
    those that come meanwhile wait behind it, in their order. Long reads have threads and connections of their own, and so have
    short ones while a transaction waits: a reader never waits for a writer.

    Used on one event loop, with `connection` within `write` and `read` only.

    Raises:
        ForeignStore, DamagedStore, StoreUnavailable: as `SqliteStore`.
    """

    def __init__(self, path: str | FilePath, *, must_exist: bool = False, is_open: bool = False) -> None:
        self.path = FilePath(path).resolve()  # a store behind a link is one store
        if must_exist and not self.path.exists():
            raise StoreUnavailable(f"there is no store at {self.path}: name another with --store", path=str(path))
        size = self.path.stat().st_size if self.path.is_file() else 0
        if size == 1 or (size == 0 and must_exist):  # SQLite takes a file of one byte for an empty one
            raise ForeignStore(f"{self.path} is an empty file, not a cloche store", path=str(path))
        check_path(self.path)
        self._failure: StoreFailed | None = None
        self._large_blobs: set[str] = set()  # that are there
        self._puts_large = asyncio.Lock()
        self._in_thread = 0  # transactions that wait, or have waited, in the writer's thread
        self._writer, self._readers = _Threads("cloche-writer", 1), _Threads("cloche-reader", READERS)
        self._of_reader = threading.local()
        self._open_readers: list[sqlite3.Connection] = []
        # While this process has it open, a WAL is what it wrote.
        if not is_open and (torn := wal.damage(self.path)) is not None:
            raise damaged(self.path, f"its write-ahead log, {self.path.name}-wal: {torn}")
        with self.translated():
            self.connection = self._connected()
            try:
                self._open()
                self.connection.execute("PRAGMA busy_timeout = 0")
            except BaseException:
                self.connection.close()
                raise

    def _open(self) -> None:
        run = self.connection.execute
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
        if fresh:  # before the first page: pages that get free can be given back (`Maintenance.shrink`)
            run("PRAGMA auto_vacuum = INCREMENTAL")
        if run("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise StoreUnavailable(
                f"{self.path} lies where SQLite cannot keep a write-ahead log: put the store on a local disk",
                path=str(self.path),
            )
        run("PRAGMA synchronous = FULL")
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

    def _connected(self) -> sqlite3.Connection:
        with suppress(OSError):  # SQLite says what is wrong
            make_private(self.path)
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        db.text_factory = _text
        db.execute(_PATIENT)
        db.execute("PRAGMA cell_size_check = ON")
        return db

    # ---- writing ----

    async def write(self, body: Callable[[sqlite3.Connection], T]) -> T:
        """What `body` gives, in a transaction: all that it does is durable then, or nothing of it happened.

        It may be called again, on another thread: when nothing of it has happened.
        """
        if not self._in_thread:
            try:
                result = self._transact(body)
            except _Busy:
                return await self.write_beside(body)
            try:
                self._acknowledge()
            except _Busy:
                await self._on_writer(lambda: self._patiently(self._acknowledge))
            return result
        return await self.write_beside(body)

    async def write_beside(self, body: Callable[[sqlite3.Connection], T]) -> T:
        """As `write`, where it takes long: on the writer's thread."""

        def call() -> T:
            result = self._transact(body)
            self._acknowledge()
            return result

        return await self._on_writer(lambda: self._patiently(call))

    async def write_with(self, blobs: Mapping[str, bytes], body: Callable[[sqlite3.Connection], T]) -> T:
        """As `write`, of a `body` that keeps these too, where they are not there (`pieces.keep`). Those that are megabytes are
        put in pieces before, beside the event loop, and others write between them."""
        large = {digest: data for digest, data in blobs.items() if len(data) > SHORT_BLOB}
        if not large.keys() <= self._large_blobs:
            async with self._puts_large:
                for digest in await self.look(lambda db: missing(db, large)):
                    await self._put_large(digest, large[digest])
        result = await self.write(body)
        self._large_blobs |= large.keys()
        return result

    async def _put_large(self, digest: str, data: bytes) -> None:
        """Each piece is copied from the WAL into the file by a reader, not by whoever commits next on the event loop."""
        await self._on_writer(lambda: self.connection.execute("PRAGMA wal_autocheckpoint = 0"))
        try:
            for number in range(piece_count(data)):
                await self.write_beside(partial(put_piece, digest=digest, data=data, number=number))
                await self.beside(self.copy_wal)
        finally:
            await self._on_writer(lambda: self.connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}"))

    def copy_wal(self) -> None:
        """Have what the WAL holds in the file, as far as no reader is in the way: on a reader's thread."""
        with suppress(StoreError), self.translated():  # then the next one who writes does it
            self._reader().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    async def change(self, sql: str, values: Sequence[Any]) -> int:
        """How many rows a statement changes, in a transaction of its own."""
        return await self.write(lambda db: db.execute(sql, values).rowcount)

    async def data_version(self) -> int:
        """Another number after another connection has written."""

        def look() -> int:
            with self.translated():
                return int(self.connection.execute("PRAGMA data_version").fetchone()[0])

        return await self._on_writer(look) if self._in_thread else look()

    def _transact(self, body: Callable[[sqlite3.Connection], T]) -> T:
        with self.translated():
            self._begin()
            try:
                result = body(self.connection)
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise
        return result

    def _begin(self) -> None:
        """
        Raises:
            _Busy: another process holds the file, and this thread must not wait.
        """
        try:
            self.connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if _is_busy(error) and not self._in_thread:
                raise _Busy from error
            raise

    def _acknowledge(self) -> None:
        """What was committed may be said to be durable; raises as `_begin`."""
        try:
            with self.translated():
                self._files.acknowledge()
        except StoreUnavailable as error:
            if _is_busy(error.__cause__) and not self._in_thread:
                raise _Busy from error
            raise

    def _patiently(self, call: Callable[[], T]) -> T:
        self.connection.execute(_PATIENT)
        try:
            return call()
        finally:
            self.connection.execute("PRAGMA busy_timeout = 0")

    async def _on_writer(self, call: Callable[[], T]) -> T:
        """What `call` gives on the writer's thread, after all that was given to it before."""
        self._in_thread += 1
        done = asyncio.get_running_loop().run_in_executor(self._writer.pool, call)
        done.add_done_callback(self._is_back)
        return await asyncio.shield(done)  # who gives up waiting does not end what the thread does

    def _is_back(self, done: asyncio.Future[Any]) -> None:
        self._in_thread -= 1
        if not done.cancelled():
            done.exception()  # whoever asked has it

    # ---- reading ----

    async def select(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query that is short."""
        return await self.look(lambda db: db.execute(sql, values).fetchall())

    async def look(self, body: Callable[[sqlite3.Connection], T]) -> T:
        """What `body` reads, which is short: on this thread."""
        if not self._in_thread:
            try:
                with self.translated():
                    return body(self.connection)
            except StoreUnavailable as error:
                if not _is_busy(error.__cause__):
                    raise
        return await self.read(body)

    async def read(self, body: Callable[[sqlite3.Connection], T]) -> T:
        """What `body` reads, beside the event loop; all of one moment."""

        def read() -> T:
            with self.translated():
                db = self._reader()
                db.execute("BEGIN")
                try:
                    return body(db)
                finally:
                    if db.in_transaction:
                        db.execute("ROLLBACK")

        return await self.beside(read)

    async def beside(self, call: Callable[[], T]) -> T:
        """What `call` gives, on a reader's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._readers.pool, call)

    def _reader(self) -> sqlite3.Connection:
        """The connection of this thread."""
        db: sqlite3.Connection | None = getattr(self._of_reader, "db", None)
        if db is None:
            self._files.check_inodes()  # it is opened by its name
            db = self._of_reader.db = self._connected()
            db.execute("PRAGMA query_only = ON")
            self._open_readers.append(db)
        return db

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

    async def close(self) -> None:
        """Write the WAL back into the file and let go of it; a store that was closed is one file."""
        await self._writer.end()
        await self._readers.end()
        for reader in self._open_readers:
            reader.close()
        self.close_files()

    def close_files(self) -> None:
        if self._failure is None:
            with self.translated():
                self._files.close()


class _Busy(Exception):
    """Another process holds the file: nothing was done."""


class _Threads:
    """Threads for one database, made when they are needed."""

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self._pool: ThreadPoolExecutor | None = None

    @property
    def pool(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._most, self._name)
        return self._pool

    async def end(self) -> None:
        """Nothing more comes; what was begun is waited for."""
        if self._pool is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)


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


def _is_busy(error: BaseException | None) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def damaged(path: FilePath, why: Exception | str) -> DamagedStore:
    return DamagedStore(
        f"{path} is damaged ({why}): keep a copy of the file, then run 'cloche verify' on it", path=str(path)
    )
