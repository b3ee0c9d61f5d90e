"""Checking a SQLite store: every record against its chain, every chain against its run, every blob against its digest.

The table of records is read as it lies, not through the runs it belongs to, so that a record whose key was damaged
is seen as well. Nothing that is read is trusted to have its type: a damaged file can hold anything anywhere, so text is
read as bytes and each part is checked even if another cannot be read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeAlias

from cloche.errors import HistoryError
from cloche.history.ids import RunId, RunKey, Seq, TenantId
from cloche.history.payloads import part_digest
from cloche.history.records import HASH_BYTES, genesis, unpack_record
from cloche.store.packing import unpacked
from cloche.store.protocol import Finding, miscounted
from cloche.store.sqlite.parts import part
from cloche.store.sqlite.pieces import whole

Find: TypeAlias = Callable[[bytes], bytes | None]

_RUNS = "SELECT id, CAST(tenant AS BLOB), CAST(run AS BLOB), head_seq, head_hash FROM runs"
_RECORDS = "SELECT run_id, seq, kind, CAST(path AS BLOB), record, hash, payload FROM records"

_MISCOUNTED = """
SELECT CAST(tenant AS BLOB), CAST(run AS BLOB), sum(counted), sum(counted_bytes), sum(waiting), sum(waiting_bytes) FROM (
    SELECT tenant, run, events AS counted, bytes AS counted_bytes, 0 AS waiting, 0 AS waiting_bytes FROM waiting_events
    UNION ALL SELECT tenant, run, 0, 0, 1, length(body) FROM inbox WHERE answer IS NULL AND name IS NOT NULL
    UNION ALL SELECT tenant, '', 0, 0, 1, length(body) FROM inbox WHERE answer IS NULL AND name IS NOT NULL
) WHERE true{where} GROUP BY tenant, run HAVING sum(counted) <> sum(waiting) OR sum(counted_bytes) <> sum(waiting_bytes)
"""


def audit(db: sqlite3.Connection, key: RunKey | None = None) -> Iterator[Finding]:
    checks: list[Callable[[], Iterator[Finding]]] = [lambda: _chains(db, key), lambda: _waiting(db, key)]
    if key is None:
        checks = [lambda: _structure(db), lambda: _blobs(db), lambda: _parts(db), *checks]
    for check in checks:
        try:
            yield from check()
        except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter: SQLite quotes damaged names in its message
            yield Finding(key.run if key else None, None, f"SQLite cannot read on: {error}")


def _structure(db: sqlite3.Connection) -> Iterator[Finding]:
    for (text,) in db.execute("PRAGMA integrity_check(100)"):
        if text != "ok":
            yield Finding(None, None, f"SQLite's integrity check: {text}")
    page_bytes = db.execute("PRAGMA page_size").fetchone()[0]
    file = Path(db.execute("PRAGMA database_list").fetchone()[2])
    if file.stat().st_size % page_bytes:
        yield Finding(None, None, "the file was cut off within a page")


def _blobs(db: sqlite3.Connection) -> Iterator[Finding]:
    for digest, data in db.execute("SELECT CAST(digest AS BLOB), data FROM blobs"):
        if not isinstance(data, bytes) or blob_digest(whole(db, _text(digest), data)).encode() != digest:
            yield Finding(None, None, f"the stored code or guest {_text(digest)[:12]} is not what its digest says")


def _parts(db: sqlite3.Connection) -> Iterator[Finding]:
    for digest, depth, form, data in db.execute("SELECT digest, depth, form, data FROM parts"):
        try:
            is_whole = part_digest(int(depth), unpacked(form, data)) == digest
        except (HistoryError, TypeError, ValueError):
            is_whole = False
        if not is_whole:
            name = digest.hex() if isinstance(digest, bytes) else str(digest)
            yield Finding(None, None, f"the stored part {name[:12]} is not what its digest says")


def _waiting(db: sqlite3.Connection, key: RunKey | None) -> Iterator[Finding]:
    """What is counted of the events that wait, against the events: their bounds go by it."""
    where = " AND tenant = ? AND run = ?" if key else ""
    for tenant, run, *amounts in db.execute(_MISCOUNTED.format(where=where), (key.tenant, key.run) if key else ()):
        yield miscounted(_text(tenant), _text(run), *amounts)


def blob_digest(data: bytes) -> str:
    """The name of a blob: BLAKE2b-256 in hex."""
    return blake2b(data, digest_size=HASH_BYTES).hexdigest()


def _chains(db: sqlite3.Connection, key: RunKey | None) -> Iterator[Finding]:
    rows = db.execute(_RUNS + (" WHERE tenant = ? AND run = ?" if key else ""), (key.tenant, key.run) if key else ())
    runs = {row[0]: row for row in rows}
    seen: dict[int, tuple[int, bytes]] = {}
    where = f"WHERE run_id = {next(iter(runs), -1)}" if key else "NOT INDEXED"
    with closing(db.execute(f"{_RECORDS} {where} ORDER BY run_id, seq")) as records:
        for run_id, *row in records:
            run = runs.get(run_id)
            if run is None:
                yield Finding(None, None, f"record {row[0]} belongs to no run (run number {run_id})")
                continue
            run_key = RunKey(TenantId(_text(run[1])), RunId(_text(run[2])))
            last, previous = seen.get(run_id, (0, genesis(run_key)))
            yield from _record(run_key, last + 1, previous, row, lambda digest: part(db, digest))
            seen[run_id] = (row[0] if isinstance(row[0], int) else last + 1, row[4])
    for run_id, (_, _, name, head_seq, head_hash) in runs.items():
        last, stored = seen.get(run_id, (0, b""))
        if (last, stored) != (head_seq, head_hash):
            problem = f"the run should end with record {head_seq}, and ends with record {last}"
            if last == head_seq:
                problem = f"the run does not end with the hash of record {last}"
            yield Finding(_text(name), last or None, problem)


def _record(run: RunKey, expected: int, previous: bytes, row: list[Any], find: Find) -> Iterator[Finding]:
    seq, kind, path, packed, stored, root = row
    if seq != expected:
        yield Finding(run.run, expected, f"record {seq} stands where record {expected} should")
        return
    try:
        record = unpack_record(packed, stored, previous=previous, expected=Seq(seq), find=find)
    except HistoryError as error:
        yield Finding(run.run, seq, error.message)
    except TypeError:
        yield Finding(run.run, seq, f"record {seq} or its hash is not stored as bytes")
    else:
        said = (int(record.kind), record.path and record.path.encode(), record.payload and record.payload.root)
        if said != (kind, path, root):
            yield Finding(run.run, seq, f"the index of record {seq} does not agree with the record")


def _text(stored: Any) -> str:
    return stored.decode(errors="replace") if isinstance(stored, bytes) else str(stored)
