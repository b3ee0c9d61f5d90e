"""Whether the process of a worker still lives: its session holds an advisory lock, which the server lets go of when it ends.

An optimisation beside the heartbeat, never the truth: a process that was killed is noticed at once, one that hangs by its
silence. Behind a pooler there are no sessions, and so no locks. The same session hears that somebody has left a request, a
moment before the next look would find it.
"""

from __future__ import annotations

import asyncio
import logging
from hashlib import blake2b

import asyncpg

from cloche.errors import StoreError
from cloche.store.postgres.connection import Connection, connect
from cloche.store.postgres.database import Database
from cloche.store.postgres.faults import translated
from cloche.store.postgres.statements import EPOCH, XID, in_schema

_RETRY_S = 0.5

log = logging.getLogger("cloche")


class Presence:
    """The locks of the workers of this process, on a connection of their own. One that is lost is made again at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None
        self._held: set[str] = set()  # workers
        self._restoring: asyncio.Task[None] | None = None

    async def hold(self, worker: str) -> tuple[int | None, str | None]:
        """Hold a worker's lock; its number and the epoch of the server, None where there are no locks."""
        if self._database.server.is_pooled:
            return None, None
        await self._database.read_in_epoch(f"SELECT {EPOCH}")  # so that it has a name
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._connected()
        connection, lock = self._connection, self._lock(worker)  # it may be lost at any moment, and forgotten
        with translated(self._database.address):
            text = in_schema(f"SELECT pg_try_advisory_lock($1) AS is_held, {EPOCH}", self._database.address.schema)
            rows = await connection.fetch(text, lock)
        if not rows[0]["is_held"]:
            return None, None
        self._held.add(worker)
        return lock, rows[0]["epoch"]

    async def release(self, worker: str) -> None:
        """Let go of a worker's lock, and of the connection with the last one."""
        self._held.discard(worker)
        if self._connection is None:
            return
        if not self._held:
            self.let_go()
            return
        with translated(self._database.address):
            await self._connection.execute(f"SELECT pg_advisory_unlock({self._lock(worker)})")

    def let_go(self) -> None:
        if self._restoring is not None:
            self._restoring.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _connected(self) -> Connection:
        connection = await connect(self._database.address, self._database.server)
        try:
            with translated(self._database.address):
                await connection.add_listener(self._database.channel, self._is_told)
        except BaseException:
            connection.terminate()
            raise
        connection.add_termination_listener(self._is_lost)
        return connection

    def _is_told(self, connection: Connection, pid: int, channel: str, sender: str) -> None:
        if sender != self._database.name:
            self._database.hint.set()

    def _is_lost(self, connection: Connection) -> None:
        if connection is self._connection:
            self._connection = None
            self._restoring = asyncio.ensure_future(self._restore())

    async def _restore(self) -> None:
        """Hold all locks again, and say in which epoch: before others look a second time, if it is there."""
        while True:
            try:
                for worker in sorted(self._held):
                    lock, epoch = await self.hold(worker)
                    if lock is not None:
                        update = f"UPDATE cloche.workers SET epoch = $2 WHERE id = $1 RETURNING {XID}"
                        await self._database.change(update, worker, epoch)
                return
            except (StoreError, asyncpg.InterfaceError) as error:
                log.info("the store does not hold the lock of this worker yet: %s", error)
                if self._connection is not None:
                    connection, self._connection = self._connection, None
                    connection.terminate()
            await asyncio.sleep(_RETRY_S)

    def _lock(self, worker: str) -> int:
        name = f"{self._database.address.schema} {worker}".encode()
        return int.from_bytes(blake2b(name, digest_size=8, person=b"cloche worker").digest(), signed=True)
