"""Schedules in one worker: each looks at those that are due, and none leads.

Of two that see the same instant one moves the schedule on, in one commit with the request to start its run; the other finds
that done. The run's id follows from schedule and instant, so nothing could begin it twice.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cloche.errors import ClocheError, StoreError
from cloche.history import RunKey, TimeMs
from cloche.history.ids import RunId
from cloche.history.values import encode_plain
from cloche.status import FINAL
from cloche.store import CANCEL, START, Post, ScheduleRow, Store, cancel_token
from cloche.store.histories import newest
from cloche.worker.answers import start_token
from cloche.worker.firing import Move, moved
from cloche.worker.looks import OneAtATime
from cloche.worker.schedule_spec import ScheduleSpec
from cloche.worker.start_request import StartRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cloche.run.ports import RunServices
    from cloche.worker.policies import Policies

TAG = "schedule"  # under which a run has the id of its schedule
REPLACED = "its schedule has begun the next one"
AGAIN_MS = 1_000  # until a look is made again at one that waits for a run to end, or that failed

log = logging.getLogger("cloche")


class ScheduleRunner:
    """Of one worker. `on_started` is called when requests to start runs were left in the store."""

    def __init__(self, services: RunServices, policies: Policies, on_started: Callable[[], Awaitable[None]]) -> None:
        self._services = services
        self._store = services.store
        self._policies = policies
        self._on_started = on_started
        self._planned: TimeMs | None = None  # the next look
        self._has_posted = False
        self.look = OneAtATime(self._look)

    async def look_soon(self) -> None:
        """As `look`, and again in a moment if the store did not answer."""
        try:
            await self.look()
        except StoreError as error:
            log.warning("the store did not say which schedules are due: %s", error.message)
            self._expect(TimeMs(self._services.world.now() + AGAIN_MS))

    async def _look(self) -> None:
        """See to the schedules that are due.

        Raises:
            StoreError: the store did not answer; it may have been done.
        """
        now = self._services.world.now()
        if not self._services.ownership.takes_runs:
            self._expect(TimeMs(now + AGAIN_MS))
            return
        for row in await self._store.due_schedules(now):
            assert row.due_at is not None
            if row.due_at > now:
                self._expect(row.due_at)
                continue
            try:
                self._expect(await self._move(row, now))
            except StoreError:
                raise
            except ClocheError as error:  # it was written by a newer release, say
                log.warning("schedule '%s' of tenant %s waits: %s", row.id, row.tenant, error.message)
                self._expect(TimeMs(now + AGAIN_MS))
        if self._has_posted:
            self._has_posted = False
            await self._on_started()

    async def _move(self, row: ScheduleRow, now: TimeMs) -> TimeMs | None:
        """Move one on, unless another worker has done it, or it waits; when it is to be looked at again."""
        spec = ScheduleSpec.unpack(row.spec)
        is_open = row.last_run is not None and await is_open_run(self._store, RunKey(row.tenant, RunId(row.last_run)))
        move = moved(row, spec, now, is_open=is_open, refused=await self._refusal(row, spec))
        if (move.row.next_at, move.row.queued) == (row.next_at, row.queued):
            return TimeMs(now + AGAIN_MS)  # for the run before to end
        posts = posts_of(move, spec)
        if not await self._store.move_schedule(move.row, posts, move.firings, at=now):
            return TimeMs(now + 1)
        self._has_posted = self._has_posted or bool(posts)
        for firing in move.firings:
            if firing.run is None:
                log.info("schedule '%s' of tenant %s has skipped a run: %s", row.id, row.tenant, firing.reason)
        if move.row.queued:
            return TimeMs(now + AGAIN_MS)
        return None if move.row.due_at is None else TimeMs(max(move.row.due_at, now + 1))

    async def _refusal(self, row: ScheduleRow, spec: ScheduleSpec) -> str | None:
        """Why the tenant's policy, as it is in force today, lets the schedule begin nothing."""
        await self._policies.learn([row.tenant])
        policy = self._policies.known(row.tenant)
        if row.next_at is not None and (following := spec.next_after(row.next_at)) is not None:
            every_s = (following - row.next_at) / 1000
            if every_s < policy.schedule_every_s:
                return f"it comes after {every_s:g} s, and the tenant's policy has schedule_every_s {policy.schedule_every_s}"
        others = [one for one in await self._store.schedules(row.tenant) if counts(one)]
        first = sorted(others, key=lambda one: (one.created_at, one.id))[: policy.schedules]
        if counts(row) and row.id not in [one.id for one in first]:
            return f"the tenant has {len(others)} schedules, and its policy has schedules {policy.schedules}"
        return None

    def _expect(self, due: TimeMs | None) -> None:
        if due is None:
            return
        if self._planned is not None and self._services.world.now() < self._planned <= due:
            return
        self._planned = due
        self._services.timers.at(due, lambda: self._services.tasks.spawn(self.look_soon()))


def counts(row: ScheduleRow) -> bool:
    """Whether a schedule is one of those that its tenant may have so many of: it will begin a run yet."""
    return row.next_at is not None or bool(row.queued)


async def is_open_run(store: Store, key: RunKey) -> bool:
    """Whether a run that was asked for has not ended: it may have to begin yet, or have gone on as another history."""
    key = await newest(store, key)
    if (run := await store.run(key)) is not None:
        return run.status not in FINAL
    return await store.request(start_token(key)) is not None or (
        (run := await store.run(key)) is not None and run.status not in FINAL  # it has begun between the two questions
    )


def posts_of(move: Move, spec: ScheduleSpec) -> list[Post]:
    """The requests that a move leaves: for runs that are to begin, and for those that are to end."""
    row = move.row
    ends = [RunKey(row.tenant, RunId(run)) for run in move.cancels]
    posts = [Post(key, CANCEL, encode_plain(REPLACED), cancel_token(key)) for key in ends]
    return posts + [start_post(row, spec, RunKey(row.tenant, RunId(run)), instant) for run, instant in move.starts]


def start_post(row: ScheduleRow, spec: ScheduleSpec, key: RunKey, instant: TimeMs) -> Post:
    """The request for the run of an instant. Its steps have schedule and instant in their `request_context`."""
    planned = datetime.fromtimestamp(instant / 1000, UTC).isoformat()
    context = {"schedule": row.id, "scheduled_at": planned}
    request = StartRequest.of(spec.workflow, spec.input, None, context, per_step=False, tags={TAG: row.id})
    return Post(key, START, request.pack(), start_token(key))
