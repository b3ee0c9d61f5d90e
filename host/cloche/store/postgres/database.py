"""The connections that all facets of a `PostgresStore` share: statements, transactions, and what others have written."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import blake2b
from typing import Any
from uuid import uuid4

import asyncpg

from cloche.errors import ClocheError, ForeignStore, StoreRefused, StoreUnavailable, UsageError
from cloche.store.postgres.address import Address
from cloche.store.postgres.connection import COLD, HOT, Connection, Pool, Server, connect
from cloche.store.postgres.faults import AGAIN, is_lost, translated
from cloche.store.postgres.migrations import check_version
from cloche.store.postgres.patience import Patience
from cloche.store.postgres.snapshots import Snapshot
from cloche.store.postgres.statements import EPOCH, EPOCH_OF_STANDBY, XID, in_schema

CONNECTIONS = 10  # of a process at most: four lanes of commits, and reads beside them, each a way there and back
STATEMENT_TIMEOUT_S = 30.0  # of one that is short; then the server, or the way to it, is taken for gone
_TRIES = 5

Rows = list[Any]

_NOW = (
    "SELECT pg_current_snapshot()::text AS now, "
    f"ARRAY(SELECT beat_xid FROM cloche.workers WHERE beat_xid > 0) AS beats, {EPOCH}, "
    "(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS time"
)


class Database:
    """Used on one event loop. A statement that is not in a transaction is one, and one round trip.

    Raises:
        StoreUnavailable, StoreFull, DamagedStore, StoreRefused: from every method but `close`.
    """

    def __init__(self, address: Address, server: Server) -> None:
        self.address = address
        self.server = server
        self._pool = Pool(self._connected, CONNECTIONS)
        self._patience = Patience(STATEMENT_TIMEOUT_S)
        self._own: set[int] = set()  # numbers of own transactions since the last look for those of others
        self._snapshots: dict[int, Snapshot] = {}  # the last ones, by the mark that was given for each
        self._epoch = ""  # of those
        self.hint = asyncio.Event()  # others have left a request: said by `post`, heard by `presence`
        self.channel = f"cloche_{blake2b(address.schema.encode(), digest_size=16).hexdigest()}"
        self.name = uuid4().hex  # own requests are nothing new

    async def _connected(self) -> Connection:
        """Another connection. What is refused now was accepted when the store was opened, so it is waited for."""
        try:
            connection = await connect(self.address, self.server)
            try:
                await check_version(self.address, connection)
            except BaseException:
                connection.terminate()
                raise
        except (StoreRefused, ForeignStore, UsageError) as error:
            raise StoreUnavailable(error.message, store=self.address.shown) from error
        return connection

    # ---- single statements ----

    async def read(self, sql: str, *values: Any) -> Rows:
        """The rows of a short query. It is made again where a connection turns out to be lost."""
        try:
            return await self._run(sql, values)
        except StoreUnavailable as error:
            if error.__cause__ is None or not is_lost(error.__cause__):
                raise
        return await self._run(sql, values)

    async def write(self, sql: str, *values: Any) -> Rows:
        """The rows of a statement that changes something. By its column `xid` own writes are told from others'."""
        rows = await self._run(sql, values)
        if rows and (xid := rows[0].get("xid")) is not None:
            self._own.add(xid)
        return rows

    async def change(self, sql: str, *values: Any) -> int:
        """How many rows a statement changes, which ends with RETURNING and the number of its transaction."""
        return len(await self.write(sql, *values))

    async def _run(self, sql: str, values: Sequence[Any]) -> Rows:
        if self.server.is_standby:
            sql = sql.replace(EPOCH, EPOCH_OF_STANDBY)
        text = in_schema(sql, self.address.schema)
        for attempt in range(1, _TRIES + 1):
            try:
                with translated(self.address):
                    async with self._pool.lend() as connection:
                        if self.server.is_pooled:
                            return await self._run_pooled(connection, text, values)
                        rows: Rows = await self._patience.wait(connection.fetch(text, *values))
                        return rows
            except StoreUnavailable as error:
                if attempt == _TRIES or getattr(error.__cause__, "sqlstate", None) not in AGAIN:
                    raise
                await asyncio.sleep(random.uniform(0, 0.01 * attempt))
        raise AssertionError

    async def _run_pooled(self, connection: Connection, text: str, values: Sequence[Any]) -> Rows:
        """In a transaction: parsing and execution are two messages, and only so do they reach the same session."""
        await self._begin(connection)
        rows: Rows = await self._patience.wait(connection.fetch(text, *values))
        await connection.execute("COMMIT")
        return rows

    async def _begin(self, connection: Connection) -> None:
        settings = HOT.format(local="LOCAL") if self.server.is_pooled else ""
        await connection.execute(f"BEGIN ISOLATION LEVEL READ COMMITTED; {settings}", timeout=STATEMENT_TIMEOUT_S)

    async def read_in_epoch(self, sql: str) -> Any:
        """The row of a query that asks for `EPOCH`, which is given a name if it has none."""
        for _ in range(_TRIES):
            [row] = await self.read(sql)
            if row["epoch"] is not None:
                return row
            await self.write(f"INSERT INTO cloche.epoch DEFAULT VALUES ON CONFLICT DO NOTHING RETURNING {XID}")
        raise StoreUnavailable("the server crashes again and again", store=self.address.shown)

    # ---- transactions ----

    @asynccontextmanager
    async def transaction(
        self, *, is_snapshot: bool = False, is_undone: bool = False, plans: str = COLD
    ) -> AsyncIterator[Transaction]:
        """Several statements, all or nothing, planned for what the tables hold: for what an operator does, and long reads.

        `is_snapshot`: all of them see one moment. `is_undone`: nothing of it stays. `plans`: how they are planned.
        """
        with translated(self.address):
            async with self._pool.lend() as connection:
                level = "REPEATABLE READ READ ONLY" if is_snapshot else "READ COMMITTED"
                await connection.execute(f"BEGIN ISOLATION LEVEL {level}; {plans}", timeout=STATEMENT_TIMEOUT_S)
                try:
                    yield Transaction(connection, self.address.schema)
                    xid = await connection.fetchval("SELECT pg_current_xact_id_if_assigned()::text::bigint")
                except (asyncpg.PostgresError, ClocheError):
                    await connection.execute("ROLLBACK")
                    raise
                await connection.execute("ROLLBACK" if is_undone else "COMMIT")
        if xid is not None:
            self._own.add(xid)

    # ---- others ----

    async def news(self, since: int | None) -> tuple[int, bool, int]:
        """A mark for the next call, and whether others' transactions have ended since the call that gave `since`, which were
        more than a heartbeat; and the server's clock, in ms since 1970."""
        row = await self.read_in_epoch(_NOW)
        if row["epoch"] != self._epoch:  # numbers from before may be others' now
            self._epoch, self._snapshots, self._own = row["epoch"], {}, set()
        now = Snapshot.parse(row["now"])
        before = None if since is None else self._snapshots.get(since)
        is_any = since is not None and (before is None or now.ended_since(before, self._own.union(row["beats"])) > 0)
        mark = int.from_bytes(blake2b(f"{row['now']} {row['epoch']}".encode(), digest_size=7).digest())
        self._snapshots = {**dict(list(self._snapshots.items())[-7:]), mark: now}
        oldest = min(snapshot.xmin for snapshot in self._snapshots.values())
        self._own = {xid for xid in self._own if xid >= oldest}
        return mark, is_any, row["time"]

    async def close(self) -> None:
        await self._pool.close()


class Transaction:
    """One that is under way."""

    def __init__(self, connection: Connection, schema: str) -> None:
        self._connection = connection
        self._schema = schema

    async def fetch(self, sql: str, *values: Any) -> Rows:
        rows: Rows = await self._connection.fetch(in_schema(sql, self._schema), *values)
        return rows

    async def pages(self, sql: str, *values: Any, size: int = 500) -> AsyncIterator[Rows]:
        """The rows of a query page by page, however many there are."""
        cursor = await self._connection.cursor(in_schema(sql, self._schema), *values)
        while rows := await cursor.fetch(size):
            yield rows


class Facet:
    """One facet of a store, on its connections. A `PostgresStore` is all of them on the same."""

    def __init__(self, database: Database) -> None:
        self._database = database
