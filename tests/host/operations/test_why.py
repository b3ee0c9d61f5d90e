"""Why a run does not move: a table of situations that real runs come into, each with its reason and what moves it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.apps import AppOn, Journal, ManualWorld, in_loop, until

import cloche
from cloche import Client, Cloche, Concurrency, Policy, create_step, create_workflow, start_child, workflow
from cloche.errors import NotFound
from cloche.history import Kind
from cloche.store import MemoryStore
from cloche.testing import TestApp


@dataclass
class Scene:
    """A worker on a store, with a workflow for each situation."""

    app: TestApp
    journal: Journal
    held: asyncio.Event

    async def start(self, flow: Any, run_id: str = "r1", data: Any = None) -> cloche.Run:
        run: cloche.Run = await self.app.start(flow, {"v": 1} if data is None else data, run_id=run_id)
        return run


def _fails(_: Any) -> Any:
    raise ValueError("down")


def flow_of(*steps: Any, id: str = "w") -> Any:
    made = create_workflow(id=id)
    for one in steps:
        made = made.then(one)
    return made.commit()


async def success(scene: Scene) -> None:
    await (await scene.start(flow_of(scene.journal.inc()))).result()


async def failure(scene: Scene) -> None:
    await (await scene.start(flow_of(create_step(id="charge", execute=_fails)))).result()


async def failed_in_a_loop(scene: Scene) -> None:
    flow = create_workflow(id="w").foreach(create_step(id="charge", execute=_fails)).commit()
    await (await scene.start(flow, data=[1])).result()


async def failed_by_itself(scene: Scene) -> None:
    @workflow(id="w")
    async def broken(data: dict[str, int]) -> Any:
        raise KeyError("no")

    await (await scene.start(broken)).result()


async def retried(scene: Scene) -> None:
    await failure(scene)
    await (await scene.app.retry("r1")).result()


async def canceled(scene: Scene) -> None:
    await suspended(scene)
    await scene.app.cancel("r1")
    await (await scene.app.get("r1")).result(final=True)


async def suspended(scene: Scene) -> None:
    await (await scene.start(flow_of(scene.journal.ask()))).result()


async def two_suspended(scene: Scene) -> None:
    flow = create_workflow(id="w").parallel([scene.journal.ask("a"), scene.journal.ask("b")]).commit()
    await (await scene.start(flow)).result()


async def suspended_with_a_label(scene: Scene) -> None:
    def ask(data: Any, ctx: Any) -> Any:
        ctx.suspend({"q": 1}, resume_label="boss")

    await (await scene.start(flow_of(create_step(id="ask", execute=ask)))).result()


async def suspended_in_a_nested_workflow(scene: Scene) -> None:
    inner = flow_of(scene.journal.ask(), id="inner")
    await (await scene.start(create_workflow(id="w").then(inner).commit())).result()


async def waits_for_an_event(scene: Scene) -> None:
    await scene.start(create_workflow(id="w").wait_for_event("paid").commit())
    await until(lambda: scene.app.is_idle)


async def waits_for_an_event_for_so_long(scene: Scene) -> None:
    await scene.start(create_workflow(id="w").wait_for_event("paid", timeout=3600).commit())
    await until(lambda: scene.app.is_idle)


async def sleeps(scene: Scene) -> None:
    await scene.start(create_workflow(id="w").sleep(3600.0).commit())
    await until(lambda: scene.app.is_idle)


async def is_tried_again(scene: Scene) -> None:
    again = create_step(id="charge", execute=_fails, retry_config={"attempts": 3, "delay_s": 3600})
    await scene.start(flow_of(again))
    await until(lambda: scene.app.is_idle)


async def step_at_work(scene: Scene) -> None:
    async def work(data: Any) -> Any:
        await scene.held.wait()

    await scene.start(flow_of(create_step(id="work", execute=work)))
    await asyncio.sleep(0)


async def waits_for_a_permit(scene: Scene) -> None:
    async def work(data: Any) -> Any:
        await scene.held.wait()

    flow = flow_of(create_step(id="work", execute=work, concurrency=Concurrency("gpu", 1)))
    await scene.start(flow, run_id="first")
    await until(lambda: _has_asked(scene, "first"))
    await scene.start(flow)
    await until(lambda: _has_asked(scene, "r1"))


async def waits_for_a_permit_to_begin(scene: Scene) -> None:
    limited = create_workflow(id="w", concurrency=Concurrency("one", 1)).then(scene.journal.ask()).commit()
    first = await scene.start(limited, run_id="first")
    assert (await first.result()).status == "suspended"
    await scene.start(limited)


async def _has_asked(scene: Scene, run: str) -> bool:
    return any(row.key.run == run for row in await scene.app.store.permits())


async def many_steps_at_work(scene: Scene) -> None:
    async def work(data: Any) -> Any:
        await scene.held.wait()

    arms = [create_step(id=f"work{number}", execute=work) for number in range(5)]
    await scene.start(create_workflow(id="w").parallel(arms).commit())


async def child_suspended(scene: Scene) -> None:
    inner = flow_of(scene.journal.ask(), id="inner")
    scene.app._running.register([inner])

    @workflow(id="w")
    async def outer(data: dict[str, int]) -> Any:
        return await start_child("inner", data)

    await (await scene.start(outer)).result()


async def grandchild_suspended(scene: Scene) -> None:
    @workflow(id="middle")
    async def middle(data: dict[str, int]) -> Any:
        return await start_child("inner", data)

    @workflow(id="w")
    async def outer(data: dict[str, int]) -> Any:
        return await start_child("middle", data)

    scene.app._running.register([flow_of(scene.journal.ask(), id="inner"), middle])
    await (await scene.start(outer)).result()


async def child_waits_for_an_event(scene: Scene) -> None:
    scene.app._running.register([create_workflow(id="inner").wait_for_event("paid").commit()])

    @workflow(id="w")
    async def outer(data: dict[str, int]) -> Any:
        return await start_child("inner", data)

    await scene.start(outer)
    await until(lambda: scene.app.is_idle)


async def step_of_native_code_suspended(scene: Scene) -> None:
    ask = scene.journal.ask()

    @workflow(id="w")
    async def native(data: dict[str, int]) -> Any:
        return await ask(data)

    await (await scene.start(native)).result()


async def canceled_while_a_step_works(scene: Scene) -> None:
    await step_at_work(scene)
    run = await scene.app.get("r1")
    await scene.app.cancel("r1")
    async for record in run.stream():
        if record.kind is Kind.CANCEL_REQUESTED:
            return


async def code_in_quarantine(scene: Scene) -> None:
    tenant = scene.app.tenant("default")
    version = await tenant.deploy(create_workflow(id="w").wait_for_event("paid").commit().graph)
    await tenant.start(version, run_id="r1")
    await until(lambda: scene.app.is_idle)
    await tenant.quarantine(version, "a hole")


async def paused(scene: Scene) -> None:
    flow = flow_of(scene.journal.inc(), scene.journal.dbl())
    run = await scene.app.start(flow, {"v": 1}, run_id="r1", per_step=True)
    await run.result()


async def held_back(scene: Scene) -> None:
    await suspended(scene)
    await scene.app.tenant("default").suspend("an audit")


async def queued(scene: Scene) -> None:
    async def work(data: Any) -> Any:
        await scene.held.wait()

    flow = flow_of(create_step(id="work", execute=work))
    await scene.start(flow, "first")
    await scene.start(flow, "r1")


async def data_on_its_way(scene: Scene) -> None:
    await suspended(scene)
    await scene.app.tenant("default").suspend("so that nobody takes it")
    await scene.app.request_resume("r1", resume_data={"add": 1})


# kind, step, what is waited for, the names of the actions
SITUATIONS: dict[Callable[[Scene], Awaitable[None]], tuple[str, str | None, list[str | None], list[str]]] = {
    success: ("ended", None, [], ["delete"]),
    failure: ("ended", "charge", [], ["retry", "delete"]),
    failed_in_a_loop: ("ended", "charge[0]", [], ["retry", "delete"]),
    failed_by_itself: ("ended", None, [], ["retry", "delete"]),
    retried: ("ended", "charge", [], ["delete"]),
    canceled: ("ended", None, [], ["retry", "delete"]),
    suspended: ("suspended", "ask", ["ask"], ["resume", "cancel"]),
    two_suspended: ("suspended", "a", ["a", "b"], ["resume", "resume", "cancel"]),
    suspended_with_a_label: ("suspended", "ask", ["ask"], ["resume", "cancel"]),
    suspended_in_a_nested_workflow: ("suspended", "inner/ask", ["inner/ask"], ["resume", "cancel"]),
    waits_for_an_event: ("event", "wait_for_event_1", ["paid"], ["event", "cancel"]),
    waits_for_an_event_for_so_long: ("event", "wait_for_event_1", ["paid"], ["event", "cancel"]),
    sleeps: ("timer", "sleep_1", [], ["start-worker", "cancel"]),
    is_tried_again: ("retry", "charge", [], ["start-worker", "cancel"]),
    step_at_work: ("step", "work", [], ["cancel"]),
    waits_for_a_permit: ("permit", "work", [], ["cancel"]),
    waits_for_a_permit_to_begin: ("permit", None, [], ["cancel"]),
    many_steps_at_work: ("step", "work0", [], ["cancel"]),
    child_suspended: ("child", None, [], ["resume", "cancel"]),
    grandchild_suspended: ("child", None, [], ["resume", "cancel"]),
    child_waits_for_an_event: ("child", None, [], ["event", "cancel"]),
    step_of_native_code_suspended: ("suspended", "ask", ["ask"], ["resume", "cancel"]),
    canceled_while_a_step_works: ("canceling", None, [], ["cancel"]),
    code_in_quarantine: ("held", None, [], ["release", "cancel"]),
    paused: ("paused", None, [], ["resume", "cancel"]),
    held_back: ("held", None, [], ["reinstate", "cancel"]),
    queued: ("queued", None, [], ["start-worker", "cancel"]),
    data_on_its_way: ("held", None, [], ["reinstate", "cancel"]),
}


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda one: one.__name__)
@in_loop
async def test_each_situation_has_its_reason(situation: Any, journal: Journal) -> None:
    policy = Policy(concurrent_runs=1) if situation is queued else Policy()
    async with AppOn(MemoryStore(), world=ManualWorld(), policy=policy, drain_timeout_s=0) as app:
        scene = Scene(app, journal, asyncio.Event())
        await situation(scene)
        found = await app.why("r1")
        kind, step, asked, actions = SITUATIONS[situation]
        assert (found.kind, [action.name for action in found.actions]) == (kind, actions)
        assert [one.event or one.step for one in found.asked] == asked
        if step is not None:
            assert found.step == step
        assert found.sentence
        assert found.since is not None
        assert all(action.description and action.command and action.call for action in found.actions)
        assert await (await app.get("r1")).why() == found
        scene.held.set()


@in_loop
async def test_a_retry_says_attempt_error_and_when(journal: Journal) -> None:
    world = ManualWorld()
    async with AppOn(MemoryStore(), world=world) as app:
        await is_tried_again(Scene(app, journal, asyncio.Event()))
        found = await app.why("r1")
        assert (found.attempt, found.last_error) == (1, {"name": "ValueError", "message": "down"})
        assert found.until is not None
        assert found.until > world.now()


@in_loop
async def test_what_was_asked_and_what_is_on_its_way_are_said(journal: Journal) -> None:
    async with AppOn(MemoryStore(), world=ManualWorld()) as app:
        await data_on_its_way(Scene(app, journal, asyncio.Event()))
        assert (await app.why("r1")).on_its_way == ["data for ask"]
    async with AppOn(MemoryStore(), world=ManualWorld()) as app:
        await suspended_with_a_label(Scene(app, journal, asyncio.Event()))
        [asked] = (await app.why("r1")).asked
        assert (asked.payload, asked.labels) == ({"q": 1}, ("boss",))


@in_loop
async def test_lineage_is_said_both_ways(journal: Journal) -> None:
    async with AppOn(MemoryStore()) as app:
        await retried(Scene(app, journal, asyncio.Event()))
        assert (await app.why("r1")).retried_as == ["r1\x1fr1"]
        assert (await app.why("r1 › r1")).retry_of == "r1"
        with pytest.raises(NotFound):
            await app.why("r2")


@in_loop
async def test_runs_that_wait_for_a_worker_say_which(tmp_path: Path, journal: Journal) -> None:
    file = tmp_path / "runs.db"
    flow = flow_of(journal.inc())
    async with Client(file) as client:
        await client.start("w", {"v": 1}, run_id="r1")
        nobody = await client.why("r1")
        assert (nobody.kind, nobody.worker, nobody.actions[0].command) == ("no-worker", "w", "cloche worker TARGET")
        async with Cloche(file, workflows=[flow]) as app:
            await (await app.get("r1")).result()
        assert (await client.why("r1")).kind == "ended"
