"""The steps of the protocol's test, performed by the references in Python: `step_worker.py URL`.

It polls, or takes pushes at CLOCHE_PUSH_PORT, signed with CLOCHE_PUSH_SECRET.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import uvicorn

from cloche import StepContext, create_step, step
from cloche.remote import StepReceiver, StepWorker


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


STEPS = [echo, refuse, write, wait, wait_once]


async def polling(url: str) -> None:
    async with StepWorker(url, STEPS, token=os.environ.get("CLOCHE_TOKEN")) as worker:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        await worker.run()


class Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """It ends as one that was asked to, and not as one that was killed."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, setattr, self, "should_exit", True)
        yield


async def receiving(url: str, port: int) -> None:
    token, secret = os.environ.get("CLOCHE_TOKEN"), os.environ["CLOCHE_PUSH_SECRET"]
    receiver: Any = StepReceiver(STEPS, secret, url=url, token=token, answer_within_s=0.5)
    await Server(uvicorn.Config(receiver, host="127.0.0.1", port=port, log_level="warning")).serve()


if __name__ == "__main__":
    if "CLOCHE_PUSH_PORT" in os.environ:
        asyncio.run(receiving(sys.argv[1], int(os.environ["CLOCHE_PUSH_PORT"])))
    else:
        asyncio.run(polling(sys.argv[1]))
