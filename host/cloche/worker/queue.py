"""Runs that were admitted and have not begun: one record each, which holds all that their start needs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cloche.errors import HistoryError, LeasedElsewhere
from cloche.history import RunKey, RunMachine, TimeMs
from cloche.history.messages import Started
from cloche.history.notes import AnyNote, RunCanceled, RunCreated
from cloche.history.reading import unpack_started
from cloche.run.meter import Tally
from cloche.store import Append, Lease, Metered, NewRun, RunRow, all_records

if TYPE_CHECKING:
    from cloche.run.ports import RunServices


async def queue(
    services: RunServices, key: RunKey, new: NewRun, created: RunCreated, request: int | None, queue_max: int
) -> None:
    """Record a run that begins later, and accept the request for it; raises as `Starting.queue`.

    `queue_max` is how many runs of its tenant may wait, this one too: counted where it is kept.
    """
    await _append(services, RunMachine(key), created, new=new, taken=_rows(request), queue_max=queue_max)


async def cancel(services: RunServices, row: RunRow, taken: int | None) -> None:
    """End a run that has not begun. Nobody here drives it meanwhile.

    Raises:
        LeasedElsewhere: a worker has just taken it.
    """
    claimed = await services.ownership.claim(row.key)
    if claimed is not None and claimed.lease is not None and claimed.head_seq != row.head_seq:
        await services.store.leases.release(row.key, claimed.lease, claimed.status, claimed.wake_at)
        claimed = None
    if claimed is None:
        raise LeasedElsewhere(f"run {row.key} begins just now", run_id=row.key.run, owner=None)
    machine = RunMachine(row.key)
    for record in await all_records(services.store, row.key):
        machine.absorb(record)
    end = RunCanceled(services.world.now())
    await _append(services, machine, end, lease=claimed.lease, taken=_rows(taken))


def start_of(key: RunKey, created: RunCreated, now: TimeMs) -> Started:
    """The event that a queued run begins with: now, as it was asked for then.

    Raises:
        HistoryError: it was not queued, so its input is not known.
    """
    if not created.queued:
        raise HistoryError(f"run {key} was created and never started, and its record does not say with what")
    return replace(asked(created), time=now)


def asked(created: RunCreated) -> Started:
    """The start that a queued run was asked for with."""
    return unpack_started(created.queued)


def _rows(request: int | None) -> tuple[int, ...]:
    return () if request is None else (request,)


async def _append(
    services: RunServices,
    machine: RunMachine,
    note: AnyNote,
    *,
    new: NewRun | None = None,
    lease: Lease | None = None,
    taken: tuple[int, ...] = (),
    queue_max: int | None = None,
) -> None:
    batch = machine.accept([note], b"", note.time)
    tally = Tally()
    for record in batch.records:
        tally.add(record)
    append = Append(
        machine.key,
        batch.expect,
        batch.records,
        machine.status,
        None,
        note.time,
        new,
        taken,
        lease,
        release=lease is not None,
        metered=Metered(tally.usage(), services.cells.meter),
        queue_max=queue_max,
    )
    await services.log.append(append)
