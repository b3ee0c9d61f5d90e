"""The kill switch: a tenant is suspended, or one version of its code put into quarantine. Nothing of it runs, nothing is lost.

Each act is in the audit log before it is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.errors import NotFound
from cloche.operations.acts import Act, write_act
from cloche.store import Hold, Store, Version
from cloche.worker.holds import check as check

if TYPE_CHECKING:
    from cloche.history import TenantId, TimeMs


async def suspend(store: Store, tenant: TenantId, reason: str, by: str, now: TimeMs) -> None:
    """Hold back all runs of a tenant, also those that are not begun yet."""
    await write_act(store, Act.SUSPENDED, by, now, tenant, reason=reason)
    await store.hold(Hold(tenant, "", reason, now))


async def reinstate(store: Store, tenant: TenantId, by: str, now: TimeMs) -> None:
    """
    Raises:
        NotFound: the tenant is not suspended.
    """
    if not await _is_held(store, tenant, ""):
        raise NotFound(f"tenant {tenant} is not suspended", kind="hold", id=tenant)
    await write_act(store, Act.REINSTATED, by, now, tenant)
    await store.let_go(tenant)


async def quarantine(store: Store, tenant: TenantId, id: str, reason: str, by: str, now: TimeMs) -> Version:
    """Hold back all runs of one version, also when it is withdrawn, or deployed again.

    Raises:
        NotFound: the tenant has no such version.
    """
    version = await _version(store, tenant, id)
    await write_act(store, Act.QUARANTINED, by, now, tenant, version=version.id, reason=reason)
    await store.hold(Hold(tenant, version.digest, reason, now))
    return version


async def release(store: Store, tenant: TenantId, id: str, by: str, now: TimeMs) -> None:
    """
    Raises:
        NotFound: the tenant has no such version, or it is not in quarantine.
    """
    version = await _version(store, tenant, id)
    if not await _is_held(store, tenant, version.digest):
        raise NotFound(f"version '{version.id}' of tenant {tenant} is not in quarantine", kind="hold", id=id)
    await write_act(store, Act.RELEASED, by, now, tenant, version=version.id)
    await store.let_go(tenant, version.digest)


async def _is_held(store: Store, tenant: TenantId, code: str) -> bool:
    return any(hold.code == code for hold in await store.holds(tenant))


async def _version(store: Store, tenant: TenantId, id: str) -> Version:
    version = await store.version_of(tenant, id)
    if version is None:
        raise NotFound(f"tenant {tenant} has no version '{id}'", kind="version", id=id)
    return version
