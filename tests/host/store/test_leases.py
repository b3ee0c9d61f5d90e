"""Who executes which run: one suite, each store."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from support.apps import in_loop
from support.histories import at
from support.stores import Log, begun, key

from cloche.errors import LeaseLost, SeqConflict
from cloche.history import DEFAULT_TENANT, Kind, TenantId
from cloche.status import RunStatus
from cloche.store import GRANTED, Lease, Store, WorkerRow, all_records

WORKERS = ("A", "B")


async def committed(store: Store, run: str, status: str = "running", wake_at: int | None = None) -> Log:
    log = Log(key(run))
    append = replace(log.begin(status=status), wake_at=None if wake_at is None else at(wake_at))
    assert await store.commit([append]) == [None]
    return log


async def claimed(store: Store, worker: str, now: int, limit: int = 10) -> list[str]:
    return [row.key.run for row in await store.leases.claim_due(worker, at(now), {DEFAULT_TENANT: limit})]


async def owner(store: Store, run: str = "r1") -> tuple[str | None, int]:
    row = await store.run(key(run))
    assert row is not None
    return row.owner, row.fence


@in_loop
async def test_runs_of_other_workflows_are_left_in_their_place(store: Store) -> None:
    for run, workflow in (("a", "one"), ("b", "two"), ("c", "three"), ("d", "one")):
        assert await store.commit([Log(key(run)).begin(workflow)]) == [None]
    left = {DEFAULT_TENANT: 2}
    some = await store.leases.claim_due("A", at(0), left, but=("one", "nobody's"))
    assert [row.key.run for row in some] == ["b", "c"]
    assert await store.leases.claim_due("A", at(0), left, but=["one"]) == []
    assert [row.key.run for row in await store.leases.claim_due("B", at(0), left)] == ["a", "d"]


@in_loop
async def test_a_new_run_belongs_to_the_worker_that_made_it(store: Store) -> None:
    log, append = begun()
    assert await store.commit([replace(append, lease=Lease("A", 1))]) == [None]
    assert (await owner(store), await store.leases.claim("B", key())) == (("A", 1), None)
    assert await store.commit([replace(log.step(), lease=Lease("A", 1))]) == [None]


@in_loop
async def test_an_evicted_worker_owns_no_new_run(store: Store) -> None:
    await store.leases.leave("A")
    _, append = begun()
    assert await store.commit([replace(append, lease=Lease("A", 1))]) == [None]
    assert await owner(store) == (None, 1)


@pytest.mark.parametrize("lease", [None, Lease("A", 2), Lease("A", 3), Lease("B", 1), Lease("C", 1)])
@in_loop
async def test_only_the_lease_of_the_run_may_append(store: Store, lease: Lease | None) -> None:
    log, append = begun()
    await store.commit([replace(append, lease=Lease("A", 1))])
    before = await all_records(store, key())
    [outcome] = await store.commit([replace(log.step(), lease=lease)])
    assert isinstance(outcome, LeaseLost)
    assert (await all_records(store, key()), await owner(store)) == (before, ("A", 1))


@in_loop
async def test_a_worker_can_ask_what_it_owns(store: Store) -> None:
    """Also what it was not told of: the answer to a claim may be lost. Not what has ended."""
    for run, wake_at in (("r1", None), ("r2", 5), ("r3", None), ("r4", None)):
        await committed(store, run, "waiting" if wake_at else "running", wake_at)
    log = await committed(store, "r5")
    assert await claimed(store, "A", now=9, limit=3) == ["r1", "r3", "r4"]
    await store.leases.claim("B", key("r2"))
    row = await store.leases.claim("A", key("r5"))
    assert row is not None
    assert await store.commit([replace(log.append(Kind.RUN_COMPLETED, status="success"), lease=row.lease)]) == [None]
    assert await store.leases.owned("A") == [await store.run(key(run)) for run in ("r1", "r3", "r4")]
    assert [row.key.run for row in await store.leases.owned("B")] == ["r2"]
    assert await store.leases.owned("C") == []
    tenant = key("r1").tenant
    assert [await store.leases.owned_by_others(worker, tenant, 9) for worker in "ABC"] == [1, 3, 4]
    assert await store.leases.owned_by_others("C", tenant, 2) == 2
    assert await store.leases.owned_by_others("C", TenantId("umbra"), 9) == 0


@in_loop
async def test_an_old_fence_is_refused_though_nothing_was_appended_since(store: Store) -> None:
    log = await committed(store, "r1")
    first = await store.leases.claim("A", key())
    second = await store.leases.claim("A", key())
    assert (first and first.lease, second and second.lease) == (Lease("A", 1), Lease("A", 2))
    assert first is not None
    [late] = await store.commit([replace(log.step(), lease=first.lease)])
    assert isinstance(late, LeaseLost)


@in_loop
async def test_a_lease_does_not_excuse_a_wrong_place(store: Store) -> None:
    log = await committed(store, "r1")
    row = await store.leases.claim("A", key())
    assert row is not None
    append = replace(log.step(), lease=row.lease)
    assert await store.commit([append]) == [None]
    assert isinstance((await store.commit([append]))[0], SeqConflict)


@in_loop
async def test_a_run_is_let_go_with_the_append_that_brings_it_to_rest(store: Store) -> None:
    log, append = begun()
    await store.commit([replace(append, lease=Lease("A", 1))])
    end = log.append(Kind.RUN_COMPLETED, status="success")
    assert await store.commit([replace(end, lease=Lease("A", 1), release=True)]) == [None]
    assert await owner(store) == (None, 1)


@in_loop
async def test_runs_that_can_go_on_are_claimed_once_longest_waiting_first(store: Store) -> None:
    await committed(store, "later", "waiting", 500)
    await committed(store, "due", "waiting", 90)
    await committed(store, "now")
    await committed(store, "queued", "pending")
    for status in ("suspended", "waiting", "paused", "success"):
        await committed(store, f"is-{status}", status)
    assert await store.leases.next_due() == at(90)
    assert (await claimed(store, "A", 100, 1), await claimed(store, "B", 100), await claimed(store, "A", 100)) == (
        ["now"],
        ["queued", "due"],
        [],
    )
    assert (await store.leases.next_due(), await claimed(store, "A", 600), await store.leases.next_due()) == (
        at(500),
        ["later"],
        None,
    )


@in_loop
async def test_what_waits_for_somebody_is_claimed_by_name(store: Store) -> None:
    await committed(store, "r1", "suspended")
    assert await store.leases.claim("A", key("none")) is None
    row = await store.leases.claim("A", key())
    assert row is not None
    assert (row.status, row.lease) == ("suspended", Lease("A", 1))
    assert (await store.leases.claim("B", key()), await store.run(key())) == (None, row)


@in_loop
async def test_a_blocked_run_that_is_claimed_is_running_again(store: Store) -> None:
    await committed(store, "r1")
    row = await store.leases.claim("A", key())
    assert row is not None
    with pytest.raises(LeaseLost):
        await store.set_problem(key(), "{}", Lease("B", 1))
    await store.set_problem(key(), "{}", row.lease)
    blocked = await store.run(key())
    assert blocked is not None
    assert (blocked.status, blocked.owner, await claimed(store, "B", 999)) == ("blocked", None, [])
    again = await store.leases.claim("B", key())
    assert again is not None
    assert (again.status, again.problem, again.lease) == ("running", None, Lease("B", 2))


@in_loop
async def test_letting_go_says_what_the_run_waits_for(store: Store) -> None:
    await committed(store, "r1")
    row = await store.leases.claim("A", key())
    assert row is not None
    assert row.lease is not None
    await store.leases.release(key(), replace(row.lease, fence=9), RunStatus.WAITING, at(5))
    assert await owner(store) == ("A", 1)
    await store.leases.release(key(), row.lease, RunStatus.WAITING, at(5))
    assert (await owner(store), await claimed(store, "B", 4), await claimed(store, "B", 5)) == ((None, 1), [], ["r1"])


@in_loop
async def test_a_worker_that_leaves_frees_its_runs(store: Store) -> None:
    await committed(store, "r1")
    assert await claimed(store, "A", 0) == ["r1"]
    await store.leases.leave("A")
    assert (await claimed(store, "A", 0), await claimed(store, "B", 0)) == ([], ["r1"])


@in_loop
async def test_only_a_silent_worker_is_evicted(store: Store) -> None:
    await committed(store, "r1")
    await claimed(store, "A", 0)
    seen = next(row for row in await store.leases.workers() if row.id == "A")
    assert (await store.leases.heartbeat("A"), await store.leases.evict(seen), await owner(store)) == (
        True,
        False,
        ("A", 1),
    )
    seen = WorkerRow("A", seen.heartbeat + 1)
    assert (await store.leases.evict(seen), await store.leases.evict(seen), await owner(store)) == (
        True,
        False,
        (None, 2),
    )
    assert (await store.leases.heartbeat("A"), await store.leases.claim("A", key()), await claimed(store, "A", 0)) == (
        False,
        None,
        [],
    )


@in_loop
async def test_the_answer_to_a_kept_wish_stays(store: Store) -> None:
    log = await committed(store, "r1")
    for token, kept in (("kept", True), ("plain", False)):
        await store.post(key(), "event", b"1", token, at(1), kept=kept)
    append = replace(log.step(), taken=[row.id for row in await store.requests()])
    assert (await store.answer("kept"), await store.commit([append]), await store.requests()) == (None, [None], [])
    assert (await store.answer("kept"), await store.answer("plain")) == (GRANTED, None)
    for token in ("kept", "plain"):
        await store.post(key(), "event", b"2", token, at(2))
    assert [row.body for row in await store.requests()] == [b"2"]
    await store.forget("kept")
    assert await store.answer("kept") is None


@in_loop
async def test_a_refused_request_may_be_made_again(store: Store) -> None:
    await committed(store, "r1")
    await store.post(key(), "resume", b"1", "t", at(1), kept=True)
    await store.resolve((await store.requests())[0].id, "not now")
    assert (await store.answer("t"), await store.requests()) == ("not now", [])
    await store.post(key(), "resume", b"2", "t", at(2), kept=True)
    assert (await store.answer("t"), [row.body for row in await store.requests()]) == (None, [b"2"])


@in_loop
async def test_requests_are_for_the_worker_that_may_accept_them(store: Store) -> None:
    await committed(store, "r1")
    await committed(store, "r2", "suspended")
    await claimed(store, "A", 0)
    for run in ("r1", "r2"):
        await store.post(key(run), "cancel", b"", run, at(1))
    found = [await store.new_requests(worker, None) for worker in ("A", "B")]
    assert [[row.key.run for row in new.requests] for new in found] == [["r1", "r2"], ["r2"]]


@in_loop
async def test_each_tenant_gets_its_share_of_what_is_due_its_own_in_order(store: Store) -> None:
    for tenant, runs in (("a", 5), ("b", 2), ("c", 1)):
        for number in range(runs):
            assert await store.commit([Log(key(f"{tenant}{number}", tenant)).begin()]) == [None]
    assert await store.commit([replace(Log(key("d0", "d")).begin(status="waiting"), wake_at=at(500))]) == [None]
    tenants = await store.leases.due_tenants(at(100))
    assert tenants == ["a", "b", "c"]
    shares = {TenantId("c"): 2, TenantId("a"): 3, TenantId("b"): 0}
    rows = await store.leases.claim_due("A", at(100), shares)
    assert [row.key.run for row in rows] == ["c0", "a0", "a1", "a2"]
    assert {row.owner for row in rows} == {"A"}
    assert await store.leases.due_tenants(at(500)) == ["a", "b", "d"]


@in_loop
async def test_an_evicted_worker_gets_no_share(store: Store) -> None:
    assert await store.commit([Log(key("a0", "a")).begin()]) == [None]
    assert await store.leases.claim_due("gone", at(100), {TenantId("a"): 3}) == []


@in_loop
async def test_own_writes_are_no_news(store: Store) -> None:
    other = await store.connect()
    for run, own, others in (("r1", store, other), ("r2", other, store)):
        before = [(await one.news(None)).mark for one in (own, others)]
        await committed(own, run)
        await own.post(key(run), "cancel", b"", run, at(1))
        await own.leases.release(key(run), Lease("A", 1), RunStatus.WAITING, None)
        news = [await one.news(mark) for one, mark in zip((own, others), before, strict=True)]
        assert [one.is_any for one in news] == [False, True]
        assert not (await others.news(news[1].mark)).is_any
    await other.close()


@in_loop
async def test_an_eviction_is_news_to_others_only(store: Store) -> None:
    other = await store.connect()
    await committed(store, "r1")
    await claimed(store, "A", 0)
    before = [(await one.news(None)).mark for one in (store, other)]
    assert await other.leases.evict(next(row for row in await other.leases.workers() if row.id == "A"))
    assert [(await one.news(mark)).is_any for one, mark in zip((store, other), before, strict=True)] == [True, False]
    await other.close()


@in_loop
async def test_another_connection_sends_heartbeats(store: Store) -> None:
    """From a loop in another thread, while this one commits."""

    async def heartbeats() -> list[bool]:
        other = await store.connect()
        sent = [await other.leases.heartbeat("A") for _ in range(100)]
        await other.close()
        return sent

    log, append = begun()
    await store.commit([replace(append, lease=Lease("A", 1))])
    with ThreadPoolExecutor(1) as thread:
        sent = thread.submit(asyncio.run, heartbeats())
        for _ in range(100):
            assert await store.commit([replace(log.step(), lease=Lease("A", 1))]) == [None]
        assert await asyncio.wrap_future(sent) == [True] * 100
    assert next(row.heartbeat for row in await store.leases.workers() if row.id == "A") == 100
