"""DBOS's widget store: inventory is reserved, a payment is waited for, and given back where none comes."""

import asyncio
import sqlite3
from datetime import timedelta

import cloche
from cloche import Cloche, EventTimeout, resource, sleep, step, wait_for_event


class Shop:
    def __init__(self) -> None:
        self.db = sqlite3.connect(":memory:", check_same_thread=False)
        self.db.execute("CREATE TABLE widgets (left_over INTEGER)")
        self.db.execute("INSERT INTO widgets VALUES (1)")

    def take(self, count: int) -> int:
        self.db.execute("UPDATE widgets SET left_over = left_over - ?", (count,))
        return self.left_over

    @property
    def left_over(self) -> int:
        return int(self.db.execute("SELECT left_over FROM widgets").fetchone()[0])


class SoldOut(ValueError):
    pass


@step
def reserve(shop: Shop = resource()) -> int:
    if shop.left_over < 1:
        raise SoldOut("no widgets")
    return shop.take(1)


@step
def undo_reserve(shop: Shop = resource()) -> int:
    return shop.take(-1)


@step
async def dispatch(order: str, days_left: int) -> str:
    return f"{order}: {days_left} days left"


@cloche.workflow(id="checkout")
async def checkout(order: str) -> str:
    try:
        await reserve()
    except SoldOut:
        return f"{order}: sold out"
    try:
        status = await wait_for_event("payment", schema=str, timeout=timedelta(minutes=2))
    except EventTimeout:
        status = "nothing came"
    if status != "paid":
        await undo_reserve()
        return f"{order}: not paid ({status})"
    for days_left in (2, 1, 0):
        await dispatch(order, days_left)
        await sleep(seconds=0.01)
    return f"{order}: dispatched"


async def main() -> None:
    shop = Shop()
    async with Cloche(workflows=[checkout], resources={Shop: shop}) as app:
        first = await app.start(checkout, "o-1", run_id="o-1")
        while shop.left_over:
            await asyncio.sleep(0.01)
        second = await app.start(checkout, "o-2", run_id="o-2")
        print((await second.result(final=True)).unwrap())
        await app.send_event("o-1", "payment", "declined")
        print((await first.result(final=True)).unwrap(), "·", shop.left_over, "left")
        third = await app.start(checkout, "o-3", run_id="o-3")
        await app.send_event("o-3", "payment", "paid", idempotency_key="stripe-1")
        print((await third.result(final=True)).unwrap(), "·", shop.left_over, "left")


asyncio.run(main())
