"""A worker on a store that has to wait for every answer, as one behind a network."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from support.apps import KEY, AppOn, Journal, ended, in_loop
from support.stores import WaitingStore

from cloche import DirectEngine, StepContext, create_step, create_workflow
from cloche.engines import Cell, Code, SandboxEngine
from cloche.history import TenantId
from cloche.history.limits import Limits
from cloche.store import MemoryStore


async def _awaits(data: Any, ctx: StepContext) -> Any:
    return [data, await ctx.step_result("one"), await ctx.step_result("never")]


async def _asks_on_the_loop(data: Any, ctx: StepContext) -> Any:
    return [*data, ctx.get_step_result("one"), ctx.get_step_result("never")]


def _asks_in_a_thread(data: Any, ctx: StepContext) -> Any:
    return [*data, ctx.get_step_result("one"), ctx.get_step_result("never")]


@in_loop
async def test_a_step_asks_for_results_wherever_it_runs(journal: Journal) -> None:
    steps = [
        journal.step("one", lambda data: 1),
        *(create_step(id=call.__name__, execute=call) for call in (_awaits, _asks_on_the_loop, _asks_in_a_thread)),
    ]
    workflow = create_workflow(id="w")
    for step in steps:
        workflow = workflow.then(step)
    async with AppOn(WaitingStore(), workflows=[workflow.commit()]) as app:
        assert await ended(await app.start("w")) == ("success", [1, 1, None, 1, None, 1, None])


@in_loop
async def test_many_runs_share_its_commits(journal: Journal) -> None:
    workflow = create_workflow(id="w").then(journal.inc()).then(journal.dbl()).commit()
    async with AppOn(WaitingStore(), workflows=[workflow]) as app:
        runs = await asyncio.gather(*(app.start("w", {"v": n}, run_id=f"r{n}") for n in range(50)))
        assert [await ended(run) for run in runs] == [("success", {"v": 2 * (n + 1)}) for n in range(50)]
        assert (await app.verify()).ok


class LoopOnly(MemoryStore):
    """Answers on the loop's thread alone."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    async def blob(self, digest: str) -> bytes | None:
        assert threading.get_ident() == self._thread
        return await super().blob(digest)


class OtherGuest(SandboxEngine):
    """One that does not have the guest that runs are pinned to: it asks for it, in whichever thread it works."""

    def __init__(self) -> None:
        super().__init__()
        self.asked_in: set[int] = set()

    def open(self, code: Code, guest: Any, limits: Limits, tenant: TenantId) -> Cell:
        self.asked_in.add(threading.get_ident())
        assert guest()
        return super().open(code, guest, limits, tenant)


@in_loop
async def test_guests_and_code_are_read_before_the_hop_to_a_thread(journal: Journal) -> None:
    workflow = create_workflow(id="w").then(journal.ask()).commit()
    store, engine = LoopOnly(), OtherGuest()
    async with AppOn(store, workflows=[workflow]) as app:
        assert (await (await app.start(workflow, {"v": 1}, run_id=KEY.run)).result()).status == "suspended"
    async with AppOn(store, workflows=[workflow], engine=engine) as app:
        assert (await app.resume(KEY.run, resume_data={"add": 1})).result == {"v": 2}
        assert (await app.replay(KEY.run)).ok
    assert engine.asked_in - {threading.get_ident()}


class WatchedCells(DirectEngine):
    def __init__(self) -> None:
        super().__init__()
        self.opened_in: list[int] = []

    def open(self, *args: Any) -> Any:
        self.opened_in.append(threading.get_ident())
        return super().open(*args)


@in_loop
async def test_a_replay_works_beside_the_loop(journal: Journal) -> None:
    workflow, engine = create_workflow(id="w").then(journal.inc()).commit(), WatchedCells()
    async with AppOn(MemoryStore(), workflows=[workflow], engine=engine) as app:
        await (await app.start(workflow, {"v": 1}, run_id=KEY.run)).result()
        engine.opened_in.clear()
        assert (await app.replay(KEY.run)).ok
    assert engine.opened_in
    assert threading.get_ident() not in engine.opened_in
