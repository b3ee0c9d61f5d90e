"""What operators do to a store: each act is written to its audit log here, and by nobody else, before it is done.

An act is what changes a store beside the runs' own moving: code, what is held back, runs that are deleted, brought or put under
other code, tokens, the form of the store itself; and what a person asks of a run, by a command or a token: to end, to go on.
Reading is none, and neither is what programs ask of runs, starts and events: the log has that.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from cloche.store import AuditEntry
from cloche.text import shown

if TYPE_CHECKING:
    from cloche.history import TimeMs
    from cloche.store import Store

ACTOR_MAX = 200  # characters
LOOKED_AT_MAX = 20_000  # entries, for what was done to one run: there is no index of that
_PAGE = 1_000


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
    CANCELED = "canceled"  # a run was asked to end
    RESUMED = "resumed"  # data for a suspended one was left
    RETRIED = "retried"
    EVENT_SENT = "event sent"
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


async def acts_on(store: Store, tenant: str, run: str, limit: int) -> list[AuditEntry]:
    """What was done to one run, the newest first: up to `limit` of the last `LOOKED_AT_MAX` entries of its tenant."""
    found: list[AuditEntry] = []
    before, looked = None, 0
    while looked < LOOKED_AT_MAX:
        page = await store.audit_log(tenant, before=before, limit=_PAGE)
        looked += len(page)
        found += [entry for entry in page if _is_of(json.loads(entry.facts), run)]
        if len(page) < _PAGE or len(found) >= limit:
            break
        before = page[-1].id
    return found[:limit]


def _is_of(facts: Any, run: str) -> bool:
    """Of an act on many runs, its pages name them."""
    return run in (facts.get("run"), facts.get("as")) or run in (facts.get("runs") or ())
