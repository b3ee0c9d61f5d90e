"""Code bundles and guests, by the digest of their bytes: code under the tenant of its runs, what all share under none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cloche.store.postgres.database import Database, Facet
from cloche.store.postgres.statements import XID

SHARED = ""

Name = tuple[str, str]  # digest and tenant


class PostgresBlobs(Facet):
    """Implements `Blobs`."""

    async def put_blob(self, digest: str, data: bytes) -> None:
        await keep(self._database, {(digest, SHARED): data})

    async def blob(self, digest: str) -> bytes | None:
        rows = await self._database.read("SELECT data FROM cloche.blobs WHERE digest = $1 LIMIT 1", digest)
        return rows[0]["data"] if rows else None


def named(tenant: str, code: str, blobs: Mapping[str, bytes]) -> dict[Name, bytes]:
    """The blobs that go with the bundle `code` of a tenant, under their names in the store."""
    return {(digest, tenant if digest == code else SHARED): data for digest, data in blobs.items()}


async def keep(database: Database, blobs: Mapping[Name, bytes]) -> None:
    """Keep what is not there yet; what is there is never changed."""
    there = await database.read(
        "SELECT b.digest, b.tenant FROM cloche.blobs AS b JOIN unnest($1::text[], $2::text[]) AS n(digest, tenant) "
        "ON b.digest = n.digest AND b.tenant = n.tenant",
        *columns(blobs),
    )
    missing = blobs.keys() - {(row["digest"], row["tenant"]) for row in there}
    for digest, tenant in sorted(missing):
        await database.write(
            f"INSERT INTO cloche.blobs (digest, tenant, data) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING {XID}",
            digest,
            tenant,
            blobs[digest, tenant],
        )


def columns(names: Iterable[Name]) -> tuple[list[str], list[str]]:
    """Digests and tenants."""
    listed = sorted(names)
    return [digest for digest, _ in listed], [tenant for _, tenant in listed]
