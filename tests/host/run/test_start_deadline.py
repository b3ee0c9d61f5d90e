"""`start(deadline=)`: by when a run must have ended, on both engines, and for code that cannot clean up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.apps import ManualWorld, in_loop, until
from support.guests import needs_python

from cloche import Canceled, Client, Cloche, DirectEngine, create_workflow, sleep, step, workflow
from cloche.client.deadlines import deadline_ms
from cloche.engines import CellSource, SandboxEngine
from cloche.errors import InvalidInput
from cloche.history import DEFAULT_TENANT, RunId, RunKey, TimeMs
from cloche.store import MemoryStore

ENGINES: list[type[CellSource]] = [SandboxEngine, DirectEngine]
NOW = TimeMs(1_700_000_000_000)
HOUR_S = 3_600
given_back: list[str] = []


async def is_waiting(app: Cloche, run_id: str) -> bool:
    row = await app.connection.store.run(RunKey(DEFAULT_TENANT, RunId(run_id)))
    return row is not None and row.status == "waiting"


@step
async def give_back(what: str) -> str:
    given_back.append(what)
    return what


@workflow
async def rents(what: str) -> str:
    try:
        await sleep(days=3)
    except Canceled:
        await give_back(what)
        raise
    return what


waits = create_workflow(id="waits").sleep(86_400).commit()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("flow", [rents, waits], ids=["native", "builder"])
@in_loop
async def test_it_is_told_to_end_cleans_up_and_fails(engine: Any, flow: Any) -> None:
    needs_python()
    given_back.clear()
    world = ManualWorld()
    async with Cloche(MemoryStore(), workflows=[flow], engine=engine(), world=world) as app:
        run = await app.start(flow, "car", deadline="8 hours", tags={"customer": "c-17"})
        await until(lambda: is_waiting(app, run.id))
        world.move(7 * HOUR_S, app)
        assert (await run.status()) == "waiting"
        world.move(2 * HOUR_S, app)
        result = await run.result()
    assert (result.status, result.error.name if result.error else None) == ("failed", "DeadlineExceeded")
    assert result.tags == {"customer": "c-17"}
    assert result.deadline is not None
    assert given_back == (["car"] if flow is rents else [])


@in_loop
async def test_a_client_says_it_and_a_worker_goes_by_it_after_a_restart() -> None:
    world, store = ManualWorld(), MemoryStore()
    async with Client(store, world=world) as client:
        await client.start("waits", None, run_id="r1", deadline=timedelta(hours=1))
    async with Cloche(store, workflows=[waits], world=world) as app:
        await until(lambda: is_waiting(app, "r1"))
    world.move(2 * HOUR_S)
    async with Cloche(store, workflows=[waits], world=world) as app:
        result = await (await app.get("r1")).result()
    assert (result.status, result.error.name if result.error else None) == ("failed", "DeadlineExceeded")


@pytest.mark.parametrize(
    ("deadline", "ms"),
    [
        (None, None),
        (1.5, NOW + 1_500),
        ("2 hours", NOW + 7_200_000),
        (timedelta(days=1), NOW + 86_400_000),
        (datetime(2027, 1, 1, tzinfo=UTC), 1_798_761_600_000),
        ("2027-01-01T00:00:00Z", 1_798_761_600_000),
    ],
)
def test_a_deadline_is_an_instant_or_a_time_from_now(deadline: Any, ms: int | None) -> None:
    assert deadline_ms(deadline, NOW) == ms


@pytest.mark.parametrize("deadline", ["soon", True, float("inf"), [], timedelta(days=-100_000)])
def test_what_is_no_deadline_is_refused(deadline: Any) -> None:
    with pytest.raises(InvalidInput, match="a deadline is"):
        deadline_ms(deadline, NOW)
