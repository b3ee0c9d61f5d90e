"""A worker whose event loop stands still: it lives, says what holds it up, and falls silent when that never ends."""

from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path

import pytest
from support.apps import KEY, AppOn, Journal, ManualWorld, ended, in_loop, until

from cloche import Cloche, Workflow, create_step, create_workflow
from cloche.run.clock import SystemWorld
from cloche.store import MemoryStore, SqliteStore
from cloche.worker.heartbeat import Heartbeat
from cloche.worker.membership import HEARTBEATS_PER_TTL, Membership

TTL_S = 2.0
PATIENCE_S = 60.0


def blocking(began: list[str], gate: threading.Event) -> Workflow:
    """Its step is async and blocks its event loop until `gate` opens."""

    async def block(data: int) -> int:
        began.append("block")
        assert gate.wait(PATIENCE_S)
        return data + 1

    return create_workflow(id="w").then(create_step(id="block", execute=block)).commit()


async def run_blocked(file: Path, workflow: Workflow) -> tuple[str, int]:
    async with Cloche(file, workflows=[workflow], lease_ttl_s=TTL_S) as app:
        return await ended(await app.start("w", 1, run_id="r1"))


@in_loop
async def test_a_step_that_blocks_its_loop_keeps_its_run(tmp_path: Path) -> None:
    file, gate, began = tmp_path / "runs.db", threading.Event(), list[str]()
    workflow = blocking(began, gate)
    async with Cloche(file, workflows=[workflow], lease_ttl_s=TTL_S) as other:
        blocked = asyncio.create_task(asyncio.to_thread(asyncio.run, run_blocked(file, workflow)))
        try:
            await until(lambda: began)
            with_store = SqliteStore(file)
            [worker] = [row for row in await with_store.leases.workers() if row.id != other._running.membership.worker]

            async def heartbeats() -> int:
                now = {row.id: row.heartbeat for row in await with_store.leases.workers()}
                assert worker.id in now, "it was evicted"
                return now[worker.id] - worker.heartbeat

            await until(heartbeats, lambda count: count > 1.5 * HEARTBEATS_PER_TTL)
            assert KEY not in other._running.drivers
            await with_store.close()
        finally:
            gate.set()
        assert await blocked == ("success", 2)
    assert began == ["block"]


@in_loop
async def test_a_step_that_blocks_the_loop_is_named(caplog: pytest.LogCaptureFixture) -> None:
    gate = threading.Event()

    class Opens(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "stood still" in record.getMessage():
                gate.set()

    handler = Opens()
    logging.getLogger("cloche").addHandler(handler)
    try:
        async with AppOn(MemoryStore(), workflows=[blocking([], gate)], world=SystemWorld()) as app:
            assert await ended(await app.start("w", 1, run_id="r1")) == ("success", 2)
    finally:
        logging.getLogger("cloche").removeHandler(handler)
    [told] = [one.getMessage() for one in caplog.records if "stood still" in one.getMessage()]
    assert f"s in step 'block' of run {KEY}, at " in told


def silent_after(stall_max_s: float, world: ManualWorld, heartbeats: list[float]) -> Heartbeat:
    return Heartbeat(lambda: heartbeats.append(world.monotonic()), world.monotonic, stall_max_s)


@in_loop
async def test_it_beats_no_more_while_the_loop_stands_still_for_too_long() -> None:
    world, heartbeats = ManualWorld(), list[float]()
    heartbeat, began = silent_after(300.0, world, heartbeats), world.monotonic()
    heartbeat.tick()
    for seconds in (100, 199, 2, 1000):  # meanwhile the loop does not come to its answer
        world.move(seconds)
        heartbeat.tick()
    assert [at - began for at in heartbeats] == [0, 100, 299]
    await asyncio.sleep(0)  # it moves
    heartbeat.tick()
    assert [at - began for at in heartbeats] == [0, 100, 299, 1301]


@in_loop
async def test_a_stall_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    world = ManualWorld()
    heartbeat = silent_after(300.0, world, [])
    for _ in range(2):
        heartbeat.tick()
        for seconds in (0.5, 0.5, 5):
            world.move(seconds)
            heartbeat.tick()
        await asyncio.sleep(0)
    assert [one.getMessage().split(" in ")[0] for one in caplog.records] == [
        "the event loop has stood still for 1.0 s"
    ] * 2


@in_loop
async def test_a_worker_evicted_in_silence_joins_again_from_its_loop(journal: Journal) -> None:
    workflow = create_workflow(id="w").then(journal.inc()).commit()
    store = MemoryStore()
    async with AppOn(store, workflows=[workflow], world=SystemWorld(), lease_ttl_s=TTL_S) as app:
        membership = app._running.membership
        name = membership.worker
        assert any([await store.leases.evict(row) for row in await store.leases.workers()])
        await until(lambda: membership.worker != name)
        assert [row.id for row in await store.leases.workers()] == [membership.worker]
        assert await ended(await app.start("w", {"v": 1})) == ("success", {"v": 2})
    assert await store.leases.workers() == []


def test_no_attempt_begins_on_a_lease_that_may_be_lost() -> None:
    """The thread has stopped: from three quarters of the time on, the loop must have sent a heartbeat itself."""

    class Real(ManualWorld):
        is_real_time = True

    async def main() -> None:
        store, world = MemoryStore(), Real()
        worker = Membership(store.leases, world, 10.0)
        await worker.join()
        worker.start_heartbeat()
        worker._thread.stop()  # type: ignore[union-attr]
        for seconds, safe, heartbeats in ((7, True, 0), (1, False, 1)):
            world.move(seconds)
            assert worker.is_safe is safe
            assert await worker.keep()
            assert ([row.heartbeat for row in await store.leases.workers()], worker.is_safe) == ([heartbeats], True)

    asyncio.run(main())
