"""What a step of a nested workflow sees and goes by: its own workflow's, not that of the run around it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel
from support.apps import AppOn, Journal, in_loop, until

from cloche import DirectEngine, Policy, SandboxEngine, StepContext, create_workflow, load_workflow, path, step
from cloche.store import MemoryCheckpoints, MemoryStore
from cloche.tenancy import Grant


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


# ---- what it is entered with -----------------------------------------------------------------------------------------


class Numbers(BaseModel):
    v: int
    unit: str = "cm"


ENGINES = {"sandbox": SandboxEngine, "direct": DirectEngine}
WHY = "v: Input should be a valid integer, unable to parse string as an integer"


@pytest.mark.parametrize("guest", ["javascript", "python"])
@pytest.mark.parametrize("engine", ENGINES)
@in_loop
async def test_a_nested_input_is_held_against_its_schema(engine: str, guest: Any, journal: Journal) -> None:
    look, seen = looks(journal)
    inner = create_workflow(id="W", input_schema=Numbers).then(look).map(path("initData")).commit()
    listing = create_workflow(id="w", guest=guest).foreach(inner, on_error="collect").commit()
    single = create_workflow(id="one", guest=guest).then(inner, id="entry").commit()
    async with AppOn(MemoryStore(), workflows=[listing, single], engine=ENGINES[engine]()) as app:
        items = (await (await app.start("w", [{"v": "1"}, {"v": "x"}])).result()).unwrap()
        failed = await (await app.start("one", {"v": "x"})).result()
    assert seen == [("W[0]/look", Numbers(v=1, unit="cm"))]  # what it fits is filled in and converted, as for a run
    misfit = {
        "name": "InvalidInput",
        "bases": [
            "cloche.InvalidInput",
            "cloche.UsageError",
            "cloche.ClocheError",
            "builtins.Exception",
            "builtins.BaseException",
        ],
        "message": f"the input of workflow 'W' at 'W[1]' does not fit its schema: {WHY}",
    }
    assert items == [
        {"status": "success", "output": {"v": 1, "unit": "cm"}},
        {"status": "failed", "error": misfit},
    ]
    assert failed.error is not None
    assert (failed.error.step, failed.error.name) == ("entry", "InvalidInput")
    assert failed.error.message == f"the input of workflow 'W' at 'entry' does not fit its schema: {WHY}"


@pytest.mark.parametrize("engine", ENGINES)
@in_loop
async def test_a_graph_from_before_enters_unchecked(engine: str, journal: Journal) -> None:
    look, seen = looks(journal)
    inner = create_workflow(id="W", input_schema=Numbers).then(look).commit()
    graph = create_workflow(id="w").then(inner).commit().graph
    assert graph.workflows["W"].checks_input
    nested = graph.workflows["W"].model_copy(update={"checks_input": None})  # as older versions stored it
    stored = graph.model_copy(update={"workflows": {"W": nested}}).to_json()
    async with AppOn(MemoryStore(), workflows=[load_workflow(stored, steps=[look])], engine=ENGINES[engine]()) as app:
        assert (await (await app.start("w", {"v": "x"})).result()).unwrap() == {"v": "x"}
    assert seen == [("W/look", {"v": "x"})]


@pytest.mark.parametrize("which", ["inner", "outer"])
@in_loop
async def test_a_workflow_that_validates_no_inputs_is_entered_with_anything(which: str, journal: Journal) -> None:
    inner = create_workflow(id="W", input_schema=Numbers, validate_inputs=which != "inner").then(journal.inc()).commit()
    outer = create_workflow(id="w", validate_inputs=which != "outer").then(inner).commit()
    async with AppOn(MemoryStore(), workflows=[outer]) as app:
        failed = await (await app.start("w", {"other": 1})).result()
    assert failed.error is not None
    assert failed.error.name != "InvalidInput"  # the step's own: it has no "v"


@in_loop
async def test_a_deployed_graph_is_held_to_its_nested_schemas() -> None:
    @step(id="give")
    async def give(data: Any) -> Any:
        return data

    inner = create_workflow(id="W", input_schema=Numbers).then(give).commit()
    graph = create_workflow(id="theirs").then(inner).commit().graph.to_json()
    async with AppOn(MemoryStore(), steps=[give], policy=Policy(steps=(Grant(step="give"),))) as app:
        await app.deploy("acme", graph)
        tenant = app.tenant("acme")
        assert (await (await tenant.start("theirs", {"v": "4"})).result()).unwrap() == {"v": 4, "unit": "cm"}
        failed = await (await tenant.start("theirs", {"v": "x"})).result()
    assert str(failed.error) == f"InvalidInput: the input of workflow 'W' at 'W' does not fit its schema: {WHY}"


class Wider(Numbers):
    note: str


def entering(model: Any, stop: Any) -> Any:
    return (
        create_workflow(id="w")
        .then(stop)
        .then(create_workflow(id="W", input_schema=model).then(stop).commit())
        .commit()
    )


@in_loop
async def test_a_nested_schema_that_a_deploy_changed_blocks_the_run(journal: Journal) -> None:
    async def stop(data: Any, ctx: StepContext) -> Any:
        if ctx.path == "stop" and ctx.resume_data is None:
            ctx.suspend()
        return data

    store, step = MemoryStore(), journal.acts("stop", stop)
    async with AppOn(store, workflows=[entering(Numbers, step)]) as app:
        assert (await (await app.start("w", {"v": 1}, run_id="r1")).result()).status == "suspended"
    async with AppOn(store, workflows=[entering(Wider, step)]) as app:
        run = await app.get("r1")
        await run.resume(resume_data=1)
        blocked = (await run.result()).blocked
        assert blocked is not None
        assert blocked["reason"] == "schema-changed"
        assert "the input of workflow 'W' fits the schema that the run began with" in blocked["message"]
    async with AppOn(store, workflows=[entering(Numbers, step)]) as app:
        assert (await (await app.get("r1")).result()).unwrap() == {"v": 1, "unit": "cm"}


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
