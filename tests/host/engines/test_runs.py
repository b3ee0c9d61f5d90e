"""Whole runs: what the log of one engine says, the other says as well, and goes on with."""

from __future__ import annotations

from typing import Any

import pytest
from support.apps import AppOn, Journal, ManualWorld, in_loop, until

from cloche import create_workflow
from cloche.client.workflows import Workflow
from cloche.engines import CellSource, DirectEngine, SandboxEngine
from cloche.history import RunId, RunKey, TenantId
from cloche.store import MemoryStore, all_records
from cloche_codegen import code, path

KEY = RunKey(TenantId("default"), RunId("r1"))
BOTH_WAYS = [(SandboxEngine, DirectEngine), (DirectEngine, SandboxEngine)]


def everything(journal: Journal) -> Workflow:
    """Blocks, loops, a nested workflow, code, sleep, a failure that is collected, and a step that asks."""
    inner = (
        create_workflow(id="inner")
        .then(journal.inc())
        .map({"v": path("inputData.v"), "at": code("Date.now()")})
        .commit()
    )
    return (
        create_workflow(id="everything")
        .parallel([journal.dbl(), inner, journal.boom()], settle=True)
        .map(
            {
                "v": path("stepResults.dbl.v"),
                "random": code("Math.random()"),
                "text": {"template": "${inputData.boom.error.message}"},
            }
        )
        .sleep(30)
        .dountil(
            journal.step("more", lambda data: {"v": data["v"] + 0.5}),
            {"gte": {"left": path_of("v"), "right": {"literal": 5}}},
        )
        .choose([("inputData.v > 4", journal.ask())])
        .map(code("[1, 2, inputData.ask.v]"), id="list")
        .foreach(journal.step("half", lambda data: data / 2), concurrency=2)
        .commit()
    )


def path_of(key: str) -> dict[str, str]:
    return {"path": f"inputData.{key}"}


async def begun(engine: CellSource, store: MemoryStore, world: ManualWorld, workflow: Workflow) -> AppOn:
    """The run has slept and waits to be resumed."""
    app = AppOn(store, workflows=[workflow], world=world, engine=engine)
    await app.__aenter__()
    await app.start(workflow, {"v": 2}, run_id=KEY.run)
    await until(lambda: status(store), lambda found: found == "waiting")
    world.move(30, app)
    await until(lambda: status(store), lambda found: found == "suspended")
    return app


async def finished(engine: CellSource, store: MemoryStore, world: ManualWorld, workflow: Workflow) -> Any:
    async with AppOn(store, workflows=[workflow], world=world, engine=engine) as app:
        await app.resume(KEY.run, resume_data={"add": 5})
        await until(lambda: status(store), lambda found: found not in ("running", "suspended"))
        result = await (await app.get(KEY.run)).result()
        for other in (SandboxEngine(), DirectEngine()):
            app._running.cells.engine = other
            report = await app.replay(KEY.run)
            assert report.divergence is None
        return result.unwrap()


async def status(store: MemoryStore) -> str:
    row = await store.run(KEY)
    assert row is not None
    return row.status


async def log(store: MemoryStore) -> list[tuple[str, bytes]]:
    """All but the first record, which names the engine."""
    return [(record.kind.name, record.body) for record in (await all_records(store, KEY))[1:]]


@in_loop
async def test_the_logs_of_both_engines_are_equal() -> None:
    logs, results = [], []
    for engine in (SandboxEngine(), DirectEngine()):
        store, world, workflow = MemoryStore(), ManualWorld(), everything(Journal())
        await (await begun(engine, store, world, workflow)).vanish()
        results.append(await finished(engine, store, world, workflow))
        logs.append([(kind, body) for kind, body in await log(store) if not kind.startswith("ATTEMPT")])  # tracebacks
    assert results == [[0.5, 1, 5.0], [0.5, 1, 5.0]]
    assert logs[0] == logs[1]


@pytest.mark.parametrize(("first", "second"), BOTH_WAYS)
def test_a_run_begun_on_one_engine_goes_on_on_the_other(first: type[CellSource], second: type[CellSource]) -> None:
    @in_loop
    async def live() -> None:
        store, world, journal = MemoryStore(), ManualWorld(), Journal()
        workflow = everything(journal)
        await (await begun(first(), store, world, workflow)).vanish()
        before = list(journal.began)
        assert await finished(second(), store, world, workflow) == [0.5, 1, 5.0]
        assert journal.began == [*before, "ask", "half[0]", "half[1]", "half[2]"]

    live()
