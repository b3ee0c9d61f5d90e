"""Bugs that are planted, one at a time, each by replacing a named function: the simulator must find every one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import wraps
from typing import Any
from unittest.mock import patch

from cloche.errors import SeqConflict
from cloche.history import Batch, Kind, RunKey
from cloche.history.machine import Input
from cloche.history.messages import StepCompleted
from cloche.run.attempts import Attempts
from cloche.run.children import Children
from cloche.run.commit import Commit
from cloche.run.driver import RunDriver, is_far_from_moving
from cloche.run.effects import Effects
from cloche.run.outcomes import Outcomes
from cloche.run.permits import Permits
from cloche.store import CHILD_ENDED, GRANTED, Append, InboxRow, Lease, MemoryStore, Outcome, WaitingEvent
from cloche.store.memory import MemoryLeases
from cloche.store.memory.permit_data import PermitData
from cloche.store.permits import Held
from cloche.store.refusals import queue_full
from cloche.worker.claims import Claims
from cloche.worker.committer import Committer
from cloche.worker.drivers import Drivers
from cloche.worker.inbox import Inbox
from cloche.worker.looks import OneAtATime
from cloche.worker.membership import Membership
from cloche.worker.permits import PermitRunner
from cloche.worker.run_inbox import RunInboxes
from cloche.worker.starting import Starting

Mutation = Callable[[], AbstractContextManager[Any]]
MUTATIONS: dict[str, Mutation] = {}
OF_PARENTS = {
    "forget the request of a child",
    "forget a child that is given up",
}  # those that show where runs wait for children
OF_LIMITS = {
    "keep permits of what has ended",
    "tell nobody who has a permit",
    "give to whoever asks",
    "forget that time frees permits",
    "lose the permits of a run that was taken over",
    "forget a run that may begin",
}  # those that show where runs share limits


def mutation(owner: type, method: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Plant the decorated function instead of `owner.method`; it gets the true one first."""

    def planted(function: Callable[..., Any]) -> Callable[..., Any]:
        true = getattr(owner, method)

        @wraps(true)
        def instead(self: Any, *args: Any, **options: Any) -> Any:
            return function(true, self, *args, **options)

        MUTATIONS[function.__name__.replace("_", " ")] = lambda: patch.object(owner, method, instead)
        return function

    return planted


# ---- what is done, and when ----


@mutation(Commit, "_append")
async def dispatch_before_commit(
    true: Any, self: Commit, batch: Batch, inputs: Sequence[Input], *, release: bool
) -> None:
    driver: Any = self._owner
    await driver._effects.dispatch(driver.machine.committed(batch))
    await asyncio.sleep(0)
    await true(self, batch, inputs, release=release)


@mutation(Committer, "append")
async def acknowledge_before_commit(true: Any, self: Committer, append: Append) -> None:
    async def written() -> None:
        with suppress(Exception):
            await true(self, append)

    task = asyncio.create_task(written())
    self._tasks.add(task)
    task.add_done_callback(self._tasks.discard)


@mutation(Attempts, "again")
def redispatch_a_completed_step(true: Any, self: Attempts, inputs: Sequence[Input]) -> Any:
    ended = [self.calls[one.call].start for one in inputs if isinstance(one, StepCompleted) and one.call in self.calls]
    return [*true(self, inputs), *ended]


@mutation(Outcomes, "_tell_end")
def lose_the_end_of_a_step(true: Any, self: Outcomes, end: Any, changes: Any) -> None:
    if self._services.world.now() % 3:
        true(self, end, changes)


@mutation(Attempts, "again")
def lose_a_retry(true: Any, self: Attempts, inputs: Sequence[Input]) -> Any:
    true(self, inputs)
    return []


@mutation(Attempts, "_ended")
def look_at_no_end_of_an_attempt(true: Any, self: Attempts, task: asyncio.Task[None]) -> None:
    self.tasks.pop(task).attempts -= 1
    if not task.cancelled():
        task.exception()


@mutation(RunDriver, "_may_park")
def drive_a_run_that_was_let_go(true: Any, self: RunDriver) -> bool:
    """Its pause is no longer as long as one that is parked, by a second look at the clock: it has two drivers then."""
    is_far = is_far_from_moving(self.live.machine, self._services.world)
    if self.lease is None and not is_far and self.live.machine.wake_at is not None:
        self.lease = Lease(self._services.ownership.worker, 1)
        return False
    return bool(true(self))


# ---- time ----


@mutation(MemoryLeases, "next_due")
async def lose_a_timer(true: Any, self: MemoryLeases) -> None:
    return None


@mutation(Effects, "fire")
def lose_a_timer_of_a_live_run(true: Any, self: Effects, timer: Any) -> None:
    return None


# ---- the store ----


@mutation(MemoryStore, "_append")
def skip_the_expected_sequence(true: Any, self: MemoryStore, append: Append) -> Any:
    outcome = true(self, append)
    row = self._data.rows.get(append.key)
    if not isinstance(outcome, SeqConflict) or row is None:
        return outcome
    return true(self, replace(append, expect=row.head_seq, new=None, lease=row.lease))


