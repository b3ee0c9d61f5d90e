"""Tenants and code that operators hold back: what of them this worker drives is let go, and begins again when it may.

That no worker claims such a run is the store's business (`Operators.hold`); nothing of it is lost. Steps that are under way
may end for `Policy.cancel_s`, as when a run is canceled, and are recorded; nothing new begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cloche.errors import HeldBack
from cloche.text import shown

if TYPE_CHECKING:
    from cloche.history import RunKey, TenantId
    from cloche.run.driver import RunDriver
    from cloche.run.ports import Tasks
    from cloche.store import Hold, Store


class Holds:
    """Of one worker."""

    def __init__(self, store: Store, tasks: Tasks) -> None:
        self._store = store
        self._tasks = tasks
        self._held: set[tuple[TenantId, str]] = set()  # as of the last look
        self._leaving: set[RunKey] = set()

    async def look(self, drivers: Iterable[RunDriver]) -> bool:
        """Let go of what is held now; whether anything is not held any more that was at the last look.

        Raises:
            StoreError: the store did not answer.
        """
        held = await self._store.holds()
        before, self._held = self._held, {(hold.tenant, hold.code) for hold in held}
        tenants = {hold.tenant for hold in held}
        for driver in drivers if held else ():
            if driver.key.tenant in tenants and driver.key not in self._leaving:
                row = await self._store.run(driver.key)
                if row is not None and of(held, driver.key.tenant, row.code) is not None:
                    self._leaving.add(driver.key)
                    self._tasks.spawn(self._let_go(driver))
        return not before <= self._held

    async def _let_go(self, driver: RunDriver) -> None:
        try:
            await driver.drain(driver.limits.policy.cancel_s)
        finally:
            self._leaving.discard(driver.key)


async def check(store: Store, tenant: TenantId, code: str = "") -> None:
    """
    Raises:
        HeldBack: an operator holds the tenant back, or this bundle of its code, by its digest.
    """
    hold = of(await store.holds(tenant), tenant, code)
    if hold is not None:
        what = "this version of its code is in quarantine" if hold.code else "it is suspended"
        raise HeldBack(
            f"tenant {tenant} may not have this done, for {what} ({shown(hold.reason)}); what waits for it is kept",
            tenant=tenant,
            reason=hold.reason,
            held_at=hold.held_at,
        )


def of(holds: Iterable[Hold], tenant: TenantId, code: str) -> Hold | None:
    """The first of these that holds back code of this digest, or the tenant altogether."""
    return next((hold for hold in holds if hold.tenant == tenant and hold.code in ("", code)), None)
