"""Budgets: what a tenant takes of the host beside its cell's fuel is bounded too."""

from __future__ import annotations

import asyncio
import functools
import gc
import operator
import threading
import weakref
from typing import Any

import pytest
from hostile.platform import ENGINES, Mode, javascript
from support.apps import AppOn, Journal, ManualWorld, in_loop, until

from cloche import Grant, Limits, Policy, StepContext, create_step
from cloche.errors import MissingStep
from cloche.history import machine, output
from cloche.operations import export, replay
from cloche.run.limits import RateCounters
from cloche.run.live_run import LiveRun
from cloche.store import MemoryStore


def app_on(mode: Mode, **options: Any) -> AppOn:
    return AppOn(MemoryStore(), engine=ENGINES[mode](Limits()), **options)


CHEAP = {
    "log lines": "for (let i = 0; i < 90_000; i++) console.log(1);",
    "sleeps": "for (let i = 0; i < 20_000; i++) cloche.sleep('s' + i, 1, 0); await 0;",
}


@pytest.mark.parametrize("body", CHEAP.values(), ids=CHEAP)
def test_cheap_commands_by_the_thousand_are_not_even_read(
    mode: Mode, body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each cost the host 70 times what it cost the guest."""
    read: list[bytes] = []

    def noted(body: bytes, *, is_new: bool = False) -> Any:
        read.append(body)
        return output.unpack_command(body, is_new=is_new)

    monkeypatch.setattr(machine, "unpack_command", noted)

    @in_loop
    async def live() -> None:
        async with app_on(mode) as app:
            await app.deploy("mallory", javascript(body), workflow="w", language="javascript")
            mallory = app.tenant("mallory")
            error = (await (await mallory.start("w", 1, run_id="r1")).result()).error
            assert error is not None
            assert (error.name, error.data["limit"], error.data["value"]) == (
                *("LimitExceeded", "commands_per_event"), Policy.strict().commands_per_event,
            )  # fmt: skip
            assert read == []
            assert (await mallory.replay("r1")).ok

    live()


# ---- rates -----------------------------------------------------------------------------------------------------------

AT_ONCE = "const all = await Promise.all([...Array(9).keys()].map((i) => step('echo', 'e' + i)(i))); return all.length;"


def test_steps_that_come_too_fast_wait_and_none_is_lost(mode: Mode) -> None:
    """They failed, and ended runs that had done no harm but to be a tenant's tenth."""
    world, journal = ManualWorld(), Journal()

    @in_loop
    async def live() -> None:
        policy = Policy(step_starts_per_second=4)
        async with app_on(mode, world=world, policy=policy, steps=[journal.step("echo")]) as app:
            await app.deploy("mallory", javascript(AT_ONCE), workflow="w", language="javascript")
            run = await app.tenant("mallory").start("w", 1)
            for begun in range(4, 10):
                await until(lambda: len(journal.began), functools.partial(operator.eq, begun))
                world.move(0.25, app)
            assert (await run.result()).unwrap() == 9

    live()


def test_tries_that_are_repeated_wait_too(mode: Mode) -> None:
    """A step that fails and is tried again costs the host as much each time."""
    world, tries = ManualWorld(), list[int]()

    def fails(data: Any, ctx: StepContext) -> Any:
        tries.append(ctx.attempt)
        raise ValueError("no")

    @in_loop
    async def live() -> None:
        steps = [create_step(id="fails", execute=fails, retry_config={"attempts": 7})]
        async with app_on(mode, world=world, policy=Policy(step_starts_per_second=4), steps=steps) as app:
            await app.deploy(
                "mallory", javascript("return await step('fails')(1);"), workflow="w", language="javascript"
            )
            run = await app.tenant("mallory").start("w", 1, run_id="r1")
            for begun in range(4, 9):
                await until(lambda: len(tries), functools.partial(operator.eq, begun))
                world.move(0.25, app)
            assert (await run.result()).status == "failed"
            assert (tries, (await app.tenant("mallory").usage("r1")).attempts) == ([*range(1, 9)], 8)

    live()


def test_a_step_that_waits_for_its_turn_is_not_begun_once_its_run_is_canceled(mode: Mode) -> None:
    world, journal = ManualWorld(), Journal()

    @in_loop
    async def live() -> None:
        policy = Policy(step_starts_per_second=4)
        async with app_on(mode, world=world, policy=policy, steps=[journal.step("echo")]) as app:
            await app.deploy("mallory", javascript(AT_ONCE), workflow="w", language="javascript")
            run = await app.tenant("mallory").start("w", 1)
            await until(lambda: len(journal.began) == 4)
            await run.cancel()
            assert (await run.result()).status == "canceled"
            world.move(10, app)
            await asyncio.sleep(0.05)
            assert len(journal.began) == 4

    live()


def test_a_run_that_writes_too_fast_waits_and_ends_as_it_would(mode: Mode) -> None:
    """And nobody waits with it."""
    waits, journal = list[float](), Journal()
    take = RateCounters.take

    def taken(self: RateCounters, *asked: Any) -> float:
        wait_s = take(self, *asked)
        if asked[1] == "log_bytes_per_second" and asked[0] == "mallory":
            waits.append(wait_s)
        return wait_s

    @in_loop
    async def live(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(RateCounters, "take", taken)
        policies = {"mallory": Policy(log_bytes_per_second=4_000)}
        async with app_on(mode, policy=Policy(), policies=policies, steps=[journal.step("echo")]) as app:
            body = "for (let i = 0; i < 5; i++) await step('echo')('x'.repeat(2_000)); return 'done';"
            for tenant in ("mallory", "neighbour"):
                await app.deploy(tenant, javascript(body), workflow="w", language="javascript")
            attack = await app.tenant("mallory").start("w", 1)
            assert (await (await app.tenant("neighbour").start("w", 1)).result()).unwrap() == "done"
            assert (await attack.result()).unwrap() == "done"
            assert max(waits) > 0.0

    with pytest.MonkeyPatch.context() as monkeypatch:
        live(monkeypatch)


# ---- memory ----------------------------------------------------------------------------------------------------------

GROWS = "const kept = []; for (let i = 0; i < 20; i++) kept.push(new Uint8Array(1 << 20).fill(1)); "
WAITS = "await cloche.waitForEvent('w', 'go', 0); return 1;"
CACHED = 32 << 20


def test_a_cell_is_counted_as_it_is_after_its_turns(mode: Mode) -> None:
    """It was counted when it was opened: 1.46 GiB were held, and 7 MiB counted."""

    @in_loop
    async def live() -> None:
        async with app_on(mode, warm_bytes=CACHED) as app:
            cached, mallory = app._running.cells.cached, app.tenant("mallory")
            await app.deploy("mallory", javascript(GROWS + WAITS), workflow="w", language="javascript")
            for number in range(4):
                run = await mallory.start("w", number, run_id=f"r{number}")
                await until(run.status, lambda status: status == "waiting")
                await until(lambda: app.is_idle)
                assert cached.bytes_used > 20 << 20
                assert len(cached) == 1  # the one before it was given up
            await mallory.send_event("r0", "go", 1)
            assert (await (await mallory.get("r0")).result()).unwrap() == 1

    live()


def test_a_tenant_loses_its_own_cells_and_not_its_neighbours(mode: Mode) -> None:
    @in_loop
    async def live() -> None:
        async with app_on(mode, warm_bytes=CACHED) as app:
            cached = app._running.cells.cached
            for tenant, body in (("neighbour", WAITS), ("mallory", GROWS + WAITS)):
                await app.deploy(tenant, javascript(body), workflow="w", language="javascript")
            for tenant, count in (("neighbour", 3), ("mallory", 3)):
                for number in range(count):
                    run = await app.tenant(tenant).start("w", number)
                    await until(run.status, lambda status: status == "waiting")
                    await until(lambda: app.is_idle)
            counted = {tenant: len(owners) for tenant, owners in cached._owners.items()}
            assert counted == {"neighbour": 3, "mallory": 1}

    live()


def test_a_run_that_is_blocked_keeps_no_cell(mode: Mode) -> None:
    """The exception held its frames, and they the cell: 4,300 blocked runs took 2 GB."""

    @in_loop
    async def live() -> None:
        async with app_on(mode, policy=Policy()) as app:
            await app.deploy("mallory", javascript("await step('gone')(1);"), workflow="w", language="javascript")
            mallory = app.tenant("mallory")
            lived, made = weakref.WeakSet[LiveRun](), LiveRun.__init__

            def noted(self: LiveRun, *given: Any) -> None:
                lived.add(self)
                made(self, *given)

            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(LiveRun, "__init__", noted)
                for number in range(5):
                    run = await mallory.start("w", number, run_id=f"r{number}")
                    blocked = (await run.result()).blocked
                    assert blocked is not None
                    assert blocked["reason"] == "missing-step"
            await until(lambda: not app._running.drivers.keys())
            gc.collect()
            assert len(lived) == 0
            first, again = (app._running.blocks.last_error(run._key) for _ in range(2))
            assert first is not None
            assert again is not None
            assert (type(first), first.message, first.facts) == (MissingStep, again.message, again.facts)
            assert first.step == "gone"

    live()


# ---- children --------------------------------------------------------------------------------------------------------

FORKS = "await Promise.all([0, 1, 2].map((i) => cloche.child('c' + i, 'w', 1).catch(() => 0))); return 1;"
BROOD = Policy.strict(child_workflows=["w"]).model_copy(
    update={"concurrent_runs": 3, "descendants": 30, "child_depth": 9}
)


def test_a_fork_bomb_has_so_many_places_and_ends(mode: Mode) -> None:
    """Children were outside of the bound: 3 gave 156 at once, and one line drove 3,922 runs."""

    @in_loop
    async def live() -> None:
        async with app_on(mode, policy=BROOD) as app:
            await app.deploy("mallory", javascript(FORKS), workflow="w", language="javascript")
            mallory, admission, most = app.tenant("mallory"), app._running.admission, 0
            bomb = asyncio.ensure_future((await mallory.start("w", 1, run_id="bomb")).result())
            while not bomb.done():
                most = max(most, admission.driven[bomb_tenant(mallory)])
                await asyncio.sleep(0)
            assert bomb.result().unwrap() == 1
            rows = await mallory.list(limit=None)
            assert len(rows) == 1 + BROOD.descendants
            assert {row.status for row in rows} == {"success"}
            assert most <= 2 * BROOD.concurrent_runs  # those whose children end just now are back
            assert not admission.driven

    live()


async def begets(data: Any, ctx: StepContext) -> int:
    """Begins many runs, and waits for all of them."""
    kids = [await ctx.start_child("kid", number, run_id=f"{ctx.run_id}-kid-{number}") for number in range(12)]
    return len([(await kid.result()).unwrap() for kid in kids])


@pytest.mark.parametrize("places", [1, 3])
def test_runs_that_a_step_begins_have_so_many_places_too(mode: Mode, places: int) -> None:
    """They began at once, however many there were, for the step may wait for them."""

    @in_loop
    async def live() -> None:
        steps = [create_step(id="begets", execute=begets), Journal().step("echo")]
        granted = [Grant(step=step.id) for step in steps]
        policy = Policy.strict(steps=granted, child_workflows=["kid"]).model_copy(update={"concurrent_runs": places})
        async with app_on(mode, policy=policy, steps=steps) as app:
            sources = {"w": "return await step('begets')(1);", "kid": "return await step('echo')(1);"}
            for name, source in sources.items():
                await app.deploy("mallory", javascript(source), workflow=name, language="javascript")
            mallory, admission, most = app.tenant("mallory"), app._running.admission, 0
            parents = [await mallory.start("w", 1, run_id=f"p{number}") for number in range(2)]
            brood = asyncio.gather(*(parent.result() for parent in parents))
            while not brood.done():
                most = max(most, admission.driven[bomb_tenant(mallory)])
                await asyncio.sleep(0)
            assert [result.unwrap() for result in brood.result()] == [12, 12]
            assert most == places
            await until(lambda: not admission.driven)

    live()


def bomb_tenant(tenant: Any) -> Any:
    return tenant._tenant


CHILDREN = "for (let i = 0; i < 3; i++) { await cloche.waitForEvent('w' + i, 'go', 0); await cloche.child('c' + i, 'kid', 1); }"


@pytest.mark.parametrize("limit", ["descendants", "children"])
def test_what_hangs_below_a_root_is_counted_in_all_workers(mode: Mode, limit: str) -> None:
    """Each child is begun by another worker than the one before."""
    store = MemoryStore()
    policy = BROOD.model_copy(update={limit: 2, "child_workflows": ("kid",)})

    @in_loop
    async def live(number: int, stands: tuple[str, int]) -> None:
        async with AppOn(store, engine=ENGINES[mode](Limits()), policy=policy) as app:
            mallory = app.tenant("mallory")
            if number == 0:
                for name, source in (("w", CHILDREN), ("kid", "return 1;")):
                    await app.deploy("mallory", javascript(source), workflow=name, language="javascript")
                await mallory.start("w", 1, run_id="r1")
            await mallory.send_event("r1", "go", 1)
            await until(lambda: _stands(mallory), lambda now: now == stands)
            if stands[0] == "failed":
                error = (await (await mallory.get("r1")).result()).error
                assert error is not None
                assert (error.name, error.data) == ("LimitExceeded", {"limit": limit, "value": 2, "asked": 3})

    for number, stands in enumerate([("waiting", 2), ("waiting", 3), ("failed", 3)]):
        live(number, stands)


async def _stands(mallory: Any) -> tuple[str, int]:
    rows = await mallory.list()
    return str(next(row.status for row in rows if row.key.run == "r1")), len(rows)


# ---- computing for whoever asks --------------------------------------------------------------------------------------


def test_reading_a_history_again_is_done_beside_the_loop(mode: Mode) -> None:
    """A replay, or a file of a long run, held everybody up for as long as it took."""
    threads: dict[str, set[threading.Thread]] = {}

    def noting(name: str, function: Any) -> Any:
        def noted(*given: Any, **named: Any) -> Any:
            threads.setdefault(name, set()).add(threading.current_thread())
            return function(*given, **named)

        return noted

    @in_loop
    async def live() -> None:
        async with app_on(mode, policy=Policy()) as app, app_on(mode, policy=Policy()) as other:
            await app.deploy("mallory", javascript("return 1;"), workflow="w", language="javascript")
            mallory = app.tenant("mallory")
            await (await mallory.start("w", 1, run_id="r1")).result()
            file = await mallory.export("r1")
            assert (await mallory.replay("r1")).ok
            await other.import_(file)

    with pytest.MonkeyPatch.context() as patched:
        for module, name in ((replay, "script"), (replay, "_fed"), (export, "_read"), (export, "_verified")):
            patched.setattr(module, name, noting(name, getattr(module, name)))
        live()
    assert threads.keys() == {"script", "_fed", "_read", "_verified"}
    assert threading.main_thread() not in set().union(*threads.values())
