"""The event loop is shared by turns: whoever has had more of it gives way, and nobody is refused."""

from __future__ import annotations

import asyncio
import gc
import warnings

import pytest
from support.apps import in_loop

from cloche.history import TenantId
from cloche.tenancy.loop_turns import (
    AHEAD_NS,
    AT_WORK_NS,
    DEBT_NS,
    PASS_NS,
    SHARED_NS,
    TURNS_A_PASS,
    LoopTime,
    LoopTurns,
)

CALM, MALLORY = TenantId("calm"), TenantId("mallory")
MS = 1_000_000


class Clock:
    """Nanoseconds that pass when somebody says so."""

    def __init__(self) -> None:
        self.now = 1

    def __call__(self) -> int:
        return self.now


@in_loop
async def test_a_tenant_that_has_had_more_begins_where_the_others_have_nothing_to_do() -> None:
    turns, order = LoopTurns(clock=Clock()), list[str]()
    turns.charge(CALM, MS)
    turns.charge(MALLORY, 100 * MS)

    async def attack() -> None:
        await turns.turn(MALLORY)
        order.append("mallory")
        turns.charge(MALLORY, MS)

    async def work() -> None:
        for _ in range(8):  # passes of the loop
            await turns.turn(CALM)
            order.append("calm")
            turns.charge(CALM, MS // 10)
            await asyncio.sleep(0)

    await asyncio.gather(*(attack() for _ in range(50)), work())
    assert order.index("mallory") > 6
    assert order.count("mallory") == 50


@in_loop
async def test_where_one_tenant_alone_is_at_work_nobody_waits() -> None:
    clock = Clock()
    turns = LoopTurns({MALLORY}, clock=clock)
    turns.charge(CALM, MS)
    turns.charge(MALLORY, 100 * MS)
    clock.now += SHARED_NS + 1
    for _ in range(10 * TURNS_A_PASS):
        began = turns.turn(MALLORY)
        with pytest.raises(StopIteration):  # it does not wait at all
            began.send(None)
        turns.charge(MALLORY, 10 * MS)


@in_loop
async def test_a_few_begin_in_one_pass_and_share_a_commit() -> None:
    turns, passes = LoopTurns({CALM, MALLORY}, clock=Clock()), list[int]()
    number = 0

    async def one() -> None:
        await turns.turn(CALM)
        passes.append(number)

    tasks = [asyncio.create_task(one()) for _ in range(3 * TURNS_A_PASS)]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        number += 1
    assert max(passes.count(one) for one in passes) == TURNS_A_PASS
    assert len(set(passes)) == 3


def test_nobody_saves_up_and_what_is_held_against_a_tenant_is_bounded() -> None:
    time, now = LoopTime(), 1
    time.charge(CALM, 0, now)
    time.charge(MALLORY, 100 * DEBT_NS, now)
    assert time.is_ahead(MALLORY)
    assert time.stands(MALLORY) - time.stands(CALM) == DEBT_NS // MS
    now += 10 * AT_WORK_NS
    time.charge(MALLORY, MS, now)
    now += AT_WORK_NS
    time.charge(MALLORY, MS, now)  # it is alone by now
    assert not time.is_ahead(MALLORY)
    time.charge(CALM, 0, now)  # and who comes back begins where it stands
    assert time.stands(MALLORY) - time.stands(CALM) <= AHEAD_NS // MS


@in_loop
async def test_each_stretch_is_charged_and_what_is_waited_is_not() -> None:
    clock = Clock()
    turns = LoopTurns(clock=clock)
    charged = list[tuple[str, int]]()
    turns._charge_until = lambda tenant, ns, now: charged.append((tenant, ns))  # type: ignore[method-assign]

    async def work() -> str:
        await asyncio.sleep(0)
        failing = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(failing.set_exception, TimeoutError())
        with pytest.raises(TimeoutError):
            await failing
        return "done"

    assert await turns.in_turn(MALLORY, work()) == "done"
    assert len(charged) == 3
    assert {tenant for tenant, _ in charged} == {"mallory"}


@in_loop
async def test_a_task_that_is_canceled_before_it_begins_leaves_nothing_behind() -> None:
    turns = LoopTurns(clock=Clock())

    async def work() -> None:
        raise AssertionError("it was canceled")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task = asyncio.create_task(turns.counted(MALLORY, work()))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        del task
        gc.collect()


@in_loop
async def test_a_pass_is_full_when_its_time_is_used_up() -> None:
    """Sixteen that begin in one pass, and take 10 ms each, were a pause of a neighbour's."""
    turns, passes, order = LoopTurns({CALM, MALLORY}, clock=Clock()), list[int](), list[int]()
    number = 0

    async def one(which: int) -> None:
        await turns.turn(CALM)
        passes.append(number)
        order.append(which)
        turns.charge(CALM, PASS_NS // 2)

    tasks = [asyncio.create_task(one(which)) for which in range(12)]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        number += 1
    assert max(passes.count(one) for one in passes) == 2
    assert order == list(range(12))


@in_loop
async def test_one_begins_in_each_pass_however_long_it_takes() -> None:
    turns, passes = LoopTurns({CALM, MALLORY}, clock=Clock()), list[int]()
    number = 0

    async def one() -> None:
        await turns.turn(CALM)
        passes.append(number)
        turns.charge(CALM, 10 * PASS_NS)

    tasks = [asyncio.create_task(one()) for _ in range(5)]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        number += 1
    assert len(set(passes)) == 5


@in_loop
async def test_who_was_given_a_turn_in_a_full_pass_and_gives_up_costs_nobody_one() -> None:
    turns, begun = LoopTurns({CALM, MALLORY}, clock=Clock()), list[int]()

    async def one(which: int) -> None:
        await turns.turn(CALM)
        begun.append(which)
        turns.charge(CALM, PASS_NS)

    tasks = [asyncio.create_task(one(which)) for which in range(6)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for task in tasks[1:4]:
        task.cancel()
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
    assert begun == [0, 4, 5]
