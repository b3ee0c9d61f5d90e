"""What an operator does with a tenant, of a client of a server: refused, for a server passes none of it on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from cloche.errors import UsageError
from cloche.store import AuditEntry, Hold, Version


class RemoteOperated:
    """The names of `Operated`. Each raises `UsageError`: the kill switch and the audit log are for who has the store."""

    async def suspend(self, reason: str, *, by: str = "") -> None:
        _refuse("a tenant is suspended", "tenant suspend")

    async def reinstate(self, *, by: str = "") -> None:
        _refuse("a tenant is reinstated", "tenant reinstate")

    async def quarantine(self, version: str | Version, reason: str, *, by: str = "") -> None:
        _refuse("a version is put in quarantine", "tenant quarantine")

    async def release(self, version: str | Version, *, by: str = "") -> None:
        _refuse("a version is released", "tenant release")

    async def holds(self) -> Sequence[Hold]:
        _refuse("what is held back is read", "tenant list")

    async def audit_log(self, *, before: int | None = None, limit: int = 100) -> Sequence[AuditEntry]:
        _refuse("the audit log is read", "audit")


def _refuse(what: str, command: str) -> NoReturn:
    raise UsageError(f"{what} where the store is, not over a server: Client(STORE) or 'cloche {command}' there")
