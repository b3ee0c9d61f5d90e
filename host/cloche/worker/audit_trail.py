"""What a worker adds to the audit log: what was denied to tenants, and the policies in force when they change.

A tenant can be denied something a thousand times a second. So each thing is told once an hour by each worker, and of a tenant
so many at most; the next entry says how many were left out.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from typing import TYPE_CHECKING

from cloche.errors import StoreError
from cloche.store import AuditEntry
from cloche.tenancy import Policy

if TYPE_CHECKING:
    from cloche.history import RunKey, TenantId, TimeMs
    from cloche.run.clock import World
    from cloche.run.ports import Tasks
    from cloche.store import Store
    from cloche.tenancy import InForce

AGAIN_MS = 3_600_000
WORKER = "worker"  # as the actor
DENIALS_MAX = 60  # of a tenant in that time

log = logging.getLogger("cloche")


class AuditTrail:
    """Of one worker."""

    def __init__(self, store: Store, world: World, tasks: Tasks) -> None:
        self._store = store
        self._world = world
        self._tasks = tasks
        self._since = 0
        self._told: dict[TenantId, set[tuple[str, str]]] = {}
        self._left_out: Counter[TenantId] = Counter()

    def denied(self, key: RunKey, limit: str, asked: str) -> None:
        """A run asked for what its policy does not grant: `limit` is the field of it that says so."""
        now, tenant = self._world.now(), key.tenant
        if now - self._since >= AGAIN_MS:
            self._since = now
            self._told.clear()
        told = self._told.setdefault(tenant, set())
        if (limit, asked) in told or len(told) >= DENIALS_MAX:
            self._left_out[tenant] += 1
            return
        told.add((limit, asked))
        facts = {"limit": limit, "asked": asked, "run": key.run, "left_out": self._left_out.pop(tenant, 0)}
        self._tasks.spawn(self._write(AuditEntry.of(now, tenant, WORKER, "denied", **facts)))

    async def _write(self, entry: AuditEntry) -> None:
        try:
            await self._store.write_audit(entry)
        except StoreError as error:
            log.warning("the audit log lacks an entry: tenant %s was denied %s: %s", entry.tenant, entry.facts, error)


async def policies_in_force(store: Store, now: TimeMs, in_force: InForce) -> None:
    """Tell of the policies of a worker that begins those that are not as they were told last.

    Raises:
        StoreError: the store did not answer.
    """
    known = {
        "": (("policy", in_force.policy, Policy()), ("policy of deployed code", in_force.deployed, Policy.strict()))
    }
    own = {tenant: (("policy", policy, Policy()),) for tenant, policy in sorted(in_force.own.items())}
    for tenant, policies in (*known.items(), *own.items()):
        for action, policy, default in policies:
            last = await store.audit_log(tenant, action=action, limit=1)
            before = json.loads(last[0].facts) if last else default.differences()
            if (differs := policy.differences()) != before:
                await store.write_audit(AuditEntry.of(now, tenant, WORKER, action, **differs))
