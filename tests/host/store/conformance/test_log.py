"""Every store: what is appended is there, in order, once, and comes back as it was."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.apps import in_loop
from support.histories import at
from support.stores import Log, begun, closed_after, committed, conflict_at, key, names

from cloche.errors import StoreError
from cloche.history import Kind, Path, Seq
from cloche.history.records import BODY_BYTES_MAX
from cloche.status import RunStatus
from cloche.store import (
    MemoryStore,
    RunRow,
    SqliteStore,
    Store,
    all_records,
)


@in_loop
async def test_an_empty_store_has_nothing(store: Store) -> None:
    assert (await store.run(key()), await store.runs(), await store.requests()) == (None, [], [])
    assert (await all_records(store, key()), await store.result(key(), Path("add")), await store.blob("x")) == (
        [],
        None,
        None,
    )
    assert await store.commit([]) == []


@in_loop
async def test_a_run_is_created_with_its_first_records(store: Store) -> None:
    (log,) = await committed(store, "r1")
    row = RunRow(key(), "orders", "c0de", RunStatus.RUNNING, None, at(2), at(2), Seq(2), log.records[-1].hash)
    assert (await store.run(key()), await store.runs()) == (row, [row])
    assert await all_records(store, key()) == log.records


@in_loop
async def test_records_are_appended_behind_the_end_and_change_the_row(store: Store) -> None:
    (log,) = await committed(store, "r1")
    assert await store.commit([log.step()]) == [None]
    assert await store.commit([log.append(Kind.TIMER_SET, path="nap", status=RunStatus.WAITING, wake_at=at(500))]) == [
        None
    ]
    end = log.records[-1]
    row = RunRow(key(), "orders", "c0de", RunStatus.WAITING, at(500), at(2), end.time, Seq(6), end.hash)
    assert (await store.run(key()), await all_records(store, key())) == (row, log.records)


@pytest.mark.parametrize("after", range(6))
@in_loop
async def test_records_are_read_from_any_place(store: Store, after: int) -> None:
    (log,) = await committed(store, "r1")
    await store.commit([log.step()])
    assert await all_records(store, key(), Seq(after)) == log.records[after:]


@in_loop
async def test_records_come_back_as_they_were_made(store: Store) -> None:
    (log,) = await committed(store, "r1")
    body = bytes(range(256)) * 300
    assert await store.commit([log.append(Kind.STEP_COMPLETED, path="größe/\x00'\"[3]", body=body)]) == [None]
    assert (await all_records(store, key()))[-1] == log.records[-1]


@in_loop
async def test_an_append_that_expects_another_end_is_refused_and_the_others_are_written(store: Store) -> None:
    first, second, third = await committed(store, "r1", "r2", "r3")
    stale = Log(key("r2"), list(second.records))
    await store.commit([second.step()])
    outcomes = await store.commit([first.step(), stale.step("other"), third.step()])
    assert [outcomes[0], outcomes[2]] == [None, None]
    assert conflict_at(outcomes[1]) == ("r2", 2)
    assert [await all_records(store, log.key) for log in (first, second, third)] == [
        first.records,
        second.records,
        third.records,
    ]


@in_loop
async def test_a_conflict_says_what_happened(store: Store) -> None:
    (log,) = await committed(store, "r1")
    stale = Log(key(), list(log.records))
    await store.commit([log.step()])
    (outcome,) = await store.commit([stale.step()])
    assert str(outcome) == "run r1 does not end at record 2 any more: somebody else appended to it"
    assert isinstance(outcome, StoreError)
    assert outcome.retryable


@pytest.mark.parametrize("expect", [1, 3, 99])
@in_loop
async def test_an_append_too_early_or_too_late_is_refused(store: Store, expect: int) -> None:
    await committed(store, "r1")
    ahead = Log(key())
    ahead.next(*[Kind.LOG_LINE] * expect)
    assert conflict_at((await store.commit([ahead.append(Kind.LOG_LINE)]))[0]) == ("r1", expect)


@in_loop
async def test_a_run_is_created_once(store: Store) -> None:
    """The same id again, by whoever asks twice: one is created, the other is told; nothing of it is written."""
    (log, append), (_, again) = begun(), begun()
    outcomes = await store.commit([append, again])
    assert (outcomes[0], conflict_at(outcomes[1])) == (None, ("r1", 0))
    assert conflict_at((await store.commit([begun()[1]]))[0]) == ("r1", 0)
    assert (names(await store.runs()), await all_records(store, key())) == (["r1"], log.records)


@in_loop
async def test_a_run_that_was_not_created_takes_no_records(store: Store) -> None:
    log = Log(key())
    assert conflict_at((await store.commit([log.append(Kind.LOG_LINE)]))[0]) == ("r1", 0)
    assert await store.runs() == []


@in_loop
async def test_several_appends_of_one_run_may_share_a_commit(store: Store) -> None:
    log, append = begun()
    assert await store.commit([append, log.step("a"), log.step("b")]) == [None, None, None]
    assert await all_records(store, key()) == log.records


@in_loop
async def test_runs_of_other_tenants_are_other_runs(store: Store) -> None:
    (mine,), (theirs,) = await committed(store, "r1", tenant="a"), await committed(store, "r1", tenant="b")
    await store.commit([mine.step()])
    assert await all_records(store, key("r1", "a")) == mine.records
    assert await all_records(store, key("r1", "b")) == theirs.records
    assert [row.key for row in await store.runs(tenant="a")] == [key("r1", "a")]


@in_loop
async def test_the_result_of_a_path_is_its_last_end(store: Store) -> None:
    (log,) = await committed(store, "r1")
    for kind, path in [
        (Kind.STEP_CALLED, "add"),
        (Kind.STEP_COMPLETED, "add"),
        (Kind.STEP_FAILED, "pay"),
        (Kind.ENTERED, "W"),
        (Kind.LEFT, "W"),
        (Kind.LEFT, "W"),
        (Kind.TIMER_FIRED, "nap"),
        (Kind.STEP_CALLED, "add"),
    ]:
        assert await store.commit([log.append(kind, path=path)]) == [None]
    by_path = {path: await store.result(key(), Path(path)) for path in ("add", "pay", "W", "nap", "unknown")}
    assert by_path == {"add": log.records[3], "pay": log.records[4], "W": log.records[7], "nap": None, "unknown": None}
    assert await store.result(key("r2"), Path("add")) is None


@pytest.mark.parametrize("size", [BODY_BYTES_MAX, BODY_BYTES_MAX + 1, 16_384, 1_000_000])
@in_loop
async def test_a_body_of_any_size_comes_back(store: Store, size: int) -> None:
    (log,) = await committed(store, "r1")
    body = random.Random(size).randbytes(size)
    assert await store.commit([log.append(Kind.STEP_COMPLETED, path="big", body=body)]) == [None]
    (record,) = await all_records(store, key(), Seq(2))
    assert (record, record.body) == (log.records[-1], body)
    assert await store.result(key(), Path("big")) == record


@in_loop
async def test_a_large_body_may_be_passed_on_and_grow(store: Store) -> None:
    (log,) = await committed(store, "r1")
    body = random.Random(1).randbytes(300_000)
    bodies = [body, body, b"more" + body, body + b"more", body]
    for number, one in enumerate(bodies):
        assert await store.commit([log.append(Kind.STEP_COMPLETED, path=f"s{number}", body=one)]) == [None]
    assert [record.body for record in await all_records(store, key(), Seq(2))] == bodies


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["r1", "r2", "r3"]), st.booleans(), st.booleans()), max_size=12))
@in_loop
async def test_both_stores_say_the_same_whatever_is_appended(moves: list[tuple[str, bool, bool]]) -> None:
    """A model test: writers that are sometimes stale, grouped at will; the stores agree on every answer and every record."""
    writers = {run: Log(key(run)) for run in ("r1", "r2", "r3")}
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        sqlite = await stack.enter_async_context(closed_after(SqliteStore(f"{folder}/runs.db")))
        stores: list[Store] = [MemoryStore(), sqlite]
        group = []
        for run, stale, flush in moves:
            log = Log(key(run), writers[run].records[:1]) if stale else writers[run]
            group.append(log.step() if log.records else log.begin())
            if flush:
                answers = [[str(outcome) for outcome in await store.commit(group)] for store in stores]
                assert answers[0] == answers[1]
                group = []
        listings = [[(row, await all_records(store, row.key)) for row in await store.runs()] for store in stores]
        assert listings[0] == listings[1]
        assert [list(await store.audit()) for store in stores] == [[], []]
