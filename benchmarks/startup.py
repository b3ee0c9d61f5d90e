"""What a person waits for at a prompt."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from benchmarks.baselines import python_ms
from benchmarks.figures import Figure, Scale, median_us


def help(_: Scale) -> Iterator[Figure]:
    """`cloche --help`, process and all."""

    def run() -> None:
        subprocess.run([sys.executable, "-m", "cloche.cli", "--help"], check=True, stdout=subprocess.DEVNULL)

    yield Figure("cloche --help", median_us(run, 9) / 1000, "ms", "bare python", python_ms(), 150)


COLD = """
import time, asyncio
from cloche import Cloche, create_workflow, step
import cloche.client

@step(id="inc")
async def inc(x: int) -> int:
    return x + 1

workflow = create_workflow(id="one").then(inc).commit()
begin = time.perf_counter()
Cloche.run_sync(workflow, 1).unwrap()
print((time.perf_counter() - begin) * 1000)
"""


def cold_start(_: Scale) -> Iterator[Figure]:
    """A fresh process, after its imports: engine, guest, image, one run of one step."""

    def first_run(**environment: str) -> float:
        env = {**os.environ, **environment}
        with tempfile.NamedTemporaryFile("w", suffix=".py") as script:  # a file: the source of a step is looked up
            script.write(COLD)
            script.flush()
            done = subprocess.run([sys.executable, script.name], check=True, capture_output=True, text=True, env=env)
        return float(done.stdout)

    first_run()
    warm = statistics.median(first_run() for _ in range(7))
    with tempfile.TemporaryDirectory() as empty:
        cold = first_run(CLOCHE_CACHE=empty)
    bare = python_ms()
    yield Figure("first run of a process, guest in the cache", warm, "ms", "bare python", bare, 150)
    yield Figure("first run of a machine, guest compiled", cold, "ms", "bare python", bare)
