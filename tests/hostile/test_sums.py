"""Sums of a tenant: what lies in the store of it, its open and its blocked runs. All of its workers count together."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hostile.platform import ENGINES, Mode, javascript
from support.apps import AppOn, Journal, ManualWorld, in_loop, until

from cloche import Limits, Policy, Run, StepContext, create_step
from cloche.errors import DeployRefused, LimitExceeded, StoreFull
from cloche.run.clock import SystemWorld
from cloche.store import MemoryStore
from cloche.testing import TestApp

WAITS = "return await cloche.waitForEvent('w', 'go', 0);"


def app_on(mode: Mode, policy: Policy, store: MemoryStore | None = None, **options: Any) -> AppOn:
    """`policy` is mallory's; the clock stands still."""
    engine = ENGINES[mode](Limits())
    return AppOn(
        store or MemoryStore(),
        engine=engine,
        policy=Policy(),
        policies={"mallory": policy},
        **{"world": ManualWorld(), **options},
    )


async def deployed(app: TestApp, body: str, workflow: str = "w") -> Any:
    for tenant in ("mallory", "neighbour"):
        await app.deploy(tenant, javascript(body), workflow=workflow, language="javascript")
    return app.tenant("mallory")


def test_so_many_runs_are_open(mode: Mode) -> None:
    @in_loop
    async def live() -> None:
        async with app_on(mode, Policy(open_runs=3)) as app:
            mallory = await deployed(app, WAITS)
            runs = [await mallory.start("w", number) for number in range(3)]
            with pytest.raises(LimitExceeded, match="open_runs") as refused:
                await mallory.start("w", 3, run_id="r3")
            assert refused.value.facts == {"limit": "open_runs", "value": 3, "asked": 4}
            assert len(await mallory.list()) == 3
            await app.tenant("neighbour").start("w", 1)
            await mallory.send_event(runs[0].id, "go", 1)
            assert (await runs[0].result()).unwrap() == 1
            await mallory.start("w", 3, run_id="r3")  # there is room again

    live()


def test_runs_that_begin_at_once_are_counted(mode: Mode) -> None:
    @in_loop
    async def live() -> None:
        async with app_on(mode, Policy(open_runs=3)) as app:
            mallory = await deployed(app, WAITS)
            begun = await asyncio.gather(*(mallory.start("w", n) for n in range(9)), return_exceptions=True)
            assert sorted(type(one).__name__ for one in begun) == ["LimitExceeded"] * 6 + ["Run"] * 3

    live()


def test_a_child_beyond_is_a_failure_of_its_call(mode: Mode) -> None:
    """It would wait for its parent, which is open because it waits for it."""
    forks = "try { await cloche.child('c', 'kid', 1); } catch (error) { return error.data.limit; }"

    @in_loop
    async def live() -> None:
        async with app_on(mode, Policy(open_runs=1)) as app:
            await deployed(app, "return 1;", "kid")
            mallory = await deployed(app, forks)
            run = await mallory.start("w", 1, run_id="r1")
            assert (await run.result()).unwrap() == "open_runs"
            assert (await mallory.replay("r1")).ok
            assert (await (await app.tenant("neighbour").start("w", 1)).result()).unwrap() is None

    live()


def test_all_workers_count_together(mode: Mode) -> None:
    store, world = MemoryStore(), ManualWorld()

    @in_loop
    async def live() -> None:
        policy = Policy(open_runs=3)
        async with app_on(mode, policy, store, world=world) as one, app_on(mode, policy, store, world=world) as other:
            await deployed(one, WAITS)
            for number, app in enumerate((one, other, one)):
                await app.tenant("mallory").start("w", number)
            for app in (one, other):
                with pytest.raises(LimitExceeded, match="open_runs"):
                    await app.tenant("mallory").start("w", 9)

    live()


def test_nothing_starts_beside_so_many_blocked_runs(mode: Mode) -> None:
    """They were only rows to nobody: an operator found a million of them."""

    world = ManualWorld()

    @in_loop
    async def live() -> None:
        async with app_on(mode, Policy(blocked_runs=2), world=world) as app:
            mallory = await deployed(app, "await step('gone')(1);")
            for number in range(2):
                run = await mallory.start("w", number)
                await until(run.status, lambda status: status == "blocked")
            world.move(2, app)  # others' workers see it a second later
            with pytest.raises(LimitExceeded, match="blocked_runs") as refused:
                await mallory.start("w", 3)
            assert refused.value.facts == {"limit": "blocked_runs", "value": 2, "asked": 3}
            await mallory.cancel(run.id)
            await until(run.status, lambda status: status == "canceled")
            await mallory.start("w", 4)

    live()


WRITES = "let n = 0; while (await step('goes')(n)) { n++; await step('echo')('x'.repeat(20_000)); } return n;"


def waits_for_room(app: TestApp, run: Run[Any]) -> bool:
    return isinstance(app._running.blocks.last_error(run._key), StoreFull)


