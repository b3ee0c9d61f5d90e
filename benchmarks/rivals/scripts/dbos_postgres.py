"""DBOS Transact on the PostgreSQL at the given URL, with its defaults: `URL STEPS RUNS`.

One run of so many steps, and so many runs of ten steps at once.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from dbos import DBOS
from rows import row

ROUNDS = 5
STEPS = 10


@DBOS.step()
async def inc(x: int) -> int:
    return x + 1


@DBOS.workflow()
async def chain(count: int) -> int:
    x = 0
    for _ in range(count):
        x = await inc(x)
    return x


async def run(count: int) -> None:
    assert await (await DBOS.start_workflow_async(chain, count)).get_result() == count


async def timed(count: int, runs: int) -> float:
    begin = time.perf_counter()
    await asyncio.gather(*(run(count) for _ in range(runs)))
    return time.perf_counter() - begin


async def main(url: str, steps: int, runs: int) -> None:
    DBOS(config={"name": "bench", "system_database_url": url, "application_version": "1", "log_level": "ERROR"})
    DBOS.launch()
    await run(3)
    row("durable step", "PostgreSQL", steps, [await timed(steps, 1) for _ in range(ROUNDS)])
    row("durable step", f"PostgreSQL, {runs} runs at once", runs * STEPS, [await timed(STEPS, runs)])
    os._exit(0)


asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
