"""What operators hold back, and the audit log, in PostgreSQL."""

from __future__ import annotations

from cloche.history.ids import TenantId, TimeMs
from cloche.store.operators import AuditEntry, Hold
from cloche.store.postgres.database import Facet
from cloche.store.postgres.statements import XID

_ENTRY = "at, tenant, actor, action, facts"


class PostgresOperators(Facet):
    """Implements `Operators`."""

    async def hold(self, hold: Hold) -> None:
        await self._database.change(
            "INSERT INTO cloche.holds (tenant, code, reason, held_at) VALUES ($1, $2, $3, $4) "
            f"ON CONFLICT (tenant, code) DO UPDATE SET reason = excluded.reason, held_at = excluded.held_at RETURNING {XID}",
            *(hold.tenant, hold.code, hold.reason, hold.held_at),
        )

    async def let_go(self, tenant: TenantId, code: str = "") -> bool:
        delete = f"DELETE FROM cloche.holds WHERE tenant = $1 AND code = $2 RETURNING {XID}"
        return await self._database.change(delete, tenant, code) == 1

    async def holds(self, tenant: TenantId | None = None) -> list[Hold]:
        sql = (
            "SELECT tenant, code, reason, held_at FROM cloche.holds WHERE $1::text IS NULL OR tenant = $1 "
            "ORDER BY tenant, code"
        )
        rows = await self._database.read(sql, tenant)
        return [Hold(TenantId(row["tenant"]), row["code"], row["reason"], TimeMs(row["held_at"])) for row in rows]

    async def write_audit(self, entry: AuditEntry) -> None:
        await self._database.change(
            f"INSERT INTO cloche.audit_log ({_ENTRY}) VALUES ($1, $2, $3, $4, $5) RETURNING {XID}",
            *(entry.at, entry.tenant, entry.actor, entry.action, entry.facts),
        )

    async def audit_log(
        self, tenant: str | None = None, *, action: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[AuditEntry]:
        sql = (
            f"SELECT {_ENTRY}, id FROM cloche.audit_log WHERE ($1::text IS NULL OR tenant = $1) "
            "AND ($2::bigint IS NULL OR id < $2) AND ($4::text IS NULL OR action = $4) ORDER BY id DESC LIMIT $3"
        )
        rows = await self._database.read(sql, tenant, before, limit, action)
        return [AuditEntry(TimeMs(row["at"]), *list(row)[1:]) for row in rows]
