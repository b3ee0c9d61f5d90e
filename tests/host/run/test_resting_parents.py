"""A run that waits for a child rests as its child does: nobody has it, it says what it waits for; the child's end wakes it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.apps import KEY, AppOn, ManualWorld, in_loop, one_loop, run_in_loop, until
from support.guests import needs_python
from support.stores_of_all_kinds import STORES

from cloche import Cloche, Policy, StepContext, create_workflow, race, sleep, step, wait_for_event, workflow
from cloche.history import DEFAULT_TENANT, Kind, RunId, RunKey
from cloche.operations.replay import machine_of, why_not_moving
from cloche.run.children import LEFT_AFTER_MS
from cloche.store import SqliteStore, Store
from cloche.worker.new_runs import NewRuns

PARENTS = 300


@step
async def ask(data: Any, ctx: StepContext) -> Any:
    if ctx.resume_data is None:
        ctx.suspend({"for": "data"})
    return ctx.resume_data


gate: asyncio.Event


@step
async def work(data: Any) -> Any:
    await gate.wait()
    return "done"


child = create_workflow(id="child").then(ask).commit()
month = create_workflow(id="month").sleep(timedelta(days=30)).commit()
busy = create_workflow(id="busy").then(work).commit()


@workflow
async def parent(data: Any) -> Any:
    return {"got": await child(data)}


@workflow
async def grandparent(data: Any) -> Any:
    return {"from below": await parent(data)}


@workflow
async def patient(data: Any) -> Any:
    return await month(data)


@workflow
async def employer(data: Any) -> Any:
    return await busy(data)


@workflow
async def hasty(data: Any) -> Any:
    async def late() -> str:
        await sleep(days=30)
        return "too late"

    return await race(child(data), late())


@workflow
async def open_to_events(data: Any) -> Any:
    return await race(child(data), wait_for_event("enough"))


FLOWS = [grandparent, patient, employer, hasty, open_to_events]  # with their children


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    needs_python()
    with one_loop(), STORES[request.param](tmp_path, run_in_loop) as made:
        yield made
        run_in_loop(made.close())


def on(store: Store, **options: Any) -> AppOn:
    return AppOn(store, workflows=FLOWS, **options)


async def stands(app: Cloche, run: str = "r1") -> tuple[str, str | None]:
    row = await (await app.get(run)).row()
    return row.status, row.owner


def drivers(app: Cloche) -> int:
    return len(app._running.drivers)


def has_seen_its_children(app: Cloche) -> bool:
    driver = app._running.drivers.get(KEY)
    return driver is not None and driver._effects.children.left_from() is not None


async def ends(app: Cloche, run: str = "r1") -> int:
    """How often it was told of the end of a child."""
    history = await (await app.get(run)).history()
    return [record.kind for record in history].count(Kind.CHILD_ENDED)


async def is_settled(app: Cloche) -> None:
    """Whatever the stores hold follows from the records, and nothing is left in the inbox."""
    assert (await app.verify()).ok
    await until(app.connection.store.requests, lambda rows: rows == [], patience_s=5)


@in_loop
async def test_a_parent_rests_with_its_child_and_says_so(store: Store) -> None:
    async with on(store) as app:
        result = await (await app.start("grandparent", {}, run_id="r1")).result()
        (wait,) = result.waiting_for
        (inner,) = wait.waiting_for
        assert (result.status, wait.path, wait.run_id, wait.status) == ("waiting", "parent", "r1\x1fc1", "waiting")
        assert (inner.run_id, inner.status, inner.suspended) == ("r1\x1fc1\x1fc1", "suspended", [["ask"]])
        said = "child r1 › 1, which waits for child r1 › 1 › 1, which is suspended at ask"
        with pytest.raises(Exception, match=f"r1 is waiting and has no result: it waits for {said}"):
            result.unwrap()
        machine = await machine_of(store, (await (await app.get("r1")).row()).key)
        told = f"waiting for {said}; give it data with 'cloche resume \"r1 › 1 › 1\" --data JSON'"
        assert why_not_moving(result, machine, 0) == told
        assert await stands(app) == ("waiting", None)
        assert drivers(app) == 0
        await app.resume("r1 › 1 › 1", resume_data=5)
        assert (await (await app.get("r1")).result()).unwrap() == {"from below": {"got": 5}}
        await is_settled(app)


@in_loop
async def test_what_rests_when_a_store_is_opened_is_not_driven(tmp_path: Path) -> None:
    needs_python()
    store = SqliteStore(tmp_path / "runs.db")
    async with on(store) as app:
        runs = [await app.start("parent", {}, run_id=f"r{n}") for n in range(PARENTS)]
        await asyncio.gather(*(run.result() for run in runs))
        await until(lambda: drivers(app) == 0)
        rows = await app.list(limit=None)
        assert len(rows) == 2 * PARENTS
        assert {row.owner for row in rows} == {None}
    async with on(store) as app:
        await app.start("child", {}, run_id="last")  # what was to be taken up at the opening is taken up by now
        await (await app.get("last")).result()
        assert drivers(app) == 0
        assert {row.fence for row in await app.list(limit=None) if row.key.run != "last"} == {row.fence for row in rows}
    await store.close()


@in_loop
async def test_a_child_of_a_month_leaves_no_driver(store: Store) -> None:
    world = ManualWorld()
    async with on(store, world=world) as app:
        run = await app.start("patient", {}, run_id="r1")
        await until(lambda: drivers(app) == 0)
        assert await stands(app) == ("waiting", None)
        world.move(31 * 24 * 3600, app)
        assert (await run.result()).unwrap() == {}
        await is_settled(app)


@in_loop
async def test_a_child_that_works_for_long_is_left_to_itself(store: Store) -> None:
    global gate
    gate = asyncio.Event()
    world = ManualWorld()
    async with on(store, world=world) as app:
        run = await app.start("employer", {}, run_id="r1")
        await until(lambda: drivers(app) == 2)
        await until(lambda: has_seen_its_children(app))
        world.move(LEFT_AFTER_MS / 1000 - 1, app)
        assert drivers(app) == 2
        world.move(2, app)
        await until(lambda: drivers(app) == 1)
        assert await stands(app) == ("waiting", None)
        gate.set()
        assert (await run.result()).unwrap() == "done"
        await is_settled(app)


@in_loop
async def test_a_parent_rests_while_its_child_waits_to_begin(store: Store) -> None:
    """No time passes: it is not driven meanwhile, and a child that is canceled in the queue wakes it."""
    global gate
    gate = asyncio.Event()
    async with on(store, world=ManualWorld(), policy=Policy(concurrent_runs=2)) as app:
        await app.start("busy", {}, run_id="holder")
        run = await app.start("employer", {}, run_id="r1")
        await until(lambda: drivers(app) == 3)
        await app.start("employer", {}, run_id="r2")
        gate.set()
        assert (await run.result()).unwrap() == "done"
        await is_settled(app)


@in_loop
async def test_a_kill_after_the_childs_last_commit_loses_nothing(store: Store) -> None:
    app = on(store)
    await app.__aenter__()
    await (await app.start("parent", {}, run_id="r1")).result()
    app._running.drivers._on_child = lambda: None  # what follows the commit, and is not reached
    assert (await app.resume("r1 › 1", resume_data=5)).status == "success"
    assert await stands(app) == ("waiting", None)
    await app.vanish()
    async with on(store) as after:
        assert (await (await after.get("r1")).result()).unwrap() == {"got": 5}
        assert await ends(after) == 1
        await is_settled(after)


@in_loop
async def test_a_child_that_ends_elsewhere_wakes_its_parent_once(store: Store) -> None:
    async with on(store) as first, on(await store.connect()) as second:
        run = await first.start("parent", {}, run_id="r1")
        await run.result()
        await second.resume("r1 › 1", resume_data=5)
        assert (await run.result()).unwrap() == {"got": 5}
        assert await ends(first) == 1
        await is_settled(first)


@in_loop
async def test_a_cancellation_reaches_a_resting_parent_and_its_child(store: Store) -> None:
    async with on(store) as app:
        run = await app.start("grandparent", {}, run_id="r1")
        await run.result()
        await run.cancel()
        assert (await run.result()).status == "canceled"
        for below in ("r1 › 1", "r1 › 1 › 1"):
            assert (await (await app.get(below)).result(final=True)).status == "canceled"
        await until(lambda: drivers(app) == 0)
        await is_settled(app)


@in_loop
async def test_a_time_limit_ends_the_wait_for_a_resting_child(store: Store) -> None:
    world = ManualWorld()
    async with on(store, world=world) as app:
        run = await app.start("hasty", {}, run_id="r1")
        await until(lambda: drivers(app) == 0)
        row = await run.row()
        assert (row.status, row.wake_at) == ("waiting", world.now() + 30 * 24 * 3_600_000)
        world.move(30 * 24 * 3600, app)
        assert (await run.result()).unwrap() == "too late"
        assert (await (await app.get("r1 › 1")).result(final=True)).status == "canceled"
        await is_settled(app)


@in_loop
async def test_an_event_reaches_a_resting_parent(store: Store) -> None:
    async with on(store) as app:
        run = await app.start("open_to_events", {}, run_id="r1")
        assert (await run.result()).waiting_for[0].status == "suspended"
        await app.send_event("r1", "enough", 7)
        assert (await run.result(final=True)).unwrap() == 7
        assert (await (await app.get("r1 › 1")).result(final=True)).status == "canceled"
        await is_settled(app)


@in_loop
async def test_a_parent_of_an_older_release_is_driven(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its children do not know it, and leave nothing for it: whoever has it looks after them."""
    created = NewRuns.created
    monkeypatch.setattr(NewRuns, "created", lambda *args, **more: replace(created(*args, **more), derived_ids=False))
    async with on(store) as app:
        run = await app.start("parent", {}, run_id="r1")
        await until(lambda: store.run(RunKey(DEFAULT_TENANT, RunId("r1.1"))))
        assert (await (await app.get("r1.1")).result()).status == "suspended"
        await asyncio.sleep(0.05)
        assert drivers(app) == 1
        assert (await stands(app))[0] == "running"
        await app.resume("r1.1", resume_data=5)
        assert (await run.result()).unwrap() == {"got": 5}
        await is_settled(app)
