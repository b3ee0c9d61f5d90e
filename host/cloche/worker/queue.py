"""Runs that were admitted and have not begun: one record each, which holds all that their start needs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cloche.errors import HistoryError, LeasedElsewhere
from cloche.history import Kind, Note, RunKey, RunMachine, TimeMs
from cloche.history.messages import Started
from cloche.history.values import decode
from cloche.run.meter import Tally
from cloche.store import Append, Lease, Metered, NewRun, RunRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.worker.worker import Scheduler

QUEUED = "queued"  # in the note of a run's creation: the start that it waits for, packed


async def queue(scheduler: Scheduler, key: RunKey, new: NewRun, created: Note) -> None:
    """Record a run that begins later; raises as `Scheduler.start`."""
    await _append(scheduler, RunMachine(key), created, new=new)


async def cancel(scheduler: Scheduler, row: RunRow, taken: int | None) -> None:
    """End a run that has not begun.

    Raises:
        LeasedElsewhere: a worker has just taken it.
    """
    claimed = scheduler.store.leases.claim(scheduler.membership.worker, row.key)
    if claimed is None or claimed.head_seq != row.head_seq:
        raise LeasedElsewhere(f"run {row.key} begins just now", run_id=row.key.run, owner=None)
    machine = RunMachine(row.key)
    for record in scheduler.store.records(row.key):
        machine.absorb(record)
    end = Note(Kind.RUN_CANCELED, scheduler.world.now(), {})
    await _append(scheduler, machine, end, lease=claimed.lease, taken=() if taken is None else (taken,))
    scheduler.announce(row.key, stopped=True)


def start_of(key: RunKey, created: Mapping[str, Any], now: TimeMs) -> Started:
    """The event that a queued run begins with: now, as it was asked for then.

    Raises:
        HistoryError: it was not queued, so nobody knows.
    """
    if QUEUED not in created:
        raise HistoryError(f"run {key} was created and never started, and its record does not say with what")
    return replace(asked(created), time=now)


def asked(created: Mapping[str, Any]) -> Started:
    _, time, seed, value, given = decode(created[QUEUED])
    return Started(time, seed, value, given)


async def _append(
    scheduler: Scheduler,
    machine: RunMachine,
    note: Note,
    *,
    new: NewRun | None = None,
    lease: Lease | None = None,
    taken: tuple[int, ...] = (),
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
        metered=Metered(tally.usage(), scheduler.engine.meter),
    )
    await scheduler.committer.append(append)