@mutation(MemoryStore, "_append")
def ignore_the_fence(true: Any, self: MemoryStore, append: Append) -> Any:
    row = self._data.rows.get(append.key)
    return true(self, replace(append, lease=row.lease) if row is not None else append)


@mutation(MemoryStore, "commit")
async def write_half_a_group(true: Any, self: MemoryStore, appends: Sequence[Append]) -> list[Outcome]:
    outcomes: list[Outcome] = await true(self, appends[: (len(appends) + 1) // 2])
    return [*outcomes, *[None] * (len(appends) - len(outcomes))]


@mutation(MemoryStore, "records")
async def read_short(true: Any, self: MemoryStore, key: Any, after: Any = 0, limit: int = 4096) -> Any:
    records = await true(self, key, after, limit)
    return records[:-1] if len(records) > 6 else records


@mutation(MemoryStore, "_append")
def drop_an_attempt_from_the_log(true: Any, self: MemoryStore, append: Append) -> Any:
    kept = [record for record in append.records if record.kind is not Kind.ATTEMPT_FAILED]
    return true(self, replace(append, records=kept or append.records))


# ---- those outside ----


@mutation(Inbox, "_take")
async def drop_a_request_before_the_commit(true: Any, self: Inbox, row: InboxRow) -> None:
    await self._store.resolve(row.id, GRANTED)
    await asyncio.sleep(0)
    await true(self, row)


@mutation(MemoryStore, "_append")
def deliver_twice(true: Any, self: MemoryStore, append: Append) -> Any:
    return true(self, replace(append, taken=()))


@mutation(Commit, "_posts")
def forget_the_request_of_a_child(true: Any, self: Commit, batch: Batch) -> Any:
    return [post for post in true(self, batch) if post.kind != CHILD_ENDED]


@mutation(Children, "unwanted")
def forget_a_child_that_is_given_up(true: Any, self: Children, batch: Batch) -> Any:
    return []


@mutation(Claims, "look")
async def take_no_more_work(true: Any, self: Claims) -> None:
    if self._mark is None:
        await true(self)


@mutation(Membership, "_look")
async def evict_and_do_not_look(true: Any, self: Membership, now: float) -> None:
    changes = self.changes
    await true(self, now)
    self.changes = changes


@mutation(MemoryStore, "first_events")
async def let_events_overtake(true: Any, self: MemoryStore, key: Any, names: Sequence[str]) -> Any:
    newest = {row.name: row for row in await self.requests(key) if row.name in names}
    return [WaitingEvent(row.id, row.name or "", row.posted_at) for row in newest.values()]


@mutation(RunInboxes, "_fire")
async def let_deadlines_overtake(true: Any, self: RunInboxes, driver: Any, one: Any) -> Any:
    return await true(self, driver, None)


@mutation(MemoryStore, "new_requests")
async def keep_the_mark_of_a_worker_that_is_gone(true: Any, self: MemoryStore, worker: str, after: Any) -> Any:
    return await true(self, worker, after and replace(after, departures=self._data.departures))


# ---- between two answers of the store ----


@mutation(Starting, "_claiming")
def claim_a_run_twice(true: Any, self: Starting, key: RunKey) -> asyncio.Lock:
    return asyncio.Lock()


@mutation(OneAtATime, "__call__")
async def let_looks_overlap(true: Any, self: OneAtATime) -> None:
    await self._look()


@mutation(Drivers, "lose_all")
def keep_runs_that_are_others(true: Any, self: Drivers, *, but: str) -> None:
    return None


@mutation(Committer, "append")
async def count_before_the_insert(true: Any, self: Committer, append: Append) -> None:
    tenant, most = append.key.tenant, append.queue_max
    if most is not None and (waiting := await self._store.queued(tenant)) >= most:
        raise queue_full(tenant, waiting, most)
    await true(self, replace(append, queue_max=None))


@mutation(Claims, "_look_for_strays")
def forget_what_a_lost_answer_gave(true: Any, self: Claims) -> None:
    return None


# ---- limits ----


@mutation(Permits, "freed")
def keep_permits_of_what_has_ended(true: Any, self: Permits, batch: Batch) -> Any:
    true(self, batch)
    return [], []


@mutation(PermitData, "_grant")
def tell_nobody_who_has_a_permit(true: Any, self: PermitData, grant: Any) -> None:
    true(self, replace(grant, post=None))


@mutation(PermitData, "_answer")
def give_to_whoever_asks(true: Any, self: PermitData, asked: Any) -> Any:
    return 0 if isinstance(asked, Held) else true(self, asked)


@mutation(PermitRunner, "_look")
async def forget_that_time_frees_permits(true: Any, self: PermitRunner) -> None:
    return None


@mutation(Permits, "_follow")
def lose_the_permits_of_a_run_that_was_taken_over(true: Any, self: Permits, call: Any, start: Any, row: Any) -> None:
    if not start.redispatched:
        true(self, call, start, row)


@mutation(Starting, "begin_permitted")
async def forget_a_run_that_may_begin(true: Any, self: Starting, key: RunKey) -> None:
    return None
