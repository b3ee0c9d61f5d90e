"""Runs and their records in PostgreSQL. An append is one statement and one round trip, and so are many that share it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from cloche.errors import BrokenChain, HistoryError, StoreUnavailable
from cloche.history.ids import FIRED, SCHEDULED, Path, RunKey, Seq, TenantId
from cloche.history.records import Record, genesis, unpack_record
from cloche.status import FINAL, RunStatus
from cloche.store.postgres.appends import Everything, is_plain, of_many, of_one
from cloche.store.postgres.blobs import Name
from cloche.store.postgres.database import Database, Facet, Rows
from cloche.store.postgres.parts import Known, parts_below
from cloche.store.postgres.permits import follow_permits, free_all_of_run, lock
from cloche.store.postgres.rows import row_of
from cloche.store.postgres.statements import ROW, XID, advance_one, statement
from cloche.store.protocol import PAGE_RECORDS, Append, Outcome
from cloche.store.refusals import lease_lost, no_such_run, queue_full, refusal
from cloche.store.runs import Lease, RunRow
from cloche.text import ID_SEPARATOR

_NONE: Mapping[bytes, bytes] = MappingProxyType({})
_TRIES = 5
_CREATE_IN_VAIN = (
    "INSERT INTO cloche.runs (tenant, run, workflow, code, status, created_at, updated_at, head_seq, head_hash) "
    "VALUES ($1, $2, '', '', 'failed', 0, 0, 0, '') ON CONFLICT DO NOTHING"
)
# Until the end of the transaction nobody else adds to the queues of these tenants: what was counted stays true.
_HOLD_QUEUES = (
    "SELECT pg_advisory_xact_lock($1, queue) FROM "
    "(SELECT DISTINCT hashtext('cloche.queue ' || tenant) AS queue FROM unnest($2::text[]) AS t(tenant) ORDER BY queue) AS q"
)
_SET_PROBLEM = (
    "UPDATE cloche.runs SET status = $3, problem = $4, owner = NULL WHERE tenant = $1 AND run = $2 "
    f"AND owner IS NOT DISTINCT FROM $5 AND fence = coalesce($6, fence) RETURNING {XID}"
)
_HAS_PERMITS = "SELECT 1 FROM cloche.permits WHERE tenant = $1 AND run = $2 LIMIT 1"
_QUEUES = 0x636C6F63  # tells these locks from others of the database
_WAITING = (
    "SELECT tenant, count(*) AS runs FROM cloche.runs "
    "WHERE tenant = ANY($1::text[]) AND status = 'pending' GROUP BY tenant"
)


class PostgresLog(Facet):
    """Implements `Log`."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._known = Known()
        self._in_doubt: set[RunKey] = set()  # appends whose answer was lost: the server may still be at work for them

    # ---- writing ----

    async def commit(self, appends: Sequence[Append]) -> list[Outcome]:
        layers = list(_layers(appends))
        if len(layers) > 1:
            # Several appends of one run: each is an answer of its own, and the later ones follow it.
            outcomes: dict[int, Outcome] = {}
            for layer in layers:
                written = await self.commit([append for _, append in layer])
                outcomes |= {place: outcome for (place, _), outcome in zip(layer, written, strict=True)}
            return [outcomes[place] for place in range(len(appends))]
        try:
            if appends and (appends[0].queue_max is not None or any(one.changes_permits for one in appends)):
                return await self._write_locked(appends)
            is_written = await self._written(appends) if appends else []
        except StoreUnavailable:
            self._in_doubt.update(append.key for append in appends)
            raise
        return [
            None if is_one_written else await self._refused(append)
            for append, is_one_written in zip(appends, is_written, strict=True)
        ]

    async def _write_locked(self, appends: Sequence[Append]) -> list[Outcome]:
        done, full = await self._locked(appends)
        outcomes: list[Outcome] = []
        for append in appends:
            if append.key in done:
                outcomes.append(None)
            elif append.queue_max is not None:
                outcomes.append(await self._not_queued(append, full.get(append.key)))
            else:
                outcomes.append(await self._refused(append))
        return outcomes

    async def _locked(self, appends: Sequence[Append]) -> tuple[set[RunKey], dict[RunKey, int]]:
        """Write what asks for permits, or gives some back, and new runs that wait to begin, as far as the queues of their
        tenants have room: which were written, and how many waited where one found no room.

        Locks come before rows: nobody who has one waits for who has the other.
        """
        tenants = sorted({append.key.tenant for append in appends if append.queue_max is not None})
        fitting: list[Append] = []
        full: dict[RunKey, int] = {}
        async with self._database.transaction() as transaction:
            now = await lock(transaction) if any(one.changes_permits for one in appends) else None
            waiting: Counter[str] = Counter()
            if tenants:
                await transaction.fetch(_HOLD_QUEUES, _QUEUES, tenants)
                waiting.update({row["tenant"]: row["runs"] for row in await transaction.fetch(_WAITING, tenants)})
            for append in appends:
                if append.queue_max is not None and waiting[append.key.tenant] >= append.queue_max:
                    full[append.key] = waiting[append.key.tenant]
                else:
                    waiting[append.key.tenant] += 1
                    fitting.append(append)
            written = await self._write_all(fitting, transaction.fetch) if fitting else []
            done = [append for append, is_one_written in zip(fitting, written, strict=True) if is_one_written]
            if now is not None:
                await follow_permits(transaction, done, now)
        return {append.key for append in done}, full

    async def _not_queued(self, append: Append, waiting: int | None) -> Outcome:
        row = await self.run(append.key)
        if waiting is None or append.queue_max is None or row is not None:
            return refusal(append, row)
        return queue_full(append.key.tenant, waiting, append.queue_max)

    async def _refused(self, append: Append) -> Outcome:
        """Why it was not written. One that ends a run is not if an event came meanwhile: it is made again."""
        for _ in range(_TRIES):
            row = await self.run(append.key)
            may_be_written = row is not None and append.new is None and row.lease == append.lease
            if row is None or not may_be_written or row.head_seq != append.expect or append.status not in FINAL:
                return refusal(append, row)
            if append.changes_permits:
                done, _ = await self._locked([append])
                if done:
                    return None
            elif (await self._written([append]))[0]:
                return None
        raise StoreUnavailable(f"events for run {append.key} come faster than it can be ended: try again")

    async def _written(self, appends: Sequence[Append]) -> list[bool]:
        """Which of them were written."""
        if not all(map(is_plain, appends)):
            return await self._write_all(appends, self._database.write)
        if len(appends) == 1:
            sql = advance_one(len(appends[0].records))
            return [bool(await self._database.write(sql, *of_one(appends[0])))]
        order = _ordered(appends)
        [row] = await self._database.write(statement("advance_many"), *of_many([appends[place] for place in order]))
        return _placed(order, row["ids"])

    async def _write_all(self, appends: Sequence[Append], write: Callable[..., Awaitable[Rows]]) -> list[bool]:
        order = _ordered(appends)
        missing: frozenset[Name] = frozenset()
        for _ in range(_TRIES):
            everything = Everything([appends[place] for place in order], self._known, missing)
            [row] = await write(statement("write_all"), *everything.arguments())
            if row["is_ready"]:
                self._known.add(everything.parts.sent)
                return _placed(order, row["ids"])
            self._known.clear()
            missing = frozenset(everything.blobs.keys() - await self._there(everything.blobs))
        raise StoreUnavailable("what an append relies on was deleted again and again: is 'collect' running in a loop?")

    async def _there(self, blobs: Mapping[Name, bytes]) -> set[Name]:
        rows = await self._database.read(
            "SELECT digest, tenant FROM cloche.blobs WHERE digest = ANY($1::text[])",
            sorted({digest for digest, _ in blobs}),
        )
        return {(row["digest"], row["tenant"]) for row in rows}

    async def set_problem(self, key: RunKey, problem: str | None, lease: Lease | None = None) -> None:
        values = (key.tenant, key.run, "blocked" if problem else "running", problem)
        whose = (lease.worker, lease.fence) if lease else (None, None)
        if problem and await self._database.read(_HAS_PERMITS, key.tenant, key.run):
            async with self._database.transaction() as transaction:
                now = await lock(transaction)
                changed = len(await transaction.fetch(_SET_PROBLEM, *values, *whose))
                if changed:
                    await free_all_of_run(transaction, key, now)
        else:
            changed = await self._database.change(_SET_PROBLEM, *values, *whose)
        if not changed:
            raise lease_lost(key) if await self.run(key) else no_such_run(key)

    # ---- reading ----

    async def run(self, key: RunKey) -> RunRow | None:
        sql = f"SELECT {ROW} FROM cloche.runs WHERE tenant = $1 AND run = $2"
        if key in self._in_doubt:
            # An append of it may be under way on a connection that was lost: its lock is waited for.
            sql += " FOR NO KEY UPDATE"
        rows = await self._database.read(sql, key.tenant, key.run)
        if not rows and key in self._in_doubt:  # it may be created there: whoever creates it as well waits for that
            async with self._database.transaction(is_undone=True) as transaction:
                await transaction.fetch(_CREATE_IN_VAIN, key.tenant, key.run)
            rows = await self._database.read(sql, key.tenant, key.run)
        self._in_doubt.discard(key)
        return row_of(rows[0]) if rows else None

    async def runs(
        self,
        *,
        tenant: str | None = None,
        status: RunStatus | None = None,
        workflow: str | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> list[RunRow]:
        sql, values = self._listing(tenant=tenant, status=status, workflow=workflow, limit=limit, after=after)
        async with self._database.transaction(is_snapshot=True) as transaction:
            return [row_of(row) for row in await transaction.fetch(sql, *values)]

    def _listing(
        self,
        *,
        tenant: str | None,
        status: RunStatus | None,
        workflow: str | None,
        limit: int | None,
        after: str | None,
    ) -> tuple[str, list[Any]]:
        """The query of a page, and its values."""
        terms, values = [], list[Any]()
        given = {"tenant": tenant, "status": None if status is None else str(status), "workflow": workflow}
        for name, value in given.items():
            if value is not None:
                values.append(value)
                collated = ' COLLATE "POSIX"' if name == "tenant" and status is None else ""  # as the indexes have it
                terms.append(f"{name}{collated} = ${len(values)}")
        if status is RunStatus.PENDING:  # which index is meant
            terms.append("status = 'pending'")
        elif status not in (None, RunStatus.RUNNING):
            terms.append("status NOT IN ('running', 'pending')")
        if after is not None:
            values.append(after)
            of_tenant = "" if tenant is None else " AND tenant = $1"
            terms.append(f"id < (SELECT min(id) FROM cloche.runs WHERE run = ${len(values)}{of_tenant})")
        where = f"WHERE {' AND '.join(terms)} " if terms else ""
        values.append(limit)
        return f"SELECT {ROW} FROM cloche.runs {where}ORDER BY id DESC LIMIT ${len(values)}::bigint", values

    async def records(self, key: RunKey, after: Seq = Seq(0), limit: int = PAGE_RECORDS) -> list[Record]:  # noqa: B008
        rows = await self._page(key, after, limit)
        if not rows:
            return []
        previous = genesis(key) if after == 0 else rows[0]["previous"]
        if previous is None:
            return []
        parts = await self._parts(key, [row["payload"] for row in rows])
        records, known = [], _NONE  # the parts of the last large body: the next one shares most of them
        for expected, row in enumerate(rows, after + 1):
            record = _verified(key, row["record"], row["hash"], previous, Seq(expected), parts, known)
            known = record.payload.parts if record.payload is not None else known
            previous = row["hash"]
            records.append(record)
        return records

    async def rows(
        self,
        key: RunKey,
        after: Seq = Seq(0),  # noqa: B008
        limit: int = PAGE_RECORDS,
    ) -> list[tuple[bytes, bytes]]:
        return [(row["record"], row["hash"]) for row in await self._page(key, after, limit)]

    async def result(self, key: RunKey, path: Path) -> Record | None:
        rows = await self._database.read(statement("result"), key.tenant, key.run, path.encode())
        if not rows:
            return None
        parts = await self._parts(key, [rows[0]["payload"]])
        return _verified(key, rows[0]["record"], rows[0]["hash"], rows[0]["previous"], Seq(rows[0]["seq"]), parts)

    async def descendants(self, key: RunKey, most: int, *, are_direct: bool = False) -> int:
        after, before = key.run + ID_SEPARATOR, key.run + chr(ord(ID_SEPARATOR) + 1)
        values: list[Any] = [key.tenant, after, before, most]
        rest = ""
        if are_direct:
            rest = " AND strpos(substr(run, length($2::text) + 1), $5::text) = 0"
            values.append(ID_SEPARATOR)
        begun = f"substr(run, length($2::text) + 1, 1) NOT IN ('{SCHEDULED}', '{FIRED}')"
        below = f"SELECT FROM cloche.runs WHERE tenant = $1 AND run > $2 AND run < $3 AND {begun}{rest} LIMIT $4"
        rows = await self._database.read(f"SELECT count(*) FROM ({below}) AS below", *values)
        return int(rows[0][0])

    async def queued(self, tenant: TenantId) -> int:
        count = "SELECT count(*) FROM cloche.runs WHERE tenant = $1 AND status = 'pending'"
        return int((await self._database.read(count, tenant))[0]["count"])

    async def _page(self, key: RunKey, after: Seq, limit: int) -> list[Any]:
        """A page with all that it is verified against. Head and records are of one statement, so of one moment."""
        rows = await self._database.read(statement("page"), key.tenant, key.run, after, limit)
        if not rows:
            return []
        head_seq, head_hash = rows[0]["head_seq"], rows[0]["head_hash"]
        page = [row for row in rows if row["record"] is not None]
        end = after + len(page)
        if after < head_seq <= end and page[head_seq - after - 1]["hash"] != head_hash:
            raise _shortened(key, f"does not end with the hash of record {head_seq}", head_seq)
        if len(page) < limit and end < head_seq:
            raise _shortened(key, f"should end with record {head_seq}, and ends with record {end}", head_seq)
        return page

    async def _parts(self, key: RunKey, roots: Sequence[bytes | None]) -> Mapping[bytes, bytes]:
        named = [root for root in roots if root is not None]
        if not named:
            return _NONE
        found = await parts_below(self._database, key.tenant, named, _NONE)
        self._known.add((key.tenant, digest) for digest in found)
        return found


def _layers(appends: Sequence[Append]) -> Iterator[list[tuple[int, Append]]]:
    """Divided, with their places: no run is twice in one of them, and runs that are counted share none with others."""
    left = list(enumerate(appends))
    while left:
        layer: dict[RunKey, tuple[int, Append]] = {}
        rest = []
        is_counted = left[0][1].queue_max is not None
        for place, append in left:
            if append.key in layer or (append.queue_max is not None) is not is_counted:
                rest.append((place, append))
            else:
                layer[append.key] = (place, append)
        yield list(layer.values())
        left = rest


def _ordered(appends: Sequence[Append]) -> list[int]:
    """Their places in the order of their keys: all writers lock runs in one order, so they never wait in a circle."""
    return sorted(range(len(appends)), key=lambda place: (appends[place].key.tenant, appends[place].key.run))


def _placed(order: Sequence[int], ids: Sequence[int]) -> list[bool]:
    is_written = dict(zip(order, ids, strict=True))
    return [is_written[place] != 0 for place in range(len(order))]


def _verified(
    key: RunKey,
    packed: bytes,
    stored: bytes,
    previous: bytes,
    expected: Seq,
    parts: Mapping[bytes, bytes],
    known: Mapping[bytes, bytes] = _NONE,
) -> Record:
    try:
        return unpack_record(packed, stored, previous=previous, expected=expected, find=parts.get, known=known)
    except HistoryError as error:
        raise type(error)(f"run {key}, {error.message}", run_id=key.run, seq=expected) from error


def _shortened(key: RunKey, what: str, seq: int) -> BrokenChain:
    return BrokenChain(f"run {key.run} {what}", run_id=key.run, seq=seq)
