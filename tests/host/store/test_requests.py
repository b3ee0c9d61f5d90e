"""Requests to start runs that are not there yet, and what workers offer: each store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from support.apps import in_loop
from support.histories import at
from support.stores import begun, key

from cloche.history import Kind
from cloche.store import GRANTED, START, InboxRow, Store

WORKERS = ("one", "two")


async def asked(store: Store, body: bytes = b"x") -> int:
    """The number of a request to start run r1."""
    await store.post(key(), START, body, "start:r1", at(1), kept=True)
    found = await store.request("start:r1")
    assert found is not None
    return found.id


async def new(store: Store, worker: str) -> Sequence[InboxRow]:
    return (await store.new_requests(worker, None)).requests


@in_loop
async def test_every_worker_sees_a_request(store: Store) -> None:
    await asked(store)
    assert [[row.body for row in await new(store, worker)] for worker in ("one", "two")] == [[b"x"]] * 2
    await store.post(key("r2"), "event", b"", "e", at(1), name="go")
    found = await store.new_requests("one", None)
    assert ([row.kind for row in found.requests], found.events) == ([START], [])  # nobody waits for that event


@in_loop
async def test_one_worker_takes_a_request(store: Store) -> None:
    request = await asked(store)
    assert [await store.take(request, worker) for worker in ("one", "two", "one", "never")] == [
        True,
        False,
        True,
        False,
    ]
    assert (len(await new(store, "one")), await new(store, "two")) == (1, [])
    assert not await store.withdraw_request(request, "no")
    await store.leases.leave("one")
    assert (len(await new(store, "two")), await store.take(request, "two")) == (1, True)


@in_loop
async def test_a_run_answers_its_request(store: Store) -> None:
    request = await asked(store)
    log, append = begun()
    assert await store.take(request, "one")
    await store.commit([replace(append, taken=[request])])
    assert (await store.answer("start:r1"), await store.request("start:r1"), await store.requests()) == (
        GRANTED,
        None,
        [],
    )
    assert not await store.take(request, "one")
    await store.post(key(), START, b"y", "start:r1", at(2), kept=True)
    assert await store.requests() == []
    await store.commit([log.append(Kind.RUN_CANCELED, status="canceled")])
    assert await store.delete([key()], at(9)) == [key()]
    assert await store.answer("start:r1") is None


@in_loop
async def test_a_withdrawn_request_may_be_made_again(store: Store) -> None:
    request = await asked(store)
    assert await store.withdraw_request(request, "no")
    assert (await store.answer("start:r1"), await store.request("start:r1")) == ("no", None)
    assert not await store.withdraw_request(request, "again")
    again = await asked(store, b"y")
    assert ([row.body for row in await new(store, "two")], await store.answer("start:r1")) == ([b"y"], None)
    assert await store.take(again, "two")


@in_loop
async def test_a_refused_request_is_nobodys_again(store: Store) -> None:
    request = await asked(store)
    assert await store.take(request, "one")
    await store.resolve(request, "no")
    assert await store.take(await asked(store), "two")


@in_loop
async def test_workers_say_what_they_offer(store: Store) -> None:
    await store.leases.join("three", "[3]")
    await store.leases.publish("one", "[1]")
    await store.leases.publish("never", "[0]")
    assert {row.id: row.offers for row in await store.leases.workers()} == {"one": "[1]", "two": None, "three": "[3]"}
