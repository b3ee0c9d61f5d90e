"""What a step of a nested workflow sees and goes by: its own workflow's, not that of the run around it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from support.apps import AppOn, Journal, in_loop, until

from cloche import StepContext, create_workflow
from cloche.store import MemoryCheckpoints, MemoryStore


@in_loop
async def test_a_step_is_retried_as_its_own_workflow_says(journal: Journal) -> None:
    boom = journal.boom()
    inner = create_workflow(id="Inner", retry_config={"attempts": 2}).then(boom).commit()
    outer = create_workflow(id="w").foreach(inner).commit()
    async with AppOn(MemoryStore(), workflows=[outer]) as app:
        assert (await (await app.start("w", [1])).result()).status == "failed"
    assert journal.began == ["Inner[0]/boom"] * 3


@in_loop
async def test_a_workflow_that_says_nothing_goes_by_the_one_around_it(journal: Journal) -> None:
    inner = create_workflow(id="Inner").then(journal.boom()).commit()
    outer = create_workflow(id="w", retry_config={"attempts": 1}).then(inner).commit()
    async with AppOn(MemoryStore(), workflows=[outer]) as app:
        assert (await (await app.start("w", 1)).result()).status == "failed"
    assert journal.began == ["Inner/boom"] * 2


# ---- what is looked up -----------------------------------------------------------------------------------------------


def looks(journal: Journal, *names: str) -> tuple[Any, list[Any]]:
    """A step that passes its input on, and what it sees: its path, its workflow's input, results by name."""
    seen: list[Any] = []

    def look(data: Any, ctx: StepContext) -> Any:
        seen.append((ctx.path, ctx.get_init_data(), *(ctx.get_step_result(name) for name in names)))
        return data

    return journal.acts("look", look), seen


async def ran(workflow: Any, value: Any = None) -> None:
    async with AppOn(MemoryStore(), workflows=[workflow]) as app:
        assert (await (await app.start("w", value)).result()).status == "success"


@in_loop
async def test_a_step_of_a_nested_workflow_sees_that_one(journal: Journal) -> None:
    look, seen = looks(journal, "inc", "dbl", "W/inc", "W")
    inner = create_workflow(id="W").then(journal.inc()).then(look).commit()
    await ran(create_workflow(id="w").then(journal.dbl()).then(inner).commit(), {"v": 1})
    assert seen == [("W/look", {"v": 2}, {"v": 3}, None, {"v": 3}, None)]


@in_loop
async def test_each_item_and_turn_sees_its_own(journal: Journal) -> None:
    look, seen = looks(journal, "inc")
    inner = create_workflow(id="W").then(journal.inc()).then(look).commit()
    await ran(create_workflow(id="w").foreach(inner, concurrency=2).commit(), [{"v": 1}, {"v": 5}])
    assert sorted(seen, key=str) == [("W[0]/look", {"v": 1}, {"v": 2}), ("W[1]/look", {"v": 5}, {"v": 6})]
    seen.clear()
    await ran(create_workflow(id="w").dowhile(inner, "inputData.v < 3").commit(), {"v": 1})
    assert seen == [("W[1]/look", {"v": 1}, {"v": 2}), ("W[2]/look", {"v": 2}, {"v": 3})]


@pytest.mark.parametrize("turns", [1, 2, 3, 4, 7, 8, 13])
@in_loop
async def test_the_result_of_a_loop_is_that_of_its_last_turn(turns: int, journal: Journal) -> None:
    look, seen = looks(journal, "inc")
    await ran(create_workflow(id="w").dowhile(journal.inc(), f"inputData.v < {turns}").then(look).commit(), {"v": 0})
    assert seen == [("look", {"v": 0}, {"v": turns})]


@in_loop
async def test_the_result_of_a_wait_is_what_flows_on(journal: Journal) -> None:
    """As conditions and maps see it: of a sleep what it let through, of an event what it carried."""
    look, seen = looks(journal, "nap", "until", "told", "later")
    inner = create_workflow(id="W").sleep(0.001, id="nap").then(look).sleep(0.001, id="later").commit()
    past = datetime(2020, 1, 1, tzinfo=UTC)
    workflow = create_workflow(id="w").then(inner).sleep_until(past, id="until").wait_for_event("go", id="told")
    async with AppOn(MemoryStore(), workflows=[workflow.then(look, id="last").commit()]) as app:
        run = await app.start("w", {"v": 1})
        await app.send_event(run.id, "go", {"v": 9})
        assert (await run.result()).status == "success"
    assert seen == [
        ("W/look", {"v": 1}, {"v": 1}, None, None, None),
        ("last", {"v": 1}, None, {"v": 1}, {"v": 9}, None),
    ]


@pytest.mark.parametrize("every", [1, 1000], ids=["from a checkpoint", "replayed"])
@in_loop
async def test_it_sees_the_same_after_a_crash(every: int, journal: Journal) -> None:
    seen: list[Any] = []
    gate = asyncio.Event()

    async def look(data: Any, ctx: StepContext) -> Any:
        seen.append((ctx.get_init_data(), await ctx.step_result("inc")))
        await gate.wait()
        return data

    inner = create_workflow(id="W").then(journal.inc()).then(journal.acts("look", look)).commit()
    workflow = create_workflow(id="w").then(journal.dbl()).then(inner).commit()
    store, checkpoints = MemoryStore(), MemoryCheckpoints()
    app = AppOn(store, checkpoints, workflows=[workflow], checkpoint_every=every)
    await app.__aenter__()
    await app.start("w", {"v": 1}, run_id="r1")
    await until(lambda: seen)
    await app.vanish()
    gate.set()
    async with AppOn(store, checkpoints, workflows=[workflow], checkpoint_every=every) as after:
        assert (await (await after.get("r1")).result()).status == "success"
    assert seen == [({"v": 2}, {"v": 3})] * 2
