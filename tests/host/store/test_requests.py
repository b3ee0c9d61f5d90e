"""Requests to start runs that are not there yet, and what workers offer: each store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from support.histories import at
from support.stores import begun, key

from cloche.history import Kind
from cloche.store import GRANTED, START, MemoryStore, SqliteStore, Store


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with closing(MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "runs.db")) as made:
        for worker in ("one", "two"):
            made.leases.join(worker)
        yield made


def asked(store: Store, body: bytes = b"x") -> int:
    """The number of a request to start run r1."""
    store.post(key(), START, body, "start:r1", at(1), kept=True)
    found = store.request("start:r1")
    assert found is not None
    return found.id


def test_every_worker_sees_a_request(store: Store) -> None:
    asked(store)
    assert [[row.body for row in store.requests(worker)] for worker in ("one", "two", None)] == [[b"x"]] * 3
    store.post(key("r2"), "event", b"", "e", at(1))
    assert [row.kind for row in store.requests("one")] == [
        START
    ]  # nobody may accept an event for a run that is not there


def test_one_worker_takes_a_request(store: Store) -> None:
    request = asked(store)
    assert [store.take(request, worker) for worker in ("one", "two", "one", "never")] == [True, False, True, False]
    assert (len(store.requests("one")), store.requests("two")) == (1, [])
    assert not store.withdraw_request(request, "no")
    store.leases.leave("one")
    assert (len(store.requests("two")), store.take(request, "two")) == (1, True)


def test_a_run_answers_its_request(store: Store) -> None:
    request = asked(store)
    log, append = begun()
    assert store.take(request, "one")
    store.commit([replace(append, taken=[request])])
    assert (store.answer("start:r1"), store.request("start:r1"), store.requests()) == (GRANTED, None, [])
    assert not store.take(request, "one")
    store.post(key(), START, b"y", "start:r1", at(2), kept=True)
    assert store.requests() == []
    store.commit([log.append(Kind.RUN_CANCELED, status="canceled")])
    assert store.delete([key()], at(9)) == [key()]
    assert store.answer("start:r1") is None


def test_a_withdrawn_request_may_be_made_again(store: Store) -> None:
    request = asked(store)
    assert store.withdraw_request(request, "no")
    assert (store.answer("start:r1"), store.request("start:r1")) == ("no", None)
    assert not store.withdraw_request(request, "again")
    again = asked(store, b"y")
    assert ([row.body for row in store.requests("two")], store.answer("start:r1")) == ([b"y"], None)
    assert store.take(again, "two")


def test_a_refused_request_is_nobodys_again(store: Store) -> None:
    request = asked(store)
    assert store.take(request, "one")
    store.resolve(request, "no")
    assert store.take(asked(store), "two")


def test_workers_say_what_they_offer(store: Store) -> None:
    store.leases.join("three", "[3]")
    store.leases.publish("one", "[1]")
    store.leases.publish("never", "[0]")
    assert {row.id: row.offers for row in store.leases.workers()} == {"one": "[1]", "two": None, "three": "[3]"}
