"""Every store: runs are listed in pages, by what they are."""

from __future__ import annotations

import pytest
from support.stores import Log, committed, key, names

from cloche.errors import NotFound
from cloche.history import Kind, TenantId
from cloche.status import RunStatus
from cloche.store import (
    NewRun,
    Store,
)


def test_runs_are_listed_newest_first_and_in_pages(store: Store) -> None:
    committed(store, "a", "b", "c", "d", "e")
    pages = [names(store.runs(limit=2, after=after)) for after in (None, "d", "b", "a")]
    assert pages == [["e", "d"], ["c", "b"], ["a"], []]
    assert (names(store.runs(limit=0)), names(store.runs(after="unknown"))) == ([], [])


def test_runs_are_filtered_by_tenant_status_and_workflow(store: Store) -> None:
    for run, tenant, workflow, status in [
        ("1", "a", "orders", "running"),
        ("2", "a", "mail", "success"),
        ("3", "b", "orders", "success"),
        ("4", "a", "orders", "success"),
    ]:
        assert store.commit([Log(key(run, tenant)).begin(workflow, status)]) == [None]
    assert names(store.runs(tenant="a")) == ["4", "2", "1"]
    assert names(store.runs(status=RunStatus.SUCCESS)) == ["4", "3", "2"]
    assert names(store.runs(workflow="orders", status=RunStatus.SUCCESS)) == ["4", "3"]
    assert names(store.runs(tenant="a", workflow="orders", status=RunStatus.SUCCESS, limit=9)) == ["4"]
    assert names(store.runs(tenant="c")) == []


def test_a_page_goes_on_behind_a_run_that_does_not_pass_the_filter_any_more(store: Store) -> None:
    logs = committed(store, "a", "b", "c")
    assert names(store.runs(status=RunStatus.RUNNING, limit=2)) == ["c", "b"]
    store.commit([logs[1].append(Kind.RUN_COMPLETED, status=RunStatus.SUCCESS)])
    assert names(store.runs(status=RunStatus.RUNNING, limit=2, after="b")) == ["a"]


def test_a_page_of_a_tenant_goes_on_behind_its_own_run(store: Store) -> None:
    committed(store, "x", tenant="other")
    committed(store, "w", "x", "y", tenant="mine")
    assert names(store.runs(tenant="mine", after="x")) == ["w"]


def test_a_run_can_be_blocked_and_freed(store: Store) -> None:
    (log,) = committed(store, "r1")
    before = store.run(key())
    store.set_problem(key(), '{"reason": "no step"}')
    blocked = store.run(key())
    assert blocked is not None
    assert (blocked.status, blocked.problem) == ("blocked", '{"reason": "no step"}')
    store.set_problem(key(), None)
    assert (store.run(key()), list(store.records(key()))) == (before, log.records)


def test_a_run_that_is_not_there_cannot_be_blocked(store: Store) -> None:
    with pytest.raises(NotFound) as raised:
        store.set_problem(key("r9"), "why")
    assert (raised.value.message, raised.value.kind, raised.value.id) == (
        "there is no run r9 in this store",
        "run",
        "r9",
    )


def test_queued_runs_are_counted_by_tenant(store: Store) -> None:
    for tenant, status in (("acme", "pending"), ("acme", "pending"), ("acme", "running"), ("umbra", "pending")):
        log = Log(key(f"r{len(store.runs())}", tenant))
        assert store.commit([log.append(Kind.RUN_CREATED, status=status, new=NewRun("w", "c0de"))]) == [None]
    assert (store.queued(TenantId("acme")), store.queued(TenantId("umbra")), store.queued(TenantId("x"))) == (2, 1, 0)
