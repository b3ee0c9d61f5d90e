"""Restate's food ordering: a payment, a delay, a restaurant and a driver who say when they are done."""

import asyncio
from dataclasses import dataclass

import cloche
from cloche import Cloche, StepContext, create_hook, set_tags, sleep, step


@dataclass
class Order:
    id: str
    total: int
    delay_s: float


@step
async def charge(order: Order, ctx: StepContext) -> bool:
    return order.total < 100  # a payment provider gets ctx.idempotency_key


@step
async def prepare(order: Order, token: str) -> None:
    RESTAURANT[order.id] = token


RESTAURANT: dict[str, str] = {}


@cloche.workflow(id="food-order")
async def food_order(order: Order) -> str:
    set_tags(status="created")
    if not await charge(order):
        set_tags(status="rejected")
        return "rejected"
    set_tags(status="scheduled")
    await sleep(order.delay_s)
    with create_hook(schema=str) as prepared:
        await prepare(order, prepared.token)
        set_tags(status="in preparation")
        eta = await prepared
    set_tags(status="on its way")
    return f"delivered by {eta}"


async def main() -> None:
    async with Cloche(workflows=[food_order]) as app:
        run = await app.start(food_order, Order("f-1", 25, 0.01), run_id="f-1")
        while "f-1" not in RESTAURANT:
            await asyncio.sleep(0.01)
        await app.resume_hook(RESTAURANT["f-1"], "12:30")
        result = await run.result(final=True)
        print(result.unwrap(), result.tags)
        rich = await app.start(food_order, Order("f-2", 250, 0), run_id="f-2")
        result = await rich.result(final=True)
        print(result.unwrap(), result.tags)


asyncio.run(main())
