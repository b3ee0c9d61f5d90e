"""Parts of large bodies in SQLite: each once, compressed where that gives something."""

from __future__ import annotations

import sqlite3

from cloche.history.payloads import Payload, children
from cloche.store.packing import packed, unpacked


def put_parts(db: sqlite3.Connection, payload: Payload) -> None:
    """Store what is not there yet. Whoever has a part has all parts below it, so these are not even looked at."""
    level = [payload.root]
    for depth in range(payload.depth, -1, -1):
        following: list[bytes] = []
        for digest in dict.fromkeys(level):
            if db.execute("SELECT 1 FROM parts WHERE digest = ?", (digest,)).fetchone():
                continue
            part = payload.parts[digest]
            db.execute("INSERT INTO parts VALUES (?, ?, ?, ?)", (digest, depth, *packed(depth, part)))
            if depth:
                following += children(part)
        level = following


def part(db: sqlite3.Connection, digest: bytes) -> bytes | None:
    """A part as it was put, for the caller to verify; None if it is not there.

    Raises:
        BrokenChain: it cannot be unpacked.
    """
    row = db.execute("SELECT form, data FROM parts WHERE digest = ?", (digest,)).fetchone()
    return unpacked(*row) if row else None
