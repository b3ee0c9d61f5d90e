"""A guest that computes for long does not hold up the others, and costs them one short stop."""

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial

import pytest
from support.apps import AppOn, Journal, ended, in_loop, until

from cloche import StepContext, Workflow, code, create_workflow
from cloche.engines import Code, DirectEngine, SandboxEngine
from cloche.errors import FuelExhausted, HeavyTurn
from cloche.history import DEFAULT_TENANT, TenantId, TimeMs
from cloche.history.messages import Started
from cloche.run.lanes import CODES_MAX, HEAVY_TURNS, Lanes
from cloche.sandbox import Limits
from cloche.store import MemoryStore
from cloche.tenancy.fairness import DEBT_NS, QUANTUM_NS, HostTime, Turns
from cloche.tenancy.loop_turns import TURNS_A_PASS

SPIN = "(() => {{ let x = 0; for (let i = 0; i < {turns}; i++) x = (x + i) & 1023; return inputData.v; }})()"


def computing(journal: Journal, turns: int, id: str = "heavy") -> Workflow:
    """Computes before, between and behind its steps."""
    spin = code(SPIN.format(turns=turns))
    return (
        create_workflow(id=id)
        .map({"v": spin}, id="before")
        .then(journal.inc())
        .map({"v": spin}, id="between")
        .then(journal.dbl())
        .map({"v": spin}, id="behind")
        .commit()
    )


@in_loop
async def test_a_heavy_turn_is_made_again_in_the_other_lane_and_no_step_is(journal: Journal) -> None:
    workflow, store = computing(journal, 1_500_000), MemoryStore()
    async with AppOn(store, workflows=[workflow]) as app:
        run = await app.start("heavy", {"v": 1}, run_id="r1")
        assert await ended(run) == ("success", {"v": 4})
        assert not app._running.services.lanes.takes_as_light(Code("", "", workflow.source("javascript").code, {}, ""))
        assert (await app.replay("r1")).ok
    assert journal.began == ["inc", "dbl"]


@in_loop
async def test_a_rebuild_that_turns_out_to_be_heavy_is_made_again(journal: Journal) -> None:
    """The lanes of a new process know nothing of the code yet."""
    store = MemoryStore()
    spin = code(SPIN.format(turns=1_500_000))
    workflow = create_workflow(id="heavy").map({"v": spin}, id="before").then(journal.ask()).commit()
    async with AppOn(store, workflows=[workflow]) as app:
        assert (await (await app.start("heavy", {"v": 1}, run_id="r1")).result()).status == "suspended"
    async with AppOn(store, workflows=[workflow]) as app:
        assert (await app.resume("r1", resume_data={"add": 1})).result == {"v": 2}


@in_loop
async def test_the_loop_goes_on_while_a_guest_computes(journal: Journal) -> None:
    heavy, light = computing(journal, 2_500_000), create_workflow(id="light").then(journal.take()).commit()
    async with AppOn(MemoryStore(), workflows=[heavy, light]) as app:
        slow = [await app.start("heavy", {"v": number}) for number in range(6)]
        waiting = asyncio.gather(*(run.result() for run in slow))
        assert await ended(await app.start("light", {"v": 1})) == ("success", {"v": 1})
        assert not waiting.done()  # a run came and went meanwhile
        assert [result.status for result in await waiting] == ["success"] * 6


@in_loop
async def test_an_endless_loop_still_ends_in_its_limit(journal: Journal) -> None:
    workflow = computing(journal, 10**12)
    engine = SandboxEngine(Limits(fuel_per_event=500_000_000))
    async with AppOn(MemoryStore(), workflows=[workflow], engine=engine) as app:
        run = await app.start("heavy", {"v": 1})
        result = await run.result()
    assert result.status == "failed"
    assert result.error is not None
    assert result.error.name == FuelExhausted.__name__


def test_a_light_turn_that_is_not_is_told_from_a_limit(journal: Journal) -> None:
    workflow, engine = computing(journal, 10**12), SandboxEngine(Limits(fuel_per_event=500_000_000))
    pinned = Code("heavy", engine.guest()[0], workflow.source("javascript").code, {}, "")
    start = _start()
    with pytest.raises(HeavyTurn):
        engine.open(pinned, lambda: b"", engine.limits(), DEFAULT_TENANT).turn([start], light=True)
    with pytest.raises(FuelExhausted):
        engine.open(pinned, lambda: b"", engine.limits(), DEFAULT_TENANT).turn([start])
    small = SandboxEngine(Limits(fuel_per_event=10_000_000)).limits()
    with pytest.raises(FuelExhausted):  # the limit is smaller than what a light turn may take
        engine.open(pinned, lambda: b"", small, DEFAULT_TENANT).turn([start], light=True)


