"""A server that goes away, and a way to it that is cut: what is acknowledged is there, what is not known is found out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from support.apps import in_loop, until
from support.postgres import Server, own_server
from support.stores import Log, key

from benchmarks.proxy import Proxy, proxy
from cloche.errors import StoreUnavailable
from cloche.history import Kind
from cloche.store import NewRun
from cloche.store.pages import all_records
from cloche.store.postgres import PostgresStore
from cloche.store.postgres.database import Transaction
from cloche.store.postgres.statements import EPOCH, statement


@pytest.fixture
def way(server: Server) -> Iterator[Proxy]:
    with proxy(server.port) as made:
        yield made


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.open(url)
    try:
        yield store
    finally:
        await store.close()


def through(server: Server, way: Proxy) -> str:
    return server.url().replace(f":{server.port}/", f":{way.port}/")


@pytest.mark.parametrize(("is_written", "lost"), [(False, "lost_requests"), (True, "lost_answers")])
@pytest.mark.parametrize("count", [1, 3])
@in_loop
async def test_a_commit_that_is_cut_is_found_out(
    server: Server, way: Proxy, is_written: bool, lost: str, count: int
) -> None:
    async with opened(through(server, way)) as store:
        logs = [Log(key(f"r{number}")) for number in range(count)]
        assert await store.commit([log.begin() for log in logs]) == [None] * count
        await store.commit([log.step() for log in logs])  # the statement is known to the connection
        before = {log.key: list(log.records) for log in logs}
        appends = [log.step() for log in logs]
        way.marked = appends[0].records[-1].hash
        setattr(way, lost, 1)
        with pytest.raises(StoreUnavailable):
            await store.commit(appends)
        for log in logs:
            row = await store.run(log.key)
            assert row is not None
            assert (row.head_seq == len(log.records)) == is_written
            assert await all_records(store, log.key) == (log.records if is_written else before[log.key])
        assert await store.audit() == []


@in_loop
async def test_a_server_that_is_killed_has_what_it_acknowledged() -> None:
    with own_server() as server:
        async with opened(server.url()) as store:
            logs = [Log(key(f"r{number}")) for number in range(4)]
            assert await store.commit([log.begin() for log in logs]) == [None] * 4
            kill = asyncio.get_running_loop().run_in_executor(None, server.kill)
            acknowledged = await append_until_it_is_gone(store, logs)
            await kill
            with pytest.raises(StoreUnavailable):
                await store.run(logs[0].key)
            await asyncio.get_running_loop().run_in_executor(None, server.start)
            for log in logs:
                found = await all_records(store, log.key)
                assert found == log.records[: len(found)]
                assert len(found) >= acknowledged
            assert await store.audit() == []


@in_loop
async def test_connections_that_rest_are_not_missed(server: Server, way: Proxy) -> None:
    """They are cut while nobody uses them; a read makes a new one, and nobody hears of it."""
    async with opened(through(server, way)) as store:
        (log,) = [Log(key())]
        await store.commit([log.begin()])
        for _ in range(3):
            way.cut()
            assert await store.run(log.key) is not None


@in_loop
async def test_a_server_that_says_nothing_is_given_up(
    server: Server, way: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloche.store.postgres.database.STATEMENT_TIMEOUT_S", 0.3)
    monkeypatch.setattr("cloche.store.postgres.connection.CONNECT_TIMEOUT_S", 0.3)
    async with opened(through(server, way)) as store:
        (log,) = [Log(key())]
        await store.commit([log.begin()])
        way.is_frozen = True
        with pytest.raises(StoreUnavailable, match="did not answer"):
            await store.commit([log.step()])
        way.is_frozen = False
        assert (await store.run(log.key)) is not None


@in_loop
async def test_a_lost_commit_that_is_under_way_is_waited_for(server: Server, way: Proxy) -> None:
    """The connection is cut while the server still works for it: who looks afterwards sees what comes of it."""
    async with opened(through(server, way)) as store, opened(server.url(store_schema(store))) as holder:
        log = Log(key())
        await store.commit([log.begin()])
        async with holder._database.transaction() as transaction:
            await transaction.fetch("SELECT FROM cloche.runs FOR UPDATE")
            under_way = asyncio.create_task(store.commit([log.step()]))
            await until(lambda: waiting(transaction), lambda count: count == 1)
            way.cut()
            with pytest.raises(StoreUnavailable):
                await under_way
            looking = asyncio.create_task(store.run(log.key))
            await until(lambda: waiting(transaction), lambda count: count == 2)
            assert not looking.done()
        row = await looking
        assert row is not None
        assert row.head_seq == len(log.records)
        assert await all_records(store, log.key) == log.records


@in_loop
async def test_a_lost_creation_that_is_under_way_is_waited_for(server: Server, way: Proxy) -> None:
    async with opened(through(server, way)) as store, opened(server.url(store_schema(store))) as holder:
        log = Log(key())
        append = log.append(Kind.RUN_CREATED, body=bytes(100_000), new=NewRun("orders", "c0de"))
        payload = append.records[0].payload
        assert payload is not None
        async with holder._database.transaction(is_undone=True) as transaction:
            part = "INSERT INTO cloche.parts (tenant, digest, depth, form, data) VALUES ($1, $2, 0, 0, '')"
            await transaction.fetch(
                part, log.key.tenant, payload.root
            )  # after the run is made, its part waits for this one
            under_way = asyncio.create_task(store.commit([append]))
            await until(lambda: waiting(transaction), lambda count: count == 1)
            way.cut()
            with pytest.raises(StoreUnavailable):
                await under_way
            looking = asyncio.create_task(store.run(log.key))
            await until(lambda: waiting(transaction), lambda count: count == 2)
        row = await looking
        assert row is not None
        assert row.head_seq == 1
        assert await all_records(store, log.key) == log.records


@in_loop
async def test_a_lock_that_was_lost_is_held_again(server: Server, way: Proxy) -> None:
    async with opened(through(server, way)) as store, opened(server.url(store_schema(store))) as other:
        await store.leases.join("A")
        await other.leases.join("B")
        way.cut()
        assert [row.is_dead for row in await other.leases.workers()] == [False, False]


@in_loop
async def test_a_restart_makes_nobody_dead() -> None:
    with own_server() as server:
        async with opened(server.url()) as store, opened(server.url(store_schema(store))) as other:
            await store.leases.join("A")
            await other.leases.join("B")
            server.kill()
            server.start()
            assert [row.is_dead for row in await other.leases.workers()] == [False, False]
            await until(lambda: is_locked(other, "A"))
            await store.close()  # without leaving, as a process that ends
            # The server ends the session in its own time.
            await until(other.leases.workers, lambda rows: [row.is_dead for row in rows] == [True, False])


async def is_locked(store: PostgresStore, worker: str) -> bool:
    rows = await store._database.read(statement("workers"))
    held = f"SELECT count(*) FROM cloche.workers, (SELECT {EPOCH}) AS now WHERE workers.epoch = now.epoch AND id = $1"
    return (await store._database.read(held, worker))[0]["count"] == 1 and not any(row["is_unlocked"] for row in rows)


async def append_until_it_is_gone(store: PostgresStore, logs: list[Log]) -> int:
    """How many records each has for certain."""
    while True:
        count = len(logs[0].records)
        try:
            assert await store.commit([log.step() for log in logs]) == [None] * len(logs)
        except StoreUnavailable:
            return count


async def waiting(transaction: Transaction) -> int:
    """How many sessions wait for a lock."""
    return len(await transaction.fetch("SELECT FROM pg_locks WHERE NOT granted"))


def store_schema(store: PostgresStore) -> str:
    return store._database.address.schema
