"""Rows of blobs in SQLite. A large one is in pieces: each is put in its own transaction, and no commit waits for all of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

SHORT_BLOB = (
    8 << 20
)  # bytes that go with a commit on the loop's thread: the guest for JavaScript does, that for Python not
PIECE_BYTES = 2 << 20

# One that is in pieces has no bytes in its own row.
_PIECES = "SELECT coalesce(sum(length(piece.data)), 0) FROM blob_pieces piece WHERE piece.digest = blobs.digest"
BLOB_BYTES = f"length(data) + ({_PIECES})"


def keep(db: sqlite3.Connection, digest: str, data: bytes) -> None:
    """Keep a blob, within a transaction; what is there already is never changed.

    Pieces of a large one were put before, each in a transaction of its own (`Database.write_with`). Those that are missing are
    put here: somebody may have collected them, who did not see that a run was to need them.
    """
    if db.execute("SELECT 1 FROM blobs WHERE digest = ?", (digest,)).fetchone():
        return
    if len(data) > SHORT_BLOB:
        there = {number for (number,) in db.execute("SELECT number FROM blob_pieces WHERE digest = ?", (digest,))}
        for number in range(piece_count(data)):
            if number not in there:
                put_piece(db, digest, data, number)
        data = b""
    db.execute("INSERT INTO blobs (digest, data) VALUES (?, ?)", (digest, data))


def put_piece(db: sqlite3.Connection, digest: str, data: bytes, number: int) -> None:
    """Keep one piece of a large blob, if it is not there."""
    piece = data[number * PIECE_BYTES : (number + 1) * PIECE_BYTES]
    db.execute(
        "INSERT INTO blob_pieces (digest, number, data) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (digest, number, piece),
    )


def piece_count(data: bytes) -> int:
    return -(-len(data) // PIECE_BYTES)


def read(db: sqlite3.Connection, digest: str) -> bytes | None:
    row = db.execute("SELECT CAST(data AS BLOB) FROM blobs WHERE digest = ?", (digest,)).fetchone()
    return whole(db, digest, row[0]) if row else None


def whole(db: sqlite3.Connection, digest: str, data: bytes) -> bytes:
    """The bytes of a blob whose row has `data`."""
    if data:
        return data
    pieces = "SELECT CAST(data AS BLOB) FROM blob_pieces WHERE digest = ? ORDER BY number"
    return b"".join(piece for (piece,) in db.execute(pieces, (digest,)))


def collect_pieces(db: sqlite3.Connection) -> None:
    """Delete those of which there is no blob: whoever put them ended before the blob was kept."""
    db.execute("DELETE FROM blob_pieces WHERE digest NOT IN (SELECT digest FROM blobs)")


def missing(db: sqlite3.Connection, blobs: Mapping[str, bytes]) -> list[str]:
    """The digests of those that are not there."""
    found = "SELECT 1 FROM blobs WHERE digest = ?"
    return [digest for digest in sorted(blobs) if db.execute(found, (digest,)).fetchone() is None]
