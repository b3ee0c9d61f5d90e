"""Code that a model wrote, in one call: 50 lines of Python that are new, and the same again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.baselines import python_ms, scratch
from benchmarks.figures import Figure, Scale
from cloche import Cloche, Evaluation, step

TEXTS = 15
LINES = "\n".join(f"def price_{number}(count):\n    return count * {number}" for number in range(20))
PROGRAM = (
    LINES
    + """

async def main(count):
    total = 0
    for number in range(3):
        total = await add(total, number)
    if total > count:
        raise ValueError("too many")
    for price in (price_1, price_2):
        total += price(count)
    return total
# text {number}"""
)


@step
async def add(one: int, other: int) -> int:
    return one + other


async def _evaluated(app: Cloche, number: int) -> tuple[float, Evaluation]:
    begin = time.perf_counter()
    one = await app.evaluate("acme", PROGRAM.replace("{number}", str(number)), 5, steps=[add])
    return (time.perf_counter() - begin) * 1000, one


async def _times(store: Path) -> tuple[list[float], list[float]]:
    new, again = [], []
    async with Cloche(store) as app:
        await _evaluated(app, 0)  # the tenant's reader and the guest are ready from here on
        for number in range(1, TEXTS):
            took, one = await _evaluated(app, number)
            assert one.unwrap() == 18
            new.append(took)
            again.append((await _evaluated(app, number))[0])
    return new, again


def evaluate(_: Scale) -> Iterator[Figure]:
    """On a file, with the tenant's reader ready; three steps."""
    with scratch() as directory:
        new, again = asyncio.run(_times(directory / "runs.db"))
    bare, note = python_ms(), f"{TEXTS - 1} texts"
    yield Figure("50 new lines of Python, three steps", median(new), "ms", "bare python", bare, 100, note)
    yield Figure("the same text again", median(again), "ms", "bare python", bare, 10, note)
