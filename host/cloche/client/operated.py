"""What an operator does with a tenant: hold it back, or a version of its code, and read what was done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cloche.client.tenant_runs import Runs
from cloche.operations import holds
from cloche.store import AuditEntry, Hold, Version

if TYPE_CHECKING:
    from cloche.history import TenantId, TimeMs
    from cloche.store import Store


class Operated(Runs):
    """The kill switch and the audit log of one tenant. `by` is who does it, for the audit log."""

    async def suspend(self, reason: str, *, by: str = "") -> None:
        """Drive none of its runs from now on, in any worker, and begin none: `start` and `deploy` raise `HeldBack`.

        Steps under way may end and are recorded. Nothing is lost: events and requests are kept, timers fire late.
        """
        await holds.suspend(*self._act(), reason, by, self._time())
        await self._look()

    async def reinstate(self, *, by: str = "") -> None:
        """Let its runs go on.

        Raises:
            NotFound: it is not suspended.
        """
        await holds.reinstate(*self._act(), by, self._time())
        await self._look()

    async def quarantine(self, version: str | Version, reason: str, *, by: str = "") -> None:
        """Drive no run of this version from now on, and begin none; its id, or that of the workflow for the last one.

        Raises:
            NotFound: there is no such version.
        """
        await holds.quarantine(*self._act(), _id(version), reason, by, self._time())
        await self._look()

    async def release(self, version: str | Version, *, by: str = "") -> None:
        """Let the runs of a version go on that was in quarantine.

        Raises:
            NotFound: it is not.
        """
        await holds.release(*self._act(), _id(version), by, self._time())
        await self._look()

    async def holds(self) -> Sequence[Hold]:
        """What of the tenant is held back: it altogether (`code` is empty), or code by its digest."""
        return await self.connection.store.holds(self._tenant)

    async def audit_log(self, *, before: int | None = None, limit: int = 100) -> Sequence[AuditEntry]:
        """What was done to the tenant and denied to it, the newest first; `before` is the `id` of an entry."""
        return await self.connection.store.audit_log(self._tenant, before=before, limit=limit)

    def _act(self) -> tuple[Store, TenantId]:
        return self.connection.store, self._tenant

    def _time(self) -> TimeMs:
        return self.connection.world.now()

    async def _look(self) -> None:
        """A worker in this process sees it at once, and does not wait for news: own writes are none."""


def _id(version: str | Version) -> str:
    return version if isinstance(version, str) else version.id
