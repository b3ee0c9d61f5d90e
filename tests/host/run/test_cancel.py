"""Canceling: nothing new starts, what runs may end and is recorded, and what waits is let go."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any, cast

import pytest
from support.apps import PATIENCE_S, AppOn, Journal, ManualWorld, in_loop, until
from support.guests import needs_python

from cloche import (
    Cloche,
    Policy,
    RetryConfig,
    Run,
    StepContext,
    Workflow,
    clone_step,
    create_step,
    create_workflow,
    step,
    workflow,
)
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


# ---- steps that do not end -------------------------------------------------------------------------------------------


def hanging(journal: Journal, kind: str, released: threading.Event, **options: Any) -> Any:
    """A step that goes on until it is released, whatever is done to it."""

    async def deaf(data: Any, ctx: StepContext) -> str:
        journal.began.append(ctx.path)
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.005)
        return "late"

    async def waits(data: Any, ctx: StepContext) -> None:
        journal.began.append(ctx.path)
        await asyncio.Event().wait()

    def thread(data: Any, ctx: StepContext) -> str:
        journal.began.append(ctx.path)
        released.wait(PATIENCE_S)
        return "late"

    return create_step(id="hang", execute={"deaf": deaf, "waits": waits, "thread": thread}[kind], **options)


async def left_behind(app: Any, journal: Journal, world: ManualWorld) -> Run:
    """A run that was canceled while its step hangs, after the time that its policy gives."""
    run = await app.start("w", 1)
    await until(lambda: journal.began)
    await run.cancel()
    world.move(4.9, app)
    assert await run.status() == "running"
    world.move(0.1, app)
    assert (await run.result(final=True)).status == "canceled"
    return cast("Run", run)


@pytest.mark.parametrize("kind", ["deaf", "waits", "thread"])
@in_loop
async def test_a_run_whose_step_never_ends_is_canceled_in_time(kind: str, journal: Journal) -> None:
    released, world, policy = threading.Event(), ManualWorld(), Policy(cancel_s=5, concurrent_runs=1)
    workflow = create_workflow(id="w").then(hanging(journal, kind, released)).commit()
    async with AppOn(MemoryStore(), workflows=[workflow], world=world, policy=policy) as app:
        run = await left_behind(app, journal, world)
        error = (await run.result()).steps["hang"].error
        assert error is not None
        assert error.message == "the run was canceled, and step 'hang' did not end within 5 s: it is left behind"
        await until(lambda: app.is_idle)  # it takes no place, and no worker waits for it
        assert await (await app.start("w", 1)).status() == "running"
        released.set()


@pytest.mark.parametrize(("kind", "came"), [("deaf", {"value": "late"}), ("thread", {"value": "late"})])
@in_loop
async def test_what_comes_of_a_step_that_was_left_behind_is_late(kind: str, came: Any, journal: Journal) -> None:
    released, world = threading.Event(), ManualWorld()
    workflow = create_workflow(id="w").then(hanging(journal, kind, released)).commit()
    async with AppOn(MemoryStore(), workflows=[workflow], world=world, policy=Policy(cancel_s=5)) as app:
        run = await left_behind(app, journal, world)
        released.set()
        await until(lambda: not app._running.drivers)
        last = (await run.history())[-1]
        assert (last.kind, last.content()) == (Kind.LATE_RESULT, came)


@in_loop
async def test_of_a_step_that_runs_at_most_once_the_outcome_is_unknown(journal: Journal) -> None:
    released, world = threading.Event(), ManualWorld()
    workflow = create_workflow(id="w").then(hanging(journal, "thread", released, at_most_once=True)).commit()
    async with AppOn(MemoryStore(), workflows=[workflow], world=world, policy=Policy(cancel_s=5)) as app:
        run = await left_behind(app, journal, world)
        error = (await run.result()).steps["hang"].error
        released.set()
    assert error is not None
    assert (error.name, "did not end within 5 s of the run being canceled" in error.message) == ("UnknownOutcome", True)


@in_loop
async def test_it_is_unknown_too_where_the_process_ended_while_it_was_canceled(journal: Journal) -> None:
    store, released = MemoryStore(), threading.Event()
    workflow = create_workflow(id="w").then(hanging(journal, "waits", released, at_most_once=True)).commit()
    app = AppOn(store, workflows=[workflow])
    await app.__aenter__()
    run = await app.start("w", 1, run_id="r1")
    await until(lambda: journal.began)
    await run.cancel()
    await app.vanish()
    async with AppOn(store, workflows=[workflow]) as after:
        result = await (await after.get("r1")).result(final=True)
    error = result.steps["hang"].error
    assert (result.status, error and error.name) == ("canceled", "UnknownOutcome")


@workflow
async def holds_on(data: Any) -> Any:
    """Waits for a step again when it is told to end."""
    try:
        await never(data)
    finally:
        await never(data)


@step(id="never")
async def never(data: Any) -> None:
    await asyncio.Event().wait()


@in_loop
async def test_native_code_that_waits_for_such_a_step_is_canceled_in_time() -> None:
    needs_python()
    world, policy = ManualWorld(), Policy(cancel_s=5, clean_up_s=3)
    async with AppOn(MemoryStore(), workflows=[holds_on], world=world, policy=policy) as app:
        run = await app.start("holds_on", 1)
        await until(lambda: app.under_way)
        await run.cancel()
        await until(lambda: len(app.under_way) == 2)
        world.move(3, app)
        await until(lambda: [driver.machine.phase for driver in app._running.drivers] == ["canceling"])
        world.move(5, app)
        assert (await run.result(final=True)).status == "canceled"
