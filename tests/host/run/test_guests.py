"""Runs of the Python guest beside those of the JavaScript one: the same records, and the same roads back."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from support.apps import KEY, AppOn, Journal, ManualWorld, in_loop, until
from support.guests import needs_python

from cloche import create_workflow, load_workflow, path
from cloche.client.workflows import Workflow
from cloche.engines import CellSource, DirectEngine, SandboxEngine
from cloche.history import Kind
from cloche.run.code import load_code
from cloche.store import MemoryStore, all_records

MATH = Path(__file__).parents[2] / "codegen" / "golden" / "math" / "workflow.py"
BOTH_WAYS = [(SandboxEngine, DirectEngine), (DirectEngine, SandboxEngine)]


def math(guest: str) -> Workflow:
    """The first workflow of the README, for one of the guests."""
    built = runpy.run_path(str(MATH))["workflow"]
    return load_workflow(built.graph.model_copy(update={"guest": guest}), steps=built.steps)


async def status(store: MemoryStore) -> str:
    row = await store.run(KEY)
    return row.status if row is not None else ""


@in_loop
async def test_the_math_workflow_has_the_same_records_under_both_guests() -> None:
    needs_python()
    logs, guests = [], set()
    for guest in ("javascript", "python"):
        store = MemoryStore()
        async with AppOn(store, workflows=[math(guest)], world=ManualWorld(), engine=SandboxEngine()) as app:
            result = await (await app.start("math", {"x": 5}, run_id=KEY.run)).result()
            assert result.unwrap() == {"x": 20}
            assert (await app.replay(KEY.run)).ok
        records = await all_records(store, KEY)
        logs.append(
            [(record.kind, record.path, record.body) for record in records if record.kind is not Kind.RUN_CREATED]
        )
        guests.add(records[0].content()["guest"])
    assert logs[0] == logs[1]
    assert len(guests) == 2


def waiting(journal: Journal) -> Workflow:
    """Blocks, a nested workflow, sleep, a failure that is collected, and a step that asks."""
    inner = create_workflow(id="inner").then(journal.inc()).map({"v": path("inputData.v")}).commit()
    return (
        create_workflow(id="w", guest="python")
        .parallel([journal.dbl(), inner, journal.boom()], settle=True)
        .map({"v": path("stepResults.dbl.v"), "text": {"template": "${inputData.boom.error.message}"}})
        .sleep(30)
        .dountil(journal.step("more", lambda data: {"v": data["v"] + 0.5}), path("inputData.v") >= 5)
        .choose([(path("inputData.v") > 4, journal.ask())])
        .commit()
    )


async def lived(first: CellSource, second: CellSource) -> tuple[Any, list[Any]]:
    """A run that sleeps and is suspended on one engine, and is resumed on the other."""
    store, world, workflow = MemoryStore(), ManualWorld(), waiting(Journal())
    app = AppOn(store, workflows=[workflow], world=world, engine=first)
    await app.__aenter__()
    await app.start(workflow, {"v": 2}, run_id=KEY.run)
    await until(lambda: status(store), lambda found: found == "waiting")
    world.move(30, app)
    await until(lambda: status(store), lambda found: found == "suspended")
    await app.vanish()
    async with AppOn(store, workflows=[workflow], world=world, engine=second) as other:
        await other.resume(KEY.run, resume_data={"add": 5})
        await until(lambda: status(store), lambda found: found == "success")
        result = (await (await other.get(KEY.run)).result()).unwrap()
        for engine in (SandboxEngine(), DirectEngine()):
            other._running.cells.engine = engine
            assert (await other.replay(KEY.run)).divergence is None
    row, rest = await store.run(KEY), (await all_records(store, KEY))[1:]
    assert row is not None
    assert (await load_code(store, row.code)).language == "python"
    return result, [(one.kind, one.body) for one in rest if not one.kind.name.startswith("ATTEMPT")]


@pytest.mark.parametrize(("first", "second"), BOTH_WAYS)
def test_a_python_run_goes_on_on_the_other_engine(first: type[CellSource], second: type[CellSource]) -> None:
    needs_python()

    @in_loop
    async def live() -> None:
        result, log = await lived(first(), second())
        assert result == {"ask": {"v": 10.0}}
        assert (result, log) == await lived(first(), first())

    live()


@in_loop
async def test_a_python_run_says_in_which_line_of_the_graph_it_diverged() -> None:
    needs_python()
    store, journal = MemoryStore(), Journal()
    before = create_workflow(id="w", guest="python").then(journal.inc()).then(journal.dbl()).commit()
    after = create_workflow(id="w", guest="python").then(journal.dbl()).commit()
    async with AppOn(store, workflows=[before], world=ManualWorld(), engine=SandboxEngine()) as app:
        await (await app.start("w", {"v": 1}, run_id=KEY.run)).result()
        report = await app.replay(KEY.run, after)
    assert report.divergence is not None
    assert "inc" in str(report.divergence)
    assert "dbl" in str(report.divergence)
