"""Every store: a schedule is moved by one of those who see it, in one commit with what it begins; its journal is bounded."""

from __future__ import annotations

from dataclasses import replace

from support.apps import in_loop
from support.histories import at

from cloche.history import RunId, RunKey, TenantId
from cloche.store import CANCEL, FIRINGS_KEPT, START, Firing, Post, ScheduleRow, Store, cancel_token

ACME, OTHER = TenantId("acme"), TenantId("other")
RUN = RunKey(ACME, RunId("nightly\x1ft1000"))
BEGIN = Post(RUN, START, b"body", "start:acme:nightly%1Ft1000")


def schedule(id: str = "nightly", tenant: TenantId = ACME, due: int | None = 1000) -> ScheduleRow:
    due_at = at(due) if due is not None else None
    return ScheduleRow(tenant, id, b"spec", 1, at(1), at(2), at(900), due_at)


def next_of(row: ScheduleRow, firings: int = 0, due: int = 2000) -> ScheduleRow:
    return replace(row, version=row.version + 1, due_at=at(due), next_at=at(due), firings=row.firings + firings)


def fired(number: int) -> Firing:
    return Firing(number, at(number), at(number + 1), f"run {number}")


@in_loop
async def test_a_schedule_is_found_as_it_was_put(store: Store) -> None:
    row = replace(schedule(), queued=(at(3), at(4)), last_run="r1", is_paused=True)
    assert await store.move_schedule(row, at=at(1))
    assert (await store.schedule(ACME, "nightly"), await store.schedule(OTHER, "nightly")) == (row, None)


@in_loop
async def test_one_of_two_who_move_the_same_version_does(store: Store) -> None:
    row = schedule()
    assert [await store.move_schedule(row, at=at(1)) for _ in range(2)] == [True, False]
    other = await store.connect()
    moved = next_of(row, firings=1)
    assert await store.move_schedule(moved, [BEGIN], [fired(1)], at=at(5))
    assert not await other.move_schedule(next_of(row, firings=1, due=3000), [BEGIN], [fired(1)], at=at(6))
    await other.close()
    assert await store.schedule(ACME, "nightly") == moved
    assert [one.number for one in await store.firings(ACME, "nightly")] == [1]
    assert [(one.key, one.kind, one.body, one.kept) for one in await store.requests()] == [(RUN, START, b"body", True)]


@in_loop
async def test_a_request_that_was_made_before_stays_one(store: Store) -> None:
    row = schedule()
    await store.move_schedule(row, at=at(1))
    await store.post(RUN, START, b"body", BEGIN.token, at(2), kept=True)
    end = Post(RunKey(ACME, RunId("before")), CANCEL, b"why", cancel_token(RunKey(ACME, RunId("before"))))
    await store.move_schedule(next_of(row), [end, BEGIN], at=at(5))
    assert sorted((one.kind, one.kept) for one in await store.requests()) == [(CANCEL, False), (START, True)]
    [begin] = [one for one in await store.requests() if one.kind == START]
    await store.resolve(begin.id, "granted")
    await store.move_schedule(next_of(next_of(row)), [BEGIN], at=at(6))
    assert [one.kind for one in await store.requests()] == [CANCEL]


@in_loop
async def test_another_connection_sees_what_was_moved_as_news(store: Store) -> None:
    other = await store.connect()
    mark = (await other.news(None)).mark
    await store.move_schedule(schedule(), at=at(1))
    assert (await other.news(mark)).is_any
    await other.close()


@in_loop
async def test_those_that_are_due_are_found_and_the_next_one(store: Store) -> None:
    for id, due in (("a", 1000), ("b", 500), ("c", 3000), ("d", 2000), ("paused", None)):
        await store.move_schedule(schedule(id, due=due), at=at(1))
    assert [row.id for row in await store.due_schedules(at(1000))] == ["b", "a", "d"]
    assert [row.id for row in await store.due_schedules(at(9000))] == ["b", "a", "d", "c"]
    assert [row.id for row in await store.due_schedules(at(0))] == ["b"]


@in_loop
async def test_they_are_listed_by_tenant_and_id(store: Store) -> None:
    for id, tenant in (("b", ACME), ("a", OTHER), ("a", ACME)):
        await store.move_schedule(schedule(id, tenant), at=at(1))
    assert [(row.tenant, row.id) for row in await store.schedules()] == [(ACME, "a"), (ACME, "b"), (OTHER, "a")]
    assert [row.id for row in await store.schedules(ACME)] == ["a", "b"]


@in_loop
async def test_the_journal_is_paged_and_keeps_the_last(store: Store) -> None:
    row = replace(schedule(), firings=FIRINGS_KEPT + 5)
    entries = [fired(number) for number in range(1, FIRINGS_KEPT + 6)]
    entries[-1] = Firing(FIRINGS_KEPT + 5, at(7), at(9), None, "it was paused", at(8), 2)
    await store.move_schedule(row, firings=entries, at=at(1))
    assert await store.firings(ACME, "nightly", limit=2) == [entries[-1], entries[-2]]
    kept = await store.firings(ACME, "nightly", before=8, limit=10)
    assert [one.number for one in kept] == [7, 6]


@in_loop
async def test_a_schedule_is_forgotten_with_its_journal(store: Store) -> None:
    await store.move_schedule(replace(schedule(), firings=1), firings=[fired(1)], at=at(1))
    assert [await store.delete_schedule(ACME, "nightly") for _ in range(2)] == [True, False]
    assert await store.move_schedule(schedule(), at=at(1))
    assert await store.firings(ACME, "nightly") == []
