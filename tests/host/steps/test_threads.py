"""Threads for steps that are not async: whose turn it is, when the time begins, and what hung steps cost others."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import Any

import pytest
from support.apps import AppOn, in_loop, until

from cloche import create_step, create_workflow
from cloche.history import TenantId
from cloche.steps.threads import THREADS, OutOfTime, StepThreads
from cloche.store import MemoryStore

ACME, BOB = TenantId("acme"), TenantId("bob")


@in_loop
async def test_the_time_of_a_step_begins_when_it_has_a_thread() -> None:
    threads, held = StepThreads(1), threading.Event()
    first = asyncio.create_task(threads.run(ACME, held.wait))
    await asyncio.sleep(0)
    second = asyncio.create_task(threads.run(ACME, lambda: "quick", timeout_s=0.5))
    await asyncio.sleep(0.7)  # longer than it may take, and it has not begun
    assert not second.done()
    held.set()
    assert (await first, await second) == (True, "quick")


@in_loop
async def test_hung_steps_hold_up_no_others() -> None:
    threads, never = StepThreads(2), threading.Event()
    hung = [asyncio.create_task(threads.run(ACME, never.wait, timeout_s=0.05)) for _ in range(5)]
    assert [type(one) for one in await asyncio.gather(*hung, return_exceptions=True)] == [OutOfTime] * 5
    assert (threads.hung, await threads.run(BOB, lambda: "went on", timeout_s=5)) == (5, "went on")
    never.set()
    await until(lambda: threads.hung == 0)


@in_loop
async def test_so_many_hung_threads_are_replaced_and_no_more() -> None:
    threads, never = StepThreads(1, hung_max=2), threading.Event()
    for _ in range(3):
        with pytest.raises(OutOfTime):
            await threads.run(ACME, never.wait, timeout_s=0.05)
    waiting = asyncio.create_task(threads.run(BOB, lambda: "at last"))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    never.set()
    assert await waiting == "at last"


@in_loop
async def test_tenants_take_turns_for_threads() -> None:
    threads, held, order = StepThreads(1), threading.Event(), []
    first = asyncio.create_task(threads.run(ACME, held.wait))
    await asyncio.sleep(0)
    tasks = [asyncio.create_task(threads.run(ACME, lambda: order.append("acme"))) for _ in range(3)]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(threads.run(BOB, lambda: order.append("bob"))))
    await asyncio.sleep(0)
    held.set()
    await asyncio.gather(first, *tasks)
    assert order.index("bob") <= 1


@in_loop
async def test_a_step_that_waits_for_a_thread_does_not_fail_for_it() -> None:
    """Hung steps hold all threads for longer than it may take."""
    never, hung, began = threading.Event(), list[int](), list[int]()

    def hang(number: int) -> None:
        hung.append(number)
        never.wait()

    def quick(number: int) -> int:
        began.append(number)
        return number

    hangs = create_step(id="hang", execute=hang, timeout_s=1.5)
    hanging = create_workflow(id="hanging").foreach(hangs, concurrency=THREADS + 8, on_error="collect").commit()
    fine = create_workflow(id="fine").then(create_step(id="quick", execute=quick, timeout_s=1)).commit()
    async with AppOn(MemoryStore(), workflows=[hanging, fine]) as app:
        held = await app.start("hanging", list(range(THREADS + 8)))
        await until(lambda: len(hung) >= THREADS)
        result = await (await app.start("fine", 1)).result()
        assert (result.status, result.result, began) == ("success", 1, [1]), result.error
        never.set()
        await held.result()


@pytest.mark.parametrize("obeys", [True, False], ids=["swallows its cancellation", "goes on for ever"])
@in_loop
async def test_a_step_that_does_not_end_in_its_time_fails(obeys: bool) -> None:
    released = asyncio.Event()

    async def slow(data: Any) -> str:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                if obeys:
                    break
        return "late"

    step = create_step(id="slow", execute=slow, timeout_s=0.1)
    async with AppOn(MemoryStore(), workflows=[create_workflow(id="w").then(step).commit()]) as app:
        result = await asyncio.wait_for((await app.start("w", 1)).result(), 5)
    assert result.error is not None
    assert (result.status, result.error.message) == ("failed", "step 'slow' took longer than 0.1 s")
    released.set()
    await asyncio.sleep(0)


HANGS = """
import asyncio, threading
from cloche import Cloche, create_step, create_workflow
hung = create_step(id="hung", execute=lambda data: threading.Event().wait())
async def main():
    async with Cloche(workflows=[create_workflow(id="w").then(hung).commit()], drain_timeout_s=0.1) as app:
        await app.start("w")
        await asyncio.sleep(0.2)
asyncio.run(main())
print("ended")
"""


def test_a_hung_thread_does_not_keep_the_process_from_ending() -> None:
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "ended\n"), done.stderr