def _start() -> bytes:
    return Started(TimeMs(0), bytes(16), {"v": 1}, {}).pack()


def test_a_code_is_taken_as_heavy_for_a_while() -> None:
    lanes = Lanes()
    one, other = (Code("w", "g", source, {}, "") for source in ("one", "other"))
    lanes.mark_heavy(one)
    assert [lanes.takes_as_light(one) for _ in range(HEAVY_TURNS + 1)] == [False] * HEAVY_TURNS + [True]
    assert lanes.takes_as_light(other)
    lanes.close()


def test_what_is_remembered_of_heavy_codes_is_bounded() -> None:
    lanes = Lanes()
    codes = [Code("w", "g", str(number), {}, "") for number in range(CODES_MAX + 1)]
    for one in codes:
        lanes.mark_heavy(one)
    assert [lanes.takes_as_light(codes[0]), lanes.takes_as_light(codes[1])] == [True, False]
    lanes.close()


@in_loop
async def test_what_is_not_metered_is_light(journal: Journal) -> None:
    async with AppOn(MemoryStore(), workflows=[computing(journal, 10)], engine=DirectEngine()) as app:
        assert await ended(await app.start("heavy", {"v": 1})) == ("success", {"v": 4})


# ---- turns of tenants ----------------------------------------------------------------------------------------------------


@in_loop
async def test_places_go_to_tenants_in_turns_and_past_those_who_gave_up() -> None:
    turns = Turns()
    waiting = [(tenant, turns.wait(TenantId(tenant))) for tenant in ("a", "a", "a", "a", "b", "c", "c")]
    waiting[1][1].cancel()
    order = []
    while turns.give() is not None:
        order += [tenant for tenant, place in waiting if place.done() and not place.cancelled()]
        waiting = [one for one in waiting if not one[1].done()]
    assert order == ["a", "b", "c", "a", "c", "a"]


@in_loop
async def test_a_heavy_turn_waits_for_one_of_each_other_tenant_and_not_for_all_of_one() -> None:
    lanes, began, gate = Lanes(), list[str](), threading.Event()

    def action(tenant: str) -> None:
        began.append(tenant)
        gate.wait(30)

    places, each = lanes.heavy.free, lanes.heavy.free - 1
    tasks = [asyncio.create_task(lanes.beside(TenantId("flood"), partial(action, "flood"))) for _ in range(50)]
    await until(lambda: len(began) == each)
    tasks.append(asyncio.create_task(lanes.beside(TenantId("small"), partial(action, "small"))))
    await asyncio.sleep(0)
    tasks[each].cancel()  # it waits: its place goes to the next
    gate.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert began.index("small") <= places + 1
    assert (len(began), lanes.heavy.free) == (50, places)
    lanes.close()


@in_loop
async def test_who_gives_up_as_its_place_is_given_passes_it_on() -> None:
    lanes, gate = Lanes(), threading.Event()
    places = lanes.heavy.free
    at_work = [asyncio.create_task(lanes.beside(TenantId(f"a{n}"), partial(gate.wait, 30))) for n in range(places)]
    waiting = asyncio.create_task(lanes.beside(TenantId("b"), partial(gate.wait, 30)))
    await asyncio.sleep(0.01)
    assert lanes.heavy.turns.give() == TenantId("b")
    lanes.heavy._take(TenantId("b"))  # one more than there are
    waiting.cancel()
    gate.set()
    await asyncio.gather(*at_work, waiting, return_exceptions=True)
    assert lanes.heavy.free == places
    lanes.close()


@in_loop
async def test_one_thread_is_left_for_other_tenants() -> None:
    lanes, began, gate = Lanes(), list[str](), threading.Event()

    def action(tenant: str) -> None:
        began.append(tenant)
        if tenant == "flood":
            gate.wait(30)

    each = lanes.heavy.free - 1
    flood = [asyncio.create_task(lanes.beside(TenantId("flood"), partial(action, "flood"))) for _ in range(50)]
    await until(lambda: len(began) == each)
    for name in ("small", "other"):
        await lanes.beside(TenantId(name), partial(action, name))
    assert began[each:] == ["small", "other"]
    gate.set()
    await asyncio.gather(*flood)
    lanes.close()


