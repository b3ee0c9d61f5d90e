"""A worker is told at once that somebody left a request. It is a hint: without it, the next look finds the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from support.apps import in_loop
from support.histories import at
from support.postgres import Server, pgbouncer, require
from support.stores import Log, key

from benchmarks.proxy import proxy
from cloche import Client, Cloche, create_step, create_workflow
from cloche.history import Kind
from cloche.store.postgres import PostgresStore

add = create_step(id="add", execute=lambda data: data + 1)
workflow = create_workflow(id="hinted", input_schema=int).then(add).commit()
SELDOM_S = 600.0


@asynccontextmanager
async def two(server: Server) -> AsyncIterator[tuple[PostgresStore, PostgresStore]]:
    one = await PostgresStore.open(server.url())
    other = await one.connect()
    try:
        yield one, other
    finally:
        await other.close()
        await one.close()


@in_loop
async def test_a_start_is_seen_long_before_the_next_look(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PostgresStore, "news_every_s", SELDOM_S)
    url = server.url()
    async with Cloche(url, workflows=[workflow]), Client(url) as client:
        run = await client.start("hinted", 1)
        assert (await run.result()).result == 2


@in_loop
async def test_others_are_told_and_nobody_tells_himself(server: Server) -> None:
    async with two(server) as (worker, other):
        await worker.leases.join("A")
        await worker.post(key("r1"), "cancel", b"x", "t1", at(1))
        await other.post(key("r1"), "cancel", b"x", "t2", at(1))
        await asyncio.wait_for(worker.hint.wait(), 30)
        worker.hint.clear()
        await worker.post(key("r1"), "cancel", b"x", "t3", at(1))
        await worker._database.read("SELECT pg_notify($1, 'somebody else')", worker._database.channel)
        await asyncio.wait_for(worker.hint.wait(), 30)  # and so that of `t3` has come as well


@in_loop
async def test_no_append_sends_one(server: Server) -> None:
    """Nor a claim, a release or a heartbeat: what is heard is what is sent last."""
    heard: list[str] = []
    async with two(server) as (store, other):
        listener = await asyncpg.connect(server.url().partition("?")[0])
        done = asyncio.Event()

        def hear(connection: object, pid: int, channel: str, sender: str) -> None:
            heard.append(sender)
            done.set()

        await listener.add_listener(store._database.channel, hear)
        log = Log(key())
        await store.leases.join("A")
        await store.commit([log.begin()])
        await store.commit([log.step()])
        await store.commit([log.append(Kind.STEP_COMPLETED, body=bytes(100_000))])
        await store.leases.claim("A", log.key)
        await store.leases.heartbeat("A")
        await store.leases.leave("A")
        await other._database.read("SELECT pg_notify($1, 'the end')", other._database.channel)
        await asyncio.wait_for(done.wait(), 30)
        assert heard == ["the end"]
        await listener.close()


@in_loop
async def test_what_was_not_heard_is_found_by_a_look(server: Server) -> None:
    """The connection that hears is cut again and again."""
    with proxy(server.port) as way:
        url = server.url().replace(f":{server.port}/", f":{way.port}/")
        schema = url.partition("schema=")[2]
        async with Cloche(url, workflows=[workflow]), Client(server.url(schema)) as client:
            for number in range(5):
                way.cut()
                run = await client.start("hinted", number)
                assert (await run.result()).result == number + 1


@in_loop
async def test_behind_a_pooler_nobody_is_told(server: Server) -> None:
    require("pgbouncer")
    with pgbouncer(server) as port:
        url = server.url().replace(f":{server.port}/", f":{port}/")
        async with Cloche(url, workflows=[workflow]) as app, Client(url) as client:
            run = await client.start("hinted", 1)
            assert (await run.result()).result == 2
            store = app._running.store
            assert store.hint is not None
            assert not store.hint.is_set()
