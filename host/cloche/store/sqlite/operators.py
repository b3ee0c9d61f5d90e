"""What operators hold back, and the audit log, in SQLite."""

from __future__ import annotations

from cloche.history.ids import TenantId
from cloche.store.operators import AuditEntry, Hold
from cloche.store.sqlite.database import Facet

# Of a row of `runs`: nobody holds it back. Where nothing is held, which is nearly always, that is one look.
NOT_HELD = (
    "(NOT EXISTS (SELECT 1 FROM holds) OR NOT EXISTS "
    "(SELECT 1 FROM holds WHERE holds.tenant = runs.tenant AND holds.code IN ('', runs.code)))"
)
_LAST = (1 << 63) - 1
_ENTRY = "at, tenant, actor, action, facts"


class SqliteOperators(Facet):
    """Implements `Operators` on a connection."""

    async def hold(self, hold: Hold) -> None:
        await self._database.change(
            "INSERT OR REPLACE INTO holds (tenant, code, reason, held_at) VALUES (?, ?, ?, ?)",
            (hold.tenant, hold.code, hold.reason, hold.held_at),
        )

    async def let_go(self, tenant: TenantId, code: str = "") -> bool:
        return await self._database.change("DELETE FROM holds WHERE tenant = ? AND code = ?", (tenant, code)) == 1

    async def holds(self, tenant: TenantId | None = None) -> list[Hold]:
        sql = "SELECT tenant, code, reason, held_at FROM holds WHERE ?1 IS NULL OR tenant = ?1 ORDER BY tenant, code"
        return [Hold(*row) for row in await self._database.select(sql, (tenant,))]

    async def write_audit(self, entry: AuditEntry) -> None:
        values = (entry.at, entry.tenant, entry.actor, entry.action, entry.facts)
        await self._database.change(f"INSERT INTO audit_log ({_ENTRY}) VALUES (?, ?, ?, ?, ?)", values)

    async def audit_log(
        self, tenant: str | None = None, *, action: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[AuditEntry]:
        which, values = ("tenant = ? AND ", (tenant,)) if tenant is not None else ("", ())
        sql = f"SELECT {_ENTRY}, id FROM audit_log WHERE {which}(? IS NULL OR action = ?) AND id < ? ORDER BY id DESC LIMIT ?"
        rows = await self._database.select(sql, (*values, action, action, _LAST if before is None else before, limit))
        return [AuditEntry(*row) for row in rows]
