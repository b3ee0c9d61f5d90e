"""Runs and their records in SQLite. What is read is verified: nothing that a damaged file holds is trusted."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

from cloche.errors import BrokenChain, HistoryError
from cloche.history.ids import FIRED, SCHEDULED, Path, RunKey, Seq, TenantId
from cloche.history.records import Record, genesis, unpack_record
from cloche.status import OVER, RunStatus
from cloche.store.inbox import GRANTED
from cloche.store.protocol import PAGE_RECORDS, RESULTS, Append, Outcome
from cloche.store.refusals import lease_lost, no_such_run, queue_full, refusal
from cloche.store.runs import Lease, RunRow
from cloche.store.sqlite import metering
from cloche.store.sqlite.database import Facet, damaged
from cloche.store.sqlite.inbox import end_events, follow_hooks, leave
from cloche.store.sqlite.parts import part, put_parts
from cloche.store.sqlite.permits import follow_permits, free_all_of_run
from cloche.store.sqlite.pieces import keep
from cloche.store.sqlite.remote import follow_remote
from cloche.store.sqlite.rows import BY_KEY, ROW, row_of
from cloche.text import ID_SEPARATOR

T = TypeVar("T")

SHORT_PAGE = 64  # records that are read on the loop's thread
SHORT_COMMIT = 1_000  # of one run, that are written there
_NONE: Mapping[bytes, bytes] = MappingProxyType({})
# A damaged file can hold anything anywhere; what is read of a record is bytes in any case, and then checked.
_RECORD, _HASH, _HASH_BEFORE = (f"CAST(ifnull({name}, x'') AS BLOB)" for name in ("r.record", "r.hash", "p.hash"))

_SET = f"UPDATE runs SET status = ?, wake_at = ?, updated_at = ?, head_seq = ?, head_hash = ?, {metering.ADDS}"
_OWNED = "WHERE tenant = ? AND run = ? AND head_seq = ? AND owner IS ? AND fence = ifnull(?, fence) RETURNING id"
_CREATE = (  # with the owner NULL if its worker was evicted meanwhile
    f"INSERT INTO runs ({ROW}, {', '.join(metering.AMOUNTS)}, meter) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, "
    f"(SELECT id FROM workers WHERE id = ?), ?, {', '.join('?' * len(metering.AMOUNTS))}, ?) ON CONFLICT DO NOTHING"
)
_MARK = (
    "INSERT INTO marks (run_id, name, value, tenant) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (run_id, name) DO UPDATE SET value = excluded.value"
)
_ADVANCE, _ADVANCE_AND_RELEASE = f"{_SET} {_OWNED}", f"{_SET}, owner = NULL {_OWNED}"

# As the index records_results has them, word for word.
_RESULTS = ", ".join(str(int(kind)) for kind in sorted(RESULTS))


class SqliteLog(Facet):
    """Implements `Log` on a connection."""

    async def commit(self, appends: Sequence[Append]) -> list[Outcome]:
        def write(db: sqlite3.Connection) -> list[Outcome]:
            return [self._append(db, append) for append in appends]

        bring = [part for append in appends for part in (append.new, append.code) if part]
        blobs = {digest: data for part in bring for digest, data in part.blobs.items()}
        if any(len(append.records) > SHORT_COMMIT for append in appends):
            return await self._database.write_beside(write)
        return await self._database.write_with(blobs, write)

    def _append(self, db: sqlite3.Connection, append: Append) -> Outcome:
        if append.queue_max is not None and (waiting := _queued(db, append.key.tenant)) >= append.queue_max:
            known = self._find(db, append.key)
            return refusal(append, known) if known else queue_full(append.key.tenant, waiting, append.queue_max)
        run_id = _create(db, append) if append.new else _advance(db, append)
        if run_id is None:
            return refusal(append, self._find(db, append.key))
        roots = []
        for record in append.records:
            if record.payload is not None:
                put_parts(db, record.payload)
            roots.append(record.payload and record.payload.root)
        db.executemany(
            "INSERT INTO records (run_id, seq, kind, path, record, hash, payload) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (run_id, r.seq, int(r.kind), r.path, r.packed, r.hash, root)
                for r, root in zip(append.records, roots, strict=True)
            ],
        )
        if append.code is not None:
            for digest, data in append.code.blobs.items():
                keep(db, digest, data)
            db.execute("UPDATE runs SET code = ?, meter = NULL WHERE id = ?", (append.code.code, run_id))
        if append.taken:
            taken = [(row,) for row in append.taken]
            db.executemany("DELETE FROM inbox WHERE id = ? AND NOT kept", taken)
            db.executemany(f"UPDATE inbox SET answer = '{GRANTED}', body = x'' WHERE id = ?", taken)
        if append.marks:
            db.executemany(_MARK, [(run_id, *mark, append.key.tenant) for mark in append.marks.items()])
        if append.posts:
            leave(db, append.posts, append.at)
        if append.sent or append.returned:
            follow_remote(db, append)
        if append.changes_permits:
            follow_permits(db, append)
        follow_hooks(db, append.key, append.awaited, append.unawaited)
        if append.status in OVER:
            end_events(db, append.key)
        return None

    def _find(self, db: sqlite3.Connection, key: RunKey) -> RunRow | None:
        rows = db.execute(f"SELECT {ROW} FROM runs {BY_KEY}", (key.tenant, key.run)).fetchall()
        if rows and rows[0][:2] != (key.tenant, key.run):
            raise damaged(self._database.path, f"what leads to run {key.run} leads to another run")
        return row_of(rows[0]) if rows else None

    async def set_problem(self, key: RunKey, problem: str | None, lease: Lease | None = None) -> None:
        update = (
            "UPDATE runs SET status = ?, problem = ?, owner = NULL "
            "WHERE tenant = ? AND run = ? AND owner IS ? AND fence = ifnull(?, fence)"
        )
        whose = (lease.worker, lease.fence) if lease else (None, None)
        values = ("blocked" if problem else "running", problem, key.tenant, key.run, *whose)

        def write(db: sqlite3.Connection) -> int:
            changed = db.execute(update, values).rowcount
            if changed and problem:
                free_all_of_run(db, key)
            return changed

        if await self._database.write(write) == 0:
            raise lease_lost(key) if await self.run(key) else no_such_run(key)

    async def run(self, key: RunKey) -> RunRow | None:
        return await self._database.look(lambda db: self._find(db, key))

    async def runs(
        self,
        *,
        tenant: str | None = None,
        status: RunStatus | None = None,
        workflow: str | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> list[RunRow]:
        by_status = "" if status is None else "status = ?2 AND "
        if status != RunStatus.RUNNING:  # the term that lets SQLite use the index runs_listed
            by_status += "" if status is None else "status <> 'running' AND "
        listing = (
            f"SELECT {ROW} FROM runs WHERE {by_status} (?1 IS NULL OR tenant = ?1) AND ?2 IS ?2 "
            "AND (?3 IS NULL OR workflow = ?3) AND (?4 IS NULL OR id < "
            "(SELECT min(id) FROM runs WHERE run = ?4 AND (?1 IS NULL OR tenant = ?1))) "
            "ORDER BY id DESC LIMIT ?5"
        )
        values = (tenant, None if status is None else str(status), workflow, after, -1 if limit is None else limit)
        return await self._database.read(lambda db: [row_of(row) for row in db.execute(listing, values)])

    async def records(self, key: RunKey, after: Seq = Seq(0), limit: int = PAGE_RECORDS) -> list[Record]:  # noqa: B008
        return await self._page(lambda db: _records(db, key, after, limit), limit)

    async def rows(
        self,
        key: RunKey,
        after: Seq = Seq(0),  # noqa: B008
        limit: int = PAGE_RECORDS,
    ) -> list[tuple[bytes, bytes]]:
        return await self._page(lambda db: _rows(db, key, after, limit), limit)

    async def _page(self, read: Callable[[sqlite3.Connection], T], limit: int) -> T:
        return await (self._database.look(read) if limit <= SHORT_PAGE else self._database.read(read))

    async def result(self, key: RunKey, path: Path) -> Record | None:
        sql = (
            # The index by name: without it SQLite walks the run from its end: 9 ms in a run of 100,000 records, not 25 µs.
            f"SELECT {_RECORD}, {_HASH}, r.seq, {_HASH_BEFORE} FROM records r INDEXED BY records_results "
            "LEFT JOIN records p ON p.run_id = r.run_id "
            "AND p.seq = r.seq - 1 WHERE r.run_id = (SELECT id FROM runs WHERE tenant = ? AND run = ?) "
            f"AND r.path = ? AND r.kind IN ({_RESULTS}) ORDER BY r.seq DESC LIMIT 1"
        )

        def look(db: sqlite3.Connection) -> Record | None:
            row = db.execute(sql, (key.tenant, key.run, path)).fetchone()
            if row is None:
                return None
            packed, stored, seq, previous = row
            return _verified(db, key, packed, stored, previous, Seq(seq))

        return await self._database.look(look)

    async def descendants(self, key: RunKey, most: int, *, are_direct: bool = False) -> int:
        after, before = key.run + ID_SEPARATOR, key.run + chr(ord(ID_SEPARATOR) + 1)
        values = [key.tenant, after, before, most]
        rest = ""
        if are_direct:
            rest = " AND instr(substr(run, length(?2) + 1), ?5) = 0"
            values.append(ID_SEPARATOR)
        begun = f"substr(run, length(?2) + 1, 1) NOT IN ('{SCHEDULED}', '{FIRED}')"
        below = f"SELECT 1 FROM runs WHERE tenant = ?1 AND run > ?2 AND run < ?3 AND {begun}{rest} LIMIT ?4"
        sql = f"SELECT count(*) FROM ({below})"
        [[found]] = await self._database.select(sql, values)
        return int(found)

    async def queued(self, tenant: TenantId) -> int:
        return await self._database.look(lambda db: _queued(db, tenant))


def _queued(db: sqlite3.Connection, tenant: TenantId) -> int:
    count = "SELECT count(*) FROM runs WHERE tenant = ? AND status = 'pending'"
    return int(db.execute(count, (tenant,)).fetchone()[0])


def _records(db: sqlite3.Connection, key: RunKey, after: Seq, limit: int) -> list[Record]:
    previous = genesis(key)
    if after:
        before = f"SELECT {_HASH} FROM records r JOIN runs ON runs.id = run_id WHERE tenant = ? AND run = ? AND seq = ?"
        row = db.execute(before, (key.tenant, key.run, after)).fetchone()
        if row is None:
            return []
        previous = row[0]
    known: Mapping[bytes, bytes] = {}  # the parts of the last large body: the next one shares most of them
    records = []
    for expected, (packed, stored) in enumerate(_rows(db, key, after, limit), after + 1):
        record = _verified(db, key, packed, stored, previous, Seq(expected), known)
        if record.payload is not None:
            known = record.payload.parts
        records.append(record)
        previous = stored
    return records


def _rows(db: sqlite3.Connection, key: RunKey, after: Seq, limit: int) -> list[tuple[bytes, bytes]]:
    entry = "SELECT id, head_seq, head_hash FROM runs WHERE tenant = ? AND run = ?"
    found = db.execute(entry, (key.tenant, key.run)).fetchone()
    if found is None:
        return []
    run_id, head_seq, head_hash = found
    if not isinstance(head_seq, int):
        raise _shortened(key, "has an entry that is not as it was written", after)
    page = f"SELECT {_RECORD}, {_HASH} FROM records r WHERE run_id = ? AND seq > ? ORDER BY seq LIMIT ?"
    rows = db.execute(page, (run_id, after, limit)).fetchall()
    end = after + len(rows)
    if after < head_seq <= end and rows[head_seq - after - 1][1] != head_hash:
        raise _shortened(key, f"does not end with the hash of record {head_seq}", head_seq)
    if len(rows) < limit and end < head_seq:  # it may be longer by now, and never shorter
        raise _shortened(key, f"should end with record {head_seq}, and ends with record {end}", head_seq)
    return rows


def _verified(
    db: sqlite3.Connection,
    key: RunKey,
    packed: bytes,
    stored: bytes,
    previous: bytes,
    expected: Seq,
    known: Mapping[bytes, bytes] = _NONE,
) -> Record:
    def find(digest: bytes) -> bytes | None:
        return part(db, digest)

    try:
        return unpack_record(packed, stored, previous=previous, expected=expected, find=find, known=known)
    except HistoryError as error:
        raise type(error)(f"run {key}, {error.message}", run_id=key.run, seq=expected) from error


def _shortened(key: RunKey, what: str, seq: int) -> BrokenChain:
    return BrokenChain(f"run {key.run} {what}", run_id=key.run, seq=seq)


def _create(db: sqlite3.Connection, append: Append) -> int | None:
    assert append.new is not None
    last = append.records[-1]
    cursor = db.execute(
        _CREATE,
        (
            append.key.tenant,
            append.key.run,
            append.new.workflow,
            append.new.code,
            str(append.status),
            append.wake_at,
            append.at,
            append.at,
            last.seq,
            last.hash,
            append.lease.worker if append.lease and not append.release else None,
            append.lease.fence if append.lease else 0,
            *metering.amounts_of(append.metered),
        ),
    )
    if cursor.rowcount != 1:
        return None
    created = cursor.lastrowid
    for digest, data in append.new.blobs.items():
        keep(db, digest, data)
    return created


def _advance(db: sqlite3.Connection, append: Append) -> int | None:
    last, lease = append.records[-1], append.lease
    found = db.execute(
        _ADVANCE_AND_RELEASE if append.release else _ADVANCE,
        (
            str(append.status),
            append.wake_at,
            append.at,
            last.seq,
            last.hash,
            *metering.amounts_of(append.metered),
            append.key.tenant,
            append.key.run,
            append.expect,
            lease.worker if lease else None,
            lease.fence if lease else None,
        ),
    ).fetchone()
    return found[0] if found else None
