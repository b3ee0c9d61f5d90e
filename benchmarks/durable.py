"""Runs on a real store: durable steps, against what the disk itself needs."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import workflows as w
from benchmarks.baselines import append_sync_us, scratch, sqlite_commit_us, sqlite_row_us, task_us
from benchmarks.figures import Figure, Scale, percentile
from cloche.client import Workflow

ROUNDS = 7


def sequential_steps(scale: Scale) -> Iterator[Figure]:
    """One run, one step after another: what a step costs above the one commit that it needs."""
    count = scale.sizes(10, 200)[-1]
    workflow = w.chain(count)
    steps, commits, syncs = [], [], []

    async def rounds(directory: Path) -> None:
        async with w.app(directory / "runs.db", workflow) as app:
            await w.live(app, workflow, 0)
            for _ in range(ROUNDS):  # interleaved, so that a noisy minute meets all three alike
                commits.append(sqlite_commit_us(directory))
                syncs.append(append_sync_us(directory))
                begin = time.perf_counter_ns()
                await w.live(app, workflow, 0)
                steps.append((time.perf_counter_ns() - begin) / 1000 / count)

    with scratch() as directory:
        w.run(rounds(directory))
    commit, each, sync = map(statistics.median, (commits, steps, syncs))
    yield Figure("sequential durable step", each, "µs", "SQLite WAL FULL commit, same bytes", commit, commit + 300)
    yield Figure("sequential durable step", each, "µs", "append + fdatasync, same bytes", sync)
    yield Figure("sequential durable steps", 1e6 / each, "steps/s", "SQLite commits/s", 1e6 / commit)


def concurrent_runs(scale: Scale) -> Iterator[Figure]:
    """Many runs of ten steps at once: their appends share commits."""
    workflow = w.chain(10)

    async def all_of(store: Path, count: int) -> float:
        async with w.app(store, workflow) as app:
            await w.live(app, workflow, 0)
            begin = time.perf_counter()
            await asyncio.gather(*(w.live(app, workflow, 0) for _ in range(count)))
            return count * 10 / (time.perf_counter() - begin)

    for count in scale.sizes(1, 10, 100, 1_000):
        with scratch() as directory:
            commit = sqlite_commit_us(directory)
            rate = w.run(all_of(directory / "runs.db", count))
        name = f"durable steps, {count:,} runs at once"
        yield Figure(name, rate, "steps/s", "SQLite commits/s", 1e6 / commit, series="runs at once", size=count)


def start_latency(scale: Scale) -> Iterator[Figure]:
    """Workflows of one step, one after another."""
    workflow = w.chain(1)
    count = scale.sizes(20, 300)[-1]
    begun, ended = [], []

    async def main(store: Path) -> None:
        async with w.app(store, workflow) as app:
            await w.live(app, workflow, 0)
            for _ in range(count):
                begin = time.perf_counter_ns()
                started = await app.start(workflow, 0)
                begun.append((time.perf_counter_ns() - begin) / 1e6)
                (await started.result()).unwrap()
                ended.append((time.perf_counter_ns() - begin) / 1e6)

    with scratch() as directory:
        commit = sqlite_commit_us(directory) / 1000
        w.run(main(directory / "runs.db"))
    for percent in (50, 99):
        for what, values in (("start durable", begun), ("start to end, one step", ended)):
            name = f"{what}, p{percent}"
            yield Figure(
                name, percentile(values, percent), "ms", "SQLite WAL FULL commit", commit, note=f"{count} runs"
            )


def payloads(_: Scale) -> Iterator[Figure]:
    """Steps that hand on data of some size: each crosses the glass twice and is in the log as argument and as result."""
    for size, steps in ((100, 50), (1_000, 50), (10_000, 50), (100_000, 20), (1_000_000, 5), (4_000_000, 3)):
        workflow = w.handing_on(steps)
        data = bytes(range(256)) * (size // 256 + 1)

        async def main(store: Path, workflow: Workflow = workflow, data: bytes = data[:size]) -> float:
            async with w.app(store, workflow) as app:
                await w.live(app, workflow, b"")
                begin = time.perf_counter_ns()
                if await w.live(app, workflow, data) != data:
                    raise AssertionError("the data did not come back as it went")
                return (time.perf_counter_ns() - begin) / 1000

        with scratch() as directory:
            commit = sqlite_commit_us(directory, 2 * size, max(3, steps))
            each = w.run(main(directory / "runs.db")) / steps
        name = f"durable step, {size:,} B in and out"
        yield Figure(name, each, "µs", "SQLite commit of twice that", commit, series="bytes in and out", size=size)


def foreach(scale: Scale) -> Iterator[Figure]:
    """A foreach with a window of 100: items that end together share commits."""
    workflow = w.each(100)
    for count in scale.sizes(100, 1_000, 10_000):

        async def main(store: Path, items: list[int]) -> float:
            async with w.app(store, workflow) as app:
                await w.live(app, workflow, [1])
                begin = time.perf_counter_ns()
                if await w.live(app, workflow, items) != [item + 1 for item in items]:
                    raise AssertionError("the items did not come back in order")
                return (time.perf_counter_ns() - begin) / 1000

        with scratch() as directory:
            row = sqlite_row_us(directory)
            each = w.run(main(directory / "runs.db", list(range(count)))) / count
        note = f"a bare asyncio task: {task_us():.3g} µs"
        name = f"foreach, {count:,} items"
        yield Figure(name, each, "µs/item", "SQLite row, 1,000 a commit", row, None, note, "items", count)
