"""Canceling: nothing new starts, what runs may end and is recorded, and what waits is let go."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from support.apps import AppOn, Journal, ManualWorld, in_loop, until

from cloche import Cloche, RetryConfig, StepContext, Workflow, clone_step, create_workflow, step
from cloche.errors import NotFound
from cloche.history import Kind
from cloche.history.values import encode
from cloche.store import MemoryStore


def waiting_step(journal: Journal, id: str = "slow") -> Any:
    """A step that ends when its run is canceled, and says whether it saw that."""

    @step(id=id)
    async def slow(data: Any, ctx: StepContext) -> bool:
        journal.began.append(ctx.path)
        await ctx.abort_signal.wait()
        return ctx.abort_signal.aborted

    return slow


async def canceled(app: Cloche, journal: Journal, workflow: Workflow, value: Any = None) -> list[tuple[str, str, Any]]:
    """Cancel a run once a step of it runs; its steps as (id, status, output)."""
    run = await app.start(workflow, value)
    await until(lambda: journal.began)
    await run.cancel()
    result = await run.result()
    assert (result.status, result.result, result.error) == ("canceled", None, None)
    return [(id, done.status, done.output) for id, done in result.steps.items()]


@in_loop
async def test_a_step_may_abort_its_run(journal: Journal) -> None:
    @step
    async def a(data: Any, ctx: StepContext) -> Any:
        ctx.abort()
        return {"v": 1}

    result = await (await create_workflow(id="w").then(a).then(journal.inc()).commit().create_run()).start()
    assert (result.status, list(result.steps), journal.began) == ("canceled", ["a"], [])
    assert (result.steps["a"].status, result.steps["a"].output) == ("success", {"v": 1})


@in_loop
async def test_a_step_in_a_thread_may_abort_its_run_and_see_it(journal: Journal) -> None:
    @step
    def a(data: Any, ctx: StepContext) -> bool:
        ctx.abort()
        seen = threading.Event()
        while not ctx.abort_signal.aborted:
            seen.wait(0.001)
        return ctx.abort_signal.aborted

    result = await (await create_workflow(id="w").then(a).then(journal.inc()).commit().create_run()).start()
    assert (result.status, result.steps["a"].output, journal.began) == ("canceled", True, [])


@in_loop
async def test_a_running_step_is_waited_for_and_recorded(journal: Journal) -> None:
    workflow = create_workflow(id="w").then(waiting_step(journal)).then(journal.inc()).commit()
    async with Cloche(workflows=[workflow]) as app:
        assert await canceled(app, journal, workflow) == [("slow", "success", True)]


@in_loop
async def test_a_running_step_is_waited_for_though_a_sleep_ends_meanwhile(journal: Journal) -> None:
    go = asyncio.Event()

    @step
    async def slow(data: Any, ctx: StepContext) -> str:
        journal.began.append(ctx.path)
        await go.wait()
        return "done"

    nap = create_workflow(id="nap").sleep(5).commit()
    workflow = create_workflow(id="w").parallel([slow, nap]).then(journal.inc()).commit()
    world = ManualWorld()
    async with AppOn(MemoryStore(), workflows=[workflow], world=world) as app:
        run = await app.start("w")
        await until(lambda: journal.began)
        await run.cancel()
        await asyncio.sleep(0)
        world.move(5, app)
        await asyncio.sleep(0)
        go.set()
        result = await run.result()
        assert (result.status, result.steps["slow"].output, result.blocked) == ("canceled", "done", None)


@in_loop
async def test_a_sleeping_run_is_let_go_at_once(journal: Journal) -> None:
    workflow = create_workflow(id="w").then(journal.take()).sleep(3600).then(journal.inc()).commit()
    async with AppOn(MemoryStore(), workflows=[workflow], world=ManualWorld()) as app:
        run = await app.start("w")
        await until(lambda: run._key not in app._running.drivers)  # parked: canceling wakes it
        await run.cancel()
        assert ((await run.result()).status, journal.began) == ("canceled", ["take"])


@in_loop
async def test_a_run_between_two_tries_is_let_go_at_once(journal: Journal) -> None:
    flaky = journal.step("s", lambda _: 1 / 0, retry_config=RetryConfig(attempts=5, delay_s=5))
    world = ManualWorld()
    workflow = create_workflow(id="w").then(flaky).commit()
    async with AppOn(MemoryStore(), workflows=[workflow], world=world) as app:
        run = await app.start("w")
        await until(run.history, lambda records: any(r.kind is Kind.ATTEMPT_FAILED for r in records))
        await run.cancel()
        assert (await run.result()).status == "canceled"
        world.move(60, app)
        assert journal.began == ["s"]


@in_loop
async def test_asking_twice_and_asking_late_change_nothing(journal: Journal) -> None:
    workflow = create_workflow(id="w").then(waiting_step(journal)).commit()
    async with Cloche(workflows=[workflow]) as app:
        run = await app.start("w")
        await until(lambda: journal.began)
        await asyncio.gather(run.cancel(), run.cancel(), app.cancel(run.id))
        assert (await run.result()).status == "canceled"
        end = await run.history()
        await run.cancel()
        assert [record.seq for record in await run.history()] == [record.seq for record in end]
        assert [record.kind for record in end].count(Kind.CANCEL_REQUESTED) == 1
        with pytest.raises(NotFound, match="there is no run nobody"):
            await app.cancel("nobody")


@in_loop
async def test_a_sleep_that_ends_as_the_run_is_canceled_is_not_a_fault(journal: Journal) -> None:
    workflow = create_workflow(id="w").sleep(5).then(journal.inc()).commit()
    world = ManualWorld()
    async with AppOn(MemoryStore(), workflows=[workflow], world=world) as app:
        for order in ("cancel first", "timer first"):
            run = await app.start("w", {"v": 1}, run_id=order)
            if order == "cancel first":
                await run.cancel()
            world.move(5, app)
            await run.cancel()
            assert ((await run.result()).status, journal.began) == ("canceled", [])


@in_loop
async def test_an_arm_that_fails_while_the_run_is_canceled_is_recorded(journal: Journal) -> None:
    @step(retries=9)
    async def failing(data: Any, ctx: StepContext) -> None:
        await ctx.abort_signal.wait()
        raise OSError("cut off")

    workflow = create_workflow(id="w").parallel([waiting_step(journal), failing]).commit()
    async with Cloche(workflows=[workflow]) as app:
        assert await canceled(app, journal, workflow) == [("slow", "success", True), ("failing", "failed", None)]


@in_loop
async def test_a_process_that_dies_while_canceling_leaves_a_run_that_ends(journal: Journal) -> None:
    """What the step did is not known any more; it is not made again, and the run is canceled."""

    @step
    async def stubborn(data: Any, ctx: StepContext) -> None:
        journal.began.append(ctx.path)
        await asyncio.Event().wait()

    workflow = create_workflow(id="w").then(stubborn).commit()
    store = MemoryStore()
    app = await AppOn(store, workflows=[workflow]).__aenter__()
    assert isinstance(app, AppOn)
    run = await app.start("w", run_id="r1")
    await until(lambda: journal.began)
    await run.cancel()
    await until(run.history, lambda records: any(r.kind is Kind.CANCEL_REQUESTED for r in records))
    await app.vanish()
    async with AppOn(store, workflows=[workflow]) as app:
        result = await (await app.get("r1")).result()
    error = result.steps["stubborn"].error
    assert error is not None
    assert (result.status, error.name, journal.began) == ("canceled", "Interrupted", ["stubborn"])


@in_loop
async def test_a_request_in_the_inbox_is_accepted(journal: Journal) -> None:
    """Another process leaves it there; the one that executes finds it, also if it was not running then."""
    workflow = create_workflow(id="w").sleep(3600).commit()
    store, world = MemoryStore(), ManualWorld()
    async with AppOn(store, workflows=[workflow], world=world) as app:
        for id in ("now", "later"):
            await app.start("w", run_id=id)
        await store.post((await app.get("now"))._key, "cancel", encode("by hand"), "token-1", world.now())
        assert (await (await app.get("now")).result()).status == "canceled"
    await store.post((await app_key(store, "later")), "cancel", encode("by hand"), "token-2", world.now())
    async with AppOn(store, workflows=[workflow], world=world) as app:
        assert (await (await app.get("later")).result()).status == "canceled"
    assert list(await store.requests()) == []


async def app_key(store: MemoryStore, run: str) -> Any:
    return next(row.key for row in await store.runs() if row.key.run == run)


@in_loop
async def test_every_arm_sees_the_signal(journal: Journal) -> None:
    slow = waiting_step(journal, "a")
    workflow = create_workflow(id="w").parallel([slow, clone_step(slow, id="b")]).commit()
    async with Cloche(workflows=[workflow]) as app:
        assert await canceled(app, journal, workflow) == [("a", "success", True), ("b", "success", True)]
