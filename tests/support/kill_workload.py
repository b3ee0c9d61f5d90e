"""A worker that is made to be killed: orders that hear events, ask for data, and have a child run each.

Run as a script it works on the store at KILL_STORE until it is killed. Each step leaves a line in a journal before it does
anything: one `write` to a file opened with O_APPEND, which is whole or not there at all, whatever happens to the process.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from cloche import Cloche, StepContext, create_workflow, step, wait_for_event, workflow
from cloche.errors import StoreUnavailable

STORE = os.environ.get("KILL_STORE", "kill.db")
JOURNAL = Path(os.environ.get("KILL_JOURNAL", "journal.txt"))
EVENTS = 3


def note(ctx: StepContext) -> None:
    journal = os.open(JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(journal, f"{ctx.run_id} {ctx.path} {time.time_ns()}\n".encode())
    os.close(journal)


@step
async def reserve(number: int, ctx: StepContext) -> int:
    note(ctx)
    await asyncio.sleep(0.01)
    return number + 1


@step
def weigh(number: int, ctx: StepContext) -> int:
    note(ctx)
    time.sleep(0.01)
    return number + 1


@step
async def ask(number: int, ctx: StepContext) -> Any:
    note(ctx)
    if ctx.resume_data is None:
        ctx.suspend({"which": number})
    return ctx.resume_data


shipping = create_workflow(id="shipping").then(weigh).sleep(0.02).then(reserve).commit()


@workflow
async def order(number: int) -> dict[str, Any]:
    first = await reserve(number)
    heard = [await wait_for_event("paid") for _ in range(EVENTS)]
    answer = await ask(number)
    return {"first": first, "heard": heard, "answer": answer, "parcel": await shipping(number)}


async def main() -> None:
    while True:  # as whatever starts services does: a server may be away when its worker begins
        try:
            async with Cloche(STORE, workflows=[order, shipping]):
                await asyncio.Event().wait()
        except StoreUnavailable:
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(main())
