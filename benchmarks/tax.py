"""What the glass costs: the same workflow on both engines, without a disk."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks import workflows as w
from benchmarks.baselines import task_us
from benchmarks.figures import Figure, Scale
from cloche import DirectEngine, SandboxEngine
from cloche.engines import CellSource

SHORT, ROUNDS = 1, 9


def isolation_tax(scale: Scale) -> Iterator[Figure]:
    """DirectEngine interprets the lowered workflow in process; everything else (machine, records, scheduler) is the same."""
    long = scale.sizes(10, 200)[-1] + SHORT
    engines: dict[str, CellSource] = {"direct": DirectEngine(), "sandbox": SandboxEngine()}
    times: dict[tuple[str, int], list[float]] = {(name, size): [] for name in engines for size in (long, SHORT)}

    async def rounds(name: str, length: int) -> None:
        workflow = w.chain(length)
        async with w.app(None, workflow, engines[name]) as app:
            await w.live(app, workflow, 0)  # graph, source and image are made once
            for _again in range(3):
                begin = time.perf_counter_ns()
                await w.live(app, workflow, 0)
                times[name, length].append((time.perf_counter_ns() - begin) / 1000)

    for _round in range(ROUNDS):  # the four in turns, so that a noisy minute meets all alike
        for name, length in times:
            w.run(rounds(name, length))
    each = {key: min(values) for key, values in times.items()}
    step = {name: (each[name, long] - each[name, SHORT]) / (long - SHORT) for name in engines}
    tax = "what the glass adds"
    yield Figure("step in memory, under glass", step["sandbox"], "µs", "step on DirectEngine", step["direct"])
    yield Figure("isolation tax of a step", step["sandbox"] - step["direct"], "µs", "asyncio task", task_us(), 40, tax)
    glass, direct = each["sandbox", SHORT], each["direct", SHORT]
    yield Figure("run of one step in memory, under glass", glass, "µs", "on DirectEngine", direct)
    more = (glass - step["sandbox"]) - (direct - step["direct"])
    yield Figure("isolation tax of a run's start", more / 1000, "ms", "run on DirectEngine", direct / 1000, 1.0, tax)
