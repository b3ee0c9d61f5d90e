"""Every store: permits are asked for and freed in commits, never more than a limit has, in order, and fair among tenants."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from support.apps import in_loop
from support.histories import at
from support.stores import Log, committed, key

from cloche.errors import LeaseLost, SeqConflict
from cloche.history import CallId, Kind, Path, RunKey, Seq, TenantId, TimeMs
from cloche.history.values import decode
from cloche.status import RunStatus
from cloche.store import PERMIT, Lease, Limit, LimitName, PermitAsk, PermitRow, Store

GPU = LimitName("gpu").pack()
CUSTOMER = LimitName("customer", 0, "default", "c-17").pack()
STRIPE = LimitName("stripe", 60_000).pack()  # long, so that no test waits for it: PostgreSQL has its own clock
SOON = LimitName("soon", 200).pack()


def ask(call: int, *limits: Limit) -> PermitAsk:
    return PermitAsk(CallId(call), "work", Path(f"work#{call}"), limits)


def gpu(most: int = 1) -> Limit:
    return Limit(GPU, most)


async def asked(store: Store, log: Log, *asks: PermitAsk, freed: Sequence[int] = (), **more: Any) -> None:
    append = replace(log.append(Kind.STEP_CALLED, path="x"), asks=asks, freed=[CallId(one) for one in freed], **more)
    assert await store.commit([append]) == [None]


async def freed(store: Store, log: Log, *calls: int, status: str = "running") -> None:
    append = log.append(Kind.STEP_CALLED, path="x", status=status)
    assert await store.commit([replace(append, freed=[CallId(one) for one in calls])]) == [None]


async def having(store: Store, of: RunKey | None = None) -> list[tuple[str, int]]:
    """Who has their permits, in the order in which they asked."""
    rows = await store.permits() if of is None else await store.permits_of(of)
    return [(row.key.run, row.call) for row in rows if row.granted_at is not None]


async def told(store: Store) -> list[tuple[str, int]]:
    """Who was told by a request that they have them since, in that order."""
    return [(row.key.run, decode(row.body)[0]) for row in await store.requests() if row.kind == PERMIT]


async def waiting(store: Store) -> list[tuple[str, str | None]]:
    return [(row.key.run, row.waits_for) for row in await store.permits() if row.granted_at is None]


@in_loop
async def test_as_many_as_the_limit_has_are_given_in_the_commit_that_asks(store: Store) -> None:
    a, b, c = await committed(store, "a", "b", "c")
    for log in (a, b, c):
        await asked(store, log, ask(1, gpu(2)))
    assert await having(store) == [("a", 1), ("b", 1)]
    assert (await waiting(store), await told(store)) == ([("c", GPU)], [])
    [row] = await store.permits_of(a.key)
    assert replace(row, id=1, asked_at=at(0), granted_at=at(0)) == PermitRow(
        1, a.key, CallId(1), "work", Path("work#1"), (gpu(2),), at(0), at(0)
    )


@in_loop
async def test_the_commit_that_frees_one_gives_it_to_who_waited_longest_and_tells_the_run(store: Store) -> None:
    logs = await committed(store, "a", "b", "c")
    for log in logs:
        await asked(store, log, ask(1, gpu()))
    await freed(store, logs[0], 1)
    assert (await having(store), await told(store)) == ([("b", 1)], [("b", 1)])
    [row] = await store.permits_of(logs[1].key)
    assert row.is_posted
    await freed(store, logs[1], 1)
    assert (await having(store), await told(store)) == ([("c", 1)], [("b", 1), ("c", 1)])
    await freed(store, logs[2], 1)
    assert await store.permits() == []


@in_loop
async def test_who_stops_waiting_is_passed_over(store: Store) -> None:
    logs = await committed(store, "a", "b", "c")
    for log in logs:
        await asked(store, log, ask(1, gpu()))
    await freed(store, logs[1], 1)
    await freed(store, logs[0], 1)
    assert (await having(store), await told(store)) == ([("c", 1)], [("c", 1)])


@in_loop
async def test_one_has_all_of_its_permits_or_none(store: Store) -> None:
    a, b, c = await committed(store, "a", "b", "c")
    await asked(store, a, ask(1, gpu()))
    await asked(store, b, ask(1, Limit(CUSTOMER, 1), gpu()))
    await asked(store, c, ask(1, Limit(CUSTOMER, 1)))
    assert (await having(store), await waiting(store)) == ([("a", 1), ("c", 1)], [("b", GPU)])
    await freed(store, a, 1)  # now it is the other one that it waits for
    assert (await having(store), await waiting(store)) == ([("c", 1)], [("b", CUSTOMER)])
    await freed(store, c, 1)
    assert (await having(store), await told(store)) == ([("b", 1)], [("b", 1)])


@in_loop
async def test_tenants_take_turns_however_many_wait(store: Store) -> None:
    [holder] = await committed(store, "holder")
    await asked(store, holder, ask(1, gpu()))
    many = await committed(store, *[f"m{number}" for number in range(30)], tenant="many")
    few = await committed(store, "f0", "f1", tenant="few")
    for log in (*many, *few):
        await asked(store, log, ask(1, gpu()))
    await freed(store, holder, 1)
    by_key = {log.key: log for log in (*many, *few)}
    order = []
    for _ in range(32):
        [row] = [row for row in await store.permits() if row.granted_at is not None]
        order.append(row.key.run)
        await freed(store, by_key[row.key], 1)
    assert order == ["m0", "f0", "m1", "f1", *[f"m{number}" for number in range(2, 30)]]


@in_loop
async def test_a_tenant_that_asks_again_does_not_go_before_one_that_waits(store: Store) -> None:
    [one] = await committed(store, "one", tenant="quick")
    many = await committed(store, *[f"m{number}" for number in range(3)], tenant="many")
    for log in (one, *many):
        await asked(store, log, ask(1, gpu()))
    await asked(store, one, ask(2, gpu()), freed=[1])  # its next call is in the commit that frees its last one
    assert await having(store) == [("m0", 1)]
    await freed(store, many[0], 1)
    assert await having(store) == [("one", 2)]
    await asked(store, one, ask(3, gpu()), freed=[2])
    assert await having(store) == [("m1", 1)]


@in_loop
async def test_no_more_begin_in_a_window_than_it_takes(store: Store) -> None:
    logs = await committed(store, *"abcd")
    for log in logs:
        await asked(store, log, ask(1, Limit(STRIPE, 3, 60_000)))
    assert await waiting(store) == [("d", STRIPE)]
    await freed(store, logs[0], 1)  # what has begun stays counted
    assert (await having(store), await told(store)) == ([("b", 1), ("c", 1)], [])
    [use] = await store.limit_uses(at(9))
    assert (use.name, use.used) == (STRIPE, 3)


@in_loop
async def test_when_the_window_has_passed_who_waits_is_told(store: Store) -> None:
    logs = await committed(store, *"abc")
    for log in logs:
        await asked(store, log, ask(1, Limit(SOON, 1, 200)))
    now, given = at(100), list[str]()
    for _ in range(500):  # PostgreSQL's time passes by itself
        due = await store.grant_due(now)
        given = [run for run, _ in await told(store)]
        if due is None:
            break
        assert due > now
        now = due
        await asyncio.sleep(0.02)
    assert given == ["b", "c"]
    times = sorted(row.granted_at or 0 for row in await store.permits())
    assert min(later - sooner for sooner, later in pairwise(times)) >= 200


@in_loop
async def test_what_is_refused_asks_for_nothing_and_frees_nothing(store: Store) -> None:
    a, b = await committed(store, "a", "b")
    await asked(store, a, ask(1, gpu()))
    await asked(store, b, ask(1, gpu()))
    stale = replace(a.append(Kind.STEP_CALLED, path="x"), expect=Seq(1), freed=[CallId(1)], asks=[ask(2, gpu(9))])
    [conflict] = await store.commit([stale])
    assert isinstance(conflict, SeqConflict)
    assert (await having(store), await told(store)) == ([("a", 1)], [])


@in_loop
async def test_a_run_that_is_blocked_gives_back_what_its_steps_have(store: Store) -> None:
    a, b = await committed(store, "a", "b")
    await asked(store, a, ask(0, Limit(CUSTOMER, 1)), ask(1, gpu()))
    await asked(store, b, ask(1, gpu()))
    with pytest.raises(LeaseLost):
        await store.set_problem(a.key, "{}", Lease("another", 1))
    assert await having(store) == [("a", 0), ("a", 1)]
    await store.set_problem(a.key, "{}")
    assert await having(store) == [("a", 0), ("b", 1)]  # its place as a run it keeps


@in_loop
async def test_an_attempt_that_goes_on_has_its_permit_until_it_ends_or_its_worker_is_gone(store: Store) -> None:
    await store.leases.join("w")
    a, b, c = await committed(store, "a", "b", "c")
    for log in (a, b):
        claimed = await store.leases.claim("w", log.key)
        assert claimed is not None
        await asked(store, log, ask(1, gpu(2)), lease=claimed.lease)
        await asked(store, log, detached=[CallId(1)], lease=claimed.lease)
    await asked(store, c, ask(1, gpu(2)))
    await store.grant_due(at(50))
    assert (await having(store), await waiting(store)) == ([("a", 1), ("b", 1)], [("c", GPU)])
    await store.free_permits(a.key, [CallId(1)], at(50))
    assert (await having(store), await told(store)) == ([("b", 1), ("c", 1)], [("c", 1)])
    await store.leases.leave("w")
    await store.grant_due(at(51))
    assert await having(store) == [("c", 1)]


@in_loop
async def test_a_call_that_asks_again_has_one_place(store: Store) -> None:
    a, b = await committed(store, "a", "b")
    await asked(store, a, ask(1, gpu()))
    await asked(store, b, ask(1, gpu()))
    await asked(store, a, ask(1, gpu()))  # at the end of the queue
    assert (await having(store), await waiting(store)) == ([("b", 1)], [("a", GPU)])


@in_loop
async def test_the_listing_is_of_a_tenant_or_of_all_and_bounded(store: Store) -> None:
    (a,), (b,) = await committed(store, "a", tenant="acme"), await committed(store, "b")
    await asked(store, a, ask(1, gpu()), ask(2, gpu()))
    await asked(store, b, ask(1, gpu()))
    assert [(row.key.run, row.call) for row in await store.permits()] == [("a", 1), ("a", 2), ("b", 1)]
    assert [(row.key.run, row.call) for row in await store.permits(TenantId("acme"))] == [("a", 1), ("a", 2)]
    assert len(await store.permits(limit=2)) == 2


@in_loop
async def test_many_who_ask_at_once_have_no_more_than_there_are(store: Store) -> None:
    logs = await committed(store, *[f"r{number}" for number in range(12)])
    await asyncio.gather(*(asked(store, log, ask(1, gpu(3))) for log in logs))
    for _ in range(4):
        rows = [row for row in await store.permits() if row.granted_at is not None]
        assert len(rows) == 3
        by_key = {log.key: log for log in logs}
        await asyncio.gather(*(freed(store, by_key[row.key], 1) for row in rows))
    assert await store.permits() == []
    assert len(await told(store)) == 9


@in_loop
async def test_a_run_that_waits_to_begin_asks_as_a_call_does(store: Store) -> None:
    [a] = await committed(store, "a")
    await asked(store, a, ask(1, gpu()))
    log = Log(key("b"))
    new = replace(log.begin(status="pending"), queue_max=1, asks=[ask(0, gpu())], wake_at=TimeMs(1 << 50))
    assert await store.commit([new]) == [None]
    assert await waiting(store) == [("b", GPU)]
    row = await store.run(log.key)
    assert row is not None
    assert row.status is RunStatus.PENDING
    await freed(store, a, 1)
    assert await told(store) == [("b", 0)]
