"""What a person waits for at a prompt."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from benchmarks.measure import Figure, median_us


def help_text() -> Iterator[Figure]:
    """`cloche --help`, process and all."""

    def run(*arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)

    bare = median_us(lambda: run("-c", "pass"), 9) / 1000
    yield Figure(
        "cloche --help", median_us(lambda: run("-m", "cloche.cli", "--help"), 9) / 1000, "ms", "bare python", bare, 150
    )


COLD = """
import time, asyncio
from cloche import Cloche, create_workflow, step
import cloche.runtime

@step(id="inc")
async def inc(x: int) -> int:
    return x + 1

workflow = create_workflow(id="one").then(inc).commit()
begin = time.perf_counter()
Cloche.run_sync(workflow, 1).unwrap()
print((time.perf_counter() - begin) * 1000)
"""


def cold_start() -> Iterator[Figure]:
    """A fresh process, after its imports: engine, guest, image, one run of one step; with and without compiled guest."""

    def first_run(**environment: str) -> float:
        env = {**os.environ, **environment}
        done = subprocess.run([sys.executable, "-c", COLD], check=True, capture_output=True, text=True, env=env)
        return float(done.stdout)

    first_run()
    warm = statistics.median(first_run() for _ in range(7))
    with tempfile.TemporaryDirectory() as empty:
        cold = first_run(CLOCHE_CACHE=empty)
    bare = median_us(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True), 9) / 1000
    yield Figure("first run of a process, guest in the cache", warm, "ms", "bare python", bare, 150)
    yield Figure("first run of a machine, guest compiled", cold, "ms", "bare python", bare)
