"""The steps of the protocol's test, performed by the reference worker in Python: `step_worker.py URL`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import Any

from cloche import StepContext, create_step, step
from cloche.remote import StepWorker


@step
async def echo(data: Any) -> Any:
    return data


@step
def refuse(data: Any, ctx: StepContext) -> None:
    raise PermissionError("not here")


@step
async def write(data: Any, ctx: StepContext) -> str:
    for number in range(3):
        ctx.writer.write(number)
        await asyncio.sleep(0.1)
    return "written"


def waited(data: Any, ctx: StepContext) -> str:
    """In a thread: the worker goes on beside it."""
    open(data["until"] + ".begun", "w").close()
    while not ctx.abort_signal.aborted and not os.path.exists(data["until"]):
        time.sleep(0.02)
    if ctx.abort_signal.aborted:
        open(data["until"] + ".aborted", "w").close()
    return "waited"


wait = create_step(id="wait", execute=waited)
wait_once = create_step(id="wait-once", execute=waited)


async def main(url: str) -> None:
    async with StepWorker(url, [echo, refuse, write, wait, wait_once], token=os.environ.get("CLOCHE_TOKEN")) as worker:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        await worker.run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
