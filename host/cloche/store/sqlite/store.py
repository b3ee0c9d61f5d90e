"""The embedded store: one SQLite file in WAL mode, every commit synced (synchronous=FULL).

The log is append-only by the database's own word: triggers refuse to change or delete a record. Workers share the runs
of a store by leases (`leases`); any number of other processes read, and leave requests in the inbox.
"""

from __future__ import annotations

from pathlib import Path

from cloche.store.sqlite.blobs import SqliteBlobs
from cloche.store.sqlite.database import Database
from cloche.store.sqlite.deployments import SqliteDeployments
from cloche.store.sqlite.inbox import SqliteInbox
from cloche.store.sqlite.leases import SqliteLeases
from cloche.store.sqlite.log import SqliteLog
from cloche.store.sqlite.maintenance import SqliteMaintenance
from cloche.store.sqlite.metering import SqliteMetering


class SqliteStore(SqliteLog, SqliteInbox, SqliteBlobs, SqliteDeployments, SqliteMetering, SqliteMaintenance):
    """Implements `Store` on the file at `path`, which is made if it does not exist.

    Safe to be called from one thread at a time; `leases.heartbeat` from any, at any time. `must_exist` refuses to make a new
    file.

    Raises:
        ForeignStore: the file is something else, or was written by a newer cloche.
        DamagedStore: it is a store that SQLite cannot read, or its write-ahead log is damaged before its end.
        StoreUnavailable: it cannot be opened, or another process has kept it locked for 5 seconds.
    """

    def __init__(self, path: str | Path, *, must_exist: bool = False) -> None:
        super().__init__(Database(path, must_exist=must_exist))  # the one that all facets share
        self.path = self._database.path
        self.leases = SqliteLeases(self._database)

    def version(self) -> int:
        return int(self._database.select("PRAGMA data_version")[0][0])

    def close(self) -> None:
        """Write the WAL back into the file and let go of it; a store that was closed is one file."""
        self.leases.close()
        self._database.close()
