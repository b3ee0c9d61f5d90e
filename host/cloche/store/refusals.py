"""Why a store refuses, in the words that every store uses."""

from __future__ import annotations

from cloche.errors import InboxFull, LeaseLost, NotFound, NotSuspended, QueueFull, SeqConflict, StoreError
from cloche.history.ids import RunKey, TenantId
from cloche.store.inbox import InboxBounds
from cloche.store.protocol import Append
from cloche.store.runs import RunRow


def refusal(append: Append, row: RunRow | None) -> StoreError:
    """Why an append was not written, given the row as it is now: `LeaseLost` or `SeqConflict`."""
    if row is not None and append.new is None and row.lease != append.lease:
        return lease_lost(append.key)
    return SeqConflict(
        f"run {append.key} does not end at record {append.expect} any more: somebody else appended to it",
        run_id=append.key.run,
        expected=append.expect,
    )


def lease_lost(key: RunKey) -> LeaseLost:
    return LeaseLost(f"run {key} belongs to another worker now, which goes on with it", run_id=key.run)


def no_such_run(key: RunKey) -> NotFound:
    return NotFound(f"there is no run {key} in this store", kind="run", id=key.run)


def no_event_any_more(key: RunKey, status: str) -> NotSuspended:
    return NotSuspended(f"run {key} has ended ({status}): it takes no event", run_id=key.run, suspended=[])


def queue_full(tenant: TenantId, waiting: int, most: int) -> QueueFull:
    return QueueFull(
        f"tenant {tenant} has {waiting} runs that wait to begin, and {most} may: try again when some have begun",
        tenant=tenant,
        limit="queued_runs",
        value=most,
        asked=waiting + 1,
    )


def check_room(
    key: RunKey, bounds: InboxBounds, of_run: tuple[int, int], of_tenant: tuple[int, int], size: int
) -> None:
    """Whether one more event of `size` bytes may wait. The pairs are how many wait, and their bytes.

    Raises:
        InboxFull
    """
    run, tenant = f"run {key}", f"all runs of tenant {key.tenant}"
    for limit, whose, waiting, more in (
        ("waiting_events", run, of_run[0], 1),
        ("waiting_event_bytes", run, of_run[1], size),
        ("tenant_waiting_events", tenant, of_tenant[0], 1),
        ("tenant_waiting_event_bytes", tenant, of_tenant[1], size),
    ):
        most = getattr(bounds, limit)
        if waiting + more > most:
            counted = "bytes of events" if limit.endswith("bytes") else "events"
            raise InboxFull(
                f"{waiting:,} {counted} wait for {whose} already, of at most {most:,} ({limit} of the policy), and this one "
                "was not kept: send it again when some were taken, or give the tenant another policy",
                tenant=key.tenant,
                run_id=key.run,
                limit=limit,
                value=most,
                asked=waiting + more,
            )
