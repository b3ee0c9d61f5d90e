"""Runs that have ended are kept as long as `Retention` says, and then deleted by a worker, beside its work."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from support.apps import AppOn, Journal, ManualWorld, in_loop, until

import cloche
from cloche import Cloche, Retention, create_step, create_workflow, days, start_child, workflow
from cloche.operations.retention import sweep
from cloche.status import RunStatus
from cloche.store import MemoryStore

DAY_MS = 86_400_000


def _fails(_: Any) -> Any:
    raise ValueError("down")


def flow_of(step: Any, id: str = "w") -> Any:
    return create_workflow(id=id).then(step).commit()


async def left(app: Any) -> set[str]:
    return {row.key.run for row in await app.list(limit=None)}


def test_what_is_closest_says_how_long() -> None:
    retention = Retention(
        success=days(30),
        workflows={"log": Retention(success=days(1))},
        tenants={"acme": Retention(failed=days(7), workflows={"log": Retention(success=days(2))})},
    )
    asked = [("t", "w"), ("t", "log"), ("acme", "w"), ("acme", "log")]
    kept = [retention.keeps_ms(*one, RunStatus.SUCCESS) for one in asked]
    assert kept == [30 * DAY_MS, DAY_MS, None, 2 * DAY_MS]
    assert retention.keeps_ms("acme", "w", RunStatus.FAILED) == 7 * DAY_MS
    assert (retention.shortest_ms(RunStatus.SUCCESS), retention.shortest_ms(RunStatus.CANCELED)) == (DAY_MS, None)
    with pytest.raises(ValidationError, match="not negative"):
        Retention(success=timedelta(days=-1))


@in_loop
async def test_runs_go_when_their_time_is_over_and_not_before(journal: Journal) -> None:
    world, retention = ManualWorld(), Retention(success=days(30), failed=days(90))
    async with AppOn(MemoryStore(), world=world) as app:
        await (await app.start(flow_of(journal.inc()), {"v": 1}, run_id="good")).result()
        await (await app.start(flow_of(create_step(id="f", execute=_fails), "f"), {"v": 1}, run_id="bad")).result()
        await (await app.start(flow_of(journal.ask(), "a"), {"v": 1}, run_id="open")).result()
        found = []
        for later in (29, 2, 60):
            world.move(days(later).total_seconds(), app)
            await sweep(app.store, retention, world)
            found.append(await left(app))
        assert found == [{"good", "bad", "open"}, {"bad", "open"}, {"open"}]
        assert [(one.action, one.actor) for one in await app.tenant("default").audit_log()] == [
            ("pruned", "retention")
        ] * 2


@in_loop
async def test_a_family_goes_from_its_leaves(journal: Journal) -> None:
    world, retention = ManualWorld(), Retention(success=days(1), failed=days(1))

    @workflow(id="outer")
    async def outer(data: dict[str, int]) -> Any:
        await start_child("inner", data)
        return await cloche.wait_for_event("on")

    async with AppOn(MemoryStore(), world=world) as app:
        app._running.register([flow_of(journal.inc(), "inner")])
        await app.start(outer, {"v": 1}, run_id="parent")
        await until(lambda: app.is_idle)
        world.move(days(2).total_seconds(), app)
        assert await sweep(app.store, retention, world) == 0  # the parent is open
        await app.send_event("parent", "on")
        await (await app.get("parent")).result()
        world.move(days(2).total_seconds(), app)
        assert await sweep(app.store, retention, world) >= 1
        await sweep(app.store, retention, world)
        assert await left(app) == set()


@in_loop
async def test_what_is_retried_stays_while_its_retry_is_open(journal: Journal) -> None:
    world, retention = ManualWorld(), Retention(failed=days(1))
    again = create_step(id="f", execute=_fails, retry_config={"attempts": 1, "delay_s": 40 * 86_400})
    async with AppOn(MemoryStore(), world=world) as app:
        await app.start(flow_of(again), {"v": 1}, run_id="r")
        await until(lambda: app.is_idle)
        await app.cancel("r")
        await (await app.get("r")).result(final=True)
        retried = await app.retry("r")
        await until(lambda: app.is_idle)
        world.move(days(2).total_seconds(), app)
        assert await sweep(app.store, Retention(canceled=days(1), failed=days(1)), world) == 0
        assert {"r", retried.id} <= await left(app)
        assert retention.keeps_ms("default", "w", RunStatus.CANCELED) is None


@in_loop
async def test_a_worker_deletes_and_the_file_shrinks(tmp_path: Path, journal: Journal) -> None:
    file = tmp_path / "runs.db"
    big = create_step(id="big", execute=lambda data: [str(number) * 40 for number in range(60)])
    flow = create_workflow(id="w").then(big).commit()
    async with Cloche(file, workflows=[flow]) as app:
        await (await app.start("w", {"v": 1}, run_id="first")).result()
        little = file.stat().st_size
        for number in range(150):
            await (await app.start("w", {"v": 1}, run_id=f"r{number}")).result()
    full = file.stat().st_size
    async with Cloche(file, workflows=[flow], retention=Retention(success=days(0))) as app:
        await until(lambda: app.list(limit=1), lambda rows: not rows)
        await until(lambda: file.stat().st_size < little + (full - little) / 2)
