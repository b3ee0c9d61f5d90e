"""Events from outside: none that was acknowledged is lost, none overtakes another, and what can never arrive is refused."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from support.apps import KEY, AppOn, Journal, ended, in_loop, until
from support.guests import needs_python

from cloche import Policy, create_workflow, race, step, wait_for_event, workflow
from cloche.errors import InvalidInput, LimitExceeded, NotSuspended
from cloche.history import Kind, TimeMs
from cloche.history.values import encode
from cloche.store import MemoryStore

IMPOSSIBLE = ["", " go", "go ", "x" * 201, "go\x07", "go\u202e", 7, None]


class Gate(asyncio.Event):
    """Knows whether somebody stands before it."""

    waits = False


GATES: dict[int, Gate] = {}


@step
async def held(number: int) -> str:
    GATES[number].waits = True
    await GATES[number].wait()
    return "held"


@workflow(id="either")
async def either(_: Any) -> Any:
    await race(wait_for_event("go"), wait_for_event("answer"))
    return await wait_for_event("answer")


@workflow(id="step-or-event")
async def step_or_event(number: int) -> Any:
    await race(held(number), wait_for_event("answer"))
    return await wait_for_event("answer")


@in_loop
async def test_an_event_whose_wait_lost_a_race_reaches_the_next_wait() -> None:
    needs_python()
    async with AppOn(MemoryStore(), workflows=[either]) as app:
        run = await app.start("either", 0, run_id="r1")
        await until(lambda: KEY not in app._running.drivers)
        await app.send_event("r1", "go", 1)
        await app.send_event("r1", "answer", 2)
        assert await asyncio.wait_for(ended(run), 5) == ("success", 2)
        assert await app.store.requests() == []


@in_loop
async def test_an_event_that_comes_as_its_wait_is_given_up_is_kept() -> None:
    """Whenever it comes: while the step ends, while that is recorded, after it."""
    needs_python()
    async with AppOn(MemoryStore(), workflows=[step_or_event]) as app:
        for number in range(12):
            GATES[number] = Gate()
            run = await app.start("step-or-event", number)
            await until(lambda number=number: GATES[number].waits)  # type: ignore[misc]
            GATES[number].set()
            for _ in range(number):
                await asyncio.sleep(0)
            await app.send_event(run.id, "answer", "first")
            with suppress(NotSuspended):  # unless it has ended already, with the first one
                await app.send_event(run.id, "answer", "second")
            status, value = await asyncio.wait_for(ended(run), 5)
            received = [record for record in await run.history() if record.kind is Kind.HOOK_RECEIVED]
            assert (status, value) == ("success", "second" if len(received) == 2 else "first")


@in_loop
async def test_events_arrive_in_the_order_they_were_sent() -> None:
    """Also while a parked run is being fetched for the first of them."""
    names = ["first", "second", "third"]
    waits = create_workflow(id="w")
    for name in names:
        waits.wait_for_event("e", id=name)
    async with AppOn(MemoryStore(), workflows=[waits.commit()]) as app:
        for pause in range(25):
            run = await app.start("w")
            await until(lambda run=run: run._key not in app._running.drivers)  # type: ignore[misc]
            for number in (1, 2, 3):
                await app.send_event(run.id, "e", number)
                for _ in range(pause):
                    await asyncio.sleep(0)
            result = await asyncio.wait_for(run.result(), 5)
            assert [result.steps[name].output for name in names] == [1, 2, 3]


@in_loop
async def test_an_early_event_goes_before_one_that_meets_its_wait(journal: Journal) -> None:
    store = MemoryStore()
    waits = create_workflow(id="w").then(journal.step("s")).wait_for_event("e", id="first").wait_for_event("e").commit()
    async with AppOn(store, workflows=[waits]) as app:
        for pause in range(25):
            run = await app.start("w")
            await app.send_event(run.id, "e", 1)
            for _ in range(pause):
                await asyncio.sleep(0)
            await app.send_event(run.id, "e", 2)
            result = await asyncio.wait_for(run.result(), 5)
            assert (result.steps["first"].output, result.result) == (1, 2)


@in_loop
async def test_an_event_for_a_blocked_run_is_kept(journal: Journal) -> None:
    gate = asyncio.Event()
    both = create_workflow(id="w").parallel(
        [
            journal.acts("slow", lambda data, ctx: gate.wait()),
            create_workflow(id="inner").wait_for_event("go").commit(),
        ]
    )
    store, workflows = MemoryStore(), [both.commit()]
    async with AppOn(store, workflows=workflows, drain_timeout_s=0) as app:
        await app.start("w", None, run_id="r1")
        await until(lambda: journal.began)
    async with AppOn(store) as lacking:
        assert (await (await lacking.get("r1")).result()).status == "blocked"
        await lacking.send_event("r1", "go", 1)
        await until(lambda: not lacking._running.services.tasks)
        assert len(await store.requests()) == 1
        gate.set()
        async with AppOn(store, workflows=workflows) as app:
            result = await asyncio.wait_for((await app.get("r1")).result(final=True), 5)
            assert result.result == {"slow": True, "inner": 1}
    assert await store.requests() == []


@in_loop
async def test_an_event_for_a_run_that_was_blocked_here_goes_on_here(journal: Journal) -> None:
    gate = asyncio.Event()
    gate.set()
    slow = journal.acts("slow", lambda data, ctx: gate.wait())
    inner = create_workflow(id="inner").wait_for_event("go").commit()
    store, workflows = MemoryStore(), [create_workflow(id="w").parallel([slow, inner]).commit()]
    async with AppOn(store, workflows=workflows) as app:
        app._running.registry._steps.clear()
        await app.start("w", None, run_id="r1")
        await app.send_event("r1", "go", 1)
        await until(lambda: not app._running.services.tasks)
        assert len(await store.requests()) == 1
        app._running.registry.register([], [slow])
        await app._running.starting.wake(KEY)
        assert (await asyncio.wait_for((await app.get("r1")).result(final=True), 5)).result == {
            "slow": True,
            "inner": 1,
        }


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_an_event_of_an_impossible_name_is_refused(name: Any) -> None:
    @in_loop
    async def live() -> None:
        async with AppOn(MemoryStore(), workflows=[create_workflow(id="w").wait_for_event("go").commit()]) as app:
            run = await app.start("w")
            with pytest.raises(InvalidInput, match="is not 1 to 200 characters of text"):
                await app.send_event(run.id, name, 1)
            assert await app.store.requests() == []

    live()


@in_loop
async def test_a_name_is_the_same_however_it_is_written() -> None:
    async with AppOn(MemoryStore(), workflows=[create_workflow(id="w").wait_for_event("caf\u00e9").commit()]) as app:
        run = await app.start("w")
        await app.send_event(run.id, "cafe\u0301", 1)
        assert await asyncio.wait_for(ended(run), 5) == ("success", 1)


@in_loop
async def test_an_event_that_is_too_large_is_refused() -> None:
    waits = create_workflow(id="w").wait_for_event("go").commit()
    async with AppOn(MemoryStore(), workflows=[waits], policy=Policy(payload_bytes=1_000)) as app:
        run = await app.start("w")
        with pytest.raises(LimitExceeded, match="payload_bytes") as refused:
            await app.send_event(run.id, "go", "x" * 1_000)
        assert (refused.value.limit, refused.value.value, await app.store.requests()) == ("payload_bytes", 1_000, [])
        await app.send_event(run.id, "go", "x" * 900)
        assert await asyncio.wait_for(ended(run), 5) == ("success", "x" * 900)


@in_loop
async def test_a_posted_event_that_is_too_large_holds_up_no_other() -> None:
    """One that an older version accepted."""
    waits = create_workflow(id="w").wait_for_event("go").commit()
    async with AppOn(MemoryStore(), workflows=[waits], policy=Policy(payload_bytes=1_000)) as app:
        run = await app.start("w")
        await app.store.post(run._key, "event", encode(["go", "x" * 1_000]), "old", TimeMs(0), name="go")
        await app.send_event(run.id, "go", 1)
        assert await asyncio.wait_for(ended(run), 5) == ("success", 1)
        assert await app.store.requests() == []
