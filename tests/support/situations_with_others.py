"""Situations of runs that others have a part in: workers, limits, children, remote workers; as in `support.situations`."""

from __future__ import annotations

from typing import Any

from support.apps import until
from support.situations import R1, Scene, fails, failure, flow_of, step_at_work

from cloche import (
    Client,
    Cloche,
    Concurrency,
    RateLimit,
    RemoteStep,
    continue_as_new,
    create_step,
    create_workflow,
    start_child,
    wait_for_event,
    workflow,
)


async def waits_for_a_permit(scene: Scene) -> None:
    async def work(data: Any) -> Any:
        await scene.held.wait()

    flow = flow_of(create_step(id="work", execute=work, concurrency=Concurrency("gpu", 1)))
    await scene.start(flow, run_id="first")
    await until(lambda: has_asked(scene, "first"))
    await scene.start(flow)
    await until(lambda: has_asked(scene, "r1"))


async def waits_for_a_permit_to_begin(scene: Scene) -> None:
    limited = create_workflow(id="w", concurrency=Concurrency("one", 1)).then(scene.journal.ask()).commit()
    first = await scene.start(limited, run_id="first")
    assert (await first.result()).status == "suspended"
    await scene.start(limited)


async def has_asked(scene: Scene, run: str) -> bool:
    return any(row.key.run == run for row in await scene.app.store.permits())


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


async def code_in_quarantine(scene: Scene) -> None:
    tenant = scene.app.tenant("default")
    version = await tenant.deploy(create_workflow(id="w").wait_for_event("paid").commit().graph)
    await tenant.start(version, run_id="r1")
    await until(lambda: scene.app.is_idle)
    await tenant.quarantine(version, "a hole")


async def queued(scene: Scene) -> None:
    async def work(data: Any) -> Any:
        await scene.held.wait()

    flow = flow_of(create_step(id="work", execute=work))
    await scene.start(flow, "first")
    await scene.start(flow, "r1")


async def its_worker_is_gone(scene: Scene) -> None:
    await step_at_work(scene)
    await until(lambda: scene.app.store.run(R1), lambda row: row is not None and row.head_seq > 2)
    await scene.drain()


async def works_far_longer_than_usual(scene: Scene) -> None:
    async def work(data: Any) -> Any:
        if data["v"] == 1:
            await scene.held.wait()

    flow = flow_of(create_step(id="work", execute=work))
    for number in range(30):
        await (await scene.start(flow, run_id=f"quick-{number}", data={"v": 0})).result()
    await scene.start(flow)
    await until(lambda: scene.app.why("r1"), lambda why: why.kind == "step")
    scene.world.move(3600)


async def waits_for_a_permit_in_a_nested_workflow(scene: Scene) -> None:
    async def work(data: Any) -> Any:
        await scene.held.wait()

    inner = flow_of(create_step(id="work", execute=work, concurrency=Concurrency("gpu", 1)), id="inner")
    flow = create_workflow(id="w").then(inner).commit()
    await scene.start(flow, run_id="first")
    await until(lambda: has_asked(scene, "first"))
    await scene.start(flow)
    await until(lambda: has_asked(scene, "r1"))


async def waits_for_a_rate(scene: Scene) -> None:
    flow = flow_of(create_step(id="work", execute=lambda data: data, rate_limit=RateLimit("mail", 1, per_s=3600)))
    await (await scene.start(flow, run_id="first")).result()
    await scene.start(flow)
    await until(lambda: has_asked(scene, "r1"))


async def a_retry_waits_for_a_permit(scene: Scene) -> None:
    limited = create_workflow(id="w", concurrency=Concurrency("one", 1))
    flow = limited.then(create_step(id="charge", execute=fails)).then(scene.journal.ask()).commit()
    await (await scene.start(flow)).result()
    held = create_workflow(id="other", concurrency=Concurrency("one", 1)).then(scene.journal.ask("hold")).commit()
    await (await scene.start(held, run_id="first")).result()
    await scene.app.retry("r1")


async def nobody_has_its_workflow(scene: Scene) -> None:
    await scene.leave()
    async with Client(scene.file, world=scene.world) as client:
        await client.start("w", {"v": 1}, run_id="r1")


