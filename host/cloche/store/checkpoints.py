"""Where checkpoints are kept: a file beside the log, `<store>-checkpoints`.

Nothing here is ever the truth, so nothing is synced, and a power cut may lose the file. It may be deleted at any time; one
that cannot be read is, and is begun anew.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from cloche.history.ids import RunKey, Seq

_VERSION = 1
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS checkpoints (tenant TEXT NOT NULL, run TEXT NOT NULL, seq INTEGER NOT NULL, data BLOB, "
    "PRIMARY KEY (tenant, run)) STRICT, WITHOUT ROWID"
)

log = logging.getLogger("cloche")


class Checkpoints(Protocol):
    """The newest checkpoint of each run. Nothing here raises: what cannot be kept or read is not there."""

    def put(self, key: RunKey, seq: Seq, data: bytes) -> None:
        """Keep `data`, taken at record `seq`, instead of an older one of the run."""

    def get(self, key: RunKey) -> bytes | None: ...

    def reject(self, key: RunKey) -> None:
        """Never give this one again; a newer one may come."""

    def forget(self, key: RunKey) -> None:
        """The run has ended or was deleted."""

    def close(self) -> None: ...


class MemoryCheckpoints:
    """Beside a store in memory."""

    def __init__(self) -> None:
        self._kept: dict[RunKey, tuple[Seq, bytes | None]] = {}

    def put(self, key: RunKey, seq: Seq, data: bytes) -> None:
        if key not in self._kept or self._kept[key][0] < seq:
            self._kept[key] = (seq, data)

    def get(self, key: RunKey) -> bytes | None:
        return self._kept.get(key, (0, None))[1]

    def reject(self, key: RunKey) -> None:
        if key in self._kept:
            self._kept[key] = (self._kept[key][0], None)

    def forget(self, key: RunKey) -> None:
        self._kept.pop(key, None)

    def close(self) -> None:
        pass


class CheckpointFile:
    """Implements `Checkpoints` on the file at `path`. Any thread may call it; several processes may use one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._db = self._opened() or self._begun_anew()

    @classmethod
    def beside(cls, store: Path) -> CheckpointFile:
        """The one of the store at `store`."""
        store = store.resolve()  # as the store itself: one behind a link is one store
        return cls(store.with_name(f"{store.name}-checkpoints"))

    def put(self, key: RunKey, seq: Seq, data: bytes) -> None:
        self._write(
            "INSERT INTO checkpoints VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET seq = excluded.seq, data = excluded.data "
            "WHERE seq < excluded.seq",
            (key.tenant, key.run, seq, data),
        )

    def get(self, key: RunKey) -> bytes | None:
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

    def reject(self, key: RunKey) -> None:
        self._write("UPDATE checkpoints SET data = NULL WHERE tenant = ? AND run = ?", (key.tenant, key.run))

    def forget(self, key: RunKey) -> None:
        self._write("DELETE FROM checkpoints WHERE tenant = ? AND run = ?", (key.tenant, key.run))

    def close(self) -> None:
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def _write(self, sql: str, values: tuple[object, ...]) -> None:
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
