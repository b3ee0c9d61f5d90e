"""Bounds of a tenant hold over all workers of a store, not in each."""

from __future__ import annotations

import asyncio
import functools
import operator
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from hostile.platform import ENGINES, Mode, javascript
from support.apps import AppOn, Journal, ManualWorld, in_loop, until

from cloche import Limits, Policy, create_step
from cloche.history import TenantId
from cloche.store import MemoryStore
from cloche.testing import TestApp

MALLORY = TenantId("mallory")


@asynccontextmanager
async def two(mode: Mode, world: ManualWorld, policy: Policy, steps: list[Any]) -> AsyncIterator[list[TestApp]]:
    """Two workers of one store, who know of each other."""
    store = MemoryStore()
    options: dict[str, Any] = {"world": world, "policy": policy, "steps": steps}
    async with (
        AppOn(store, engine=ENGINES[mode](Limits()), **options) as first,
        AppOn(store, engine=ENGINES[mode](Limits()), **options) as second,
    ):
        apps = [first, second]

        def know_each_other() -> bool:
            world.move(1, *apps)
            return all(app._running.membership.count() == 2 for app in apps)

        await until(know_each_other)
        yield apps


def test_so_many_runs_are_at_work_in_all_of_them(mode: Mode) -> None:
    """Each worker had as many.

    A run is at work while its step is: a worker forgets one that has ended a moment after the store has its end.
    """
    gate, at_work, most = asyncio.Event(), set[int](), list[int]()

    async def hold(data: Any) -> Any:
        at_work.add(data)
        most.append(len(at_work))
        await gate.wait()
        for _ in range(20):  # so that others could begin meanwhile
            await asyncio.sleep(0)
        at_work.remove(data)
        return data

    @in_loop
    async def live() -> None:
        steps = [create_step(id="hold", execute=hold)]
        async with two(mode, ManualWorld(), Policy(concurrent_runs=3), steps) as apps:
            source = javascript("return await step('hold')(input);")
            await apps[0].deploy("mallory", source, workflow="w", language="javascript")
            runs = [await apps[n % 2].tenant("mallory").start("w", n, run_id=f"r{n}") for n in range(12)]
            await until(lambda: len(at_work) == 3)
            assert [await run.status() for run in runs].count("pending") == 9
            gate.set()
            assert [(await run.result()).unwrap() for run in runs] == list(range(12))
            assert max(most) == 3

    live()


def test_a_rate_is_shared_by_all_of_them(mode: Mode) -> None:
    """Each worker began as many steps."""
    world, journal = ManualWorld(), Journal()
    at_once = "await Promise.all([...Array(9).keys()].map((i) => step('echo', 'e' + i)(i))); return 1;"

    @in_loop
    async def live() -> None:
        policy = Policy(step_starts_per_second=4)
        async with two(mode, world, policy, [journal.step("echo")]) as apps:
            await apps[0].deploy("mallory", javascript(at_once), workflow="w", language="javascript")
            runs = []
            for number, app in enumerate(apps):
                runs.append(await app.tenant("mallory").start("w", 1))
                await until(lambda: len(journal.began), functools.partial(operator.eq, 2 * number + 2))
            for begun in range(6, 19, 2):
                world.move(0.5, *apps)
                await until(lambda: len(journal.began), functools.partial(operator.eq, begun))
            assert [(await run.result()).unwrap() for run in runs] == [1, 1]

    live()
