"""Runs that were admitted and have not begun: one record each, which holds all that their start needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cloche.errors import HistoryError
from cloche.history import Kind, Note, Path, RunKey, RunMachine, TimeMs
from cloche.history.machine import Input
from cloche.history.messages import Started, unpack_event
from cloche.history.notes import RunCreated, note_of
from cloche.history.permitted import WHOLE_RUN
from cloche.history.reading import unpack_started
from cloche.run.meter import Tally
from cloche.store import HELD_BACK, Append, Limit, Metered, NewRun, PermitAsk

if TYPE_CHECKING:
    from cloche.run.ports import RunServices


async def queue(
    services: RunServices, key: RunKey, new: NewRun, created: RunCreated, request: int | None, queue_max: int
) -> None:
    """Record a run that begins later, and accept the request for it; raises as `Starting.queue`.

    `queue_max` is how many runs of its tenant may wait, this one too: counted where it is kept.
    """
    machine = RunMachine(key)
    batch = machine.accept([created], b"", created.time)
    limits = [Limit(*one) for one in created.permits]
    asks = [PermitAsk(WHOLE_RUN, created.workflow, Path(""), limits)] if limits else []
    append = Append(
        key,
        batch.expect,
        batch.records,
        machine.status,
        HELD_BACK if asks else None,
        created.time,
        new,
        () if request is None else (request,),
        metered=Metered(Tally.of(batch.records).usage(), services.cells.meter),
        queue_max=queue_max,
        marks=batch.marks,
        asks=asks,
    )
    await services.log.append(append)
    if asks:
        services.supervisor.look_for_requests()
        services.supervisor.permits_wait()


def queued(inputs: Sequence[Input], abi: int) -> dict[str, Any]:
    """What the first record of a run keeps of what it is to begin with: its start, and what comes with that."""
    start, *others = inputs
    assert isinstance(start, Started)
    brought = [
        [int(one.kind), one.time, getattr(one, "call", None), one.pack()] if isinstance(one, Note) else one.pack(abi)
        for one in others
    ]
    return {"queued": start.pack(abi), "brought": brought}


def beginning_of(key: RunKey, created: RunCreated, now: TimeMs) -> list[Input]:
    """What a queued run begins with: its start now, as it was asked for then; one that goes on from another with all that
    happened there, at the times when it did.

    Raises:
        HistoryError: it was not queued, so its input is not known.
    """
    if not created.queued:
        raise HistoryError(f"run {key} was created and never started, and its record does not say with what")
    if not created.brought:
        return [replace(asked(created), time=now)]
    return [asked(created), *map(_brought, created.brought)]


def _brought(one: Any) -> Input:
    if isinstance(one, bytes):
        return unpack_event(one)
    kind, time, call, packed = one
    return note_of(Kind(kind), time, call, packed)


def asked(created: RunCreated) -> Started:
    """The start that a queued run was asked for with."""
    return unpack_started(created.queued)
