"""Every store: runs are found by what they are and by their marks, in pages that neither skip nor repeat one."""

from __future__ import annotations

from dataclasses import replace

from support.apps import in_loop
from support.histories import at
from support.stores import Log, committed, key, names

from cloche.history import Kind, Seq, TenantId
from cloche.status import RunStatus
from cloche.store import FailureGroup, RunFilter, Store

ACME = TenantId("acme")


async def failed(store: Store, run: str, error: str, step: str, *, workflow: str = "orders", **marks: str) -> Log:
    """A run of tenant acme that has failed."""
    log = Log(key(run, ACME))
    append = log.begin(workflow, "failed")
    assert await store.commit([replace(append, marks={"error": error, "step": step, **marks})]) == [None]
    return log


async def found(store: Store, **meant: object) -> list[str]:
    page = await store.find(RunFilter(**meant), limit=100)  # type: ignore[arg-type]
    assert page.next is None
    return names(list(page.rows))


@in_loop
async def test_runs_are_found_by_all_that_is_asked_for(store: Store) -> None:
    await failed(store, "a", "ValueError", "charge")
    await failed(store, "b", "ValueError", "mail", workflow="letters")
    await failed(store, "c", "KeyError", "charge")
    await committed(store, "d", tenant="acme")
    await committed(store, "e", tenant="umbra")
    assert await found(store) == ["e", "d", "c", "b", "a"]
    assert await found(store, tenant=ACME, status=RunStatus.FAILED) == ["c", "b", "a"]
    assert await found(store, tenant=ACME, marks={"error": "ValueError"}) == ["b", "a"]
    assert await found(store, tenant=ACME, marks={"error": "ValueError", "step": "charge"}) == ["a"]
    assert await found(store, marks={"step": "charge"}, workflow="orders") == ["c", "a"]
    assert await found(store, tenant=ACME, workflow="letters", code="c0de") == ["b"]
    assert await found(store, code="other") == []
    assert await found(store, tenant=TenantId("nobody")) == []


@in_loop
async def test_of_several_statuses_any_is_meant(store: Store) -> None:
    await failed(store, "a", "ValueError", "charge")
    await committed(store, "b", tenant="acme")
    await failed(store, "c", "KeyError", "charge")
    ended = Log(key("d", ACME))
    assert await store.commit([ended.begin("orders", "success")]) == [None]
    both = (RunStatus.FAILED, RunStatus.RUNNING, RunStatus.FAILED)
    assert await found(store, tenant=ACME, status=both) == ["c", "b", "a"]
    assert await found(store, status=(RunStatus.SUCCESS, RunStatus.CANCELED)) == ["d"]
    assert await found(store, tenant=ACME, status=both, marks={"error": "KeyError"}) == ["c"]
    pages, before = list[str](), None
    while True:
        page = await store.find(RunFilter(ACME, both), limit=1, before=before)
        pages += names(list(page.rows))
        if (before := page.next) is None:
            break
    assert pages == ["c", "b", "a"]


@in_loop
async def test_runs_are_found_by_the_time_of_their_last_record(store: Store) -> None:
    logs = await committed(store, "a", "b")
    later = logs[0].append(Kind.LOG_LINE)
    assert await store.commit([replace(later, at=at(5_000_000))]) == [None]
    assert await found(store, since=at(5_000_000)) == ["a"]
    assert await found(store, until=at(4_999_999)) == ["b"]


@in_loop
async def test_pages_neither_skip_nor_repeat_a_run_while_runs_move(store: Store) -> None:
    logs = {str(log.key.run): log for log in await committed(store, *(f"r{number:02}" for number in range(10)))}
    seen: list[str] = []
    before = None
    while True:
        page = await store.find(RunFilter(), limit=3, before=before)
        seen += names(list(page.rows))
        for name in (seen[-1], "r00"):  # one that was seen moves, and one that was not
            assert await store.commit([logs[name].append(Kind.LOG_LINE)]) == [None]
        await committed(store, f"new-{len(seen)}")
        if (before := page.next) is None:
            break
    assert seen == [f"r{number:02}" for number in reversed(range(10))]


