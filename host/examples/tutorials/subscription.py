"""Temporal's subscription: charged once in each period until it is canceled, by an event or by the customer's card."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import cloche
from cloche import Canceled, Cloche, race, sleep, step, wait_for_event


@step
async def send_mail(customer: str, text: str) -> None:
    print(f"to {customer}: {text}")


@step(at_most_once=True)
async def charge(customer: str, amount: Decimal) -> Decimal:
    return amount


@cloche.workflow(id="subscription")
async def subscription(customer: str, price: Decimal, periods: int, period: timedelta) -> Decimal:
    paid = Decimal(0)
    try:
        await send_mail(customer, "welcome")
        for _ in range(periods):
            winner, _ = await race(period=sleep(period), stop=wait_for_event("stop"))
            if winner == "stop":
                break
            paid += await charge(customer, price)
        await send_mail(customer, f"goodbye, you paid {paid}")
    except Canceled:
        await send_mail(customer, "canceled")
        raise
    return paid


async def main() -> None:
    async with Cloche(workflows=[subscription]) as app:
        terms = {"price": "9.50", "periods": 3, "period": "PT0.02S"}
        run = await app.start(subscription, {"customer": "ann", **terms})
        print(repr((await run.result(final=True)).unwrap()))
        terms["period"] = "P30D"
        stopped = await app.start(subscription, {"customer": "ben", **terms}, run_id="ben")
        await app.send_event("ben", "stop")
        print((await stopped.result(final=True)).status)
        canceled = await app.start(subscription, {"customer": "cid", **terms}, run_id="cid")
        while len(await canceled.history()) < 6:
            await asyncio.sleep(0.01)
        await app.cancel("cid")
        print((await canceled.result(final=True)).status)


asyncio.run(main())
