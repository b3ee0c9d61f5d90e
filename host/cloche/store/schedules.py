"""The facet of a store for schedules: what begins runs at set times, and what came of each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cloche.history.ids import TenantId, TimeMs
from cloche.store.inbox import Post

FIRINGS_KEPT = 1_000  # of each schedule, the last ones


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A schedule as it stands. Times in ms since 1970.

    `spec` is CBOR (`worker.schedule_spec`). `version` grows with each change, from 1: who changes a row says which it was.
    `next_at` is the instant that comes next, None: there is none. `due_at` is when somebody has to look at it, None: never.
    `queued` are instants that have come and wait until the run before has ended. `last_run` is the id of the run begun last.
    `firings` is how many entries its journal has had.
    """

    tenant: TenantId
    id: str
    spec: bytes
    version: int
    created_at: TimeMs
    updated_at: TimeMs
    next_at: TimeMs | None = None
    due_at: TimeMs | None = None
    is_paused: bool = False
    queued: tuple[TimeMs, ...] = ()
    last_run: str | None = None
    firings: int = 0


@dataclass(frozen=True, slots=True)
class Firing:
    """What came of an instant of a schedule. Times in ms since 1970.

    `number` counts the entries of the journal, from 1. `run` is the id of the run that was begun; None: it was skipped, and
    `reason` says why. `instant` is the time that was planned, `at` when it was dealt with. Where several were skipped at once,
    `until` is the last of them and `count` how many.
    """

    number: int
    instant: TimeMs
    at: TimeMs
    run: str | None
    reason: str = ""
    until: TimeMs | None = None
    count: int = 1


class Schedules(Protocol):
    """Raises as `Store`. A schedule is named by its tenant and its id."""

    async def move_schedule(
        self, row: ScheduleRow, posts: Sequence[Post] = (), firings: Sequence[Firing] = (), *, at: TimeMs
    ) -> bool:
        """Put a row in the place of the version before it, leave `posts` in the inbox, and write `firings`: one commit.

        Of two who move the same version one is given True, and of the other nothing is kept. Version 1 is a new schedule.
        A post to start a run is kept, and one that is there already stays. Of the journal the last `FIRINGS_KEPT` stay.
        """

    async def delete_schedule(self, tenant: TenantId, id: str) -> bool:
        """Forget a schedule and its journal; whether it was there."""

    async def schedule(self, tenant: TenantId, id: str) -> ScheduleRow | None:
        """The schedule of that id."""

    async def schedules(self, tenant: TenantId | None = None) -> list[ScheduleRow]:
        """All of them, or those of one tenant, in the order of tenants and ids."""

    async def due_schedules(self, now: TimeMs) -> list[ScheduleRow]:
        """Those that are due at `now`, and those that are the next to be due, by index: in the order of `due_at`."""

    async def firings(self, tenant: TenantId, id: str, *, before: int | None = None, limit: int = 100) -> list[Firing]:
        """A page of the journal of a schedule, the newest first: those with a `number` below `before`."""
