"""Ten runs of six steps each, in a process of its own that is made to be killed.

Each step leaves a line in a journal before it does anything: one `write` to a file opened with O_APPEND, which is whole or not
there at all, whatever happens to the process. Run as a script it starts the ten runs and waits for them.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

from cloche import Cloche, StepContext, clone_step, create_workflow, path, step

RUNS = 10
STORE = Path(os.environ.get("CRASH_STORE", "crash.db"))
JOURNAL = Path(os.environ.get("CRASH_JOURNAL", "journal.txt"))


def note(ctx: StepContext) -> None:
    journal = os.open(JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(journal, f"{ctx.run_id} {ctx.path} {time.time_ns()}\n".encode())
    os.close(journal)


@step(id="a", retries=2)
async def count(data: dict[str, Any], ctx: StepContext) -> dict[str, Any]:
    note(ctx)
    await asyncio.sleep(0.015)
    if ctx.step_id == "d" and ctx.attempt == 1:
        raise OSError("every run meets this once")
    return {"v": data["v"] + 1}


@step(id="e")
def count_in_thread(data: dict[str, Any], ctx: StepContext) -> dict[str, Any]:
    note(ctx)
    time.sleep(0.015)
    return {"v": data["v"] + ctx.get_step_result("a")["v"]}


b, c, d, f = (clone_step(count, id=id) for id in "bcdf")
workflow = (
    create_workflow(id="crash", guest=os.environ.get("CRASH_GUEST", "auto"))
    .then(count)
    .parallel([b, c])
    .map(path("inputData.b"))
    .sleep(0.01)
    .then(d)
    .then(count_in_thread)
    .then(f)
    .commit()
)


async def main() -> None:
    async with Cloche(STORE, workflows=[workflow]) as app:
        runs = [await app.start(workflow, {"v": n}, run_id=f"run-{n}") for n in range(RUNS)]
        await asyncio.gather(*(run.result() for run in runs))


if __name__ == "__main__":
    asyncio.run(main())
    sys.exit(0)