def test_a_tenant_has_so_much_room_and_its_runs_wait_for_more(mode: Mode) -> None:
    """As for a disk that is full: nothing is lost, nothing ends, and what ends always may."""
    journal, has_seen = Journal(), list[int]()

    @in_loop
    async def live() -> None:
        def goes(n: int) -> bool:
            has_seen.append(n)
            return n < 30

        steps = [journal.step("echo"), create_step(id="goes", execute=goes)]
        async with app_on(mode, Policy(stored_bytes=300_000), steps=steps) as app:
            mallory = await deployed(app, WRITES)
            old = await mallory.start("w", 1, run_id="old")
            await until(lambda: waits_for_room(app, old))
            seen = len(has_seen)
            assert 0 < seen < 30
            with pytest.raises(LimitExceeded, match="stored_bytes"):
                await mallory.start("w", 2)
            with pytest.raises(DeployRefused, match="stored_bytes"):
                await mallory.deploy(javascript("return 2;"), workflow="v", language="javascript")
            worker = app._running
            with pytest.raises(StoreFull):
                await worker.starting.sums.check_room(mallory._tenant)
            assert (await (await app.tenant("neighbour").start("w", 1)).result()).unwrap() == 30
            await mallory.cancel("old")
            assert (await old.result()).status == "canceled"

    live()


def test_a_run_goes_on_when_there_is_room_again(mode: Mode) -> None:
    journal = Journal()

    @in_loop
    async def live() -> None:
        steps = [journal.step("echo"), create_step(id="goes", execute=lambda n: n < 5)]
        store = MemoryStore()
        async with app_on(mode, Policy(stored_bytes=300_000), store, steps=steps) as app:
            mallory = await deployed(app, WRITES)
            first = await mallory.start("w", 1, run_id="first")
            assert (await first.result()).unwrap() == 5
            second = await mallory.start("w", 1, run_id="second")
            await until(lambda: waits_for_room(app, second))
            await store.delete([first._key], store._data.rows[first._key].updated_at)
            assert (await second.result()).unwrap() == 5
            assert (await mallory.replay("second")).ok

    live()


def test_a_file_needs_room_too(mode: Mode) -> None:
    journal = Journal()

    @in_loop
    async def live() -> None:
        steps = [journal.step("echo"), create_step(id="goes", execute=lambda n: n < 5)]
        async with app_on(mode, Policy(), steps=steps) as app:
            mallory = await deployed(app, WRITES)
            await (await mallory.start("w", 1, run_id="r1")).result()
            file = await mallory.export("r1")
        async with app_on(mode, Policy(stored_bytes=100_000), steps=steps) as app:
            with pytest.raises(LimitExceeded, match="stored_bytes"):
                await app.import_(file)
            assert await app.tenant("mallory").list() == []
        async with app_on(mode, Policy(stored_bytes=10_000_000), steps=steps) as app:
            await app.import_(file)
            assert (await app.store.stored(mallory._tenant)).log_bytes > 100_000  # it is billed

    live()


def test_tries_and_time_of_the_loop_are_billed(mode: Mode) -> None:
    """Also of steps that fail, and of tries that are repeated: 1,001 executions were billed as one."""
    tries = list[int]()

    async def fails(data: Any, ctx: StepContext) -> Any:
        tries.append(ctx.attempt)
        raise ValueError("no")

    @in_loop
    async def live() -> None:
        steps = [create_step(id="fails", execute=fails, retry_config={"attempts": 3})]
        async with app_on(mode, Policy(), steps=steps, world=SystemWorld()) as app:
            mallory = await deployed(app, "try { await step('fails')(1); } catch { return 1; }")
            assert (await (await mallory.start("w", 1, run_id="r1")).result()).unwrap() == 1
            used = await mallory.usage("r1")
            assert (used.steps, used.attempts, len(tries)) == (1, 4, 4)
            assert used.loop_us > 0
            assert (await app.verify()).ok

    live()


STOPPED = {"canceled": {}, "too slow": {"timeout_s": 0.01}}


@pytest.mark.parametrize("how", STOPPED)
def test_a_try_that_is_stopped_is_billed(mode: Mode, how: str) -> None:
    """One that never ends, and is ended: by its time, or with its run."""
    world, has_begun = ManualWorld(), asyncio.Event()

    async def hangs(data: Any) -> Any:
        has_begun.set()
        await asyncio.Event().wait()

    @in_loop
    async def live() -> None:
        options: dict[str, Any] = STOPPED[how]
        step = create_step(id="hangs", execute=hangs, **options)
        async with app_on(mode, Policy(cancel_s=1), steps=[step], world=world) as app:
            mallory = await deployed(app, "return await step('hangs')(1);")
            run = await mallory.start("w", 1, run_id="r1")
            await has_begun.wait()
            if how == "canceled":
                await run.cancel()

            async def status() -> Any:
                world.move(1, app)
                return await run.status()

            await until(status, ("canceled" if how == "canceled" else "failed").__eq__)
            used = await mallory.usage("r1")
            assert (used.steps, used.attempts) == (1, 1)
            assert (await app.verify()).ok

    live()
