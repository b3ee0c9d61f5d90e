"""What runs have used, in PostgreSQL: amounts beside each run, and their sum for the deleted ones of a tenant."""

from __future__ import annotations

from dataclasses import fields

from cloche.history.ids import RunKey, TenantId
from cloche.status import FINAL
from cloche.store.postgres.database import Facet
from cloche.store.usage import Metered, Stored, TenantUsage, Usage

AMOUNTS = tuple(field.name for field in fields(Usage))
NAMES = ", ".join(AMOUNTS)
_SUMS = ", ".join(f"sum({name})::bigint" for name in ("runs", *AMOUNTS))


_ENDED = ", ".join(f"'{status}'" for status in sorted(FINAL))
_RUNS = (
    f"SELECT count(*) AS runs, count(*) FILTER (WHERE status NOT IN ({_ENDED})) AS open_runs, "
    "count(*) FILTER (WHERE status = 'blocked') AS blocked_runs, coalesce(sum(log_bytes), 0)::bigint AS log_bytes "
    "FROM cloche.runs WHERE tenant = $1"
)
_CODE = "SELECT coalesce(sum(length(data)), 0)::bigint AS size FROM cloche.blobs WHERE tenant = $1"


class PostgresMetering(Facet):
    """Implements `Metering`."""

    async def usage(self, tenant: TenantId | None = None) -> list[TenantUsage]:
        where, values = ("", ()) if tenant is None else ("WHERE tenant = $1", (tenant,))
        sums = (
            f"SELECT tenant, {_SUMS} FROM (SELECT tenant, 1 AS runs, {NAMES} FROM cloche.runs {where} UNION ALL "
            f"SELECT tenant, runs, {NAMES} FROM cloche.usage_of_deleted {where}) AS each GROUP BY tenant ORDER BY tenant"
        )
        async with self._database.transaction(is_snapshot=True) as transaction:
            rows = await transaction.fetch(sums, *values)
        return [TenantUsage(TenantId(found), runs, Usage(*amounts)) for found, runs, *amounts in rows]

    async def stored(self, tenant: TenantId) -> Stored:
        [runs] = await self._database.read(_RUNS, tenant)
        [code] = await self._database.read(_CODE, tenant)
        return Stored(**dict(runs.items()), code_bytes=code["size"])

    async def metered(self, key: RunKey) -> Metered | None:
        sql = f"SELECT {NAMES}, meter FROM cloche.runs WHERE tenant = $1 AND run = $2"
        rows = await self._database.read(sql, key.tenant, key.run)
        return Metered(Usage(*list(rows[0])[:-1]), rows[0]["meter"]) if rows else None