async def begins_when_a_worker_runs(scene: Scene) -> None:
    await scene.app.tenant("default").deploy(create_workflow(id="w").wait_for_event("paid").commit().graph)
    await scene.leave()
    async with Client(scene.file, world=scene.world) as client:
        await client.start("w", {"v": 1}, run_id="r1")


async def a_retry_that_nobody_has_begun(scene: Scene) -> None:
    await failure(scene)
    await scene.leave()
    async with Client(scene.file, world=scene.world) as client:
        await client.retry("r1")


async def a_step_is_not_there_any_more(scene: Scene) -> None:
    flow = create_workflow(id="w").wait_for_event("paid").then(scene.journal.inc()).commit()
    await scene.start(flow)
    await until(lambda: scene.app.is_idle)
    await scene.leave()
    other = create_workflow(id="w").wait_for_event("paid").then(scene.journal.dbl()).commit()
    app = await scene.more.enter_async_context(
        Cloche(scene.file, world=scene.world, workflows=[other], handle_sigterm=False)
    )
    await app.send_event("r1", "paid", {"v": 1})
    await until(lambda: app.why("r1"), lambda why: why.kind == "blocked")


async def child_blocked(scene: Scene) -> None:
    @workflow(id="w")
    async def outer(data: dict[str, int]) -> Any:
        return await start_child("inner", data)

    def inner(*steps: Any) -> Any:
        made = create_workflow(id="inner").wait_for_event("paid")
        for one in steps:
            made = made.then(one)
        return made.commit()

    scene.app._running.register([inner(scene.journal.inc())])
    await scene.start(outer)
    await until(lambda: scene.app.is_idle)
    await scene.leave()
    async with Cloche(
        scene.file, world=scene.world, workflows=[inner(scene.journal.dbl()), outer], handle_sigterm=False
    ) as app:
        await app.send_event("r1 › 1", "paid", {"v": 1})
        await until(lambda: app.why("r1 › 1"), lambda why: why.kind == "blocked")


async def remote_that_nobody_takes(scene: Scene) -> None:
    await scene.start(flow_of(RemoteStep("resize")))
    await until(lambda: scene.app.store.remote_tasks(), len)


async def remote_at_work(scene: Scene) -> None:
    await remote_that_nobody_takes(scene)
    tenant, store = R1.tenant, scene.app.store
    [taken] = await store.take_remote(["resize"], 1, "farm-1", scene.world.now(), tenant=tenant)
    assert taken.step == "resize"


async def child_sleeps(scene: Scene) -> None:
    await _with_child(scene, create_workflow(id="inner").sleep(3600.0).commit())


async def child_at_work(scene: Scene) -> None:
    async def work(data: Any) -> Any:
        await scene.held.wait()

    await _with_child(scene, flow_of(create_step(id="work", execute=work), id="inner"), is_idle=False)
    await until(lambda: scene.app.why("r1"), lambda why: "of that: work" in why.sentence)


async def child_is_tried_again(scene: Scene) -> None:
    again = create_step(id="charge", execute=fails, retry_config={"attempts": 3, "delay_s": 3600})
    await _with_child(scene, flow_of(again, id="inner"))


async def child_waits_for_a_permit(scene: Scene) -> None:
    inner = create_workflow(id="inner", concurrency=Concurrency("one", 1)).then(scene.journal.ask()).commit()
    await (await scene.start(inner, run_id="first")).result()
    await _with_child(scene, inner)


async def _with_child(scene: Scene, inner: Any, *, is_idle: bool = True) -> None:
    scene.app._running.register([inner])

    @workflow(id="w")
    async def outer(data: dict[str, int]) -> Any:
        return await start_child("inner", data)

    await scene.start(outer)
    await until(lambda: scene.app.why("r1"), lambda why: why.kind == "child" and why.children)
    if is_idle:
        await until(lambda: scene.app.is_idle)


async def goes_on_as_a_new_history(scene: Scene) -> None:
    @workflow(id="w")
    async def turns(data: dict[str, int]) -> Any:
        if data["v"] == 1:
            return await continue_as_new({"v": 2})
        return await wait_for_event("paid")

    await scene.start(turns)
    await until(lambda: scene.app.why("r1"), lambda why: why.kind == "event")
