"""cloche, with the workload of the others: x + 1, N times, one after another; and a log of that, replayed from its file.

And the file that Vercel's SDK is given, compiled under glass: a history of that, in memory as theirs is, replayed by a cell.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from functools import partial
from pathlib import Path

from rows import row, sizes

sys.path.insert(0, str(Path(__file__).parents[3]))  # `benchmarks` is not installed

from benchmarks import resume, typescript
from benchmarks import workflows as w
from benchmarks.figures import once_us

FLOW = Path(__file__).with_name("vercel_flow.ts")


async def _durable(store: Path, count: int) -> float:
    workflow = w.chain(count)
    async with w.app(store, workflow) as app:
        await w.live(app, workflow, 0)
        begin = time.perf_counter()
        assert await w.live(app, workflow, 0) == count
        return time.perf_counter() - begin


def main() -> None:
    data = Path(os.environ["RIVAL_DATA"])
    os.chdir(data)
    for count in sizes(10, 100, 1_000, 10_000):
        with resume._stored(count) as store:
            times = [once_us(partial(resume._replay, store)) / 1e6 for _ in range(5)]
        row("replay", "from its file, chain verified", count, times)
    for shape, what in (("sequential", "replay"), ("parallel", "parallel replay")):
        for count in sizes(10, 100, 1_000, 10_000):
            row(what, '"use workflow", history in memory', count, typescript.replays(FLOW, shape, count))
    for count in sizes(10, 100, 1_000):
        times = [asyncio.run(_durable(data / f"{count}-{number}.db", count)) for number in range(3)]
        row("durable step", "SQLite, WAL, FULL", count, times)


if __name__ == "__main__":
    main()
