"""Limits over all workers of a store: who begins, who waits, and when what is given back; on every store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.apps import in_loop, one_loop, run_in_loop, until
from support.stores_of_all_kinds import STORES

from cloche import (
    Cloche,
    Concurrency,
    FatalError,
    InvalidInput,
    LimitBound,
    Policy,
    RateLimit,
    Run,
    StepContext,
    create_step,
    create_workflow,
    gather,
    race,
    workflow,
)
from cloche.operations.limits import LimitState
from cloche.store import Store


@dataclass
class Bench:
    """A step that is under way until the test lets its call end, and a count of those that are."""

    begun: list[Any] = field(default_factory=list)
    under_way: int = 0
    most: int = 0
    doors: dict[Any, asyncio.Event] = field(default_factory=dict)

    async def work(self, data: Any) -> Any:
        self.begun.append(data["n"])
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.door(data["n"]).wait()
        finally:
            self.under_way -= 1
        return data

    def door(self, name: Any) -> asyncio.Event:
        return self.doors.setdefault(name, asyncio.Event())

    def open(self, *names: Any) -> None:
        for name in names:
            self.door(name).set()


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with one_loop(), STORES[request.param](tmp_path, run_in_loop) as store:
        yield store
        run_in_loop(store.close())


@pytest.fixture
def bench() -> Bench:
    return Bench()


def limited(bench: Bench, *limits: Concurrency, rate: RateLimit | None = None, **options: Any) -> Any:
    step = create_step(id="work", execute=bench.work, concurrency=limits or None, rate_limit=rate, **options)
    return create_workflow(id="w").then(step).commit()


@asynccontextmanager
async def workers(store: Store, *flows: Any, count: int = 1, **options: Any) -> AsyncIterator[list[Cloche]]:
    """So many on one store, each on a connection of its own."""
    apps = [Cloche(store=await store.connect(), workflows=flows, handle_sigterm=False, **options) for _ in range(count)]
    async with asyncio.TaskGroup():
        for app in apps:
            await app.__aenter__()
        try:
            yield apps
        finally:
            for app in reversed(apps):
                await app.__aexit__(None, None, None)


async def started(app: Any, *numbers: int, flow: str = "w", **more: Any) -> list[Run[Any]]:
    return [await app.start(flow, {"n": number, **more}, run_id=f"r{number}") for number in numbers]


async def kinds(run: Run[Any]) -> list[str]:
    return [record.kind.name for record in await run.history()]


async def free(store: Store) -> bool:
    return not await store.permits()


@in_loop
async def test_a_step_waits_until_another_run_gives_back_its_permit(store: Store, bench: Bench) -> None:
    async with workers(store, limited(bench, Concurrency("gpu", 1))) as [app]:
        first, second = await started(app, 1, 2)
        await until(lambda: bench.begun == [1])
        await until(lambda: app.why("r2"), lambda why: why.kind == "permit")
        why = await app.why("r2")
        assert (why.step, why.limit and (why.limit.name, why.limit.most, why.limit.held_by, why.limit.ahead)) == (
            "work",
            ("gpu", 1, ["r1"], 0),
        )
        assert why.sentence == "work waits for a permit of limit 'gpu' (1 at once, held by r1)"
        bench.open(1, 2)
        assert [(await run.result()).status for run in (first, second)] == ["success", "success"]
        assert (bench.begun, bench.most) == ([1, 2], 1)
        assert await kinds(first) == await kinds(second)
        await until(lambda: free(store))
        assert (await app.verify()).ok


@in_loop
async def test_it_holds_over_two_workers_in_the_order_of_asking(store: Store, bench: Bench) -> None:
    async with workers(store, limited(bench, Concurrency("gpu", 2)), count=2) as apps:
        for number in range(1, 7):
            await started(apps[number % 2], number)
            await until(partial(asks, store, number))
        for number in range(1, 7):
            await until(partial(bench.begun.count, number))
            bench.open(number)
        for number in range(1, 7):
            assert (await (await apps[0].get(f"r{number}")).result()).status == "success"
    assert bench.most == 2
    assert sorted(bench.begun) == list(range(1, 7))


async def asks(store: Store, number: int) -> bool:
    return any(row.key.run == f"r{number}" for row in await store.permits())


@in_loop
async def test_each_value_of_a_key_has_a_limit_of_its_own(store: Store, bench: Bench) -> None:
    flow = limited(bench, Concurrency("customer", 1, key="data.customer"))
    async with workers(store, flow) as [app]:
        await started(app, 1, 2, customer="a")
        await started(app, 3, customer="b")
        await until(lambda: sorted(bench.begun) == [1, 3])
        states = await app.limits("customer")
        assert [(one.key, one.tenant, one.used, len(one.waiting)) for one in states] == [
            ("a", "default", 1, 1),
            ("b", "default", 1, 0),
        ]
        bench.open(1, 2, 3)
        await until(lambda: sorted(bench.begun) == [1, 2, 3])


@in_loop
async def test_an_input_without_the_key_fails_its_step_before_it_begins(store: Store, bench: Bench) -> None:
    async with workers(store, limited(bench, Concurrency("customer", 1, key="data.customer"))) as [app]:
        [run] = await started(app, 1)
        result = await run.result()
        assert result.error is not None
        assert (result.error.name, result.error.message) == (
            "BadKey",
            "limit 'customer' goes by data.customer, and the input has no value there",
        )
        assert bench.begun == []


@in_loop
async def test_a_try_that_follows_takes_its_place_behind_who_waits(store: Store, bench: Bench) -> None:
    tries: list[int] = []

    async def flaky(data: Any, ctx: StepContext) -> Any:
        tries.append(data["n"])
        if data["n"] == 1 and ctx.attempt == 1:
            await bench.door("fail").wait()
            raise ValueError("again")
        return data

    step = create_step(id="flaky", execute=flaky, retries=1, concurrency=Concurrency("gpu", 1))
    async with workers(store, create_workflow(id="w").then(step).commit()) as [app]:
        first, second = await started(app, 1, 2)
        await until(lambda: asks(store, 2))
        bench.open("fail")
        assert [(await run.result()).status for run in (first, second)] == ["success", "success"]
        assert tries == [1, 2, 1]
        assert (await kinds(first)).count("PERMIT_ASKED") == 2


@in_loop
async def test_a_step_that_suspends_gives_back_and_asks_again_when_it_is_resumed(store: Store, bench: Bench) -> None:
    async def ask(data: Any, ctx: StepContext) -> Any:
        if ctx.resume_data is None:
            ctx.suspend({"q": 1})
        return await bench.work(data)

    step = create_step(id="ask", execute=ask, concurrency=Concurrency("gpu", 1))
    async with workers(store, create_workflow(id="w").then(step).commit()) as [app]:
        first, second = await started(app, 1, 2)
        for run in (first, second):
            assert (await run.result()).status == "suspended"
        assert await free(store)
        await app.send_event("r1", "nothing", 1)
        answers = [asyncio.create_task(run.resume(resume_data=1)) for run in (first, second)]
        await until(lambda: len(bench.begun) == 1)
        await until(lambda: len_of(store, 2))
        bench.open(1, 2)
        assert [(await one).status for one in answers] == ["success", "success"]
        assert bench.most == 1


async def len_of(store: Store, count: int) -> bool:
    return len(await store.permits()) == count


@in_loop
async def test_who_is_canceled_gives_back_and_who_waits_gives_up_its_place(store: Store, bench: Bench) -> None:
    async with workers(store, limited(bench, Concurrency("gpu", 1))) as [app]:
        first, second, third = await started(app, 1, 2, 3)
        await until(lambda: len_of(store, 3))
        await second.cancel()
        assert (await second.result()).status == "canceled"
        assert bench.begun == [1]
        await first.cancel()
        bench.open(1)
        await until(lambda: 3 in bench.begun)
        bench.open(3)
        assert (await third.result()).status == "success"
        await until(lambda: free(store))


@in_loop
async def test_an_attempt_that_nobody_waits_for_counts_until_it_has_ended(store: Store, bench: Bench) -> None:
    slow = create_step(id="slow", execute=bench.work, concurrency=Concurrency("gpu", 1))

    async def at_once(data: Any) -> Any:
        await until(lambda: bench.begun)
        return data

    quick = create_step(id="quick", execute=at_once)

    @workflow(id="racing")
    async def racing(data: dict[str, Any]) -> Any:
        return await race(slow(data), quick(data))

    async with workers(store, racing, limited(bench, Concurrency("gpu", 1))) as [app]:
        [lost] = await started(app, 1, flow="racing")
        assert (await lost.result()).status == "success"
        [waits] = await started(app, 2)
        await until(lambda: asks(store, 2))
        assert (bench.begun, [row.granted_at is None for row in await store.permits()]) == ([1], [False, True])
        bench.open(1, 2)
        assert (await waits.result()).status == "success"
        assert bench.most == 1


@in_loop
async def test_no_more_attempts_begin_in_a_window_than_it_takes(store: Store) -> None:
    async def call(data: Any) -> Any:
        return data

    step = create_step(id="call", execute=call, rate_limit=RateLimit("mail", 3, per_s=0.4))
    async with workers(store, create_workflow(id="w").then(step).commit(), count=2) as apps:
        runs = [run for number in range(1, 10) for run in await started(apps[number % 2], number)]
        ended = [asyncio.create_task(run.result()) for run in runs]
        seen = []
        while not all(one.done() for one in ended):
            seen += [use.used for app in apps for use in await of_mail(app)]
            await asyncio.sleep(0.02)
        assert {one.result().status for one in ended} == {"success"}
        assert 0 < max(seen) <= 3


async def of_mail(app: Cloche) -> Sequence[LimitState]:
    return await app.limits("mail")


@in_loop
async def test_a_run_of_a_workflow_with_a_limit_begins_when_another_has_ended(store: Store, bench: Bench) -> None:
    step = create_step(id="work", execute=bench.work)
    limit = Concurrency("customer", 1, key="data.customer")
    flow = create_workflow(id="w", concurrency=limit).then(step).sleep(0.01).commit()
    async with workers(store, flow, count=2) as apps:
        first, second = await started(apps[0], 1, 2, customer="a")
        await until(lambda: bench.begun == [1])
        why = await apps[1].why("r2")
        assert (why.kind, str(await second.status())) == ("permit", "pending")
        assert why.sentence == "it begins when it has a permit of limit 'customer' for 'a' (1 at once, held by r1)"
        [third] = await started(apps[1], 3, customer="a")
        await third.cancel()
        assert (await third.result()).status == "canceled"
        bench.open(1, 2)
        assert [(await run.result()).status for run in (first, second)] == ["success", "success"]
        assert (bench.begun, bench.most) == ([1, 2], 1)
        await until(lambda: free(store))
        with pytest.raises(InvalidInput, match="the input has no value there"):
            await apps[0].start("w", {"n": 4})
        assert (await apps[0].verify()).ok


@in_loop
async def test_a_workflow_that_fails_gives_back_its_place(store: Store) -> None:
    def broken(data: Any) -> Any:
        raise FatalError("no")

    step = create_step(id="broken", execute=broken)
    flow = create_workflow(id="w", concurrency=Concurrency("one", 1)).then(step).commit()
    async with workers(store, flow) as [app]:
        for run in await started(app, 1, 2, 3):
            assert (await run.result()).status == "failed"
        await until(lambda: free(store))


@in_loop
async def test_a_tenant_has_its_part_of_a_limit_that_all_share(store: Store, bench: Bench) -> None:
    policies = {"acme": Policy(limit_bounds=(LimitBound(limit="gpu", most=1),))}
    async with workers(store, limited(bench, Concurrency("gpu", 3)), policies=policies) as [app]:
        await started(app.tenant("acme"), 1, 2)
        await until(lambda: len_of(store, 2))
        await started(app.tenant("other"), 3, 4)
        await until(lambda: len(bench.begun) == 3)
        assert sorted(bench.begun) == [1, 3, 4]
        assert (await app.tenant("acme").why("r2")).limit is not None
        seen = await app.tenant("acme").limits()
        assert [(one.tenant, one.used, one.most, one.others) for one in seen] == [("", 3, 3, 2), ("acme", 1, 1, 0)]
        bench.open(1, 2, 3, 4)
        await until(lambda: free(store))


@in_loop
async def test_all_calls_of_one_run_share_a_limit_with_every_other(store: Store, bench: Bench) -> None:
    step = create_step(id="work", execute=bench.work, concurrency=Concurrency("gpu", 2))

    @workflow(id="many")
    async def many(data: dict[str, Any]) -> Any:
        return await gather(*[step({"n": number}) for number in range(6)])

    async with workers(store, many) as [app]:
        run = await app.start(many, {}, run_id="r1")
        await until(lambda: len(bench.begun) == 2)
        bench.open(*range(6))
        assert len((await run.result()).unwrap()) == 6
    assert (bench.most, sorted(bench.begun)) == (2, list(range(6)))
