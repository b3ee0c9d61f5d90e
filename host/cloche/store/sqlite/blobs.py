"""Code bundles and guests in SQLite, each once, by the digest of its bytes."""

from __future__ import annotations

from cloche.store.sqlite.database import Facet
from cloche.store.sqlite.pieces import keep, read


class SqliteBlobs(Facet):
    """Implements `Blobs` on a connection."""

    async def put_blob(self, digest: str, data: bytes) -> None:
        await self._database.write_with({digest: data}, lambda db: keep(db, digest, data))

    async def blob(self, digest: str) -> bytes | None:
        return await self._database.read(lambda db: read(db, digest))  # megabytes, if it is a guest
