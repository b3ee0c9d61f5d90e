"""Checking a store in PostgreSQL: every record against its chain, every chain against its run, every part and blob against its
digest. All of one moment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from hashlib import blake2b
from typing import Any

from cloche.errors import HistoryError
from cloche.history.ids import RunId, RunKey, Seq, TenantId
from cloche.history.payloads import children, part_digest
from cloche.history.records import HASH_BYTES, genesis, unpack_record
from cloche.store.packing import unpacked
from cloche.store.postgres.database import Transaction
from cloche.store.protocol import Finding, miscounted

_RECORDS = "SELECT tenant, run_id, seq, kind, path, record, hash, payload FROM cloche.records"


_MISCOUNTED = """
SELECT tenant, run, sum(counted)::bigint, sum(counted_bytes)::bigint, sum(waiting)::bigint, sum(waiting_bytes)::bigint FROM (
    SELECT tenant, run, events AS counted, bytes AS counted_bytes, 0 AS waiting, 0 AS waiting_bytes FROM cloche.waiting_events
    UNION ALL SELECT tenant, run, 0, 0, 1, length(body) FROM cloche.inbox WHERE answer IS NULL AND name IS NOT NULL
) AS each WHERE true{where}
GROUP BY tenant, run HAVING sum(counted) <> sum(waiting) OR sum(counted_bytes) <> sum(waiting_bytes)
"""


async def audit(transaction: Transaction, key: RunKey | None) -> AsyncIterator[Finding]:
    if key is None:
        async for finding in _blobs(transaction):
            yield finding
        async for finding in _parts(transaction):
            yield finding
    async for finding in _chains(transaction, key):
        yield finding
    where, values = (" AND tenant = $1 AND run = $2", (key.tenant, key.run)) if key else ("", ())
    for row in await transaction.fetch(_MISCOUNTED.format(where=where), *values):
        yield miscounted(*row)


async def _blobs(transaction: Transaction) -> AsyncIterator[Finding]:
    async for page in transaction.pages("SELECT digest, data FROM cloche.blobs", size=10):
        for digest, data in page:
            if blake2b(data, digest_size=HASH_BYTES).hexdigest() != digest:
                yield Finding(None, None, f"the stored code or guest {digest[:12]} is not what its digest says")


async def _parts(transaction: Transaction) -> AsyncIterator[Finding]:
    async for page in transaction.pages("SELECT digest, depth, form, data FROM cloche.parts"):
        for digest, depth, form, data in page:
            try:
                is_whole = part_digest(depth, unpacked(form, data)) == digest
            except HistoryError:
                is_whole = False
            if not is_whole:
                yield Finding(None, None, f"the stored part {digest.hex()[:12]} is not what its digest says")


async def _chains(transaction: Transaction, key: RunKey | None) -> AsyncIterator[Finding]:
    where, values = ("WHERE tenant = $1 AND run = $2", (key.tenant, key.run)) if key else ("", ())
    found = await transaction.fetch(f"SELECT tenant, id, run, head_seq, head_hash FROM cloche.runs {where}", *values)
    runs = {(row["tenant"], row["id"]): row for row in found}
    seen: dict[tuple[str, int], tuple[int, bytes]] = {}
    if key is None:
        pages = transaction.pages(f"{_RECORDS} ORDER BY tenant, run_id, seq")
    else:
        id = found[0]["id"] if found else -1
        pages = transaction.pages(f"{_RECORDS} WHERE tenant = $1 AND run_id = $2 ORDER BY seq", key.tenant, id)
    async for page in pages:
        parts = await _below(
            transaction, [(row["tenant"], row["payload"]) for row in page if row["payload"] is not None]
        )
        for row in page:
            run = runs.get((row["tenant"], row["run_id"]))
            if run is None:
                yield Finding(None, None, f"record {row['seq']} belongs to no run (run number {row['run_id']})")
                continue
            run_key = RunKey(TenantId(run["tenant"]), RunId(run["run"]))
            place = (run["tenant"], run["id"])
            last, previous = seen.get(place, (0, genesis(run_key)))
            for finding in _record(run_key, last + 1, previous, row, parts.get(row["tenant"], {})):
                yield finding
            seen[place] = (row["seq"], row["hash"])
    for place, run in runs.items():
        last, stored = seen.get(place, (0, b""))
        if (last, stored) != (run["head_seq"], run["head_hash"]):
            problem = f"the run should end with record {run['head_seq']}, and ends with record {last}"
            if last == run["head_seq"]:
                problem = f"the run does not end with the hash of record {last}"
            yield Finding(run["run"], last or None, problem)


def _record(key: RunKey, expected: int, previous: bytes, row: Any, parts: dict[bytes, bytes]) -> Iterable[Finding]:
    seq = row["seq"]
    if seq != expected:
        yield Finding(key.run, expected, f"record {seq} stands where record {expected} should")
        return
    try:
        record = unpack_record(row["record"], row["hash"], previous=previous, expected=Seq(seq), find=parts.get)
    except HistoryError as error:
        yield Finding(key.run, seq, error.message)
        return
    said = (int(record.kind), record.path and record.path.encode(), record.payload and record.payload.root)
    if said != (row["kind"], row["path"], row["payload"]):
        yield Finding(key.run, seq, f"the index of record {seq} does not agree with the record")


async def _below(transaction: Transaction, roots: list[tuple[str, bytes]]) -> dict[str, dict[bytes, bytes]]:
    """The parts below `roots`, by tenant. What is missing or damaged is left out: the record that needs it says so."""
    found: dict[str, dict[bytes, bytes]] = {}
    level = set(roots)
    while level:
        rows = await transaction.fetch(
            "SELECT p.tenant, p.digest, p.depth, p.form, p.data FROM cloche.parts AS p "
            "JOIN unnest($1::text[], $2::bytea[]) AS n(tenant, digest) ON p.tenant = n.tenant AND p.digest = n.digest",
            [tenant for tenant, _ in level],
            [digest for _, digest in level],
        )
        following: set[tuple[str, bytes]] = set()
        for tenant, digest, depth, form, data in rows:
            try:
                part = found.setdefault(tenant, {})[digest] = unpacked(form, data)
            except HistoryError:
                continue
            if depth:
                following.update((tenant, child) for child in children(part) if child not in found[tenant])
        level = following
    return found
