"""Finding runs in PostgreSQL: what the indexes give, so many rows at a time, and of these what the filter leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from cloche.history.ids import RunId, RunKey, TenantId
from cloche.history.marks import ERROR, RETRY_OF, STEP
from cloche.status import RunStatus
from cloche.store.listings import LOOKED_AT_MAX, OPEN, FailureGroup, RunFilter, RunPage, is_indexed, rarest
from cloche.store.postgres.connection import ORDERED
from cloche.store.postgres.database import Facet
from cloche.store.postgres.rows import row_of
from cloche.store.postgres.statements import ROW

_LAST = (1 << 63) - 1
_RETRIED = (
    f"EXISTS (SELECT FROM cloche.marks AS t WHERE t.tenant = r.tenant AND t.name = '{RETRY_OF}' AND t.value = r.run)"
)
_COLUMNS = ", ".join(f"r.{name}" for name in (*ROW.split(", "), "id"))
# How those that have not ended are counted, so that an index has the answer: those that run stand in none by their status.
_OPEN = [
    *((status, f"status = '{status}'") for status in OPEN),
    ("running", "owner IS NOT NULL AND status = 'running'"),
    (
        "running",
        "owner IS NULL AND (status IN ('running', 'pending') OR (status = 'waiting' AND wake_at IS NOT NULL)) "
        "AND status = 'running'",
    ),
]


class PostgresListings(Facet):
    """Implements `Listings`."""

    async def find(self, filter: RunFilter, *, limit: int, before: int | None = None) -> RunPage:
        values: list[Any] = []
        most = limit + 1 if is_indexed(filter) else LOOKED_AT_MAX
        candidates = _candidates(filter, _LAST if before is None else before, values, most)
        asked = list(values)
        where = " AND ".join(_terms(filter, values))
        values.append(limit + 1)
        page = (
            f"SELECT {_COLUMNS} FROM ({candidates}) AS r {'WHERE ' if where else ''}{where} "
            f"ORDER BY r.id DESC LIMIT ${len(values)}::bigint"
        )
        async with self._database.transaction(is_snapshot=True, plans=ORDERED) as transaction:
            rows = await transaction.fetch(page, *values)
            if len(rows) > limit:
                return RunPage([row_of(row) for row in rows[:limit]], rows[limit - 1]["id"] if limit else before)
            if len(rows) < most < LOOKED_AT_MAX:
                return RunPage([row_of(row) for row in rows], None)
            looked = f"SELECT count(*) AS looked, min(id) AS last FROM ({candidates}) AS r"
            [found] = await transaction.fetch(looked, *asked)
        return RunPage([row_of(row) for row in rows], found["last"] if found["looked"] == LOOKED_AT_MAX else None)

    async def failures(self, filter: RunFilter, *, limit: int, by_workflow: bool = False) -> list[FailureGroup]:
        workflow = "r.workflow" if by_workflow else "NULL::text"
        sql = (
            f"SELECT g.*, x.run FROM (SELECT r.tenant, {workflow} AS of_workflow, e.value AS error, s.value AS step, "
            "count(*) AS count, min(r.updated_at) AS first, max(r.updated_at) AS last, max(r.id) AS id "
            "FROM cloche.runs AS r "
            f"LEFT JOIN cloche.marks AS e ON e.run_id = r.id AND e.tenant = r.tenant AND e.name = '{ERROR}' "
            f"LEFT JOIN cloche.marks AS s ON s.run_id = r.id AND s.tenant = r.tenant AND s.name = '{STEP}' "
            "WHERE r.status = 'failed' AND r.status NOT IN ('running', 'pending') AND ($1::text IS NULL OR r.tenant = $1) "
            "AND ($2::text IS NULL OR r.workflow = $2) AND ($3::bigint IS NULL OR r.updated_at >= $3) "
            f"AND ($4::bigint IS NULL OR r.updated_at <= $4) AND NOT {_RETRIED} GROUP BY 1, 2, 3, 4) AS g "
            "JOIN cloche.runs AS x ON x.id = g.id AND x.tenant = g.tenant "
            "ORDER BY count DESC, tenant, of_workflow NULLS FIRST, error NULLS FIRST, step NULLS FIRST LIMIT $5"
        )
        asked = (filter.tenant, filter.workflow, filter.since, filter.until, limit)
        async with self._database.transaction(is_snapshot=True) as transaction:
            rows = await transaction.fetch(sql, *asked)
        groups = []
        for row in rows:
            example = RunKey(TenantId(row["tenant"]), RunId(row["run"]))
            alike = (row["of_workflow"], row["error"], row["step"], row["count"], row["first"], row["last"])
            groups.append(FailureGroup(example.tenant, *alike, example))
        return groups

    async def count_open(self) -> Mapping[RunStatus, int]:
        counts = " UNION ALL ".join(
            f"SELECT '{status}' AS status, count(*) AS count FROM cloche.runs WHERE {where}" for status, where in _OPEN
        )
        found = Counter[RunStatus]()
        for row in await self._database.read(counts):
            found[RunStatus(row["status"])] += row["count"]
        return +found

    async def marks(self, key: RunKey) -> Mapping[str, str]:
        sql = (
            "SELECT m.name, m.value FROM cloche.runs AS r JOIN cloche.marks AS m ON m.run_id = r.id AND m.tenant = r.tenant "
            "WHERE r.tenant = $1 AND r.run = $2 ORDER BY m.name"
        )
        return {row["name"]: row["value"] for row in await self._database.read(sql, key.tenant, key.run)}

    async def retries(self, key: RunKey) -> list[RunKey]:
        sql = (
            "SELECT r.run FROM cloche.marks AS m JOIN cloche.runs AS r ON r.id = m.run_id AND r.tenant = m.tenant "
            f"WHERE m.tenant = $1 AND m.name = '{RETRY_OF}' AND m.value = $2 ORDER BY m.run_id"
        )
        return [RunKey(key.tenant, RunId(row["run"])) for row in await self._database.read(sql, key.tenant, key.run)]

    async def other_tenants(self, tenant: TenantId, most: int) -> list[TenantId]:
        sql = 'SELECT min(tenant COLLATE "C") AS tenant FROM cloche.runs WHERE tenant > $1'
        found: list[TenantId] = []
        last = ""
        while len(found) < most:
            [row] = await self._database.read(sql, last)
            if (last := row["tenant"]) is None:
                break
            if last != tenant:
                found.append(TenantId(last))
        return found


def _candidates(filter: RunFilter, before: int, values: list[Any], most: int = LOOKED_AT_MAX) -> str:
    """What the indexes give, newest first: at most `most` rows. Its values are added."""

    def value(one: Any) -> str:
        values.append(one)
        return f"${len(values)}"

    if filter.marks and filter.tenant is not None:  # a mark is rarer than whatever else is asked for
        name, text = rarest(filter.marks)
        return (
            f"SELECT {_COLUMNS} FROM cloche.marks AS m JOIN cloche.runs AS r ON r.id = m.run_id AND r.tenant = m.tenant "
            f"WHERE m.tenant = {value(filter.tenant)} AND m.name = {value(name)} AND m.value = {value(text)} "
            f"AND m.run_id < {value(before)} ORDER BY m.run_id DESC LIMIT {most}"
        )
    # Of each status the index gives them in order. PostgreSQL does not see that of several, if not each has its order said.
    listings = [
        f"(SELECT {_COLUMNS} FROM cloche.runs AS r WHERE {' AND '.join(_indexed(filter, status, before, value))} "
        f"ORDER BY r.id DESC LIMIT {most})"
        for status in filter.statuses or (None,)
    ]
    if len(listings) == 1:
        return listings[0]
    return f"{' UNION ALL '.join(listings)} ORDER BY id DESC LIMIT {most}"


def _indexed(filter: RunFilter, status: RunStatus | None, before: int, value: Callable[[Any], str]) -> list[str]:
    """What an index answers of the filter."""
    terms = [f"r.id < {value(before)}"]
    if filter.tenant is not None:
        collated = ' COLLATE "POSIX"' if status is None else ""  # as the indexes have it
        terms.append(f"r.tenant{collated} = {value(filter.tenant)}")
    if status is not None:
        terms.append(f"r.status = {value(str(status))}")
        if status is RunStatus.PENDING:  # which index is meant
            terms.append("r.status = 'pending'")
        elif status is not RunStatus.RUNNING:
            terms.append("r.status NOT IN ('running', 'pending')")
    if filter.workflow is not None:
        terms.append(f"r.workflow = {value(filter.workflow)}")
    return terms


def _terms(filter: RunFilter, values: list[Any]) -> list[str]:
    """What is asked of each of the candidates; their values are added."""

    def value(one: Any) -> str:
        values.append(one)
        return f"${len(values)}"

    terms = list[str]()
    given = {
        "r.workflow =": filter.workflow,
        "r.code =": filter.code,
        "r.updated_at >=": filter.since,
        "r.updated_at <=": filter.until,
    }
    for term, one in given.items():
        if one is not None:
            terms.append(f"{term} {value(one)}")
    if filter.statuses:
        terms.append(f"r.status = ANY({value([str(status) for status in filter.statuses])}::text[])")
    for name, text in filter.marks.items():
        same = f"t.run_id = r.id AND t.tenant = r.tenant AND t.name = {value(name)} AND t.value = {value(text)}"
        terms.append(f"EXISTS (SELECT FROM cloche.marks AS t WHERE {same})")
    if filter.is_retried is not None:
        terms.append(_RETRIED if filter.is_retried else f"NOT {_RETRIED}")
    return terms
