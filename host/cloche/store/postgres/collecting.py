"""Deleting what no run needs any more, while appends go on.

What nobody needs is looked for in one snapshot, without a lock, however long that takes. Then it is deleted a batch at a time,
each in a transaction of some milliseconds that no append with a large body and no start runs beside. In it only that is looked
at which may have changed since the snapshot: what has come, by the number of its transaction, and what of the batch is named
again, by index. Parts go before those below them, so that whoever has a part always has all below it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from cloche.errors import StoreUnavailable
from cloche.store.postgres.blobs import SHARED, Name, columns
from cloche.store.postgres.database import Database, Transaction
from cloche.store.postgres.faults import AGAIN
from cloche.store.postgres.parts import Named
from cloche.store.postgres.statements import statement
from cloche.store.protocol import Collected

T = TypeVar("T")

BATCH = 2_000
# Whoever waits for this lock is waited for by all appends that come after it: rather give up, and try again in a moment.
LOCK_TIMEOUT_MS = 200
_TRIES = 50
_CODES = (
    "SELECT named.tenant, code, data FROM "
    "(SELECT tenant, code FROM cloche.runs UNION SELECT tenant, code FROM cloche.versions) AS named "
    "LEFT JOIN cloche.blobs ON blobs.digest = code AND blobs.tenant IN (named.tenant, '')"
)
# What a run or a version names now, of those given and of what came since.
_NAMED = (
    "SELECT digest, tenant, data FROM cloche.blobs AS b "
    "WHERE (xid >= $3 OR (digest, tenant) IN (SELECT * FROM unnest($1::text[], $2::text[]))) AND ("
    "EXISTS (SELECT FROM cloche.runs AS r WHERE r.code = b.digest AND b.tenant IN (r.tenant, '')) OR "
    "EXISTS (SELECT FROM cloche.versions AS v WHERE v.code = b.digest AND b.tenant IN (v.tenant, '')))"
)
_DELETE_BLOBS = (
    "DELETE FROM cloche.blobs USING unnest($1::text[], $2::text[]) AS u(digest, tenant) "
    "WHERE blobs.digest = u.digest AND blobs.tenant = u.tenant RETURNING 1"
)


class Collecting:
    """One collection. `needs` gives what a code bundle needs, by digest."""

    def __init__(self, database: Database, needs: Callable[[bytes], Sequence[str]]) -> None:
        self._database = database
        self._needs = needs
        self._since = 0  # no older transaction was under way at the time of the snapshot

    async def collect(self) -> Collected:
        async with self._database.transaction(is_snapshot=True) as transaction:
            [row] = await transaction.fetch("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xid")
            self._since = row["xid"]
            parts: list[Named] = []
            async for page in transaction.pages(statement("unneeded_parts")):
                parts += [(tenant, digest) for tenant, digest in page]
            blobs = await self._unneeded_blobs(transaction)
        deleted, kept = 0, list[Named]()
        for begin in range(0, len(parts), BATCH):
            batch = parts[begin : begin + BATCH]
            gone = await self._locked("parts", partial(self._delete_parts, batch, kept))
            kept += [name for name in batch if name not in gone]
            deleted += len(gone)
        return Collected(deleted, await self._locked("blobs", partial(self._delete_blobs, blobs)) if blobs else 0)

    async def _unneeded_blobs(self, transaction: Transaction) -> set[Name]:
        used: set[Name] = set()
        async for page in transaction.pages(_CODES):
            for tenant, code, data in page:
                used |= {(code, tenant), (code, SHARED), *self._needed_by(data)}
        there = await transaction.fetch("SELECT digest, tenant FROM cloche.blobs")
        return {(digest, tenant) for digest, tenant in there} - used

    def _needed_by(self, code: bytes | None) -> set[Name]:
        return {(digest, SHARED) for digest in (self._needs(code) if code is not None else ())}

    async def _locked(self, table: str, delete: Callable[[Transaction], Awaitable[T]]) -> T:
        """What `delete` gives, in a transaction beside which nothing comes into the table."""
        for _ in range(_TRIES):
            try:
                async with self._database.transaction() as transaction:
                    await transaction.fetch(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
                    await transaction.fetch(f"LOCK TABLE cloche.{table} IN EXCLUSIVE MODE")
                    return await delete(transaction)
            except StoreUnavailable as error:
                if getattr(error.__cause__, "sqlstate", None) not in AGAIN:
                    raise
            await asyncio.sleep(LOCK_TIMEOUT_MS / 1000)
        raise StoreUnavailable(f"the table '{table}' is in use by a long transaction: collect again when it has ended")

    async def _delete_parts(
        self, batch: Sequence[Named], kept: Sequence[Named], transaction: Transaction
    ) -> set[Named]:
        values = (*_columns(batch), self._since, *_columns(kept))
        return {(tenant, digest) for tenant, digest in await transaction.fetch(statement("delete_parts"), *values)}

    async def _delete_blobs(self, unneeded: set[Name], transaction: Transaction) -> int:
        used: set[Name] = set()
        for digest, tenant, data in await transaction.fetch(_NAMED, *columns(unneeded), self._since):
            used |= {(digest, tenant), *self._needed_by(data)}
        return len(await transaction.fetch(_DELETE_BLOBS, *columns(unneeded - used)))


def _columns(names: Sequence[Named]) -> tuple[list[str], list[bytes]]:
    return [tenant for tenant, _ in names], [digest for _, digest in names]
