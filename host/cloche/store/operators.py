"""What operators decide of tenants, and the audit log: what was deployed, denied, changed and done, by whom and when."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Protocol

from cloche.history.ids import TenantId, TimeMs

HOST = "host"  # who does what nobody is named for


@dataclass(frozen=True, slots=True)
class Hold:
    """No run of a tenant is driven, or none of one bundle of its code, by its digest. `code` "": of the tenant altogether."""

    tenant: TenantId
    code: str
    reason: str
    held_at: TimeMs


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that was done. `tenant` "": to all of them. `facts`: JSON data as text. `id` grows; 0: not written yet."""

    at: TimeMs
    tenant: str
    actor: str
    action: str
    facts: str
    id: int = 0

    @classmethod
    def of(cls, at: TimeMs, tenant: str, actor: str, action: str, **facts: object) -> AuditEntry:
        """A new one. `actor` "": the host's own program. `facts`: JSON data."""
        return cls(at, tenant, actor or HOST, action, json.dumps(facts, sort_keys=True, ensure_ascii=False))


class Operators(Protocol):
    """Raises as `Store`. The audit log is append-only."""

    async def hold(self, hold: Hold) -> None:
        """Have no worker claim such a run from now on. Those that drive one see it as news, and let go of it."""

    async def let_go(self, tenant: TenantId, code: str = "") -> bool:
        """The runs may be claimed again; whether they were held."""

    async def holds(self, tenant: TenantId | None = None) -> list[Hold]:
        """What is held, of all tenants or of one, in the order of tenants and codes."""

    async def write_audit(self, entry: AuditEntry) -> None:
        """Append to the audit log."""

    async def audit_log(
        self, tenant: str | None = None, *, action: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[AuditEntry]:
        """A page of the audit log, the newest first: those with an `id` below `before`, of a tenant, of an action."""
