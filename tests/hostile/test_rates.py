"""Rates of a tenant as a whole: runs that begin, deploys, calls. What comes too fast waits, and none of it is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hostile.platform import ENGINES, Mode, javascript
from support.apps import AppOn, Journal, ManualWorld, in_loop, until

from cloche import Limits, Policy, StepContext, create_step, create_workflow
from cloche.run.limits import RateCounters
from cloche.store import MemoryStore


class Waits:
    """How long somebody was to wait for a rate, each time one was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.of: dict[tuple[str, str], list[float]] = {}
        take = RateCounters.take

        def taken(counters: RateCounters, tenant: str, limit: str, per_second: int, amount: int) -> float:
            wait_s = take(counters, tenant, limit, per_second, amount)
            self.of.setdefault((tenant, limit), []).append(wait_s)
            return wait_s / 1_000  # the test does not wait for it

        monkeypatch.setattr(RateCounters, "take", taken)


def app_on(mode: Mode, policy: Policy, **options: Any) -> AppOn:
    """`policy` is mallory's; the clock stands still."""
    policies = {"mallory": policy}
    return AppOn(
        MemoryStore(),
        engine=ENGINES[mode](Limits()),
        world=ManualWorld(),
        policy=Policy(),
        policies=policies,
        **options,
    )


def test_runs_that_begin_too_fast_wait(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that code begins as children, too."""
    waits = Waits(monkeypatch)
    policy = Policy(starts_per_second=4)
    forks = "const all = [0, 1, 2, 3, 4].map((i) => cloche.child('c' + i, 'kid', i)); return (await Promise.all(all)).length;"

    @in_loop
    async def live() -> None:
        async with app_on(mode, policy) as app:
            for tenant in ("mallory", "neighbour"):
                await app.deploy(tenant, javascript("return 1;"), workflow="kid", language="javascript")
                await app.deploy(tenant, javascript(forks), workflow="w", language="javascript")
                assert (await (await app.tenant(tenant).start("w", 1)).result()).unwrap() == 5

    live()
    assert waits.of["mallory", "starts_per_second"] == [0.0, 0.0, 0.0, 0.0, 0.25, 0.5]
    assert set(waits.of["neighbour", "starts_per_second"]) == {0.0}


def test_runs_that_a_step_begins_too_fast_wait(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Waits(monkeypatch)

    async def begets(data: Any, ctx: StepContext) -> int:
        kids = [await ctx.start_child("kid", number, run_id=f"{ctx.run_id}-{number}") for number in range(3)]
        return len([(await kid.result()).unwrap() for kid in kids])

    @in_loop
    async def live() -> None:
        kid = create_workflow(id="kid", guest="javascript").then(Journal().step("echo")).commit()
        begins = create_workflow(id="w", guest="javascript").then(create_step(id="begets", execute=begets)).commit()
        async with app_on(mode, Policy(starts_per_second=2), workflows=[kid, begins]) as app:
            assert (await (await app.tenant("mallory").start("w", 1)).result()).unwrap() == 3

    live()
    assert waits.of["mallory", "starts_per_second"] == [0.0, 0.0, 0.5, 1.0]


def test_deploys_that_come_too_fast_wait(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Waits(monkeypatch)

    @in_loop
    async def live() -> None:
        async with app_on(mode, Policy(deploys_per_second=2)) as app:
            for tenant in ("mallory", "neighbour"):
                for number in range(4):
                    await app.deploy(tenant, javascript(f"return {number};"), workflow="w", language="javascript")
            assert len(await app.tenant("mallory").versions()) == 4

    live()
    assert waits.of["mallory", "deploys_per_second"] == [0.0, 0.0, 0.5, 1.0]
    assert set(waits.of["neighbour", "deploys_per_second"]) == {0.0}


def test_calls_that_come_too_fast_wait(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Waits(monkeypatch)

    @in_loop
    async def live() -> None:
        async with app_on(mode, Policy(calls_per_second=4)) as app:
            mallory = app.tenant("mallory")
            await asyncio.gather(*(mallory.list() for _ in range(6)), app.tenant("neighbour").list())

    live()
    assert waits.of["mallory", "calls_per_second"] == [0.0, 0.0, 0.0, 0.0, 0.25, 0.5]
    assert waits.of["neighbour", "calls_per_second"] == [0.0]


RATES = {
    "starts_per_second": lambda tenant, number: tenant.start("w", number, run_id=f"r{number}"),
    "deploys_per_second": lambda tenant, number: tenant.deploy(
        javascript(f"return {number};"), workflow="v", language="javascript"
    ),
    "calls_per_second": lambda tenant, number: tenant.list(),
}


@pytest.mark.parametrize("limit", RATES)
def test_a_rate_is_shared_out_over_all_workers(mode: Mode, limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four a second each of two workers has two."""
    world, store = ManualWorld(), MemoryStore()

    @in_loop
    async def live() -> None:
        bounds: dict[str, Any] = {limit: 4}
        options: dict[str, Any] = {"world": world, "policy": Policy(**bounds), "engine": ENGINES[mode](Limits())}
        async with AppOn(store, **options) as one, AppOn(store, **options) as other:

            def know_each_other() -> bool:
                world.move(1, one, other)
                return all(app._running.membership.count() == 2 for app in (one, other))

            await one.tenant("mallory").deploy(javascript("return 1;"), workflow="w", language="javascript")
            await until(know_each_other)
            world.move(10, one, other)
            waits = Waits(monkeypatch)
            for number in range(4):
                await RATES[limit](one.tenant("mallory"), number)
            assert waits.of["mallory", limit][:4] == [0.0, 0.0, 0.5, 1.0]
            await RATES[limit](other.tenant("mallory"), 9)
            assert waits.of["mallory", limit][4] == 0.0

    live()


GROWS = "const kept = []; for (let i = 0; i < 4; i++) kept.push(new Uint8Array(1 << 20).fill(1)); "


def test_a_worker_keeps_so_many_bytes_of_a_tenants_cells(mode: Mode) -> None:
    """The others are given up, and rebuilt when something comes for them."""
    most = 12 << 20

    @in_loop
    async def live() -> None:
        async with app_on(mode, Policy(tenant_memory_bytes=most)) as app:
            waits = GROWS + "await cloche.waitForEvent('w', 'go', 0); return kept.length;"
            await app.deploy("mallory", javascript(waits), workflow="w", language="javascript")
            mallory, cached = app.tenant("mallory"), app._running.cells.cached
            runs = [await mallory.start("w", number) for number in range(6)]
            for run in runs:
                await until(run.status, lambda status: status == "waiting")
            assert 0 < cached.bytes_of[mallory._tenant] <= most
            for run in runs:
                await mallory.send_event(run.id, "go", 1)
            assert [(await run.result()).unwrap() for run in runs] == [4] * 6

    live()
