"""Workers with different workflows share a store: each leaves the other's runs alone, and none is blocked for it."""

from __future__ import annotations

import asyncio

from support.apps import AppOn, Journal, in_loop

from cloche import Client, Workflow, create_workflow
from cloche.run.clock import SystemWorld
from cloche.store import MemoryStore, Store


def flow(journal: Journal, id: str) -> Workflow:
    """Its steps have ids of their own: only a worker that has the workflow has them."""
    add = journal.step(f"{id}-inc", lambda data: {"v": data["v"] + 1})
    return create_workflow(id=id).then(journal.ask(f"{id}-ask")).sleep(0.05).then(add).commit()


async def statuses(store: Store, seen: set[str]) -> None:
    """Whatever a run of the store is, as often as it can be seen."""
    while True:
        seen |= {str(row.status) for row in await store.runs(limit=100)}
        await asyncio.sleep(0)


@in_loop
async def test_runs_of_another_worker_are_left_to_it(journal: Journal) -> None:
    store, seen = MemoryStore(), set[str]()
    watching = asyncio.create_task(statuses(store, seen))
    one = AppOn(store, workflows=[flow(journal, "one")], world=SystemWorld())
    two = AppOn(store, workflows=[flow(journal, "two")], world=SystemWorld())
    async with one, two, Client(store) as client:
        runs = [await client.start(name, {"v": 1}, run_id=f"{name}-{n}") for n in range(4) for name in ("one", "two")]
        for run in runs:
            await run.result()
        for run in runs:
            await client.request_resume(run.id, resume_data={"add": 1})
        results = [await run.result(final=True) for run in runs]
        assert [(one.status, one.result) for one in results] == [("success", {"v": 3})] * 8
        for run in runs:
            assert all(record.kind.name != "RUN_STOPPED" for record in await run.history())
    watching.cancel()
    assert "blocked" not in seen


@in_loop
async def test_they_are_taken_once_the_other_worker_has_gone(journal: Journal) -> None:
    """Nobody has the workflow then: the run is tried, and blocked with what it lacks; one that has it goes on with it."""
    store = MemoryStore()
    two = flow(journal, "two")
    async with AppOn(store, workflows=[flow(journal, "one")], world=SystemWorld()):
        async with AppOn(store, workflows=[two], world=SystemWorld()), Client(store) as client:
            run = await client.start("two", {"v": 1}, run_id="r1")
            await run.result()
            await client.request_resume("r1", resume_data={"add": 1})
        async with Client(store) as client, AppOn(store, workflows=[two], world=SystemWorld()):
            result = await (await client.get("r1")).result(final=True)
            assert (result.status, result.result) == ("success", {"v": 3})
