"""What a tenant asks of the host's event loop comes in its turn: a neighbour's calls come between.

Counted in the neighbour's calls, which need the loop alone: not in seconds, nor in steps, which wait for their threads. Without
turns all that was under way comes before the first of them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hostile.platform import ENGINES, Mode, javascript
from support.apps import PATIENCE_S, AppOn, in_loop, until

from cloche import Limits, Policy, Workflow, create_step, create_workflow
from cloche.operations import replay
from cloche.operations.replay import _fed
from cloche.run.clock import SystemWorld
from cloche.store import MemoryStore
from cloche.tenancy.beside import EACH, PLACES, beside

CALLS_BEFORE, CALLS_MADE, NEIGHBOURS = 50, 600, 5
BODIES = {"w": "return 1;", "waits": "await cloche.waitForEvent('w', 'never', 0);"}


def works() -> Workflow:
    """A run of ten steps."""
    made = create_workflow(id="works", guest="javascript")
    for number in range(10):
        made.then(create_step(id=f"s{number}", execute=lambda data: data))
    return made.commit()


async def left(mallory: Any, number: int) -> None:
    await mallory.start("w", number)


async def sent(mallory: Any, number: int) -> None:
    await mallory.send_event("r", f"e{number}", "x" * 1_000)


async def listed(mallory: Any, number: int) -> None:
    await mallory.list()
    await mallory.view("r")


CALLS: dict[str, Callable[[Any, int], Awaitable[None]]] = {"starts": left, "events": sent, "looks": listed}


@pytest.mark.parametrize("again", CALLS.values(), ids=CALLS)
def test_calls_by_the_hundred_do_not_hold_up_a_neighbour(
    mode: Mode, again: Callable[[Any, int], Awaitable[None]]
) -> None:
    """All of them were under way before the neighbour's first one had begun."""

    @in_loop
    async def live() -> None:
        async with AppOn(
            MemoryStore(), world=SystemWorld(), engine=ENGINES[mode](Limits()), policy=Policy(), workflows=[works()]
        ) as app:
            mallory, done = app.tenant("mallory"), 0
            for name, body in BODIES.items():
                await app.deploy("mallory", javascript(body), workflow=name, language="javascript")
            await mallory.start("waits", 1, run_id="r")

            async def call(number: int) -> None:
                nonlocal done
                await again(mallory, number)
                done += 1

            await asyncio.gather(*(call(number) for number in range(CALLS_BEFORE)))
            done, flood = 0, [asyncio.create_task(call(CALLS_BEFORE + number)) for number in range(CALLS_MADE)]
            neighbour = app.tenant("neighbour")
            runs = [await neighbour.start("works", number) for number in range(NEIGHBOURS)]
            assert done < CALLS_MADE * 3 // 4
            assert [(await run.result()).unwrap() for run in runs] == list(range(NEIGHBOURS))
            await asyncio.gather(*flood)
            assert done == CALLS_MADE  # they wait, and none is refused

    live()


def test_histories_that_are_read_again_leave_threads_to_others(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    """They were first come, first served in the loop's own pool: twenty replays had all of it for as long as they took."""
    is_over, under_way = threading.Event(), list[int]()

    def stands(*given: Any) -> Any:
        under_way.append(1)
        is_over.wait(PATIENCE_S)
        return _fed(*given)

    monkeypatch.setattr(replay, "_fed", stands)

    @in_loop
    async def live() -> None:
        async with AppOn(
            MemoryStore(), engine=ENGINES[mode](Limits()), policy=Policy(), workflows=[works()], world=SystemWorld()
        ) as app:
            mallory, neighbour = app.tenant("mallory"), app.tenant("neighbour")
            for tenant in (mallory, neighbour):
                await (await tenant.start("works", 1, run_id="r")).result()
            app.replays._kept.bytes_max = 0  # nothing is kept: each is fed
            flood = [asyncio.create_task(mallory.replay("r")) for _ in range(4 * PLACES)]
            await until(lambda: len(under_way) == EACH)
            assert (await beside(neighbour._tenant, threading.current_thread)) is not threading.main_thread()
            assert len(under_way) == EACH
            is_over.set()
            reports = await asyncio.gather(*flood)
            assert all(report.ok for report in reports)

    live()
