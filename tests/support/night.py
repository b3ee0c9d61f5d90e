"""A store as an operator finds it at night: `python night.py STORE` prepares it, and is a file of targets as well."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from typing import Any

from pydantic import BaseModel

from cloche import Client, Cloche, StepContext, create_workflow, step


class Declined(Exception):
    """The card is no good."""


class Answer(BaseModel):
    ok: bool


@step(id="reserve")
async def reserve(order: dict[str, Any]) -> dict[str, Any]:
    return order


@step(id="charge")
async def charge(order: dict[str, Any]) -> dict[str, Any]:
    if order["card"] == "bad":
        raise Declined("card declined")
    if order["card"] == "odd":
        raise ValueError("no currency")
    return order


@step(id="render")
def render(order: dict[str, Any]) -> dict[str, Any]:
    time.sleep(0.03)
    return order


@step(id="approve", resume_schema=Answer)
async def approve(order: dict[str, Any], ctx: StepContext) -> dict[str, Any]:
    if ctx.resume_data is None:
        ctx.suspend({"question": "ship it?"})
    return order


order = create_workflow(id="order", input_schema=dict).then(reserve).then(charge).then(render).commit()
approval = create_workflow(id="approval", input_schema=dict).then(reserve).then(approve).commit()


async def prepare(store: str) -> None:
    async with Cloche(store, workflows=[order, approval]) as app:
        for number, card in enumerate(("good", "bad", "odd", "good", "bad", "odd")):
            await (await app.start("order", {"card": card}, run_id=f"order-{number}")).result()
        for number in (1, 2):
            await (await app.start("approval", {}, run_id=f"approval-{number}")).result()
        await app.cancel("approval-2", by="ada")
        await (await app.get("approval-2")).result(final=True)
        await app.deploy("acme", "export default async (x) => x + 1;", workflow="calc", language="javascript")
        await (await app.tenant("acme").start("calc", 1, run_id="calc-1")).result()
        await app.schedules.put("nightly", "order", cron="30 2 * * *", tz="Europe/Berlin", input={"card": "good"})
    async with Client(store) as client:
        await client.start("ghost", {}, run_id="ghost-1")


if __name__ == "__main__":
    logging.getLogger("cloche").setLevel(logging.CRITICAL)  # that steps fail is meant
    asyncio.run(prepare(sys.argv[1]))
