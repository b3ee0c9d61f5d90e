"""Connections to a server: opened, looked at before anything is trusted to them, and lent to one caller at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from cloche.errors import ClocheError, StoreRefused
from cloche.store.postgres.address import ASYNC_COMMIT, FSYNC_OFF, STANDBY, Address
from cloche.store.postgres.faults import translated_at_connecting

# A connection of the driver. Its own annotations are of another package and say little.
Connection = Any

POSTGRES_REQUIRED = 14
CONNECT_TIMEOUT_S = 10
# Plans are made once for a connection, from the indexes and not from statistics: those that are made while tables are small
# stay when they are large. Reads that look at much switch back, see `Database.reading`.
HOT = (
    "SET {local} plan_cache_mode = force_generic_plan; SET {local} jit = off; SET {local} enable_seqscan = off; "
    "SET {local} enable_hashjoin = off; SET {local} enable_mergejoin = off; "
)
COLD = (
    "SET LOCAL plan_cache_mode = auto; SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; "
    "SET LOCAL enable_mergejoin = on"
)
# For the first rows in the order of an index. A bitmap has all rows before it has the first.
ORDERED = "SET LOCAL plan_cache_mode = auto; SET LOCAL enable_bitmapscan = off"
_HELLO = (
    "SELECT current_setting('server_version_num')::int / 10000 AS version, pg_is_in_recovery() AS is_standby, "
    "current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit, "
    "current_setting('server_encoding') AS encoding, pg_backend_pid() AS pid"
)


@dataclass(frozen=True, slots=True)
class Server:
    """What is known of it. `is_pooled`: a pooler stands between, which gives each transaction another session. `is_standby`: it
    was accepted although it takes nothing."""

    is_pooled: bool
    is_standby: bool = False


async def greet(address: Address) -> Server:
    """Look at the server.

    Raises:
        StoreRefused: it is not one that keeps what it acknowledged, and was not accepted by name; or it does not let us in.
        StoreUnavailable, UsageError: as `translated_at_connecting`.
    """
    connection = await _connected(address, Server(is_pooled=True))
    try:
        return await _look(address, connection)
    finally:
        connection.terminate()


async def connect(address: Address, server: Server) -> Connection:
    """A connection for statements of this store. Raises as `greet`."""
    connection = await _connected(address, server)
    try:
        await _look(address, connection)
        if not server.is_pooled:
            with translated_at_connecting(address):
                await connection.execute(
                    HOT.format(local="SESSION") + "SET default_transaction_isolation = 'read committed'"
                )
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _connected(address: Address, server: Server) -> Connection:
    with translated_at_connecting(address):
        return await asyncpg.connect(
            address.dsn,
            timeout=CONNECT_TIMEOUT_S,
            statement_cache_size=0 if server.is_pooled else 256,
            max_cached_statement_lifetime=0,
            max_cacheable_statement_size=0,
            server_settings={"application_name": "cloche"},
        )


async def _look(address: Address, connection: Connection) -> Server:
    """What the server is like. With a pooler between, the session is not the one that the connection was promised."""
    with translated_at_connecting(address):
        async with connection.transaction():
            said = await connection.fetchrow(_HELLO)
    for is_wrong, accepted, why in (
        (
            said["version"] < POSTGRES_REQUIRED,
            None,
            f"PostgreSQL {POSTGRES_REQUIRED} or newer is needed: upgrade the server",
        ),
        (
            said["encoding"] != "UTF8",
            None,
            "the database has another encoding than UTF8: create one with ENCODING 'UTF8'",
        ),
        (said["is_standby"], STANDBY, "it is a standby, which takes nothing: give the address of the primary"),
        (said["fsync"] == "off", FSYNC_OFF, "fsync is off: what it acknowledged is lost with the power"),
        (
            said["synchronous_commit"] == "off",
            ASYNC_COMMIT,
            "synchronous_commit is off: what it acknowledged is lost when it ends",
        ),
    ):
        if is_wrong and accepted not in address.accepts:
            way = f" (accept={accepted} in the URL takes it as it is)" if accepted else ""
            raise StoreRefused(f"the store {address.shown} is refused: {why}{way}", store=address.shown)
    return Server(said["pid"] != connection.get_server_pid(), said["is_standby"])


class Pool:
    """Up to `most` connections, opened when they are needed. One that failed in the middle of something is never lent again."""

    def __init__(self, opened: Callable[[], Awaitable[Connection]], most: int) -> None:
        self._opened = opened
        self._room = asyncio.Semaphore(most)
        self._idle: list[Connection] = []
        self._lent: set[Connection] = set()

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Connection]:
        """A connection that nobody else uses meanwhile, and that is in no transaction. Raises as `connect`."""
        async with self._room:
            connection = self._rested() or await self._opened()
            self._lent.add(connection)
            try:
                yield connection
            except (asyncpg.PostgresError, ClocheError):
                self._rest(connection)
                raise
            except BaseException:  # lost, too slow, or its user gave up: what goes on there is not waited for
                connection.terminate()
                raise
            else:
                self._rest(connection)
            finally:
                self._lent.discard(connection)

    def _rested(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return None

    def _rest(self, connection: Connection) -> None:
        if connection.is_closed() or connection.is_in_transaction():
            connection.terminate()
        else:
            self._idle.append(connection)

    async def close(self) -> None:
        """Close those that rest, and end what is still at work."""
        for connection in self._lent:
            connection.terminate()
        idle, self._idle = self._idle, []
        for connection in idle:
            try:
                await connection.close(timeout=1)
            except Exception:  # it was lost meanwhile
                connection.terminate()
