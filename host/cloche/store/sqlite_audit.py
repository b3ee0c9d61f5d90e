"""Checking a SQLite store: every record against its chain, every chain against its run, every blob against its digest.

The table of records is read as it lies, not through the runs it belongs to, so that a record whose key was damaged
is seen as well.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from hashlib import blake2b
from typing import Any

from cloche.errors import HistoryError
from cloche.history.ids import RunId, RunKey, Seq, TenantId
from cloche.history.records import HASH_BYTES, genesis, unpack_record
from cloche.store.protocol import Finding


def audit(db: sqlite3.Connection, key: RunKey | None = None) -> Iterator[Finding]:
    try:
        if key is None:
            yield from _structure(db)
            yield from _blobs(db)
        yield from _chains(db, key)
    except sqlite3.Error as error:
        yield Finding(None, None, f"SQLite cannot read on: {error}")


def _structure(db: sqlite3.Connection) -> Iterator[Finding]:
    for (text,) in db.execute("PRAGMA integrity_check(100)"):
        if text != "ok":
            yield Finding(None, None, f"SQLite's integrity check: {text}")


def _blobs(db: sqlite3.Connection) -> Iterator[Finding]:
    for digest, data in db.execute("SELECT digest, data FROM blobs"):
        if blob_digest(data) != digest:
            yield Finding(None, None, f"the stored code or guest {str(digest)[:12]} is not what its digest says")


def blob_digest(data: bytes) -> str:
    """The name of a blob: BLAKE2b-256 in hex."""
    return blake2b(data, digest_size=HASH_BYTES).hexdigest()


def _chains(db: sqlite3.Connection, key: RunKey | None) -> Iterator[Finding]:
    select = "SELECT id, tenant, run, head_seq, head_hash FROM runs"
    rows = db.execute(select + (" WHERE tenant = ? AND run = ?" if key else ""), (key.tenant, key.run) if key else ())
    runs = {row[0]: row for row in rows}
    seen: dict[int, tuple[int, bytes]] = {}
    where = f"WHERE run_id = {next(iter(runs), -1)}" if key else "NOT INDEXED"
    query = f"SELECT run_id, seq, kind, path, record, hash FROM records {where} ORDER BY run_id, seq"
    with closing(db.execute(query)) as records:
        for run_id, seq, kind, path, packed, stored in records:
            run = runs.get(run_id)
            if run is None:
                yield Finding(None, seq, f"a record {seq} belongs to no run (run number {run_id})")
                continue
            run_key = RunKey(TenantId(run[1]), RunId(run[2]))
            last, previous = seen.get(run_id, (0, genesis(run_key)))
            yield from _record(run_key, last + 1, previous, (seq, kind, path, packed, stored))
            seen[run_id] = (seq, stored)
    for run_id, (_, _, name, head_seq, head_hash) in runs.items():
        last, stored = seen.get(run_id, (0, b""))
        if (last, stored) != (head_seq, head_hash):
            yield Finding(name, last or None, f"the run should end with record {head_seq}, and ends with record {last}")


def _record(run: RunKey, expected: int, previous: bytes, row: tuple[int, int, Any, bytes, bytes]) -> Iterator[Finding]:
    seq, kind, path, packed, stored = row
    if seq != expected:
        yield Finding(run.run, expected, f"record {seq} stands where record {expected} should")
        return
    try:
        record = unpack_record(packed, stored, previous=previous, expected=Seq(seq))
        if (int(record.kind), record.path) != (kind, path):
            yield Finding(run.run, seq, f"the index of record {seq} does not agree with the record")
    except HistoryError as error:
        yield Finding(run.run, seq, error.message)
    except Exception as error:
        yield Finding(run.run, seq, f"record {seq} cannot be read: {error}")
