"""Limits of workflows hold for every run of them: retried, forked, or gone on as a new history."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.apps import in_loop, one_loop, run_in_loop, until
from support.stores_of_all_kinds import STORES

import cloche
from cloche import Cloche, Concurrency, FatalError, StepContext, create_step, create_workflow, workflow
from cloche.store import Store
from cloche_codegen import step


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with one_loop(), STORES[request.param](tmp_path, run_in_loop) as store:
        yield store
        run_in_loop(store.close())


@asynccontextmanager
async def worker(store: Store, *flows: Any) -> AsyncIterator[Cloche]:
    async with Cloche(store=await store.connect(), workflows=flows, handle_sigterm=False) as app:
        yield app


class Till:
    """`charge` fails until the till is open; `hold` works until its run may go on."""

    def __init__(self) -> None:
        self.is_open = False
        self.keys: list[str] = []
        self.reserved: list[Any] = []
        self.at_work: list[str] = []
        self.most = 0
        self.doors: dict[str, asyncio.Event] = {}

    def flow(self) -> Any:
        async def reserve(data: Any) -> Any:
            self.reserved.append(data["n"])
            return data

        async def charge(data: Any, ctx: StepContext) -> Any:
            self.keys.append(ctx.idempotency_key)
            if not self.is_open:
                raise FatalError("shut")
            return data

        async def hold(data: Any, ctx: StepContext) -> Any:
            self.at_work.append(ctx.run_id)
            self.most = max(self.most, len(self.at_work))
            await self.door(ctx.run_id).wait()
            self.at_work.remove(ctx.run_id)
            return data

        made = create_workflow(id="w", concurrency=Concurrency("desk", 1))
        for one in (reserve, charge, hold):
            made = made.then(create_step(id=one.__name__, execute=one))
        return made.commit()

    def door(self, run: str) -> asyncio.Event:
        return self.doors.setdefault(run, asyncio.Event())


async def failed(app: Cloche, *numbers: int) -> None:
    for number in numbers:
        run = await app.start("w", {"n": number}, run_id=f"r{number}")
        assert (await run.result()).status == "failed"


async def waits(app: Cloche, run: str, held_by: str) -> bool:
    why = await app.why(run)
    return why.limit is not None and list(why.limit.held_by) == [held_by]


@in_loop
async def test_retries_begin_one_after_the_other(store: Store) -> None:
    till = Till()
    async with worker(store, till.flow()) as app:
        await failed(app, 1, 2)
        till.is_open = True
        first = await app.retry("r1")
        await until(lambda: till.at_work == [first.id])
        second = await app.retry("r2")
        await until(lambda: waits(app, second.id, first.id))
        assert str(await second.status()) == "pending"
        till.door(first.id).set()
        await until(lambda: till.at_work == [second.id])
        till.door(second.id).set()
        assert [(await run.result(final=True)).status for run in (first, second)] == ["success", "success"]
        assert (till.most, till.reserved, len(till.keys), len(set(till.keys))) == (1, [1, 2], 4, 2)
        assert (await app.verify()).ok
        assert (await app.replay(second.id)).ok
        assert await store.permits() == []


@in_loop
async def test_a_retry_that_waits_can_be_canceled_and_retried(store: Store) -> None:
    till = Till()
    async with worker(store, till.flow()) as app:
        await failed(app, 1, 2)
        till.is_open = True
        first = await app.retry("r1")
        await until(lambda: till.at_work == [first.id])
        second = await app.retry("r2")
        await until(lambda: waits(app, second.id, first.id))
        await second.cancel()
        assert (await second.result(final=True)).status == "canceled"
        till.door(first.id).set()
        assert (await first.result(final=True)).status == "success"
        assert await store.permits() == []


@in_loop
async def test_a_retry_that_waits_begins_where_another_worker_goes_on(store: Store) -> None:
    till = Till()
    async with worker(store, till.flow()) as app:
        await failed(app, 1, 2)
        till.is_open = True
        first = await app.retry("r1")
        await until(lambda: till.at_work == [first.id])
        second = await app.retry("r2")
        await until(lambda: waits(app, second.id, first.id))
        till.door(first.id).set()
        till.door(second.id).set()
    async with worker(store, till.flow()) as other:
        assert (await (await other.get(second.id)).result(final=True)).status == "success"
        assert till.reserved == [1, 2]
        assert await store.permits() == []


@in_loop
async def test_a_fork_waits_too(store: Store) -> None:
    till = Till()
    till.is_open = True
    async with worker(store, till.flow()) as app:
        first = await app.start("w", {"n": 1}, run_id="r1")
        await until(lambda: till.at_work == ["r1"])
        fork = await app.fork("r1", at="hold", new_run_id="f1")
        await until(lambda: waits(app, "f1", "r1"))
        till.door("r1").set()
        till.door("f1").set()
        assert [(await run.result(final=True)).status for run in (first, fork)] == ["success", "success"]
        assert (till.most, till.reserved) == (1, [1])
        assert await store.permits() == []


@in_loop
async def test_the_next_history_keeps_the_place_of_the_one_before(store: Store) -> None:
    done: list[str] = []

    @step
    async def mark(name: str) -> None:
        done.append(name)
        if name == "a0":
            await until(lambda: _asks(store, "b"))

    @workflow(id="w", concurrency=Concurrency("desk", 1))
    async def turns(data: dict[str, Any]) -> str:
        await mark(f"{data['name']}{data['n']}")
        if data["n"] < 2:
            return await cloche.continue_as_new({"name": data["name"], "n": data["n"] + 1})
        return str(data["name"])

    async with worker(store, turns) as app:
        first = await app.start(turns, {"name": "a", "n": 0}, run_id="a")
        second = await app.start(turns, {"name": "b", "n": 0}, run_id="b")
        assert [(await run.result(final=True)).unwrap() for run in (first, second)] == ["a", "b"]
        assert done == ["a0", "a1", "a2", "b0", "b1", "b2"]
        await until(lambda: _none(store))
        assert (await app.verify()).ok


@in_loop
async def test_a_next_history_of_another_key_takes_its_place_there(store: Store) -> None:
    done: list[str] = []

    @step
    async def mark(name: str) -> None:
        done.append(name)

    @workflow(id="w", concurrency=Concurrency("desk", 1, key="data.desk"))
    async def turns(data: dict[str, Any]) -> str:
        await mark(data["desk"])
        return "end" if data["desk"] == "y" else await cloche.continue_as_new({"desk": "y"})

    async with worker(store, turns) as app:
        run = await app.start(turns, {"desk": "x"}, run_id="a")
        assert (await run.result(final=True)).unwrap() == "end"
        assert done == ["x", "y"]
        await until(lambda: _none(store))


@in_loop
async def test_a_next_history_that_cannot_begin_gives_the_place_back(store: Store) -> None:
    @workflow(id="w", concurrency=Concurrency("desk", 1, key="data.desk"))
    async def turns(data: dict[str, Any]) -> str:
        return await cloche.continue_as_new({"nothing": 1})

    async with worker(store, turns) as app:
        run = await app.start(turns, {"desk": "x"}, run_id="a")
        assert (await run.result(final=True)).status == "failed"
        await until(lambda: _none(store))


async def _asks(store: Store, run: str) -> bool:
    return any(row.key.run == run for row in await store.permits())


async def _none(store: Store) -> bool:
    return not await store.permits()
