"""Which policy holds for what, in one worker."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cloche.tenancy import InForce, Policy

if TYPE_CHECKING:
    from cloche.engines import Code
    from cloche.history import TenantId
    from cloche.store import Store

KNOWN_MAX = 10_000


class Policies:
    """What new runs are pinned to, and what bounds all runs of a tenant together."""

    def __init__(self, store: Store, in_force: InForce) -> None:
        self._store = store
        self.in_force = in_force
        self._has_deployed: dict[TenantId, bool] = {}  # as of the last look at what others have written

    def of_code(self, tenant: TenantId, code: Code, *, is_wide: bool = False) -> Policy:
        """That of a new run of this code. `is_wide`: of a version that keeps the policy of registered workflows."""
        return self.in_force.of(tenant, is_deployed=bool(code.owner) and not is_wide)

    async def of_fork(self, tenant: TenantId, code: Code, digest: str) -> Policy:
        """As `of_code`, of a bundle that is in the store under this digest."""
        versions = await self._store.versions(tenant, code.workflow) if code.owner else []
        is_wide = any(version.digest == digest and version.is_wide for version in versions)
        return self.of_code(tenant, code, is_wide=is_wide)

    def known(self, tenant: TenantId) -> Policy:
        """What bounds all its runs together: that of deployed code, once it has deployed any that is not wide.

        As far as it was learnt.
        """
        return self.in_force.of(tenant, is_deployed=self._has_deployed.get(tenant, False))

    async def learn(self, tenants: Iterable[TenantId]) -> None:
        """See which of these tenants have deployed.

        Raises:
            StoreError: the store did not answer.
        """
        for tenant in tenants:
            if tenant not in self._has_deployed:
                found = any(not version.is_wide for version in await self._store.versions(tenant))
                if len(self._has_deployed) >= KNOWN_MAX:
                    self._has_deployed.clear()
                self._has_deployed[tenant] = found

    def look(self) -> None:
        """Others may have deployed, or this process has."""
        self._has_deployed.clear()