@in_loop
async def test_light_turns_of_many_runs_do_not_hold_up_those_of_another_tenant(journal: Journal) -> None:
    gate, began = asyncio.Event(), list[str]()

    async def wait(data: object, ctx: StepContext) -> object:
        await gate.wait()
        return data

    def note(data: object, ctx: StepContext) -> object:
        began.append(ctx.tenant)
        return data

    workflow = create_workflow(id="w").then(journal.acts("wait", wait)).then(journal.acts("note", note)).commit()
    async with AppOn(MemoryStore(), workflows=[workflow]) as app:
        runs = [await app.tenant("flood").start("w", number) for number in range(400)]
        runs.append(await app.tenant("small").start("w", 0))
        gate.set()  # all of them have a result at once, that of the small tenant last
        assert {(await run.result()).status for run in runs} == {"success"}
    assert began.index("small") < 2 * TURNS_A_PASS


# ---- the time that they cost the host --------------------------------------------------------------------------------


def given(turns: Turns, time: HostTime, costs: dict[str, int]) -> str:
    """Whose turns are given until nobody waits, each of which costs so many quanta."""
    order = ""
    while (tenant := turns.give()) is not None:
        order += tenant
        time.charge(tenant, costs[tenant] * QUANTUM_NS)
    return order


@in_loop
async def test_a_tenant_whose_turns_cost_much_comes_later() -> None:
    time = HostTime()
    turns = Turns(time)
    for tenant in "aaaabbbb":
        turns.wait(TenantId(tenant))
    assert given(turns, time, {"a": 3, "b": 1}) == "abbbabaa"


@in_loop
async def test_nobody_saves_up_turns_while_it_wants_none() -> None:
    time = HostTime()
    turns = Turns(time)
    for _ in range(9):
        turns.wait(TenantId("a"))
        assert given(turns, time, {"a": 5}) == "a"
    for tenant in "abababab":
        turns.wait(TenantId(tenant))
    assert given(turns, time, {"a": 5, "b": 5}) == "babababa"


@in_loop
async def test_what_is_held_against_a_tenant_is_bounded() -> None:
    """What it used when nobody else waited would shut it out for as long again."""
    time = HostTime()
    turns = Turns(time)
    time.charge(TenantId("a"), 100 * DEBT_NS)
    most = DEBT_NS // QUANTUM_NS
    for tenant in "a" + "b" * 3 * most:
        turns.wait(TenantId(tenant))
    assert given(turns, time, {"a": 1, "b": 1}).index("a") == most


@in_loop
async def test_a_tenant_that_may_have_no_more_keeps_its_turn() -> None:
    turns = Turns()
    for tenant in "abc":
        turns.wait(TenantId(tenant))
    assert [turns.give(lambda tenant: tenant != "a"), turns.give(), turns.give()] == ["b", "a", "c"]


@in_loop
async def test_cheap_heavy_turns_go_before_dear_ones() -> None:
    lanes, began, gate = Lanes(), list[str](), threading.Event()

    def action(tenant: str, seconds: float) -> None:
        began.append(tenant)
        gate.wait(30)
        time.sleep(seconds)

    tasks = [
        asyncio.create_task(lanes.beside(TenantId(tenant), partial(action, tenant, seconds)))
        for _ in range(40)
        for tenant, seconds in (("dear", 0.05), ("cheap", 0.0))
    ]
    await until(lambda: len(began) == lanes.heavy._each + 1)
    gate.set()
    await asyncio.gather(*tasks)
    last = len(began) - 1 - began[::-1].index("cheap")
    assert began[:last].count("dear") < 20  # as many as cheap ones, if they only took turns
    lanes.close()


@in_loop
async def test_where_no_time_passes_tenants_take_turns() -> None:
    """In a simulation, each time in the same order."""
    lanes = Lanes(is_real_time=False)
    lanes.charge(TenantId("a"), DEBT_NS)
    for tenant in "aabb":
        lanes.heavy.turns.wait(TenantId(tenant))
    assert [lanes.heavy.turns.give() for _ in range(4)] == ["a", "b", "a", "b"]
    lanes.close()
