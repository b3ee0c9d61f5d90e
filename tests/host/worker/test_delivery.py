"""When an event is delivered: to a hook that is open then, once, and at a time that never falls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from support.apps import KEY, AppOn, Journal, ManualWorld, ended, in_loop, until
from support.guests import needs_python

from cloche import Workflow, create_workflow, race, step, wait_for_event, workflow
from cloche.errors import NotSuspended
from cloche.history import Kind
from cloche.store import GRANTED, MemoryStore
from cloche.worker.answers import token_of

GATES: dict[int, asyncio.Event] = {}


@step
async def held(number: int) -> str:
    await GATES[number].wait()
    return "held"


@workflow(id="either")
async def either(_: Any) -> Any:
    await race(wait_for_event("go"), wait_for_event("answer"))
    return await wait_for_event("answer", timeout=2)


@workflow(id="step-or-event")
async def step_or_event(number: int) -> Any:
    await race(held(number), wait_for_event("answer"))
    return await wait_for_event("answer", timeout=2)


async def named(name: str) -> list[Any]:
    return [name, await wait_for_event(name)]


@workflow(id="beats")
async def beats(_: Any) -> Any:
    """Until the answer comes, whoever works on it says that it lives."""
    count = 0
    while True:
        name, value = await race(named("beat"), named("answer"))
        if name == "answer":
            return [count, value]
        count += 1


def first_of(number: int) -> Workflow:
    async def wait(_: Any) -> str:
        return await held.execute(number)  # type: ignore[no-any-return]

    arm = create_workflow(id="arm").wait_for_event("answer", id="lost").commit()
    whole = create_workflow(id="first").parallel([Journal().step("step", wait), arm], first_success=True)
    return whole.wait_for_event("answer", timeout=2).commit()


async def passes(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@in_loop
async def test_an_answer_reaches_the_wait_after_a_race() -> None:
    needs_python()
    async with AppOn(MemoryStore(), workflows=[either]) as app:
        for pause in range(12):
            run = await app.start("either", 0)
            await passes(3 * pause)
            await app.send_event(run.id, "go", 1)
            await app.send_event(run.id, "answer", 2)
            assert await asyncio.wait_for(ended(run), 5) == ("success", 2)


@in_loop
async def test_an_answer_after_heartbeats_is_the_answer() -> None:
    needs_python()
    async with AppOn(MemoryStore(), workflows=[beats]) as app:
        for pause in range(8):
            run = await app.start("beats", 0)
            for number in range(5):
                await app.send_event(run.id, "beat", number)
                await passes(pause)
            await app.send_event(run.id, "answer", "yes")
            assert await asyncio.wait_for(ended(run), 5) == ("success", [5, "yes"])


async def meets(app: Any, flow: Any, number: int) -> None:
    """An event, and another one, come while a step ends that closes the wait of the first."""
    GATES[number] = asyncio.Event()
    run = await app.start(flow, number)
    await until(
        lambda: app.store.records(run._key), lambda found: any(record.kind is Kind.HOOK_OPENED for record in found)
    )
    GATES[number].set()
    await passes(number)
    await app.send_event(run.id, "answer", "first")
    with suppress(NotSuspended):  # it has ended with the first one
        await app.send_event(run.id, "answer", "second")
    status, value = await asyncio.wait_for(ended(run), 5)
    received = [record for record in await run.history() if record.kind is Kind.HOOK_RECEIVED]
    assert (status, value) == ("success", "second" if len(received) == 2 else "first")


@in_loop
async def test_an_event_reaches_the_wait_after_a_step_that_won() -> None:
    needs_python()
    async with AppOn(MemoryStore(), workflows=[step_or_event]) as app:
        for number in range(12):
            await meets(app, "step-or-event", number)


@in_loop
async def test_an_event_reaches_the_wait_after_a_block_that_was_left() -> None:
    for number in range(12):
        async with AppOn(MemoryStore()) as app:
            await meets(app, first_of(number), number)


@in_loop
async def test_an_event_that_comes_with_the_end_is_refused_or_delivered(journal: Journal) -> None:
    """What was never delivered is not said to have been."""
    for pause in range(12):
        gate, store = asyncio.Event(), MemoryStore()
        bails = journal.acts("bails", _bails(gate))
        arm = create_workflow(id="arm").wait_for_event("go").commit()
        async with AppOn(store, workflows=[create_workflow(id="w").parallel([bails, arm]).commit()]) as app:
            run = await app.start("w", None, run_id="r1")
            await until(lambda: journal.began)
            gate.set()
            await passes(pause)
            with suppress(NotSuspended):
                await app.send_event("r1", "go", 1, idempotency_key="k")
            await asyncio.wait_for(run.result(), 5)
            await until(lambda: not app._running.services.tasks)
            received = any(record.kind is Kind.HOOK_RECEIVED for record in await store.records(KEY))
            assert (await store.answer(token_of(KEY, "event", "k")) == GRANTED) == received
        journal.began.clear()


def _bails(gate: asyncio.Event) -> Callable[[Any, Any], Awaitable[None]]:
    async def bail(_: Any, ctx: Any) -> None:
        await gate.wait()
        ctx.bail("enough")

    return bail


@in_loop
async def test_a_paused_run_takes_its_event_when_it_goes_on(journal: Journal) -> None:
    flow = create_workflow(id="w").then(journal.step("a")).wait_for_event("go").then(journal.step("b")).commit()
    async with AppOn(MemoryStore(), workflows=[flow]) as app:
        run = await app.start("w", 1, run_id="r1", per_step=True)
        assert (await run.result()).status == "paused"
        await app.send_event("r1", "go", 5)
        await until(lambda: not app._running.services.tasks)
        assert ((await run.result()).status, len(await app.store.requests())) == ("paused", 1)
        assert (await asyncio.wait_for(app.resume("r1", per_step=True), 5)).status == "paused"
        assert (await app.resume("r1", per_step=True)).result == 5


class SetWorld(ManualWorld):
    """Whose wall clock is set; no time passes."""

    def monotonic(self) -> float:
        return 0.0


@in_loop
async def test_the_time_of_events_never_falls() -> None:
    world = SetWorld()
    flow = create_workflow(id="w").wait_for_event("go").wait_for_event("go").sleep(5).commit()
    async with AppOn(MemoryStore(), workflows=[flow], world=world) as app:
        run = await app.start("w", 1)
        for number in (1, 2):
            await until(lambda: run._key not in app._running.drivers)
            world.move(-3_600, app)
            await app.send_event(run.id, "go", number)
        await until(
            lambda: app.store.records(run._key), lambda found: any(record.kind is Kind.TIMER_SET for record in found)
        )
        times = [record.time for record in await run.history()]
        assert times == sorted(times)
        world.move(7_205, app)
        assert await asyncio.wait_for(ended(run), 5) == ("success", 2)


@workflow(id="slashes")
async def slashes(_: Any) -> Any:
    await wait_for_event("order/paid", timeout=60)
    return await wait_for_event("list[1]")


@in_loop
async def test_a_wait_is_shown_whatever_is_in_its_name() -> None:
    needs_python()
    async with AppOn(MemoryStore(), workflows=[slashes]) as app:
        run = await app.start("slashes", 0)
        await app.send_event(run.id, "order/paid", 1)
        await app.send_event(run.id, "list[1]", 2)
        result = await asyncio.wait_for(run.result(), 5)
        assert {name: (step.status, step.output) for name, step in result.steps.items()} == {
            "order/paid": ("success", 1),
            "list[1]": ("success", 2),
        }
