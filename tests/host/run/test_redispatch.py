"""Steps whose process ends under them: begun again, but not for ever, and not at all where they may run at most once."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from support.apps import KEY, AppOn, FlakyStore, Journal, ManualWorld, ended, in_loop, until

from cloche import StepContext, Workflow, create_step, create_workflow, step
from cloche.errors import StoreUnavailable
from cloche.history import Kind
from cloche.store import MemoryStore, all_records
from cloche_codegen import GraphError


def hanging(journal: Journal, gate: asyncio.Event, **options: Any) -> Workflow:
    async def wait(data: Any, ctx: StepContext) -> Any:
        keys.append(ctx.idempotency_key)
        await gate.wait()
        return data

    keys: list[str] = []
    workflow = create_workflow(id="w").then(journal.acts("hang", wait, **options)).commit()
    workflow.metadata["keys"] = keys  # what the attempts were given
    return workflow


async def killed_in(journal: Journal, store: MemoryStore, workflow: Workflow, world: ManualWorld, begins: int) -> None:
    """Let a process begin the step, for the `begins`th time, and end it as `kill -9` would."""
    app = AppOn(store, workflows=[workflow], world=world)
    await app.__aenter__()
    if begins == 1:
        await app.start("w", {"v": 1}, run_id="r1")
    await until(lambda: len(journal.began) == begins)
    await app.vanish()


@in_loop
async def test_a_step_whose_process_always_ends_fails_by_name_after_five_times(journal: Journal) -> None:
    store, world = MemoryStore(), ManualWorld()
    workflow = hanging(journal, asyncio.Event())
    for begins in range(1, 7):
        await killed_in(journal, store, workflow, world, begins)
    async with AppOn(store, workflows=[workflow], world=world) as app:
        result = await (await app.get("r1")).result()
    assert (result.status, len(journal.began)) == ("failed", 6)
    assert result.error is not None
    assert result.error.name == "RedispatchedTooOften"
    assert "begun 6 times" in result.error.message
    begun = [record.content() for record in await all_records(store, KEY) if record.kind is Kind.ATTEMPT_STARTED]
    assert [content.get("redispatched") for content in begun] == [1, 2, 3, 4, 5]  # the first rode with no append
    assert len(set(workflow.metadata["keys"])) == 1  # one key for all attempts of the call


@in_loop
async def test_a_redispatch_is_recorded_before_the_step_begins(journal: Journal) -> None:
    store, world, gate = FlakyStore(), ManualWorld(), asyncio.Event()
    workflow = hanging(journal, gate)
    await killed_in(journal, store, workflow, world, 1)
    store.faults.refusals = 10**6
    async with AppOn(store, workflows=[workflow], world=world, drain_timeout_s=0.01) as app:
        await until(lambda: store.faults.refusals < 10**6)
        await asyncio.sleep(0.1)
        assert journal.began == ["hang"]
        store.faults.refusals = 0
        gate.set()
        assert await ended(await app.get("r1")) == ("success", {"v": 1})
    assert journal.began == ["hang", "hang"]


@in_loop
async def test_a_process_that_ends_in_good_order_does_not_count(journal: Journal) -> None:
    store, world, gate = MemoryStore(), ManualWorld(), asyncio.Event()
    workflow = hanging(journal, gate)
    for begins in range(1, 9):
        async with AppOn(store, workflows=[workflow], world=world, drain_timeout_s=0.01) as app:
            if begins == 1:
                await app.start("w", {"v": 1}, run_id="r1")
            await until(partial(_has_begun, journal, begins))
    gate.set()
    async with AppOn(store, workflows=[workflow], world=world) as app:
        assert await ended(await app.get("r1")) == ("success", {"v": 1})


def _has_begun(journal: Journal, times: int) -> bool:
    return len(journal.began) == times


@in_loop
async def test_a_step_that_runs_at_most_once_is_not_repeated_after_a_crash(journal: Journal) -> None:
    store, world = MemoryStore(), ManualWorld()
    workflow = hanging(journal, asyncio.Event(), at_most_once=True)
    await killed_in(journal, store, workflow, world, 1)
    assert [record.kind for record in await all_records(store, KEY)][-1] is Kind.ATTEMPT_STARTED
    async with AppOn(store, workflows=[workflow], world=world) as app:
        result = await (await app.get("r1")).result()
    assert (result.status, journal.began) == ("failed", ["hang"])
    assert result.error is not None
    assert (result.error.name, result.error.step) == ("UnknownOutcome", "hang")


@in_loop
async def test_it_begins_only_when_that_is_durable_and_then_once(journal: Journal) -> None:
    store = FlakyStore(refusals=1)
    workflow = create_workflow(id="w").then(journal.inc()).then(journal.step("once", at_most_once=True)).commit()
    async with AppOn(store, workflows=[workflow]) as app:
        with pytest.raises(StoreUnavailable):
            await app.start("w", {"v": 1}, run_id="r1")
        assert await ended(await app.start("w", {"v": 1}, run_id="r1")) == ("success", {"v": 2})
    assert (journal.began, store.faults.commits) == (
        ["inc", "once"],
        4,
    )  # start, inc, the record of its beginning, the end


@in_loop
async def test_its_failure_is_final_whatever_the_workflow_says(journal: Journal) -> None:
    @step(at_most_once=True)
    async def once(data: Any, ctx: StepContext) -> Any:
        journal.began.append(ctx.path)
        raise OSError("not now")

    workflow = create_workflow(id="w", retry_config={"attempts": 3}).then(once).commit()
    async with AppOn(MemoryStore(), workflows=[workflow]) as app:
        assert (await (await app.start("w")).result()).status == "failed"
    assert journal.began == ["once"]


@in_loop
async def test_one_that_was_announced_when_the_run_is_canceled_never_begins(journal: Journal) -> None:
    store, world = MemoryStore(), ManualWorld()
    workflow = hanging(journal, asyncio.Event())
    await killed_in(journal, store, workflow, world, 1)
    async with AppOn(store, workflows=[workflow], world=world) as app:
        await app.cancel("r1")
        assert (await (await app.get("r1")).result()).status == "canceled"
    assert len(journal.began) <= 2


def test_what_runs_at_most_once_has_no_retries_of_others() -> None:
    with pytest.raises(GraphError, match="has no retries but those"):
        create_step(id="s", execute=lambda data: data, at_most_once=True, retry_config={"attempts": 2})


@in_loop
async def test_attempts_that_each_run_at_most_once_follow_recorded_failures(journal: Journal) -> None:
    """Two fail and are tried again; the process ends in the third, which is never repeated."""
    store, world = MemoryStore(), ManualWorld()

    @step(at_most_once=True, retries=5)
    async def once(data: Any, ctx: StepContext) -> Any:
        journal.began.append(f"{ctx.path} {ctx.attempt}")
        if ctx.attempt < 3:
            raise OSError("not now")
        await asyncio.Event().wait()

    workflow = create_workflow(id="w").then(once).commit()
    app = AppOn(store, workflows=[workflow], world=world)
    await app.__aenter__()
    await app.start("w", {"v": 1}, run_id="r1")

    def tried() -> int:
        world.move(3600, app)
        return len(journal.began)

    await until(tried, lambda attempts: attempts == 3)
    await app.vanish()
    async with AppOn(store, workflows=[workflow], world=world) as another:
        result = await (await another.get("r1")).result()
    assert result.error is not None
    assert (result.error.name, journal.began) == ("UnknownOutcome", ["once 1", "once 2", "once 3"])


@in_loop
async def test_what_was_only_there_when_processes_ended_is_not_blamed(journal: Journal) -> None:
    """One step ends its process each time; those of nine other runs are always under way then."""
    store, world, end = MemoryStore(), ManualWorld(), asyncio.Event()

    async def work(data: Any, ctx: StepContext) -> Any:
        if data["v"] == 4:
            end.set()
            await asyncio.Event().wait()
        await asyncio.sleep(0.01)  # long enough to be met
        return data

    workflow = create_workflow(id="w").then(journal.acts("work", work)).commit()
    lives = 0
    while lives == 0 or any(row.status == "running" for row in await store.runs()):
        lives += 1
        assert lives < 30
        end.clear()
        app = AppOn(store, workflows=[workflow], world=world)
        await app.__aenter__()
        for n in range(10 if lives == 1 else 0):
            await app.start("w", {"v": n}, run_id=f"r{n}")
        await until(store.runs, lambda rows: end.is_set() or all(row.status != "running" for row in rows))
        await app.vanish()
    ends = {row.key.run: row.status for row in await store.runs()}
    assert ends == {f"r{n}": "failed" if n == 4 else "success" for n in range(10)}


@in_loop
async def test_a_suspect_that_works_for_long_lets_the_next_one_begin(journal: Journal) -> None:
    store, world, gate = MemoryStore(), ManualWorld(), asyncio.Event()

    async def wait(data: Any, ctx: StepContext) -> Any:
        begun.append(ctx.run_id)
        await gate.wait()
        return data

    begun: list[str] = []
    workflow = create_workflow(id="w").then(journal.acts("wait", wait)).commit()
    for lives in range(1, 5):
        app = AppOn(store, workflows=[workflow], world=world)
        await app.__aenter__()
        for n in range(3 if lives == 1 else 0):
            await app.start("w", {"v": n}, run_id=f"r{n}")
        await until(lambda lives=lives: len(begun) == 3 * lives)  # type: ignore[misc]
        await app.vanish()
    begun.clear()
    async with AppOn(store, workflows=[workflow], world=world) as last:
        for number in range(1, 4):
            await until(lambda number=number: len(begun) == number)  # type: ignore[misc]
            await asyncio.sleep(0.05)
            assert len(begun) == number
            world.move(1, last)
        gate.set()
        assert [await ended(await last.get(f"r{n}")) for n in range(3)] == [("success", {"v": n}) for n in range(3)]
