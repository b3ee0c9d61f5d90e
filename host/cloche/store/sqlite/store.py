"""The embedded store: one SQLite file in WAL mode, every commit synced (synchronous=FULL).

The log is append-only by the database's own word: triggers refuse to change or delete a record. Workers share the runs
of a store by leases (`sqlite_leases`); any number of other processes read, and leave wishes in the inbox.
"""

from __future__ import annotations

import ctypes
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import Any

from cloche.errors import (
    BrokenChain,
    DamagedStore,
    ForeignStore,
    HistoryError,
    StoreError,
    StoreFailed,
    StoreFull,
    StoreUnavailable,
)
from cloche.history.ids import Path, RunId, RunKey, Seq, TenantId, TimeMs
from cloche.history.records import Record, genesis, unpack_record
from cloche.store.memory import lease_lost, no_such_run, refusal
from cloche.store.protocol import GRANTED, START, Append, Collected, Finding, InboxRow, Lease, RunRow, Version
from cloche.store.sqlite import deployments, retention, wal
from cloche.store.sqlite.audit import audit
from cloche.store.sqlite.leases import BY_KEY, ROW, SqliteLeases, row_of
from cloche.store.sqlite.parts import part, put_parts
from cloche.store.usage import Metered, TenantUsage

APPLICATION_ID = 0x636C6F63  # "cloc"
VERSION = 5
FIRST_PAGE_ROWS, PAGE_ROWS = 16, 4096
_SYNC_FAILED = (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC)
# Our statements and what we store are right: what SQLite then says of a schema or a rule is said of a damaged file.
_MEAN_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH)
SQLITE_VERSION = sqlite3.sqlite_version_info
SQLITE_REQUIRED = (3, 37, 0)  # STRICT tables, RETURNING
_NONE: Mapping[bytes, bytes] = MappingProxyType({})
# A damaged file can hold anything anywhere; what is read of a record is bytes in any case, and then checked.
_RECORD, _HASH, _HASH_BEFORE = (f"CAST(ifnull({name}, x'') AS BLOB)" for name in ("r.record", "r.hash", "p.hash"))
_SCHEMA = FilePath(__file__).with_name("sql")

_SET = f"UPDATE runs SET status = ?, wake_at = ?, updated_at = ?, head_seq = ?, head_hash = ?, {deployments.ADDS}"
_OWNED = "WHERE tenant = ? AND run = ? AND head_seq = ? AND owner IS ? AND fence = ifnull(?, fence) RETURNING id"
_CREATE = (  # of a worker that was buried: nobody's
    f"INSERT INTO runs ({ROW}, {', '.join(deployments.AMOUNTS)}, meter) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, "
    f"(SELECT id FROM workers WHERE id = ?), ?, {', '.join('?' * len(deployments.AMOUNTS))}, ?) ON CONFLICT DO NOTHING"
)
_REQUEST = "id, tenant, run, kind, body"
_UNTAKEN = "(taker IS NULL OR taker IS ?1 OR taker NOT IN (SELECT id FROM workers))"  # by another one than ?1
_ADVANCE, _ADVANCE_AND_RELEASE = f"{_SET} {_OWNED}", f"{_SET}, owner = NULL {_OWNED}"


