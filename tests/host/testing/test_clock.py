"""Virtual time: it moves at once to what is next, and stands still where nothing is."""

from __future__ import annotations

import asyncio
import socket

import pytest

from cloche.run.clock import Timers
from cloche.testing import StandStill, VirtualTime
from cloche.testing.clock import START

DAY_S = 86_400


def test_a_sleep_of_years_costs_nothing() -> None:
    time = VirtualTime()

    async def sleep() -> int:
        await asyncio.sleep(10 * 366 * DAY_S)
        return time.now()

    assert time.run(sleep()) == START + 10 * 366 * DAY_S * 1000


def test_time_goes_on_from_one_run_to_the_next() -> None:
    time = VirtualTime()
    time.run(asyncio.sleep(5))

    async def now() -> int:
        return time.now()

    assert time.run(now()) == START + 5_000


def test_sleepers_wake_in_order() -> None:
    woken: list[int] = []

    async def sleeper(seconds: int) -> None:
        await asyncio.sleep(seconds)
        woken.append(seconds)

    async def main() -> None:
        await asyncio.gather(*(sleeper(seconds) for seconds in (3_000, 1, 86_400, 2)))

    VirtualTime().run(main())
    assert woken == [1, 2, 3_000, 86_400]


def test_timeouts_of_asyncio_are_in_virtual_time() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 3_600)

    VirtualTime().run(main())


def test_functions_for_threads_run_in_place() -> None:
    async def main() -> int:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return await asyncio.to_thread(lambda: 7)

    assert VirtualTime().run(main()) == 7


def test_what_nobody_will_end_is_told() -> None:
    with pytest.raises(StandStill, match="nothing is due"):
        VirtualTime().run(asyncio.Event().wait())


def test_looks_at_the_store_alone_do_not_keep_time_going() -> None:
    time = VirtualTime()
    looks = 0

    async def look() -> None:
        nonlocal looks
        while True:
            await time.world.pause(0.1)
            looks += 1

    async def main() -> None:
        looking = asyncio.create_task(look())
        await asyncio.sleep(30 * DAY_S)
        assert looks < 100
        await asyncio.Event().wait()
        looking.cancel()

    with pytest.raises(StandStill):
        time.run(main())


def test_who_pauses_looks_as_soon_as_time_has_moved() -> None:
    time = VirtualTime()
    seen: list[float] = []

    async def look() -> None:
        while True:
            await time.world.pause(0.1)
            seen.append(time.world.monotonic())

    async def main() -> None:
        looking = asyncio.create_task(look())
        await asyncio.sleep(10 * DAY_S)
        await asyncio.sleep(0)
        looking.cancel()

    time.run(main())
    assert seen[-1] == 10 * DAY_S


def test_an_alarm_rings_again_when_the_clock_is_set() -> None:
    time = VirtualTime()
    rung: list[str] = []

    async def main() -> None:
        timers = Timers(time.world)
        for name, due in (("soon", 60), ("late", 86_400)):
            timers.at(START + due * 1000, lambda name=name: rung.append(name))  # type: ignore[misc, arg-type]
        time.set_clock(-3_600)
        await asyncio.sleep(120)
        assert rung == []
        time.set_clock(3_600)
        await asyncio.sleep(0.001)
        assert rung == ["soon"]
        time.set_clock(86_400)
        await asyncio.sleep(0.001)
        assert rung == ["soon", "late"]

    time.run(main())


def test_while_a_socket_is_open_time_is_real() -> None:
    async def main() -> bytes:
        here, there = socket.socketpair()
        here.setblocking(False)
        with here, there:
            there.send(b"x")
            return await asyncio.get_running_loop().sock_recv(here, 1)

    assert VirtualTime().run(main()) == b"x"
