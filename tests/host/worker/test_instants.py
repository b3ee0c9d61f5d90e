"""What waits together is delivered in the order of its instants, also when no worker ran then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from support.apps import AppOn, Journal, ManualWorld, in_loop, until

from cloche import Client, Workflow, create_workflow
from cloche.history import Kind
from cloche.store import MemoryStore


def waits() -> Workflow:
    return create_workflow(id="w").wait_for_event("go", timeout=60, id="go").commit()


async def at_rest(app: AppOn, key: Any) -> None:
    await until(lambda: key not in app._running.drivers)


async def left_alone(flow: Any, while_alone: Callable[[Client, ManualWorld], Any]) -> tuple[str, Any]:
    """How a run ends, of which `while_alone` happened while no worker was running."""
    world, store = ManualWorld(), MemoryStore()
    async with AppOn(store, workflows=[flow], world=world) as app:
        run = await app.start(flow, 0, run_id="r1")
        await until(
            lambda: store.records(run._key), lambda found: any(record.kind is Kind.HOOK_OPENED for record in found)
        )
        await at_rest(app, run._key)  # type: ignore[arg-type]
    async with Client(store, world=world) as client:
        await while_alone(client, world)
    async with AppOn(store, workflows=[flow], world=world) as app:
        run = await app.get("r1")
        result = await asyncio.wait_for(run.result(final=True), 5)
        return result.status, result.result if result.error is None else result.error.name


@in_loop
async def test_an_event_before_its_deadline_wins_though_no_worker_ran() -> None:
    async def in_time(client: Client, world: ManualWorld) -> None:
        world.move(30)
        await client.send_event("r1", "go", "in time")
        world.move(300)

    assert await left_alone(waits(), in_time) == ("success", "in time")


@in_loop
async def test_an_event_after_its_deadline_loses_though_no_worker_ran() -> None:
    async def too_late(client: Client, world: ManualWorld) -> None:
        world.move(61)
        await client.send_event("r1", "go", "too late")

    assert await left_alone(waits(), too_late) == ("failed", "EventTimeout")


@in_loop
async def test_an_event_at_its_deadline_wins() -> None:
    async def on_time(client: Client, world: ManualWorld) -> None:
        world.move(60)
        await client.send_event("r1", "go", "on time")

    assert await left_alone(waits(), on_time) == ("success", "on time")


@in_loop
async def test_a_clock_that_was_set_back_does_not_let_a_later_event_overtake() -> None:
    async def set_back(client: Client, world: ManualWorld) -> None:
        world.move(61)
        await client.send_event("r1", "other", 1)
        world.move(-60)
        await client.send_event("r1", "go", "posted after it")
        world.move(300)

    assert await left_alone(waits(), set_back) == ("failed", "EventTimeout")


@in_loop
async def test_data_before_a_deadline_wins_though_no_worker_ran() -> None:
    journal, world, store = Journal(), ManualWorld(), MemoryStore()
    nap = create_workflow(id="nap").sleep(60).commit()
    flow = create_workflow(id="w").parallel([journal.ask(), nap], first_success=True).commit()
    async with AppOn(store, workflows=[flow], world=world) as app:
        run = await app.start(flow, {"v": 1}, run_id="r1")
        await until(
            lambda: store.records(run._key), lambda found: any(record.kind is Kind.STEP_SUSPENDED for record in found)
        )
        await at_rest(app, run._key)  # type: ignore[arg-type]
    async with Client(store, world=world) as client:
        world.move(30)
        await client.request_resume("r1", resume_data={"add": 1})
        world.move(300)
    async with AppOn(store, workflows=[flow], world=world) as app:
        result = await asyncio.wait_for((await app.get("r1")).result(final=True), 5)
        kinds = (Kind.STEP_RESUMED, Kind.TIMER_FIRED)
        first = next(record.kind for record in await store.records(run._key) if record.kind in kinds)
        assert (result.status, first) == ("success", Kind.STEP_RESUMED)
