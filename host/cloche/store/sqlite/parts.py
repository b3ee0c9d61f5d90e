"""Parts of large bodies in SQLite: each once, compressed where that gives something."""

from __future__ import annotations

import sqlite3
import sys

from cloche.errors import BrokenChain
from cloche.history.payloads import PART_BYTES_MAX, Payload, children

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_AS_IS, _ZSTD = 0, 1
_LEVEL = 1  # half the bytes of text in 20 µs a part; level 3 takes twice as long for 4 % less


def put_parts(db: sqlite3.Connection, payload: Payload) -> None:
    """Store what is not there yet. Whoever has a part has all parts below it, so these are not even looked at."""
    level = [payload.root]
    for depth in range(payload.depth, -1, -1):
        following: list[bytes] = []
        for digest in dict.fromkeys(level):
            if db.execute("SELECT 1 FROM parts WHERE digest = ?", (digest,)).fetchone():
                continue
            part = payload.parts[digest]
            db.execute("INSERT INTO parts VALUES (?, ?, ?, ?)", (digest, depth, *_packed(depth, part)))
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


def unpacked(form: object, data: object) -> bytes:
    """Raises:
    BrokenChain: this was never packed here.
    """
    if not isinstance(data, bytes) or form not in (_AS_IS, _ZSTD):
        raise BrokenChain("a part of its payload is not stored as one")
    if form == _AS_IS:
        return data
    try:
        return zstd.ZstdDecompressor().decompress(data, max_length=PART_BYTES_MAX + 1)
    except zstd.ZstdError as error:
        raise BrokenChain(f"a part of its payload cannot be unpacked: {error}") from error


def _packed(depth: int, data: bytes) -> tuple[int, bytes]:
    if depth == 0 and len(packed := zstd.compress(data, _LEVEL)) < len(data):
        return _ZSTD, packed
    return _AS_IS, data
