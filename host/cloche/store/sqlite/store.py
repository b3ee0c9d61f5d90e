"""The embedded store: one SQLite file in WAL mode, every commit synced (synchronous=FULL).

The log is append-only by the database's own word: triggers refuse to change or delete a record. Workers share the runs
of a store by leases (`leases`); any number of other processes read, and leave requests in the inbox.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from cloche.store.checkpoints import CheckpointFile
from cloche.store.protocol import News
from cloche.store.sqlite.blobs import SqliteBlobs
from cloche.store.sqlite.database import Database
from cloche.store.sqlite.deployments import SqliteDeployments
from cloche.store.sqlite.inbox import SqliteInbox
from cloche.store.sqlite.leases import SqliteLeases
from cloche.store.sqlite.listings import SqliteListings
from cloche.store.sqlite.log import SqliteLog
from cloche.store.sqlite.maintenance import SqliteMaintenance
from cloche.store.sqlite.metering import SqliteMetering
from cloche.store.sqlite.operators import SqliteOperators
from cloche.store.sqlite.permits import SqlitePermits
from cloche.store.sqlite.remote import SqliteRemoteTasks
from cloche.store.sqlite.schedules import SqliteSchedules
from cloche.store.sqlite.tokens import SqliteTokens
from cloche.store.sqlite.webhooks import SqliteWebhooks


class SqliteStore(
    SqliteLog,
    SqliteListings,
    SqliteInbox,
    SqliteBlobs,
    SqliteDeployments,
    SqliteMetering,
    SqliteOperators,
    SqliteMaintenance,
    SqliteTokens,
    SqliteSchedules,
    SqliteWebhooks,
    SqliteRemoteTasks,
    SqlitePermits,
):
    """Implements `Store` on the file at `path`, which is made if it does not exist.

    Used on one event loop at a time. `must_exist` refuses to make a new file; `is_open` says that this process has it open
    already, and has looked at its write-ahead log.

    Raises:
        ForeignStore: the file is something else, or was written by a newer cloche.
        DamagedStore: it is a store that SQLite cannot read, or its write-ahead log is damaged before its end.
        StoreUnavailable: it cannot be opened, or another process has kept it locked for 5 seconds.
    """

    commits_at_once = 1
    appends_at_once = 4096
    news_every_s = 0.1
    hint = None

    def __init__(self, path: str | Path, *, must_exist: bool = False, is_open: bool = False) -> None:
        super().__init__(Database(path, must_exist=must_exist, is_open=is_open))  # the one that all facets share
        self.path = self._database.path
        self.leases = SqliteLeases(self._database)
        self._checkpoints: CheckpointFile | None = None

    @property
    def url(self) -> str:
        return f"sqlite:{self.path}"

    @property
    def checkpoints(self) -> CheckpointFile:
        """Opened when it is first asked for."""
        if self._checkpoints is None:
            self._checkpoints = CheckpointFile.beside(self.path)
        return self._checkpoints

    async def connect(self) -> Self:
        return type(self)(self.path, must_exist=True, is_open=True)

    async def news(self, since: int | None) -> News:
        mark = await self._database.data_version()
        return News(mark, since is not None and mark != since)

    async def close(self) -> None:
        """Write the WAL back into the file and let go of it; a store that was closed is one file."""
        if self._checkpoints is not None:
            await self._checkpoints.close()
        self.leases.let_go()
        await self._database.close()
