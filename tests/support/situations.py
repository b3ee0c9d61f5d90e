"""Situations that a run comes into, for what says why it does not move: run `r1` of workflow `w`, if a scene names no other."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from support.apps import Journal, ManualWorld, until

import cloche
from cloche import (
    create_hook,
    create_step,
    create_workflow,
    workflow,
)
from cloche.history import Kind, RunId, RunKey, TenantId
from cloche.testing import TestApp

R1 = RunKey(TenantId("default"), RunId("r1"))


class Answer(BaseModel):
    ok: bool


@dataclass
class Scene:
    """A worker on a store, with a workflow for each situation; `leave` ends it, and what was under way stays so."""

    app: TestApp
    journal: Journal
    held: asyncio.Event
    file: Path
    world: ManualWorld
    more: AsyncExitStack = field(default_factory=AsyncExitStack)  # what is open until the situation was looked at

    async def drain(self) -> None:
        """It is told to end, and lets go of its runs."""
        await self.app.__aexit__(None, None, None)

    async def leave(self) -> None:
        if self.app.is_open:
            await self.app.vanish()

    async def start(self, flow: Any, run_id: str = "r1", data: Any = None) -> cloche.Run:
        run: cloche.Run = await self.app.start(flow, {"v": 1} if data is None else data, run_id=run_id)
        return run


def fails(_: Any) -> Any:
    raise ValueError("down")


def flow_of(*steps: Any, id: str = "w") -> Any:
    made = create_workflow(id=id)
    for one in steps:
        made = made.then(one)
    return made.commit()


async def success(scene: Scene) -> None:
    await (await scene.start(flow_of(scene.journal.inc()))).result()


async def failure(scene: Scene) -> None:
    await (await scene.start(flow_of(create_step(id="charge", execute=fails)))).result()


async def failed_in_a_loop(scene: Scene) -> None:
    flow = create_workflow(id="w").foreach(create_step(id="charge", execute=fails)).commit()
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
    again = create_step(id="charge", execute=fails, retry_config={"attempts": 3, "delay_s": 3600})
    await scene.start(flow_of(again))
    await until(lambda: scene.app.is_idle)


async def step_at_work(scene: Scene) -> None:
    async def work(data: Any) -> Any:
        await scene.held.wait()

    await scene.start(flow_of(create_step(id="work", execute=work)))
    await asyncio.sleep(0)


async def many_steps_at_work(scene: Scene) -> None:
    async def work(data: Any) -> Any:
        await scene.held.wait()

    arms = [create_step(id=f"work{number}", execute=work) for number in range(5)]
    await scene.start(create_workflow(id="w").parallel(arms).commit())


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


async def paused(scene: Scene) -> None:
    flow = flow_of(scene.journal.inc(), scene.journal.dbl())
    run = await scene.app.start(flow, {"v": 1}, run_id="r1", per_step=True)
    await run.result()


async def held_back(scene: Scene) -> None:
    await suspended(scene)
    await scene.app.tenant("default").suspend("an audit")


async def data_on_its_way(scene: Scene) -> None:
    await suspended(scene)
    await scene.app.tenant("default").suspend("so that nobody takes it")
    await scene.app.request_resume("r1", resume_data={"add": 1})


async def failed_as_nested(scene: Scene) -> None:
    inner = flow_of(create_step(id="charge", execute=fails), id="inner")
    await (await scene.start(create_workflow(id="w").then(inner).commit())).result()


async def ran_out_of_time(scene: Scene) -> None:
    await scene.app.start(create_workflow(id="w").wait_for_event("paid").commit(), {"v": 1}, run_id="r1", deadline=60)
    await until(lambda: scene.app.is_idle)
    scene.world.move(61, scene.app)
    await (await scene.app.get("r1")).result(final=True)


async def suspended_with_a_form(scene: Scene) -> None:
    def ask(data: Any, ctx: Any) -> Any:
        ctx.suspend({"question": "ship it?"})

    await (await scene.start(flow_of(create_step(id="ask", execute=ask, resume_schema=Answer)))).result()


async def suspended_in_a_loop(scene: Scene) -> None:
    flow = create_workflow(id="w").foreach(scene.journal.ask("ask"), concurrency=2).commit()
    await (await scene.start(flow, data=[{"v": 1}, {"v": 2}])).result()


async def waits_for_an_event_in_a_nested_workflow(scene: Scene) -> None:
    inner = create_workflow(id="inner").wait_for_event("paid").commit()
    await scene.start(create_workflow(id="w").then(inner).commit())
    await until(lambda: scene.app.is_idle)


async def waits_for_an_event_of_an_odd_name(scene: Scene) -> None:
    flow = create_workflow(id="w").wait_for_event("it's $5/day").commit()
    await scene.start(flow, run_id="r1")
    await until(lambda: scene.app.is_idle)


async def waits_with_a_hook(scene: Scene) -> None:
    @workflow(id="w")
    async def native(data: dict[str, int]) -> Any:
        return await create_hook(token="door-7")

    await scene.start(native)
    await until(lambda: scene.app.is_idle)


async def sleeps_in_a_nested_workflow(scene: Scene) -> None:
    inner = create_workflow(id="inner").sleep(3600.0).commit()
    await scene.start(create_workflow(id="w").then(inner).commit())
    await until(lambda: scene.app.is_idle)


async def is_tried_again_in_a_nested_workflow(scene: Scene) -> None:
    again = create_step(id="charge", execute=fails, retry_config={"attempts": 3, "delay_s": 3600})
    await scene.start(create_workflow(id="w").then(flow_of(again, id="inner")).commit())
    await until(lambda: scene.app.is_idle)


async def of_another_tenant(scene: Scene) -> None:
    flow = create_workflow(id="w").then(scene.journal.ask()).commit()
    scene.app._running.register([flow])
    await (await scene.app.tenant("acme & co").start("w", {"v": 1}, run_id="r 1")).result()
