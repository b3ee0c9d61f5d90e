"""Where checkpoints are kept: a file beside the log, `<store>-checkpoints`.

Nothing here is ever the truth, so nothing is synced, and a power cut may lose the file. It may be deleted at any time; one
that cannot be read is, and is begun anew.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

from cloche.history.ids import RunKey, Seq, TenantId
from cloche.store.private import make_private

T = TypeVar("T")

_VERSION = 1
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS checkpoints (tenant TEXT NOT NULL, run TEXT NOT NULL, seq INTEGER NOT NULL, data BLOB, "
    "PRIMARY KEY (tenant, run)) STRICT, WITHOUT ROWID"
)

log = logging.getLogger("cloche")


class Checkpoints(Protocol):
    """The newest checkpoint of each run. Nothing here raises: what cannot be kept or read is not there."""

    async def put(self, key: RunKey, seq: Seq, data: bytes) -> None:
        """Keep `data`, taken at record `seq`, instead of an older one of the run."""

    async def get(self, key: RunKey) -> bytes | None: ...

    async def reject(self, key: RunKey) -> None:
        """Never give this one again; a newer one may come."""

    async def forget(self, key: RunKey) -> None:
        """The run has ended or was deleted."""

    async def size(self, tenant: TenantId) -> int:
        """The bytes of all checkpoints of a tenant."""

    async def close(self) -> None: ...


class MemoryCheckpoints:
    """Beside a store in memory."""

    def __init__(self) -> None:
        self._kept: dict[RunKey, tuple[Seq, bytes | None]] = {}

    async def put(self, key: RunKey, seq: Seq, data: bytes) -> None:
        if key not in self._kept or self._kept[key][0] < seq:
            self._kept[key] = (seq, data)

    async def get(self, key: RunKey) -> bytes | None:
        return self._kept.get(key, (0, None))[1]

    async def reject(self, key: RunKey) -> None:
        if key in self._kept:
            self._kept[key] = (self._kept[key][0], None)

    async def forget(self, key: RunKey) -> None:
        self._kept.pop(key, None)

    async def size(self, tenant: TenantId) -> int:
        return sum(len(data or b"") for key, (_, data) in self._kept.items() if key.tenant == tenant)

    async def close(self) -> None:
        pass


class CheckpointFile:
    """Implements `Checkpoints` on the file at `path`, which several processes may use. It is never touched on the event loop's
    thread: a checkpoint has megabytes, and others may hold the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._db = self._opened() or self._begun_anew()

    @classmethod
    def beside(cls, store: Path) -> CheckpointFile:
        """The one of the store at `store`."""
        store = store.resolve()  # as the store itself: one behind a link is one store
        return cls(store.with_name(f"{store.name}-checkpoints"))

    async def put(self, key: RunKey, seq: Seq, data: bytes) -> None:
        await self._write(
            "INSERT INTO checkpoints VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET seq = excluded.seq, data = excluded.data "
            "WHERE seq < excluded.seq",
            (key.tenant, key.run, seq, data),
        )

    async def get(self, key: RunKey) -> bytes | None:
        return await self._beside(lambda: self._read(key))

    def _read(self, key: RunKey) -> bytes | None:
        with self._lock:
            if self._db is None:
                return None
            try:
                row = self._db.execute(
                    "SELECT data FROM checkpoints WHERE tenant = ? AND run = ?", (key.tenant, key.run)
                ).fetchone()
            except sqlite3.Error as error:
                self._give_up(error)
                return None
        return row[0] if row and isinstance(row[0], bytes) else None

    async def reject(self, key: RunKey) -> None:
        await self._write("UPDATE checkpoints SET data = NULL WHERE tenant = ? AND run = ?", (key.tenant, key.run))

    async def forget(self, key: RunKey) -> None:
        await self._write("DELETE FROM checkpoints WHERE tenant = ? AND run = ?", (key.tenant, key.run))

    async def size(self, tenant: TenantId) -> int:
        return await self._beside(lambda: self._size(tenant))

    def _size(self, tenant: TenantId) -> int:
        sql = "SELECT coalesce(sum(length(data)), 0) FROM checkpoints WHERE tenant = ?"
        with self._lock:
            if self._db is None:
                return 0
            try:
                return int(self._db.execute(sql, (tenant,)).fetchone()[0])
            except sqlite3.Error as error:
                self._give_up(error)
                return 0

    async def close(self) -> None:
        await self._beside(self._close)

    def _close(self) -> None:
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    async def _beside(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(None, call)

    async def _write(self, sql: str, values: tuple[object, ...]) -> None:
        await self._beside(lambda: self._execute(sql, values))

    def _execute(self, sql: str, values: tuple[object, ...]) -> None:
        with self._lock:
            if self._db is None:
                return
            try:
                self._db.execute(sql, values)
            except sqlite3.Error as error:
                self._give_up(error)

    def _give_up(self, error: sqlite3.Error) -> None:
        """Busy or full: this one is left out. Damaged: so is the file."""
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL):
            return
        log.warning("the checkpoints in %s cannot be used (%s); runs are replayed in full", self._path, error)
        assert self._db is not None
        self._db.close()
        self._db = self._begun_anew()

    def _opened(self) -> sqlite3.Connection | None:
        db = None
        try:
            with suppress(OSError):  # SQLite says what is wrong
                make_private(self._path)
            db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=1.0)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = OFF")
            if db.execute("PRAGMA user_version").fetchone()[0] not in (0, _VERSION):
                raise sqlite3.DatabaseError("it is of another version")
            db.execute(_SCHEMA)
            db.execute(f"PRAGMA user_version = {_VERSION}")
        except sqlite3.Error:
            if db is not None:
                db.close()
            return None
        return db

    def _begun_anew(self) -> sqlite3.Connection | None:
        for suffix in ("", "-wal", "-shm"):
            with suppress(OSError):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        return self._opened()