@in_loop
async def test_a_run_that_leaves_the_filter_between_two_pages_takes_no_other_with_it(store: Store) -> None:
    logs = await committed(store, *"abcd")
    first = await store.find(RunFilter(status=RunStatus.RUNNING), limit=2)
    assert await store.commit([logs[2].append(Kind.LOG_LINE, status="success")]) == [None]  # "c", the last one seen
    second = await store.find(RunFilter(status=RunStatus.RUNNING), limit=2, before=first.next)
    assert (names(list(first.rows)), names(list(second.rows))) == (["d", "c"], ["b", "a"])


@in_loop
async def test_marks_are_added_and_replaced_by_later_commits_and_go_with_their_run(store: Store) -> None:
    log = Log(key("r1", ACME))
    assert await store.commit([replace(log.begin(), marks={"tag customer": "c-1"})]) == [None]
    more = replace(log.append(Kind.LOG_LINE, status="success"), marks={"tag customer": "c-2", "tag plan": "pro"})
    assert await store.commit([more]) == [None]
    assert await store.marks(log.key) == {"tag customer": "c-2", "tag plan": "pro"}
    assert await found(store, tenant=ACME, marks={"tag customer": "c-1"}) == []
    assert await found(store, tenant=ACME, marks={"tag customer": "c-2"}) == ["r1"]
    assert await store.delete([log.key], at(9)) == [log.key]
    assert (await store.marks(log.key), await found(store, marks={"tag plan": "pro"})) == ({}, [])


@in_loop
async def test_an_append_that_is_refused_leaves_no_mark(store: Store) -> None:
    (log,) = await committed(store, "r1")
    late = replace(log.append(Kind.LOG_LINE), expect=Seq(7), marks={"tag a": "b"})
    assert await store.commit([late]) != [None]
    assert await store.marks(log.key) == {}


@in_loop
async def test_failures_are_grouped_and_those_that_were_retried_are_no_more(store: Store) -> None:
    first = await failed(store, "a", "ValueError", "charge")
    await failed(store, "b", "ValueError", "charge", workflow="letters")
    await failed(store, "c", "KeyError", "mail")
    old = Log(key("old", ACME))  # of a release without marks
    assert await store.commit([old.begin(status="failed")]) == [None]
    groups = await store.failures(RunFilter(tenant=ACME), limit=10)
    assert [(one.error, one.step, one.count, one.example.run) for one in groups] == [
        ("ValueError", "charge", 2, "b"),
        (None, None, 1, "old"),
        ("KeyError", "mail", 1, "c"),
    ]
    assert groups[0].first == first.records[-1].time
    split = await store.failures(RunFilter(tenant=ACME), limit=2, by_workflow=True)
    assert [(one.workflow, one.error) for one in split] == [("letters", "ValueError"), ("orders", None)]
    again = Log(key("a2", ACME))
    assert await store.commit([replace(again.begin(), marks={"retry_of": "a"})]) == [None]
    assert (await store.failures(RunFilter(tenant=ACME), limit=1))[0].count == 1
    assert await store.retries(first.key) == [again.key]
    assert await found(store, tenant=ACME, status=RunStatus.FAILED, is_retried=True) == ["a"]
    assert await found(store, tenant=ACME, status=RunStatus.FAILED, is_retried=False) == ["old", "c", "b"]


@in_loop
async def test_failures_are_those_of_the_time_and_workflow_that_are_asked_for(store: Store) -> None:
    log = await failed(store, "a", "ValueError", "charge")
    last = log.records[-1].time
    since, until = RunFilter(since=at(1_000_000)), RunFilter(until=last)
    assert await store.failures(since, limit=9) == []
    assert await store.failures(until, limit=9) == [
        FailureGroup(ACME, None, "ValueError", "charge", 1, last, last, log.key)
    ]
    assert await store.failures(RunFilter(workflow="letters"), limit=9) == []


@in_loop
async def test_a_store_says_which_other_tenants_have_runs(store: Store) -> None:
    for tenant in ("acme", "umbra", "zeta"):
        await committed(store, "r1", tenant=tenant)
    assert await store.other_tenants(TenantId("umbra"), 5) == ["acme", "zeta"]
    assert await store.other_tenants(TenantId("acme"), 1) == ["umbra"]
    assert await store.other_tenants(TenantId("nobody"), 5) == ["acme", "umbra", "zeta"]
