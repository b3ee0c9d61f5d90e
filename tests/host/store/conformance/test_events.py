"""Every store: an event waits under its name, is found when its run waits for it, and is counted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.apps import in_loop
from support.histories import at
from support.stores import Log, committed, key

from cloche.errors import InboxFull, NotSuspended
from cloche.history import Kind, TenantId, TimeMs
from cloche.store import Finding, InboxBounds, InboxMark, InboxRow, MemoryStore, SqliteStore, Store, WorkerRow
from cloche.store.postgres import PostgresStore

WIDE = InboxBounds(100, 1_000_000, 1_000, 1_000_000)


async def send(store: Store, token: str, name: str = "go", run: str = "r1", **more: object) -> None:
    await store.post(key(run), "event", token.encode(), token, at(1), name=name, **more)  # type: ignore[arg-type]


async def news(store: Store, worker: str = "w", after: InboxMark | None = None) -> list[tuple[str, str]]:
    """The runs and names of what is new to a worker among the events."""
    found = await store.new_requests(worker, after)
    return [(of.run, name) for of, name in found.events]


async def waiting(store: Store, log: Log, *names: str) -> None:
    """The run waits for these events from now on."""
    assert await store.commit([replace(log.step(), awaited=names)]) == [None]


@in_loop
async def test_an_event_is_new_when_its_run_waits_for_it(store: Store) -> None:
    (log,) = await committed(store, "r1")
    await send(store, "early", "go")
    await send(store, "other", "no")
    assert await news(store) == []
    await waiting(store, log, "go", "more")
    assert await news(store) == [("r1", "go")]
    await store.commit([replace(log.step(), unawaited=["go"])])
    assert await news(store) == []


@in_loop
async def test_who_waits_for_a_name_is_found(store: Store) -> None:
    first, second = await committed(store, "r2", "r1")
    await waiting(store, first, "token", "more")
    await waiting(store, second, "token")
    assert await store.waiting_for(key().tenant, "token") == [key("r1"), key("r2")]
    assert await store.waiting_for(TenantId("other"), "token") == []
    await store.commit([replace(second.step(), unawaited=["token"])])
    assert await store.waiting_for(key().tenant, "token") == [key("r2")]


@in_loop
async def test_what_was_given_for_a_mark_is_not_given_again(store: Store) -> None:
    (log,) = await committed(store, "r1")
    await waiting(store, log, "go")
    await send(store, "1")
    await store.post(key(), "resume", b"", "r", at(1))
    first = await store.new_requests("w", None)
    assert ([row.kind for row in first.requests], list(first.events)) == (["resume"], [(key(), "go")])
    second = await store.new_requests("w", first.mark)
    assert (list(second.requests), list(second.events)) == ([], [])
    await send(store, "2")
    assert await news(store, after=second.mark) == [("r1", "go")]


@in_loop
async def test_all_is_given_again_when_a_worker_is_gone(store: Store) -> None:
    (log,) = await committed(store, "r1")
    await waiting(store, log, "go")
    await send(store, "1")
    for worker in ("one", "two"):
        mark = (await store.new_requests("w", None)).mark
        await store.leases.join(worker)
        assert await news(store, after=mark) == []
        await (store.leases.leave(worker) if worker == "one" else store.leases.evict(WorkerRow(worker, 0)))
        assert await news(store, after=mark) == [("r1", "go")]


@in_loop
async def test_only_who_may_accept_an_event_is_given_it(store: Store) -> None:
    (log,) = await committed(store, "r1")
    await waiting(store, log, "go")
    await send(store, "1")
    await store.leases.join("one")
    assert await store.leases.claim("one", key()) is not None
    assert [await news(store, worker) for worker in ("one", "two")] == [[("r1", "go")], []]


@in_loop
async def test_a_blocked_run_is_given_nothing(store: Store) -> None:
    (log,) = await committed(store, "r1")
    await waiting(store, log, "go")
    await send(store, "1")
    await store.set_problem(key(), "{}")
    assert await news(store) == []
    await store.set_problem(key(), None)
    assert await news(store) == [("r1", "go")]


@in_loop
async def test_the_oldest_of_each_name_is_found(store: Store) -> None:
    await committed(store, "r1", "r2")
    for token, name in (("1", "b"), ("2", "a"), ("3", "b"), ("4", "c")):
        await send(store, token, name)
    await send(store, "x", "a", run="r2")
    found = await store.first_events(key(), ["a", "b", "none"])
    assert [(one.name, await store.body(one.id)) for one in found] == [("b", b"1"), ("a", b"2")]
    await store.resolve(found[0].id, "no")
    assert await store.body(found[0].id) is None
    (next_one,) = await store.first_events(key(), ["b"])
    assert await store.body(next_one.id) == b"3"
    assert (await store.has_events(key()), await store.has_events(key("r3"))) == (True, False)


@in_loop
async def test_the_requests_of_a_run_are_found_by_it(store: Store) -> None:
    await committed(store, "r1", "r2")
    await send(store, "e")
    await store.post(key(), "resume", b"r", "r", at(2))
    await store.post(key("r2"), "cancel", b"", "c", at(3))
    event, resume = await store.requests(key())
    assert (event.kind, event.name) == ("event", "go")
    assert await store.requests(key(), events=False) == [resume]
    assert resume == InboxRow(resume.id, key(), "resume", b"r", None, at(2), "r")


@in_loop
async def test_the_time_of_posting_never_falls(store: Store) -> None:
    await committed(store, "r1")
    for token, time in (("1", at(5)), ("2", at(3)), ("3", at(9))):
        await store.post(key(), "event", b"", token, time, name="go")
    assert [row.posted_at for row in await store.requests()] == [at(5), at(5), at(9)]


@pytest.mark.parametrize(
    ("limit", "value", "asked"),
    [
        ("waiting_events", 2, 3),
        ("waiting_event_bytes", 20, 24),
        ("tenant_waiting_events", 3, 4),
        ("tenant_waiting_event_bytes", 30, 32),
    ],
)
@in_loop
async def test_more_events_than_may_wait_are_refused(store: Store, limit: str, value: int, asked: int) -> None:
    await committed(store, "r1", "r2")
    bounds = replace(WIDE, **{limit: value})
    run = "r2" if limit.startswith("tenant") else "r1"
    await send(store, "a" * 8, run="r1", bounds=bounds)
    await send(store, "b" * 8, run="r1", bounds=bounds)
    if run == "r2":
        await send(store, "c" * 8, run="r2", bounds=bounds)
    with pytest.raises(InboxFull) as refused:
        await send(store, "d" * 8, run=run, bounds=bounds)
    error = refused.value
    assert (error.limit, error.value, error.asked, error.run_id) == (limit, value, asked, run)
    await send(store, "a" * 8, run="r1", bounds=bounds)  # the same one again takes no room
    await store.resolve((await store.requests())[0].id, "no")
    await send(store, "d" * 8, run=run, bounds=bounds)


@in_loop
async def test_a_run_that_has_ended_takes_no_event(store: Store) -> None:
    (log,) = await committed(store, "r1")
    await waiting(store, log, "go")
    await send(store, "plain")
    await send(store, "kept", kept=True)
    assert await store.commit([log.append(Kind.RUN_COMPLETED, status="success")]) == [None]
    assert (await store.requests(), await store.has_events(key()), await news(store)) == ([], False, [])
    assert "not-suspended" in (await store.answer("kept") or "")
    with pytest.raises(NotSuspended, match="has ended"):
        await send(store, "late", bounds=WIDE)
    assert await store.requests() == []


@in_loop
async def test_events_that_wait_stay_when_a_run_goes_on_as_a_new_history(store: Store) -> None:
    (log,) = await committed(store, "r1")
    await waiting(store, log, "go")
    await send(store, "plain")
    await send(store, "kept", kept=True)
    assert await store.commit([log.append(Kind.RUN_CONTINUED_AS_NEW, status="continued")]) == [None]
    assert [row.token for row in await store.requests()] == ["plain", "kept"]
    with pytest.raises(NotSuspended, match="has ended"):
        await send(store, "late", bounds=WIDE)


@in_loop
async def test_a_refused_request_made_again_is_new(store: Store) -> None:
    await committed(store, "r1")
    await store.post(key(), "resume", b"1", "t", at(1), kept=True)
    mark = (await store.new_requests("w", None)).mark
    await store.resolve((await store.requests())[0].id, "no")
    await store.post(key(), "resume", b"2", "t", at(2), kept=True)
    assert [row.body for row in (await store.new_requests("w", mark)).requests] == [b"2"]


@in_loop
async def test_requests_for_a_run_that_is_not_there_are_given(store: Store) -> None:
    await store.post(key("none"), "cancel", b"", "t", TimeMs(0))
    assert [row.kind for row in (await store.new_requests("w", None)).requests] == ["cancel"]


@in_loop
async def test_what_is_counted_is_checked(store: Store) -> None:
    """By stores that keep the numbers beside the events."""
    (log,) = await committed(store, "r1")
    await send(store, "1")
    await send(store, "22", "no")
    (first, *_) = await store.requests()
    await store.commit([replace(log.step(), taken=[first.id])])
    assert await store.audit() == await store.audit(key()) == []
    if isinstance(store, MemoryStore):
        return
    await count(store, 5)
    found = Finding("r1", None, "1 events of 2 bytes wait for the run, and 5 of 2 are counted")
    assert await store.audit() == await store.audit(key()) == [found]
    await count(store, 1)


async def count(store: Store, events: int) -> None:
    if isinstance(store, SqliteStore):
        await store._database.change("UPDATE waiting_events SET events = ? WHERE run = 'r1'", (events,))
    elif isinstance(store, PostgresStore):
        await store._database.write("UPDATE cloche.waiting_events SET events = $1 WHERE run = 'r1'", events)
