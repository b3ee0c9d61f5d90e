"""Canceling a run that nobody drives: one that has not begun, or is blocked.

Its records say all that this needs: no cell is opened, and no step or workflow has to be there. One commit ends it, and leaves
the request to end in the same way for each of its children, which are not waited for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.errors import LeasedElsewhere
from cloche.history import RunMachine, TimeMs
from cloche.history.ids import child_key, parent_of
from cloche.history.notes import unpack_created
from cloche.history.values import ABI
from cloche.run.meter import Tally
from cloche.run.undriven import cancellation
from cloche.store import GRANTED, Append, Metered, Post, RunRow, all_records, child_ended, child_unwanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.history import Record
    from cloche.run.ports import RunServices


async def claimed(services: RunServices, row: RunRow) -> RunRow:
    """The run of `row`, owned by this worker now. Nobody here drives it meanwhile.

    Raises:
        LeasedElsewhere: a worker has just taken it.
        StoreUnavailable: it may be this worker's, or not.
    """
    found = await services.ownership.claim(row.key)
    if found is not None and found.lease is not None and found.head_seq != row.head_seq:
        await services.store.leases.release(row.key, found.lease, found.status, found.wake_at)
        found = None
    if found is None:
        raise LeasedElsewhere(f"run {row.key} goes on just now", run_id=row.key.run, owner=None)
    return found


async def cancel(services: RunServices, row: RunRow, abi: int | None, reason: str, request: int | None) -> None:
    """End the run of `row`, which this worker has claimed; `request` is accepted with it. Returns when that is durable.

    `abi` is that of its guest; None: its code cannot be read, and what is never delivered is packed for the newest one.

    Raises:
        HistoryError, DamagedStore: its records cannot be read, so nothing can follow them.
        StoreUnavailable: it has ended or not.
    """
    records = await all_records(services.store, row.key)
    machine = RunMachine(row.key)
    machine.abi = ABI if abi is None else abi
    for record in records:
        machine.absorb(record)
    if machine.ended and row.lease is not None:  # it was blocked behind its end
        await services.store.leases.release(row.key, row.lease, machine.status, None)
        if request is not None:
            await services.store.resolve(request, GRANTED)
        return
    posts = _posts(machine, records)
    now = TimeMs(max(services.world.now(), row.updated_at))
    batch = machine.accept(cancellation(machine, reason, now), b"", now)
    append = Append(
        row.key,
        batch.expect,
        batch.records,
        machine.status,
        None,
        now,
        taken=() if request is None else (request,),
        lease=row.lease,
        release=True,
        metered=Metered(Tally.of(batch.records).usage(), services.cells.meter),
        awaited=batch.awaited,
        unawaited=batch.unawaited,
        posts=posts,
        marks=batch.marks,
        freed=batch.freed,
    )
    await services.log.append(append)
    if batch.freed:
        services.supervisor.look_for_requests()


def _posts(machine: RunMachine, records: Sequence[Record]) -> list[Post]:
    """What its end leaves for others: that it has ended, for the run that waits for it, and cancellations of its children."""
    waits = parent_of(machine.key)
    derived_ids = unpack_created(records[0] if records else None).derived_ids
    starts = map(machine.open.start_of_child, machine.open.children())
    children = dict.fromkeys(child_key(machine.key, start.child, derived_ids=derived_ids) for start in starts)
    return [*([child_ended(*waits)] if waits is not None else []), *map(child_unwanted, children)]
