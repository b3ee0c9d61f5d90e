"""Deleting runs from SQLite, and collecting what no run needs any more. Called within a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from cloche.history.ids import RunKey, TimeMs
from cloche.history.payloads import children
from cloche.status import FINAL
from cloche.store.protocol import Collected
from cloche.store.sqlite.metering import keep_usage
from cloche.store.sqlite.pieces import collect_pieces, whole

_ENDED = ", ".join(f"'{status}'" for status in FINAL)


def delete(db: sqlite3.Connection, key: RunKey, at: TimeMs) -> bool:
    """Delete a run that has ended and that no worker owns, after its tombstone; whether it was one."""
    found = db.execute(
        "INSERT INTO tombstones (run_id, tenant, run, workflow, head_seq, head_hash, deleted_at) "
        "SELECT id, tenant, run, workflow, head_seq, head_hash, ? FROM runs WHERE tenant = ? AND run = ? "
        f"AND status IN ({_ENDED}) AND owner IS NULL RETURNING run_id",
        (at, key.tenant, key.run),
    ).fetchone()
    if found is None:
        return False
    keep_usage(db, key)
    db.execute("DELETE FROM records WHERE run_id = ?", found)
    db.execute("DELETE FROM marks WHERE run_id = ?", found)
    db.execute("DELETE FROM runs WHERE id = ?", found)
    db.execute("DELETE FROM inbox WHERE tenant = ? AND run = ?", (key.tenant, key.run))
    db.execute("DELETE FROM awaited WHERE tenant = ? AND run = ?", (key.tenant, key.run))
    return True


def collect(db: sqlite3.Connection, needs: Callable[[bytes], Sequence[str]]) -> Collected:
    """Mark what is needed, delete the rest."""
    db.execute("CREATE TEMP TABLE needed (digest PRIMARY KEY) WITHOUT ROWID")
    try:
        _mark_parts(db)
        parts = db.execute("DELETE FROM parts WHERE digest NOT IN (SELECT digest FROM needed)").rowcount
        _mark_blobs(db, needs)
        blobs = db.execute("DELETE FROM blobs WHERE digest NOT IN (SELECT digest FROM needed)").rowcount
        collect_pieces(db)
    finally:
        db.execute("DROP TABLE needed")
    return Collected(parts, blobs)


def _mark_parts(db: sqlite3.Connection) -> None:
    """The roots that records name, and from there downwards, level by level."""
    db.execute("INSERT OR IGNORE INTO needed SELECT payload FROM records WHERE payload IS NOT NULL")
    [[deepest]] = db.execute("SELECT coalesce(max(depth), 0) FROM parts").fetchall()
    for depth in range(deepest, 0, -1):
        listing = db.execute("SELECT data FROM parts JOIN needed USING (digest) WHERE depth = ?", (depth,)).fetchall()
        for (data,) in listing:
            db.executemany("INSERT OR IGNORE INTO needed VALUES (?)", [(child,) for child in children(data)])


def _mark_blobs(db: sqlite3.Connection, needs: Callable[[bytes], Sequence[str]]) -> None:
    named = "SELECT code FROM runs UNION SELECT code FROM versions"
    codes = db.execute(f"SELECT code, data FROM ({named}) LEFT JOIN blobs ON digest = code").fetchall()
    for code, data in codes:
        used = [code, *(needs(whole(db, code, data)) if data is not None else ())]
        db.executemany("INSERT OR IGNORE INTO needed VALUES (?)", [(digest,) for digest in used])
