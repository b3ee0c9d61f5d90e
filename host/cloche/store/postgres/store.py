"""The store on many machines: any number of workers on any number of them share one PostgreSQL database.

The log is append-only by the database's own word: triggers refuse to change or delete a record, whoever asks, and the role of a
worker has no right to. Every append is one statement; what is acknowledged is as durable as the server says a commit is.
"""

from __future__ import annotations

import asyncio
from typing import Self

from cloche.history.ids import TimeMs
from cloche.store.postgres.address import Address
from cloche.store.postgres.blobs import PostgresBlobs
from cloche.store.postgres.checkpoints import PostgresCheckpoints
from cloche.store.postgres.connection import greet
from cloche.store.postgres.database import Database
from cloche.store.postgres.deployments import PostgresDeployments
from cloche.store.postgres.inbox import PostgresInbox
from cloche.store.postgres.leases import PostgresLeases
from cloche.store.postgres.listings import PostgresListings
from cloche.store.postgres.log import PostgresLog
from cloche.store.postgres.maintenance import PostgresMaintenance
from cloche.store.postgres.metering import PostgresMetering
from cloche.store.postgres.migrations import prepare
from cloche.store.postgres.operators import PostgresOperators
from cloche.store.postgres.permits import PostgresPermits
from cloche.store.postgres.remote import PostgresRemoteTasks
from cloche.store.postgres.schedules import PostgresSchedules
from cloche.store.postgres.tokens import PostgresTokens
from cloche.store.postgres.webhooks import PostgresWebhooks
from cloche.store.protocol import News


class PostgresStore(
    PostgresLog,
    PostgresListings,
    PostgresInbox,
    PostgresBlobs,
    PostgresDeployments,
    PostgresMetering,
    PostgresOperators,
    PostgresMaintenance,
    PostgresTokens,
    PostgresSchedules,
    PostgresWebhooks,
    PostgresRemoteTasks,
    PostgresPermits,
):
    """Implements `Store` on the schema that `Address` names. Made by `open`; used on one event loop."""

    commits_at_once = 4
    appends_at_once = 256  # what comes meanwhile shares the next one
    news_every_s = 0.25

    def __init__(self, database: Database) -> None:
        super().__init__(database)  # the one that all facets share
        self.leases = PostgresLeases(database)
        self.checkpoints = PostgresCheckpoints(database)

    @classmethod
    async def open(cls, url: str, *, must_exist: bool = False) -> Self:
        """The schema is made if it does not exist, unless it `must_exist`.

        Raises:
            UsageError: the URL is not one.
            StoreRefused: the server does not let us in, or does not keep what it acknowledges; the message says what to do.
            ForeignStore: the schema is of another version.
            StoreUnavailable: the server is not there, or the schema is not and must be.
        """
        address = Address.parse(url)
        server = await greet(address)
        await prepare(address, server, must_exist=must_exist)
        return cls(Database(address, server))

    @property
    def url(self) -> str:
        return self._database.address.shown

    @property
    def hint(self) -> asyncio.Event:
        return self._database.hint

    async def connect(self) -> Self:
        """Another connection, for another event loop or worker. The server was looked at already."""
        return type(self)(Database(self._database.address, self._database.server))

    async def news(self, since: int | None) -> News:
        mark, is_any, time = await self._database.news(since)
        return News(mark, is_any, TimeMs(time))

    async def close(self) -> None:
        self.leases.let_go()
        await self._database.close()
