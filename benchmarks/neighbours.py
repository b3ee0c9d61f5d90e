"""What tenants that compute without end do to one that only works."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator

from benchmarks import workflows as w
from benchmarks.figures import Figure, Scale
from cloche import Cloche, Policy, clone_step, code, create_step, create_workflow

TENANTS, STEPS, ROUNDS = 50, 100, 5
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
