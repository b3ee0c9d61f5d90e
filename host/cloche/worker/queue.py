"""Runs that were admitted and have not begun: one record each, which holds all that their start needs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cloche.errors import HistoryError
from cloche.history import Path, RunKey, RunMachine, TimeMs
from cloche.history.messages import Started
from cloche.history.notes import RunCreated
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