class SqliteStore:
    """Implements `Store` on the file at `path`, which is made if it does not exist.

    Safe to be called from one thread at a time; `leases.beat` from any, at any time. `must_exist` refuses to make a new file.

    Raises:
        ForeignStore: the file is something else, or was written by a newer cloche.
        DamagedStore: it is a store that SQLite cannot read, or its write-ahead log is damaged before its end.
        StoreUnavailable: it cannot be opened, or another process has kept it locked for 5 seconds.
    """

    def __init__(self, path: str | FilePath, *, must_exist: bool = False) -> None:
        self.path = FilePath(path)
        if must_exist and not self.path.exists():
            raise StoreUnavailable(f"there is no store at {self.path}: name another with --store", path=str(path))
        size = self.path.stat().st_size if self.path.is_file() else 0
        if size == 1 or (size == 0 and must_exist):  # SQLite takes a file of one byte for an empty one
            raise ForeignStore(f"{self.path} is an empty file, not a cloche store", path=str(path))
        self._failure: StoreFailed | None = None
        self._writing = threading.Lock()  # for beats, which come from another thread: one transaction at a time
        if (torn := wal.damage(self.path)) is not None:
            raise _damaged(self.path, f"its write-ahead log, {self.path.name}-wal: {torn}")
        with self._translated():
            self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            self._db.text_factory = _text
            try:
                self._open()
            except BaseException:
                self._db.close()
                raise
        self.leases = SqliteLeases(self)

    def _open(self) -> None:
        run = self._db.execute
        run("PRAGMA busy_timeout = 5000")
        run("BEGIN")  # one snapshot: another process may be making this very file
        application, version = (run(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        fresh = application == 0 and not run("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
        run("COMMIT")
        if not fresh and application != APPLICATION_ID:
            raise ForeignStore(
                f"{self.path} is a SQLite file of another program, not a cloche store", path=str(self.path)
            )
        if version < 1 and not fresh:  # both numbers are written in the transaction that makes the tables
            raise _damaged(self.path, f"it says that it has store version {version}")
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

    def _migrate(self) -> None:
        """Bring the file to the current version: one transaction, also when two processes open a new file at once."""
        self._db.execute("BEGIN IMMEDIATE")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        for number in range(version + 1, VERSION + 1):
            for statement in (_SCHEMA / f"{number:04}.sql").read_text().split(";\n\n"):
                self._db.execute(statement)
        self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self._db.execute(f"PRAGMA user_version = {VERSION}")
        self._db.execute("COMMIT")

    # ---- writing ----

    def commit(self, appends: Sequence[Append]) -> list[StoreError | None]:
        with self._transaction():
            return [self._append(append) for append in appends]

    def _append(self, append: Append) -> StoreError | None:
        run_id = self._create(append) if append.new else self._advance(append)
        if run_id is None:
            return refusal(append, self._found(append.key))
        roots = []
        for record in append.records:
            if record.payload is not None:
                put_parts(self._db, record.payload)
            roots.append(record.payload and record.payload.root)
        self._db.executemany(
            "INSERT INTO records (run_id, seq, kind, path, record, hash, payload) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (run_id, r.seq, int(r.kind), r.path, r.packed, r.hash, root)
                for r, root in zip(append.records, roots, strict=True)
            ],
        )
        if append.code is not None:
            for digest, data in append.code.blobs.items():
                self._keep(digest, data)
            self._db.execute("UPDATE runs SET code = ?, meter = NULL WHERE id = ?", (append.code.code, run_id))
        if append.taken:
            taken = [(row,) for row in append.taken]
            self._db.executemany("DELETE FROM inbox WHERE id = ? AND NOT kept", taken)
            self._db.executemany(f"UPDATE inbox SET answer = '{GRANTED}', body = x'' WHERE id = ?", taken)
        return None

    def _found(self, key: RunKey) -> RunRow | None:
        rows = self._db.execute(f"SELECT {ROW} FROM runs {BY_KEY}", (key.tenant, key.run)).fetchall()
        if rows and rows[0][:2] != (key.tenant, key.run):
            raise _damaged(self.path, f"what leads to run {key.run} leads to another run")
        return row_of(rows[0]) if rows else None

    def _create(self, append: Append) -> int | None:
        assert append.new is not None
        last = append.records[-1]
        cursor = self._db.execute(
            _CREATE,
            (
                append.key.tenant,
                append.key.run,
                append.new.workflow,
                append.new.code,
                append.status,
                append.wake_at,
                append.at,
                append.at,
                last.seq,
                last.hash,
                append.lease.worker if append.lease and not append.release else None,
                append.lease.fence if append.lease else 0,
                *deployments.amounts_of(append.metered),
            ),
        )
        if cursor.rowcount != 1:
            return None
        created = cursor.lastrowid
        for digest, data in append.new.blobs.items():
            self._keep(digest, data)
        return created

    def _advance(self, append: Append) -> int | None:
        last, lease = append.records[-1], append.lease
        found = self._db.execute(
            _ADVANCE_AND_RELEASE if append.release else _ADVANCE,
            (
                append.status,
                append.wake_at,
                append.at,
                last.seq,
                last.hash,
                *deployments.amounts_of(append.metered),
                append.key.tenant,
                append.key.run,
                append.expect,
                lease.worker if lease else None,
                lease.fence if lease else None,
            ),
        ).fetchone()
        return found[0] if found else None

    def set_problem(self, key: RunKey, problem: str | None, lease: Lease | None = None) -> None:
        with self._transaction():
            changed = self._db.execute(
                "UPDATE runs SET status = ?, problem = ?, owner = NULL "
                "WHERE tenant = ? AND run = ? AND owner IS ? AND fence = ifnull(?, fence)",
                (
                    "blocked" if problem else "running",
                    problem,
                    key.tenant,
                    key.run,
                    lease.worker if lease else None,
                    lease.fence if lease else None,
                ),
            )
        if changed.rowcount == 0:
            raise lease_lost(key) if self.run(key) else no_such_run(key)

    def delete(self, keys: Sequence[RunKey], at: TimeMs) -> list[RunKey]:
        with self._transaction():
            return [key for key in keys if retention.delete(self._db, key, at)]

    def collect(self, needs: Callable[[bytes], Sequence[str]]) -> Collected:
        with self._transaction():
            return retention.collect(self._db, needs)

    def deploy(self, version: Version, blobs: Mapping[str, bytes]) -> Version:
        with self._transaction():
            for digest, data in blobs.items():
                self._keep(digest, data)
            return deployments.deploy(self._db, version)

    def withdraw(self, tenant: TenantId, id: str) -> bool:
        with self._transaction():
            return self._db.execute("DELETE FROM versions WHERE tenant = ? AND id = ?", (tenant, id)).rowcount == 1

    def put_blob(self, digest: str, data: bytes) -> None:
        with self._transaction():
            self._keep(digest, data)

    def _keep(self, digest: str, data: bytes) -> None:
        if not self._db.execute("SELECT 1 FROM blobs WHERE digest = ?", (digest,)).fetchone():
            self._db.execute("INSERT INTO blobs (digest, data) VALUES (?, ?)", (digest, data))

    def post(self, key: RunKey, kind: str, body: bytes, token: str, at: TimeMs, *, kept: bool = False) -> None:
        with self._transaction():
            self._db.execute(
                "INSERT INTO inbox (tenant, run, kind, body, token, posted_at, kept) VALUES (?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (token) DO UPDATE SET body = excluded.body, answer = NULL, taker = NULL "
                f"WHERE answer <> '{GRANTED}'",
                (key.tenant, key.run, kind, body, token, at, kept),
            )

    def waits(self, inbox_id: int) -> bool:
        return bool(self._select("SELECT 1 FROM inbox WHERE id = ? AND answer IS NULL", (inbox_id,)))

    def settle(self, inbox_id: int, answer: str) -> None:
        with self._transaction():
            self._db.execute("DELETE FROM inbox WHERE id = ? AND NOT kept", (inbox_id,))
            update = "UPDATE inbox SET answer = ?, body = x'' WHERE id = ? AND answer IS NULL"
            self._db.execute(update, (answer, inbox_id))

    def forget(self, token: str) -> None:
        with self._transaction():
            self._db.execute("DELETE FROM inbox WHERE token = ? AND answer IS NOT NULL", (token,))

    def take(self, inbox_id: int, worker: str) -> bool:
        lives = "EXISTS (SELECT 1 FROM workers WHERE id = ?1)"
        update = f"UPDATE inbox SET taker = ?1 WHERE id = ?2 AND answer IS NULL AND {_UNTAKEN} AND {lives}"
        with self._transaction():
            return self._db.execute(update, (worker, inbox_id)).rowcount == 1

    def withdraw_request(self, inbox_id: int, answer: str) -> bool:
        update = (
            f"UPDATE inbox SET answer = ?3, body = x'' WHERE id = ?2 AND answer IS NULL AND {_UNTAKEN} AND ?1 IS ?1"
        )
        with self._transaction():
            return self._db.execute(update, (None, inbox_id, answer)).rowcount == 1

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._writing, self._translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    # ---- reading ----

    def run(self, key: RunKey) -> RunRow | None:
        with self._translated():
            return self._found(key)

    def runs(
        self,
        *,
        tenant: str | None = None,
        status: str | None = None,
        workflow: str | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> list[RunRow]:
        by_status = "" if status is None else "status = ?2 AND "
        if status != "running":  # the term that lets SQLite use the index runs_listed
            by_status += "" if status is None else "status <> 'running' AND "
        rows = self._select(
            f"SELECT {ROW} FROM runs WHERE {by_status} (?1 IS NULL OR tenant = ?1) AND ?2 IS ?2 "
            "AND (?3 IS NULL OR workflow = ?3) AND (?4 IS NULL OR id < "
            "(SELECT min(id) FROM runs WHERE run = ?4 AND (?1 IS NULL OR tenant = ?1))) "
            "ORDER BY id DESC LIMIT ?5",
            (tenant, status, workflow, after, -1 if limit is None else limit),
        )
        return [row_of(row) for row in rows]

    def records(self, key: RunKey, after: Seq = Seq(0)) -> Iterator[Record]:  # noqa: B008
        previous = genesis(key)
        if after:
            rows = self._select(
                f"SELECT {_HASH} FROM records r JOIN runs ON runs.id = run_id WHERE tenant = ? AND run = ? AND seq = ?",
                (key.tenant, key.run, after),
            )
            if not rows:
                return
            previous = rows[0][0]
        known: Mapping[bytes, bytes] = {}  # the parts of the last large body: the next one shares most of them
        for expected, (packed, stored) in enumerate(self.rows(key, after), after + 1):
            record = self._verified(key, packed, stored, previous, Seq(expected), known)
            if record.payload is not None:
                known = record.payload.parts
            yield record
            previous = stored

    def rows(self, key: RunKey, after: Seq = Seq(0)) -> Iterator[tuple[bytes, bytes]]:  # noqa: B008
        found = self._select(
            "SELECT id, head_seq, head_hash FROM runs WHERE tenant = ? AND run = ?", (key.tenant, key.run)
        )
        if not found:
            return
        run_id, head_seq, head_hash = found[0]
        if not isinstance(head_seq, int):
            raise _shortened(key, "has an entry that is not as it was written", after)
        size = FIRST_PAGE_ROWS  # who wants the beginning only does not read the whole
        while True:
            rows = self._select(
                f"SELECT {_RECORD}, {_HASH} FROM records r WHERE run_id = ? AND seq > ? ORDER BY seq LIMIT ?",
                (run_id, after, size),
            )
            yield from rows
            if after < head_seq <= after + len(rows) and rows[head_seq - after - 1][1] != head_hash:
                raise _shortened(key, f"does not end with the hash of record {head_seq}", head_seq)
            after = Seq(after + len(rows))
            if len(rows) < size:
                break
            size = PAGE_ROWS
        if after < head_seq:  # it may be longer by now, and never shorter
            raise _shortened(key, f"should end with record {head_seq}, and ends with record {after}", head_seq)

    def result(self, key: RunKey, path: Path) -> Record | None:
        rows = self._select(
            # The index by name: without it SQLite walks the run from its end: 9 ms in a run of 100,000 records, not 25 µs.
            f"SELECT {_RECORD}, {_HASH}, r.seq, {_HASH_BEFORE} FROM records r INDEXED BY records_results "
            "LEFT JOIN records p ON p.run_id = r.run_id "
            "AND p.seq = r.seq - 1 WHERE r.run_id = (SELECT id FROM runs WHERE tenant = ? AND run = ?) "
            "AND r.path = ? AND r.kind IN (6, 7, 11, 21) ORDER BY r.seq DESC LIMIT 1",
            (key.tenant, key.run, path),
        )
        if not rows:
            return None
        packed, stored, seq, previous = rows[0]
        return self._verified(key, packed, stored, previous, Seq(seq))

    def blob(self, digest: str) -> bytes | None:
        rows = self._select("SELECT CAST(data AS BLOB) FROM blobs WHERE digest = ?", (digest,))
        return rows[0][0] if rows else None

    def version_of(self, tenant: TenantId, name: str) -> Version | None:
        return deployments.version_of(self._select, tenant, name)

    def versions(self, tenant: TenantId, workflow: str | None = None) -> list[Version]:
        return deployments.versions(self._select, tenant, workflow)

    def queued(self, tenant: TenantId) -> int:
        return int(self._select("SELECT count(*) FROM runs WHERE tenant = ? AND status = 'pending'", (tenant,))[0][0])

    def usage(self, tenant: TenantId | None = None) -> list[TenantUsage]:
        return deployments.usage(self._select, tenant)

    def metered(self, key: RunKey) -> Metered | None:
        return deployments.metered(self._select, key)

    def inbox(self, worker: str | None = None) -> list[InboxRow]:
        rows = self._select(
            f"SELECT {_REQUEST} FROM inbox WHERE answer IS NULL AND (?1 IS NULL OR iif(kind = '{START}', {_UNTAKEN}, ?1 = "
            "(SELECT coalesce(owner, ?1) FROM runs WHERE runs.tenant = inbox.tenant AND runs.run = inbox.run))) ORDER BY id",
            (worker,),
        )
        return [_request_of(row) for row in rows]

    def request(self, token: str) -> InboxRow | None:
        rows = self._select(f"SELECT {_REQUEST} FROM inbox WHERE token = ? AND answer IS NULL", (token,))
        return _request_of(rows[0]) if rows else None

    def answer(self, token: str) -> str | None:
        rows = self._select("SELECT answer FROM inbox WHERE token = ?", (token,))
        return rows[0][0] if rows else None

    def version(self) -> int:
        return int(self._select("PRAGMA data_version", ())[0][0])

    def audit(self, key: RunKey | None = None) -> Iterator[Finding]:
        yield from audit(self._db, key)

    def close(self) -> None:
        """Write the WAL back into the file and let go of it; a store that was closed is one file."""
        self.leases.close()
        if self._failure is None:
            with self._translated():
                self._db.close()

    def _select(self, sql: str, values: Sequence[Any]) -> list[Any]:
        with self._translated():
            return self._db.execute(sql, values).fetchall()

    def _verified(
        self,
        key: RunKey,
        packed: bytes,
        stored: bytes,
        previous: bytes,
        expected: Seq,
        known: Mapping[bytes, bytes] = _NONE,
    ) -> Record:
        try:
            return unpack_record(packed, stored, previous=previous, expected=expected, find=self._part, known=known)
        except HistoryError as error:
            raise type(error)(f"run {key}, {error.message}", run_id=key.run, seq=expected) from error

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """SQLite's errors in our terms. A sync that failed is the end of this handle: it answers with that from now on."""
        if self._failure is not None:
            raise StoreFailed(self._failure.message, path=str(self.path))
        try:
            with _translated(self.path):
                yield
        except StoreFailed as failure:
            self._failure = failure
            # Never closed, not even at the end of the process: SQLite would take the WAL that it could not sync as written.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._db))
            raise

    def _part(self, digest: bytes) -> bytes | None:
        with self._translated():
            return part(self._db, digest)


def _request_of(row: Sequence[Any]) -> InboxRow:
    id, tenant, run, kind, body = row
    return InboxRow(id, RunKey(TenantId(tenant), RunId(run)), kind, body)


def _text(stored: bytes) -> str:
    """As it was stored; of a damaged row something, so that it can be named and the others be read."""
    return stored.decode(errors="replace")


def _shortened(key: RunKey, what: str, seq: int) -> BrokenChain:
    return BrokenChain(f"run {key.run} {what}", run_id=key.run, seq=seq)


@contextmanager
def _translated(path: FilePath) -> Iterator[None]:
    """SQLite's errors in our terms, told apart by its result code (sqlite.org/rescode.html)."""
    try:
        yield
    except UnicodeDecodeError as error:  # SQLite quotes the damaged schema in its message
        raise _damaged(path, error) from error
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
            raise _damaged(path, error) from error
        raise StoreUnavailable(f"the store {path} did not take or give data: {error}", path=str(path)) from error


def _damaged(path: FilePath, why: Exception | str) -> DamagedStore:
    return DamagedStore(
        f"{path} is damaged ({why}): keep a copy of the file, then run 'cloche verify' on it", path=str(path)
    )
