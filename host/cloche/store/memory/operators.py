"""What operators hold back, and the audit log, in memory."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

from cloche.history.ids import TenantId
from cloche.store.memory.data import Facet
from cloche.store.operators import AuditEntry, Hold


class MemoryOperators(Facet):
    """Implements `Operators`."""

    async def hold(self, hold: Hold) -> None:
        self._data.holds[hold.tenant, hold.code] = hold
        self._connection.count_write()

    async def let_go(self, tenant: TenantId, code: str = "") -> bool:
        self._connection.count_write()
        return self._data.holds.pop((tenant, code), None) is not None

    async def holds(self, tenant: TenantId | None = None) -> list[Hold]:
        return [hold for key, hold in sorted(self._data.holds.items()) if tenant in (None, key[0])]

    async def write_audit(self, entry: AuditEntry) -> None:
        self._data.audit_log.append(replace(entry, id=len(self._data.audit_log) + 1))

    async def audit_log(
        self, tenant: str | None = None, *, action: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[AuditEntry]:
        found = (
            entry
            for entry in reversed(self._data.audit_log)
            if tenant in (None, entry.tenant)
            and action in (None, entry.action)
            and (before is None or entry.id < before)
        )
        return list(islice(found, limit))
