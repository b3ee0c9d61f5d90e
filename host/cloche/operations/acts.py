"""What operators do to a store: each act is written to its audit log here, and by nobody else, before it is done.

An act is what changes a store beside the runs' own moving: code, what is held back, runs that are deleted, brought or put under
other code, tokens, the form of the store itself. Reading is none, and neither is what callers ask of runs: the log has that.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from cloche.store import AuditEntry
from cloche.text import shown

if TYPE_CHECKING:
    from cloche.history import TimeMs
    from cloche.store import Store

ACTOR_MAX = 200  # characters


class Act(StrEnum):
    """As the audit log names it."""

    DEPLOYED = "deployed"
    WITHDREW = "withdrew"
    SUSPENDED = "suspended"
    REINSTATED = "reinstated"
    QUARANTINED = "quarantined"
    RELEASED = "released"
    DELETED = "deleted"  # one run
    PRUNED = "pruned"  # runs that had ended, by their age
    COLLECTED = "collected"  # what no run needs any more
    UPGRADED = "upgraded"
    IMPORTED = "imported"
    BULK = "bulk"  # the same done to many runs
    SCHEDULE = "schedule"  # one was put, paused, resumed or deleted
    TOKEN_CREATED = "token created"
    TOKEN_ROTATED = "token rotated"
    TOKEN_REVOKED = "token revoked"
    WEBHOOK_PUT = "webhook put"
    WEBHOOK_DELETED = "webhook deleted"
    MIGRATED = "migrated"


async def write_act(store: Store, act: Act, by: str, now: TimeMs, tenant: str = "", **facts: object) -> None:
    """Write one act. `by` "": the host's own program; `tenant` "": all of them; `facts`: JSON data.

    `by` is text for people: what does not show is spelled out, and 200 characters are kept.

    Raises:
        StoreError: it was not written, so the act must not be done.
    """
    actor = shown(str(by)[:ACTOR_MAX])[:ACTOR_MAX]
    await store.write_audit(AuditEntry.of(now, tenant, actor, act, **facts))
