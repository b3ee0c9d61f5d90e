"""How often the server is asked: counted on the way to it, where each question is one round trip."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from support.apps import in_loop, until
from support.postgres import Server
from support.stores import Log, key

from benchmarks.proxy import Proxy, proxy
from cloche import Cloche, Workflow, clone_step, create_step, create_workflow
from cloche.store.postgres import PostgresStore

IDLE_S = 4.0
WINDOWS = 10

add = create_step(id="add", execute=lambda data: data)
one_step = create_workflow(id="one-step").then(add).commit()
ten = create_workflow(id="ten")
for number in range(10):
    ten.then(clone_step(add, id=f"add{number}"))
ten.commit()
waiting = create_workflow(id="waiting").wait_for_event("go").commit()


@pytest.fixture
def way(server: Server) -> Iterator[Proxy]:
    with proxy(server.port) as made:
        yield made


def through(server: Server, way: Proxy) -> str:
    return server.url().replace(f":{server.port}/", f":{way.port}/")


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.open(url)
    try:
        yield store
    finally:
        await store.close()


@pytest.mark.parametrize("count", [1, 7, 256])
@in_loop
async def test_an_append_is_one_round_trip(server: Server, way: Proxy, count: int) -> None:
    async with opened(through(server, way)) as store:
        logs = [Log(key(f"r{number}")) for number in range(count)]
        await store.commit([log.begin() for log in logs])
        await store.commit([log.step() for log in logs])  # the statement is known to the connection from here on
        before = way.trips
        for _ in range(5):
            assert await store.commit([log.step() for log in logs]) == [None] * count
        assert way.trips - before == 5


@in_loop
async def test_a_creation_is_one_round_trip(server: Server, way: Proxy) -> None:
    """Whatever goes beside it: here a large body, of which the store has nothing."""
    async with opened(through(server, way)) as store:
        for run in ("a", "b"):
            await store.commit([Log(key(run)).begin()])
        before = way.trips
        assert await store.commit([Log(key("c")).begin()]) == [None]
        assert way.trips - before == 1


@in_loop
async def test_a_start_takes_three_and_a_step_one(server: Server, way: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker does not look for work meanwhile; a heartbeat may fall in between, so the least of some is what it takes."""
    monkeypatch.setattr(PostgresStore, "news_every_s", 600.0)
    async with Cloche(through(server, way), workflows=[one_step, ten]) as app:

        async def trips(workflow: Workflow) -> tuple[int, int]:
            """Of a start, and from there to the result."""
            before = way.trips
            run = await app.start(workflow, 1)
            started = way.trips
            assert (await run.result()).result == 1
            return started - before, way.trips - started

        for workflow in (one_step, ten) * 2:  # statements are known, images made
            await trips(workflow)
        short = [await trips(one_step) for _ in range(5)]
        long = [await trips(ten) for _ in range(5)]
        assert min(start for start, _ in short + long) <= 3
        ends = [min(rest for _, rest in each) for each in (short, long)]
        # Nine steps more, one append each. A run that has ended before it is looked at is read once, else twice: in two trips.
        assert 9 <= ends[1] - ends[0] <= 11
        assert ends[0] <= 6  # the append, and what the result is read from


@pytest.mark.parametrize("workers", [1, 4])
@in_loop
async def test_an_idle_worker_asks_little(server: Server, way: Proxy, workers: int) -> None:
    """However many runs wait, and however many other workers there are. Their heartbeats are no news."""
    url = through(server, way)
    schema = url.partition("schema=")[2]
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(Cloche(url, workflows=[waiting]))
        for number in range(50):
            await app.start(waiting, None, run_id=f"r{number}")
        for _ in range(workers - 1):
            await stack.enter_async_context(Cloche(server.url(schema), workflows=[waiting]))
        beats = f"SELECT min(beat) FROM {schema}.workers"
        await until(
            lambda: server.psql(beats), lambda count: int(count) > 0
        )  # connections are made, and statements known
        driven = f"SELECT count(*) FROM {schema}.runs WHERE owner IS NOT NULL"
        await until(lambda: server.psql(driven), lambda count: int(count) == 0)  # all of them wait, and are let go
        for _ in range(WINDOWS):  # what follows their rest (checkpoints, the others' news of it) has its end too
            before, begin = way.trips, asyncio.get_running_loop().time()
            await asyncio.sleep(IDLE_S)
            rate = (way.trips - before) / (asyncio.get_running_loop().time() - begin)
            if rate <= 8:
                break
        assert rate <= 8
