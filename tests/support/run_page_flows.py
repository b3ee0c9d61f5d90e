"""Workflows for the page of one run: written by hand, with children, loops, logs and failures; and one that never rests."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import cloche
from cloche import StepContext, create_workflow, gather, scope, sleep, step


@step(id="square")
async def square(x: int) -> int:
    return x * x


@step(id="send-mail", retries=3)
async def send_mail(to: str, ctx: StepContext) -> str:
    print(f"sending to {to}")
    ctx.log.warning("slow carrier")
    if to == "bad" and ctx.attempt == 1:
        raise ConnectionError("mailbox full")
    return f"{to} sent"


@cloche.workflow(id="kid")
async def kid(n: int) -> int:
    return await square(n)


@cloche.workflow(id="onboard")
async def onboard(n: int) -> Any:
    x = await square(n)
    mails = await gather(*[send_mail(one) for one in ["ann", "bad", "cy"]], limit=2)
    for i in range(4):
        await square(i)
        await send_mail("loop")
    with scope("refund"):
        await square(7)
        await sleep(seconds=0.01, name="nap")
    k = await kid(4)
    paid = await cloche.wait_for_event("paid")
    return {"x": x, "mails": mails, "k": k, "paid": paid}


@step(id="tick")
async def tick(x: int) -> int:
    """Until a file is there."""
    if os.path.exists(os.environ.get("DASHBOARD_GATE", "/nowhere")):
        return -1
    await asyncio.sleep(0.005)
    return x + 1


restless = create_workflow(id="restless").dowhile(tick, "inputData >= 0").commit()
