"""Every store: runs are listed in pages, by what they are."""

from __future__ import annotations

import pytest
from support.apps import in_loop
from support.stores import Log, committed, key, names

from cloche.errors import NotFound
from cloche.history import CallId, Kind, RunKey, TenantId
from cloche.history.ids import CHILD, STARTED_BY_STEP, derived_key
from cloche.status import RunStatus
from cloche.store import (
    NewRun,
    Store,
    all_records,
)


@in_loop
async def test_runs_are_listed_newest_first_and_in_pages(store: Store) -> None:
    await committed(store, "a", "b", "c", "d", "e")
    pages = [names(await store.runs(limit=2, after=after)) for after in (None, "d", "b", "a")]
    assert pages == [["e", "d"], ["c", "b"], ["a"], []]
    assert (names(await store.runs(limit=0)), names(await store.runs(after="unknown"))) == ([], [])


@in_loop
async def test_runs_that_have_not_ended_are_counted(store: Store) -> None:
    assert await store.count_open() == {}
    stands = ["running", "running", "waiting", "suspended", "suspended", "pending", "success", "failed", "paused"]
    for number, status in enumerate(stands):
        assert await store.commit([Log(key(f"r{number}")).begin(status=status)]) == [None]
    await store.leases.join("A")
    await store.leases.claim("A", key("r0"))
    expected = {"running": 2, "waiting": 1, "suspended": 2, "pending": 1, "paused": 1}
    assert await store.count_open() == expected


@in_loop
async def test_runs_are_filtered_by_tenant_status_and_workflow(store: Store) -> None:
    for run, tenant, workflow, status in [
        ("1", "a", "orders", "running"),
        ("2", "a", "mail", "success"),
        ("3", "b", "orders", "success"),
        ("4", "a", "orders", "success"),
    ]:
        assert await store.commit([Log(key(run, tenant)).begin(workflow, status)]) == [None]
    assert names(await store.runs(tenant="a")) == ["4", "2", "1"]
    assert names(await store.runs(status=RunStatus.SUCCESS)) == ["4", "3", "2"]
    assert names(await store.runs(workflow="orders", status=RunStatus.SUCCESS)) == ["4", "3"]
    assert names(await store.runs(tenant="a", workflow="orders", status=RunStatus.SUCCESS, limit=9)) == ["4"]
    assert names(await store.runs(tenant="c")) == []


@in_loop
async def test_a_page_goes_on_behind_a_run_that_does_not_pass_the_filter_any_more(store: Store) -> None:
    logs = await committed(store, "a", "b", "c")
    assert names(await store.runs(status=RunStatus.RUNNING, limit=2)) == ["c", "b"]
    await store.commit([logs[1].append(Kind.RUN_COMPLETED, status=RunStatus.SUCCESS)])
    assert names(await store.runs(status=RunStatus.RUNNING, limit=2, after="b")) == ["a"]


@in_loop
async def test_a_page_of_a_tenant_goes_on_behind_its_own_run(store: Store) -> None:
    await committed(store, "x", tenant="other")
    await committed(store, "w", "x", "y", tenant="mine")
    assert names(await store.runs(tenant="mine", after="x")) == ["w"]


@in_loop
async def test_a_run_can_be_blocked_and_freed(store: Store) -> None:
    (log,) = await committed(store, "r1")
    before = await store.run(key())
    await store.set_problem(key(), '{"reason": "no step"}')
    blocked = await store.run(key())
    assert blocked is not None
    assert (blocked.status, blocked.problem) == ("blocked", '{"reason": "no step"}')
    await store.set_problem(key(), None)
    assert (await store.run(key()), await all_records(store, key())) == (before, log.records)


@in_loop
async def test_a_run_that_is_not_there_cannot_be_blocked(store: Store) -> None:
    with pytest.raises(NotFound) as raised:
        await store.set_problem(key("r9"), "why")
    assert (raised.value.message, raised.value.kind, raised.value.id) == (
        "there is no run r9 in this store",
        "run",
        "r9",
    )


@in_loop
async def test_queued_runs_are_counted_by_tenant(store: Store) -> None:
    for tenant, status in (("acme", "pending"), ("acme", "pending"), ("acme", "running"), ("umbra", "pending")):
        log = Log(key(f"r{len(await store.runs())}", tenant))
        assert await store.commit([log.append(Kind.RUN_CREATED, status=status, new=NewRun("w", "c0de"))]) == [None]
    assert (
        await store.queued(TenantId("acme")),
        await store.queued(TenantId("umbra")),
        await store.queued(TenantId("x")),
    ) == (2, 1, 0)


@in_loop
async def test_what_a_run_has_begun_is_counted_by_its_id(store: Store) -> None:
    root = key("r1")
    child = derived_key(root, CHILD, CallId(1))
    below = [child, derived_key(root, STARTED_BY_STEP, CallId(12)), derived_key(child, CHILD, CallId(3))]
    others = [key("r10"), key("r1x"), key("r"), RunKey(TenantId("umbra"), child.run)]
    for one in (root, *below, *others):
        assert await store.commit([Log(one).begin()]) == [None]
    assert [await store.descendants(one, 10) for one in (root, child, below[2], key("r"))] == [3, 1, 0, 0]
    assert await store.descendants(root, 2) == 2
    direct = [await store.descendants(one, 10, are_direct=True) for one in (root, child, below[2], key("r"))]
    assert direct == [2, 1, 0, 0]
