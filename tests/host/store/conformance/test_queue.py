"""Every store: no more runs wait to begin than may, however many workers queue them at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from support.apps import in_loop
from support.stores import Log, closed_after, committed, key

from cloche.errors import QueueFull, SeqConflict
from cloche.history import Kind
from cloche.history.ids import TenantId
from cloche.store import Append, NewRun, Outcome, Store

ACME, UMBRA = TenantId("acme"), TenantId("umbra")


def queued(*runs: str, tenant: str = ACME, most: int = 2) -> list[Append]:
    new = NewRun("w", "c0de")
    return [
        replace(Log(key(run, tenant)).append(Kind.RUN_CREATED, status="pending", new=new), queue_max=most)
        for run in runs
    ]


def kinds(outcomes: Sequence[Outcome]) -> list[type | None]:
    return [None if outcome is None else type(outcome) for outcome in outcomes]


@in_loop
async def test_runs_of_one_commit_are_counted_too(store: Store) -> None:
    others = queued("r1", "r2", tenant=UMBRA)
    begun = Log(key("r9")).begin()
    outcomes = await store.commit([*queued("r1", "r2", "r3"), begun, *others])
    assert kinds(outcomes) == [None, None, QueueFull, None, None, None]
    assert [await store.queued(tenant) for tenant in (ACME, UMBRA)] == [2, 2]
    refused = outcomes[2]
    assert isinstance(refused, QueueFull)
    assert (refused.tenant, refused.limit, refused.value, refused.asked) == ("acme", "queued_runs", 2, 3)
    assert await store.run(key("r3", ACME)) is None


@in_loop
async def test_connections_that_queue_at_once_share_the_bound(store: Store) -> None:
    async with closed_after(await store.connect()) as other:
        commits = [(store, other)[number % 2].commit(queued(f"r{number}")) for number in range(8)]
        came = [outcome for outcomes in await asyncio.gather(*commits) for outcome in outcomes]
    assert (kinds(came).count(None), kinds(came).count(QueueFull), await store.queued(ACME)) == (2, 6, 2)


@in_loop
async def test_a_run_that_has_begun_waits_no_more(store: Store) -> None:
    assert kinds(await store.commit(queued("r1", most=1))) == [None]
    assert kinds(await store.commit(queued("r2", most=1))) == [QueueFull]
    log = Log(key("r1", ACME))
    log.append(Kind.RUN_CREATED, status="pending", new=NewRun("w", "c0de"))
    assert await store.commit([log.append(Kind.RUN_STARTED)]) == [None]
    assert kinds(await store.commit(queued("r2", most=1))) == [None]


@in_loop
async def test_a_run_that_is_there_is_a_conflict_however_full_the_queue_is(store: Store) -> None:
    await committed(store, "r1", tenant=ACME)
    assert kinds(await store.commit(queued("r1", most=0))) == [SeqConflict]
