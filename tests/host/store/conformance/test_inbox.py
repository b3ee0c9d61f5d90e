"""Every store: requests wait until they are answered, once."""

from __future__ import annotations

from dataclasses import replace

from support.apps import in_loop
from support.histories import at
from support.stores import Log, committed, conflict_at, key

from cloche.errors import SeqConflict
from cloche.history import CallId, Kind, Seq, TenantId
from cloche.history.values import decode
from cloche.store import CHILD_ENDED, Granted, InboxRow, Store, child_ended


@in_loop
async def test_requests_wait_in_order_one_for_each_token(store: Store) -> None:
    await store.post(key("r1"), "cancel", b"1", "token-1", at(1))
    await store.post(key("r2"), "resume", b"2", "token-2", at(1))
    await store.post(key("r1"), "cancel", b"other", "token-1", at(2))
    first, second = await store.requests()
    assert (first, second) == (
        InboxRow(first.id, key("r1"), "cancel", b"1", None, at(1), "token-1"),
        InboxRow(second.id, key("r2"), "resume", b"2", None, at(1), "token-2"),
    )


@in_loop
async def test_a_request_is_taken_in_the_commit_that_accepts_it(store: Store) -> None:
    (log,) = await committed(store, "r1")
    for token in "abc":
        await store.post(key(), "cancel", token.encode(), token, at(1))
    first, second, third = await store.requests()
    append = log.append(Kind.CANCEL_REQUESTED, taken=[first.id, third.id])
    assert (await store.commit([append]), await store.requests()) == ([None], [second])


@in_loop
async def test_a_request_stays_when_its_append_is_refused(store: Store) -> None:
    (log,) = await committed(store, "r1")
    stale = Log(key(), list(log.records))
    await store.commit([log.step()])
    await store.post(key(), "cancel", b"", "t", at(1))
    (request,) = await store.requests()
    outcomes = await store.commit([stale.append(Kind.CANCEL_REQUESTED, taken=[request.id])])
    assert (conflict_at(outcomes[0]), await store.requests()) == (("r1", 2), [request])


@in_loop
async def test_a_request_that_is_refused_waits_no_more(store: Store) -> None:
    for token in "ab":
        await store.post(key(), "cancel", b"", token, at(1))
    first, second = await store.requests()
    await store.resolve(first.id, "no")
    await store.resolve(99, "no")
    assert await store.requests() == [second]


@in_loop
async def test_a_refusal_can_be_noted_for_whoever_asks_later(store: Store) -> None:
    """The last one of a run stays under a token of its own, and is no request that waits."""
    for answer in ("no", "not yet"):
        await store.post(key(), "resume", b"", answer, at(1))
        (request,) = await store.requests()
        await store.resolve(request.id, answer, noted="refused:r1")
        assert (await store.answer("refused:r1"), await store.answer(answer)) == (answer, None)
    await store.resolve(99, "never", noted="refused:r1")
    assert (await store.answer("refused:r1"), await store.requests()) == ("not yet", [])
    assert await store.granted(key()) == []


@in_loop
async def test_starts_that_wait_are_listed_the_last_first(store: Store) -> None:
    for run, kind, name in (("a", "start", None), ("b", "start", None), ("b", "cancel", None), ("c", "event", "paid")):
        await store.post(key(run), kind, run.encode(), f"{kind}:{run}", at(1), kept=kind == "start", name=name)
    await store.post(key("d", TenantId("acme")), "start", b"", "start:d", at(2), kept=True)
    assert [row.key.run for row in await store.waiting_starts(None, 10)] == ["d", "b", "a"]
    assert [(row.key.run, row.body) for row in await store.waiting_starts(TenantId("default"), 1)] == [("b", b"b")]
    for row in await store.requests():
        await store.resolve(row.id, "granted")
    assert await store.waiting_starts(None, 10) == []


@in_loop
async def test_a_number_of_a_request_is_not_used_again(store: Store) -> None:
    """An owner that still holds the number of a request that was discarded must not take another request with it."""
    await store.post(key(), "cancel", b"", "a", at(1))
    (first,) = await store.requests()
    await store.resolve(first.id, "no")
    await store.post(key(), "cancel", b"", "b", at(1))
    assert (await store.requests())[0].id > first.id


@in_loop
async def test_what_was_accepted_is_known_and_can_be_told_elsewhere(store: Store) -> None:
    (log, _) = await committed(store, "r1", "r2")
    for run, token, kept in (
        ("r1", "b", True),
        ("r1", "a", True),
        ("r1", "no", False),
        ("r2", "c", True),
        ("r1", "d", True),
    ):
        await store.post(key(run), "event", b"", f"{key(run).token}:event:{token}", at(1), name="go", kept=kept)
    taken = [row.id for row in await store.requests(key()) if not row.token.endswith("d")]
    assert await store.commit([log.append(Kind.STEP_WROTE, path="a", taken=taken)]) == [None]
    await store.resolve((await store.requests(key()))[0].id, "refused")
    expected = [Granted("event", f"default:r1:event:{name}", at(1)) for name in "ab"]
    assert (await store.granted(key()), await store.granted(key("r2"))) == (expected, [])
    moved = [Granted("event", f"default:r2:event:{name}", at(7)) for name in "cx"]
    for _ in range(2):
        await store.remember(key("r2"), moved)
    assert await store.granted(key("r2")) == moved[1:]  # the other one waits
    await store.post(key("r2"), "event", b"", "default:r2:event:x", at(9), name="go", kept=True)
    assert [row.token for row in await store.requests()] == ["default:r2:event:c"]


@in_loop
async def test_the_names_that_a_run_waits_for_are_told(store: Store) -> None:
    (log,) = await committed(store, "r1")
    assert await store.awaited(key()) == []
    assert await store.commit([replace(log.step(), awaited=["go", "and"])]) == [None]
    assert await store.awaited(key()) == ["and", "go"]
    assert await store.commit([log.append(Kind.RUN_COMPLETED, status="success")]) == [None]
    assert await store.awaited(key()) == []


@in_loop
async def test_an_append_leaves_requests_in_its_commit(store: Store) -> None:
    (log,) = await committed(store, "r1")
    posts = [child_ended(key("waits"), CallId(3)), child_ended(key("waits"), CallId(4))]
    end = replace(log.append(Kind.RUN_COMPLETED, status="success"), posts=posts)
    assert await store.commit([end]) == [None]
    found = await store.requests(key("waits"))
    assert [(row.kind, decode(row.body), row.posted_at, row.name, row.kept) for row in found] == [
        (CHILD_ENDED, 3, end.at, None, False),
        (CHILD_ENDED, 4, end.at, None, False),
    ]
    assert list((await store.new_requests("worker-1", None)).requests) == found


@in_loop
async def test_an_append_that_is_refused_leaves_nothing(store: Store) -> None:
    (log,) = await committed(store, "r1")
    late = replace(
        log.append(Kind.RUN_COMPLETED, status="success"), expect=Seq(1), posts=[child_ended(key("waits"), CallId(3))]
    )
    assert [type(outcome) for outcome in await store.commit([late])] == [SeqConflict]
    assert await store.requests() == []


@in_loop
async def test_what_was_left_already_is_left_once(store: Store) -> None:
    first, second = await committed(store, "r1", "r2")
    post = child_ended(key("waits"), CallId(3))
    for log in (first, second):
        assert await store.commit([replace(log.append(Kind.RUN_COMPLETED, status="success"), posts=[post])]) == [None]
    (row,) = await store.requests()
    assert (await store.request(post.token)) == row
