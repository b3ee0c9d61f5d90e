"""Code bundles and guests in SQLite, each once, by the digest of its bytes."""

from __future__ import annotations

import sqlite3

from cloche.store.sqlite.database import Facet


class SqliteBlobs(Facet):
    """Implements `Blobs` on a connection."""

    async def put_blob(self, digest: str, data: bytes) -> None:
        await self._database.write_with({digest: data}, lambda db: keep(db, digest, data))

    async def blob(self, digest: str) -> bytes | None:
        sql = "SELECT CAST(data AS BLOB) FROM blobs WHERE digest = ?"  # megabytes, if it is a guest
        row = await self._database.read(lambda db: db.execute(sql, (digest,)).fetchone())
        return row[0] if row else None


def keep(db: sqlite3.Connection, digest: str, data: bytes) -> None:
    """Keep a blob, within a transaction; what is there already is never changed."""
    if not db.execute("SELECT 1 FROM blobs WHERE digest = ?", (digest,)).fetchone():
        db.execute("INSERT INTO blobs (digest, data) VALUES (?, ?)", (digest, data))
