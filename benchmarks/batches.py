"""What a `Batch` costs in the Python guest: how each of many calls ended, beside the plain list of `gather`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial

from benchmarks import histories as h
from benchmarks.figures import Figure, Scale, once_us
from cloche import Cloche, SandboxEngine, Workflow, gather, step, workflow
from cloche.run.code import code_of
from cloche.sandbox import Cell, Image

CALLS = 10_000
MOST = 1.1  # of what a run with the plain list takes
IN_THE_GUEST = 1.3  # of the list's fuel: a mapping for each that is asked for as one, half of it the mapping itself
RUNS, TURNS = 3, 15
ENGINE = SandboxEngine()


@step
async def same(a: int) -> int:
    return a


@workflow
async def of_list(n: int) -> int:
    return len(await gather(*[same(a) for a in range(n)]))


@workflow
async def of_settled(n: int) -> int:
    return len(await gather(*[same(a) for a in range(n)], settle=True))


@workflow
async def of_enough(n: int) -> int:
    return len(await gather(*[same(a) for a in range(n)], min_successes=n))


@workflow
async def of_tolerant(n: int) -> int:
    return len(await gather(*[same(a) for a in range(n)], tolerated_failures=5))


BATCHES = {"settle": of_settled, "min_successes": of_enough, "tolerated_failures": of_tolerant}


def batches(scale: Scale) -> Iterator[Figure]:
    """Each beside the list, in turns: what else the machine does meets both. Nothing where the Python guest is not built."""
    if not h.has_python():
        return
    count = scale.sizes(100, CALLS)[-1]
    plain = image(of_list)
    for name, made in BATCHES.items():
        both = [(run_us(of_list, count), run_us(made, count)) for _ in range(RUNS)]
        before, after = (min(each) / count for each in zip(*both, strict=True))
        yield Figure(f"a run: gather({name}=) of {count:,}", after, "µs", "a plain gather", before, before * MOST)
        batch = image(made)
        both = [(_whole_us(plain), _whole_us(batch)) for _ in range(TURNS)]
        before, after = (min(each) / CALLS for each in zip(*both, strict=True))
        yield Figure(f"in the guest alone: gather({name}=)", after, "µs", "a plain gather", before)


def run_us(made: Workflow, count: int) -> float:
    """A run of so many calls on a store in memory, from its start to its result."""

    async def main() -> float:
        async with Cloche(workflows=[made]) as app:
            begin = time.perf_counter_ns()
            run = await app.start(made, count)
            if (await run.result()).unwrap() != count:
                raise AssertionError("not all came back")
            return (time.perf_counter_ns() - begin) / 1000

    return asyncio.run(main())


def image(made: Workflow) -> Image:
    return h.image(code_of(made, ENGINE).source, "python")


def fuel(made: Image) -> int:
    """What the guest computes for all of it: the same on every machine."""
    return _whole(made).fuel_used


def _whole_us(made: Image) -> float:
    return once_us(partial(_whole, made))


def _whole(made: Image) -> Cell:
    """A cell in which all calls were asked for, and all their results have arrived."""
    cell = Cell(made, h.LIMITS)
    cell.turn([h.started(CALLS).pack()])
    cell.turn([h.completed(call, call).pack() for call in range(1, CALLS + 1)])
    return cell
