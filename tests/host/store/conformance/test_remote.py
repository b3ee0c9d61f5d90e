"""Every store: attempts of remote steps are put and removed in commits, taken once, and kept by heartbeats."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from support.apps import in_loop
from support.histories import at
from support.stores import Log, committed, key

from cloche.history import CallId, Kind, Path, Seq, TenantId
from cloche.store import RemoteTask, Store
from cloche.store.remote import GivenBack

ACME = TenantId("acme")


def task(log: Log, call: int = 1, step: str = "resize", **more: Any) -> RemoteTask:
    of_call = RemoteTask(log.key, CallId(call), Seq(7), step, Path(f"{step}#{call}"), at(5), 30_000, body=b"given")
    return replace(of_call, **more)


async def sent(store: Store, log: Log, *tasks: RemoteTask) -> None:
    append = replace(log.append(Kind.STEP_CALLED, path="x"), sent=tasks)
    assert await store.commit([append]) == [None]


async def returned(store: Store, log: Log, *calls: int, status: str = "running") -> None:
    append = replace(log.append(Kind.STEP_CALLED, path="x", status=status), returned=[CallId(one) for one in calls])
    assert await store.commit([append]) == [None]


@in_loop
async def test_what_is_sent_waits_and_is_taken_once(store: Store) -> None:
    (log,) = await committed(store, "r1")
    await sent(store, log, task(log, 1), task(log, 2), task(log, 3, "other"))
    assert await store.remote_waiting() == [("default", "other"), ("default", "resize")]
    first, second = await store.take_remote(["resize", "unknown"], 5, "w", at(7))
    assert (first, second) == tuple(task(log, call, holder="w", taken_at=at(7)) for call in (1, 2))
    assert await store.take_remote(["resize"], 5, "v", at(8)) == []
    assert await store.remote_waiting() == [("default", "other")]
    assert await store.remote_tasks(taken=True) == [replace(one, body=b"") for one in (first, second)]


@in_loop
async def test_the_oldest_is_taken_first_and_no_more_than_asked_for(store: Store) -> None:
    (log,) = await committed(store, "r1")
    await sent(store, log, *(task(log, call) for call in (3, 1, 2)))
    taken = [[one.call for one in await store.take_remote(["resize"], 2, "w", at(7))] for _ in range(3)]
    assert taken == [[3, 1], [2], []]


@in_loop
async def test_many_who_take_at_once_get_different_ones(store: Store) -> None:
    (log,) = await committed(store, "r1")
    await sent(store, log, *(task(log, call) for call in range(1, 9)))
    taken = await asyncio.gather(*(store.take_remote(["resize"], 2, f"w{n}", at(7)) for n in range(4)))
    assert sorted(one.call for some in taken for one in some) == list(range(1, 9))


@in_loop
async def test_a_tenant_gets_its_own_attempts_alone(store: Store) -> None:
    (log,), (other,) = await committed(store, "r1", tenant="acme"), await committed(store, "r1")
    await sent(store, log, task(log))
    await sent(store, other, task(other))
    assert await store.take_remote(["resize"], 5, "w", at(7), tenant=TenantId("nobody")) == []
    assert [one.key for one in await store.take_remote(["resize"], 5, "w", at(7), tenant=ACME)] == [log.key]
    assert [one.key for one in await store.remote_tasks(tenant=ACME)] == [log.key]
    assert [one.key for one in await store.remote_tasks(key=other.key)] == [other.key]


@in_loop
async def test_what_no_receiver_has_accepted_is_pushed_again_when_it_is_due(store: Store) -> None:
    (log,) = await committed(store, "r1")
    await sent(store, log, task(log))
    [pushed] = await store.take_remote(["resize"], 5, "push ops", at(7), pushed=True)
    assert pushed == task(log, holder="push ops", taken_at=at(7), is_pushed=True)
    assert await store.give_back_remote(pushed.name, at(60), "it was answered with 503")
    assert not await store.give_back_remote(pushed.name, at(90), "nobody has it")
    [waiting] = await store.remote_tasks()
    assert waiting == task(log, body=b"", given_back=GivenBack(at(60), 1, "it was answered with 503"))
    assert await store.take_remote(["resize"], 5, "push ops", at(59), pushed=True) == []
    [again] = await store.take_remote(["resize"], 5, "push ops", at(60), pushed=True)
    assert (again.given_back, again.taken_at) == (waiting.given_back, at(60))


@in_loop
async def test_whoever_asks_gets_what_is_to_be_pushed_later(store: Store) -> None:
    (log,) = await committed(store, "r1")
    await sent(store, log, task(log))
    [pushed] = await store.take_remote(["resize"], 5, "push ops", at(7), pushed=True)
    await store.give_back_remote(pushed.name, at(60), "it was answered with 503")
    [asked_for] = await store.take_remote(["resize"], 5, "w", at(8))
    assert (asked_for.holder, asked_for.is_pushed) == ("w", False)
    assert not await store.give_back_remote(asked_for.name, at(60), "it is another one's")


@in_loop
async def test_what_is_sent_anew_is_pushed_at_once(store: Store) -> None:
    (log,) = await committed(store, "r1")
    await sent(store, log, task(log))
    [pushed] = await store.take_remote(["resize"], 5, "push ops", at(7), pushed=True)
    await store.give_back_remote(pushed.name, at(60), "it was answered with 503")
    await sent(store, log, task(log, seq=Seq(9)))
    assert not await store.give_back_remote(pushed.name, at(60), "it was sent anew")
    [again] = await store.take_remote(["resize"], 5, "push ops", at(8), pushed=True)
    assert (again.seq, again.given_back) == (9, None)


@in_loop
async def test_a_heartbeat_counts_while_the_attempt_is_wanted(store: Store) -> None:
    (log,) = await committed(store, "r1")
    await sent(store, log, task(log))
    assert await store.beat_remote(task(log).name) is False
    [taken] = await store.take_remote(["resize"], 1, "w", at(7))
    assert [await store.beat_remote(taken.name) for _ in range(2)] == [True, True]
    assert [one.beat for one in await store.remote_tasks(taken=True)] == [2]
    await sent(store, log, task(log, seq=Seq(8)))
    [again] = await store.take_remote(["resize"], 1, "v", at(9))
    assert (await store.beat_remote(taken.name), await store.beat_remote(again.name)) == (False, True)
    await returned(store, log, 1)
    assert (await store.beat_remote(again.name), await store.remote_tasks()) == (False, [])


@in_loop
async def test_an_attempt_takes_the_place_of_the_one_before(store: Store) -> None:
    (log,) = await committed(store, "r1")
    await sent(store, log, task(log))
    await store.take_remote(["resize"], 1, "w", at(7))
    await sent(store, log, task(log, seq=Seq(8), body=b"other"))
    assert await store.take_remote(["resize"], 2, "w", at(8)) == [
        task(log, seq=Seq(8), body=b"other", holder="w", taken_at=at(8))
    ]


@in_loop
async def test_what_a_refused_commit_sends_is_not_there(store: Store) -> None:
    (log,) = await committed(store, "r1")
    stale = Log(key(), list(log.records))
    await store.commit([log.step()])
    append = replace(stale.append(Kind.STEP_CALLED, path="x"), sent=[task(log)])
    outcomes = await store.commit([append])
    assert (outcomes == [None], await store.remote_tasks()) == (False, [])


@in_loop
async def test_the_end_of_a_run_takes_its_attempts_with_it(store: Store) -> None:
    (log,) = await committed(store, "r1")
    await sent(store, log, task(log, 1), task(log, 2))
    await returned(store, log, 1, 2, status="success")
    assert await store.remote_tasks() == []


@in_loop
async def test_the_secret_is_the_first_one(store: Store) -> None:
    assert [await store.remote_secret(one) for one in (b"first", b"second")] == [b"first", b"first"]
