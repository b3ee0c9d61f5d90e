"""What tenants that compute without end, or mean harm, do to one that only works."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import workflows as w
from benchmarks.attacks import ATTACKS, STRICT, Attack, attacked_beside, nothing
from benchmarks.figures import Figure, Scale
from cloche import Cloche, Policy, ProcessEngine, clone_step, code, create_step, create_workflow, path
from cloche.cli.settling import keep_what_is_loaded
from cloche.engines import SandboxEngine

TENANTS, STEPS, ROUNDS = 50, 100, 5
ALONE_S, BESIDE_S = 0.8, 2.0
PLACES: dict[str, Callable[[], SandboxEngine]] = {"threads": SandboxEngine, "processes": ProcessEngine}
FUEL = 1_500_000_000  # a little more than one event of `SPIN` takes, about 0.1 s
SPIN = "(() => { for (let i = 0; i < 3e6; i++); return inputData.done })()"
turn = create_step(id="turn", execute=lambda data: data)
tick = create_step(id="tick", execute=w.inc.execute)


def neighbours(scale: Scale) -> Iterator[Figure]:
    """A step of a tenant alone, and beside 50 others of which each computes at each of its events up to its limit."""
    spinning = create_workflow(id="spinning", guest="javascript").dountil(turn, code(SPIN)).commit()
    working = create_workflow(id="working", input_schema=int)
    for number in range(STEPS):
        working.then(clone_step(tick, id=f"s{number}"))
    working.commit()
    policy = Policy(fuel_per_event=FUEL)

    async def main() -> tuple[float, float]:
        async with Cloche("memory:", workflows=[spinning, working], policy=policy) as app:
            calm = app.tenant("calm")

            async def latency_ms() -> float:
                times = []
                for _ in range(ROUNDS):
                    begin = time.perf_counter()
                    (await (await calm.start(working, 0)).result()).unwrap()
                    times.append((time.perf_counter() - begin) * 1000 / STEPS)
                return statistics.median(times)

            await latency_ms()
            idle = await latency_ms()
            runs = [await app.tenant(f"t{n}").start(spinning, {"done": False}) for n in range(min(TENANTS, scale.most))]
            await asyncio.sleep(2)
            busy = await latency_ms()
            if any([await run.status() != "running" for run in runs]):
                raise AssertionError("a run that should compute without end has ended")
            await asyncio.gather(*(app.tenant(f"t{number}").cancel(run.id) for number, run in enumerate(runs)))
            return idle, busy

    idle, busy = w.run(main())
    yield Figure("a step beside 50 tenants that compute", busy, "ms", "the same step alone", idle, 3 * idle)
    for attack in ATTACKS if scale.most >= len(ATTACKS) else ATTACKS[:2]:
        for place, make in PLACES.items():
            yield w.run(_attacked(attack, place, make()))


async def _attacked(attack: Attack, place: str, engine: SandboxEngine) -> Figure:
    """The steps that a tenant makes beside an attack, and alone in the same seconds: a third is to be left."""
    ticks, has_begun = list[float](), asyncio.Event()

    async def tick(data: dict[str, int]) -> dict[str, int]:
        ticks.append(time.perf_counter())
        has_begun.set()
        await asyncio.sleep(0.002)  # alone it makes some 200 steps a second
        return data

    async def counted(work: Awaitable[object]) -> tuple[float, float]:
        """The steps a second that are made meanwhile, and the longest time without one in ms."""
        ticks.clear()
        begin = time.perf_counter()
        await work
        times = [begin, *ticks, time.perf_counter()]
        return len(ticks) / (times[-1] - begin), max(after - before for before, after in pairwise(times)) * 1000

    ticking = create_workflow(id="ticking", guest="javascript")
    ticking.dountil(create_step(id="ticks", execute=tick), path("inputData.left") < 1).commit()
    options: Any = {"engine": engine, "steps": [nothing], "workflows": [ticking], "policies": {"mallory": STRICT}}
    with tempfile.TemporaryDirectory() as directory:
        async with Cloche(Path(directory, "store.db"), **options) as app:
            run = await app.tenant("calm").start(ticking, {"left": 1})
            await has_begun.wait()  # its process may have to be started
            keep_what_is_loaded()  # as `cloche worker` does
            alone, calm_ms = await counted(asyncio.sleep(ALONE_S))
            beside, pause_ms = await counted(attacked_beside(app, attack, BESIDE_S))
            await run.cancel()
    if isinstance(engine, ProcessEngine):
        engine.close()
    note = f"longest pause {pause_ms:.0f} ms, of 100; alone {calm_ms:.0f}"
    return Figure(f"{attack.name} ({place})", beside, "steps/s", "alone", alone, alone / 3, note, at_least=True)
