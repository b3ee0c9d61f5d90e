"""Finding runs in SQLite: what the indexes give, a bounded number of rows at a time, and of these what the filter leaves."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping
from typing import Any

from cloche.history.ids import RunId, RunKey, TenantId
from cloche.history.marks import ERROR, RETRY_OF, STEP
from cloche.status import RunStatus
from cloche.store.listings import LOOKED_AT_MAX, OPEN, FailureGroup, RunFilter, RunPage, rarest
from cloche.store.sqlite.database import Facet
from cloche.store.sqlite.leases import FREE
from cloche.store.sqlite.rows import ROW, row_of

_LAST = (1 << 63) - 1
RETRIED = f"EXISTS (SELECT 1 FROM marks WHERE marks.tenant = r.tenant AND name = '{RETRY_OF}' AND value = r.run)"
_COLUMNS = ", ".join(f"r.{name}" for name in ROW.split(", "))
# How those that have not ended are counted, so that an index has the answer: those that run stand in none by their status.
_OPEN = [
    *((status, f"status = '{status}' AND status <> 'running'") for status in OPEN),
    ("running", "owner IS NOT NULL AND status = 'running'"),
    ("running", f"{FREE} AND status = 'running'"),
]
# Those that run, by the indexes of workers: they are few beside those that have ended.
_RUNNING = (
    "r.id IN (SELECT id FROM runs WHERE owner IS NOT NULL AND status = 'running' "
    f"UNION ALL SELECT id FROM runs WHERE {FREE} AND status = 'running')"
)


class SqliteListings(Facet):
    """Implements `Listings` on a connection."""

    async def find(self, filter: RunFilter, *, limit: int, before: int | None = None) -> RunPage:
        candidates, values = _candidates(filter, _LAST if before is None else before)
        terms, more = _terms(filter)
        where = f"WHERE {' AND '.join(terms)} " if terms else ""
        # They come in the order of the candidates. Said once more, it would have SQLite sort all of those first.
        page = f"SELECT {_COLUMNS}, r.id FROM ({candidates}) AS r {where}LIMIT ?"
        looked = f"SELECT count(*), min(id) FROM ({candidates})"

        def read(db: sqlite3.Connection) -> RunPage:
            rows = db.execute(page, (*values, *more, limit + 1)).fetchall()
            if len(rows) > limit:
                return RunPage([row_of(row[:-1]) for row in rows[:limit]], rows[limit - 1][-1] if limit else before)
            count, last = db.execute(looked, values).fetchone()
            return RunPage([row_of(row[:-1]) for row in rows], last if count == LOOKED_AT_MAX else None)

        return await self._database.read(read)

    async def failures(self, filter: RunFilter, *, limit: int, by_workflow: bool = False) -> list[FailureGroup]:
        named = {"tenant": filter.tenant, "workflow": filter.workflow, "since": filter.since, "until": filter.until}
        workflow = "r.workflow" if by_workflow else "NULL"
        sql = (
            f"SELECT r.tenant, {workflow} AS of_workflow, e.value, s.value, count(*) AS runs, min(r.updated_at), "
            "max(r.updated_at), max(r.id) FROM runs AS r "
            f"LEFT JOIN marks AS e ON e.run_id = r.id AND e.name = '{ERROR}' "
            f"LEFT JOIN marks AS s ON s.run_id = r.id AND s.name = '{STEP}' "
            "WHERE r.status = 'failed' AND r.status <> 'running' "  # the term that lets SQLite use the index runs_listed
            "AND (:tenant IS NULL OR r.tenant = :tenant) AND (:workflow IS NULL OR r.workflow = :workflow) "
            "AND (:since IS NULL OR r.updated_at >= :since) AND (:until IS NULL OR r.updated_at <= :until) "
            f"AND NOT {RETRIED} GROUP BY r.tenant, of_workflow, e.value, s.value "
            "ORDER BY runs DESC, r.tenant, of_workflow, e.value, s.value LIMIT :limit"
        )

        def read(db: sqlite3.Connection) -> list[FailureGroup]:
            groups = []
            for tenant, of_workflow, error, step, count, first, last, id in db.execute(sql, {**named, "limit": limit}):
                [[run]] = db.execute("SELECT run FROM runs WHERE id = ?", (id,)).fetchall()
                example = RunKey(TenantId(tenant), RunId(run))
                groups.append(FailureGroup(example.tenant, of_workflow, error, step, count, first, last, example))
            return groups

        return await self._database.read(read)

    async def count_open(self) -> Mapping[RunStatus, int]:
        counts = " UNION ALL ".join(f"SELECT '{status}', count(*) FROM runs WHERE {where}" for status, where in _OPEN)
        rows = await self._database.read(lambda db: db.execute(counts).fetchall())
        found = Counter[RunStatus]()
        for status, count in rows:
            found[RunStatus(status)] += count
        return +found

    async def marks(self, key: RunKey) -> Mapping[str, str]:
        sql = "SELECT name, value FROM marks WHERE run_id = (SELECT id FROM runs WHERE tenant = ? AND run = ?) ORDER BY name"
        return dict(await self._database.select(sql, (key.tenant, key.run)))

    async def retries(self, key: RunKey) -> list[RunKey]:
        sql = (
            f"SELECT r.run FROM marks JOIN runs AS r ON r.id = run_id WHERE marks.tenant = ? AND name = '{RETRY_OF}' "
            "AND value = ? ORDER BY run_id"
        )
        return [RunKey(key.tenant, RunId(run)) for (run,) in await self._database.select(sql, (key.tenant, key.run))]

    async def other_tenants(self, tenant: TenantId, most: int) -> list[TenantId]:
        def read(db: sqlite3.Connection) -> list[TenantId]:
            found: list[TenantId] = []
            last = ""
            while len(found) < most:
                sql = "SELECT min(tenant) FROM runs WHERE tenant > ?"
                [[last]] = db.execute(sql, (last,)).fetchall()
                if last is None:
                    break
                if last != tenant:
                    found.append(TenantId(last))
            return found

        return await self._database.read(read)


def _candidates(filter: RunFilter, before: int) -> tuple[str, tuple[Any, ...]]:
    """What the indexes give, newest first: at most `LOOKED_AT_MAX` rows."""
    columns = f"{_COLUMNS}, r.id"
    if filter.marks and filter.tenant is not None:  # a mark is rarer than whatever else is asked for
        name, value = rarest(filter.marks)
        return (
            f"SELECT {columns} FROM marks AS m CROSS JOIN runs AS r ON r.id = m.run_id WHERE m.tenant = ? AND m.name = ? "
            f"AND m.value = ? AND m.run_id < ? ORDER BY m.run_id DESC LIMIT {LOOKED_AT_MAX}",
            (filter.tenant, name, value, before),
        )
    listings, values = list[str](), list[Any]()
    for status in filter.statuses or (None,):  # of each the index gives them in order
        terms, of_one = _indexed(filter, status, before)
        listings.append(f"SELECT {columns} FROM runs AS r WHERE {' AND '.join(terms)}")
        values += of_one
    return f"{' UNION ALL '.join(listings)} ORDER BY id DESC LIMIT {LOOKED_AT_MAX}", tuple(values)


def _indexed(filter: RunFilter, status: RunStatus | None, before: int) -> tuple[list[str], list[Any]]:
    """What an index answers of the filter, with their values."""
    terms, values = ["r.id < ?"], list[Any]([before])
    # Most runs end well; in another way stand few, and their index is better than those of tenants and workflows.
    is_rare = status not in (None, RunStatus.SUCCESS, RunStatus.RUNNING)
    if filter.tenant is not None:
        terms.append("+r.tenant = ?" if is_rare else "r.tenant = ?")
        values.append(filter.tenant)
    if status is not None:
        terms.append("r.status = ?")
        values.append(str(status))
        terms.append(_RUNNING if status == RunStatus.RUNNING else "r.status <> 'running'")
    if filter.workflow is not None and not is_rare:  # else it is asked of the candidates, of which there are so many
        terms.append("r.workflow = ?")
        values.append(filter.workflow)
    return terms, values


def _terms(filter: RunFilter) -> tuple[list[str], list[Any]]:
    """What is asked of each of the candidates."""
    terms, values = list[str](), list[Any]()
    given = {
        "r.workflow = ?": filter.workflow,
        "r.code = ?": filter.code,
        "r.updated_at >= ?": filter.since,
        "r.updated_at <= ?": filter.until,
    }
    for term, value in given.items():
        if value is not None:
            terms.append(term)
            values.append(value)
    if filter.statuses:
        terms.append(f"r.status IN ({', '.join('?' * len(filter.statuses))})")
        values += map(str, filter.statuses)
    for mark in filter.marks.items():
        terms.append("EXISTS (SELECT 1 FROM marks WHERE run_id = r.id AND name = ? AND value = ?)")
        values += mark
    if filter.is_retried is not None:
        terms.append(RETRIED if filter.is_retried else f"NOT {RETRIED}")
    return terms, values
