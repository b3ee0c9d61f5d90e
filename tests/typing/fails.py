"""Lines that type checkers must refuse: each that ends in `# refused`, and no other."""

from __future__ import annotations

from decimal import Decimal

from passes import Order, Paid, charge, context_first, count, lines, of_one, price, shop, to_lines, with_context

import cloche
from cloche import Cloche, create_workflow


@cloche.workflow
async def wrong(order: Order) -> str:
    await price("o-1")  # refused
    await price()  # refused
    await charge(order)  # refused
    await charge(order, Decimal(1), currencies="USD")  # refused
    await with_context(order, None)  # refused
    await context_first(1)  # refused
    paid: Paid = await price(order)  # refused
    price(order)  # refused
    texts: list[str] = await cloche.gather(*[price(order) for _ in range(3)])  # refused
    winner: Decimal = await cloche.race(price(order), with_context(order))  # refused
    event = await cloche.wait_for_event("paid", schema=Paid)
    event.amount  # refused
    hook = cloche.create_hook(schema=Paid)
    answer: Order = await hook  # refused
    some = await cloche.gather(price(order), price(order), settle=True)
    amounts: list[str] = some.values  # refused
    task = cloche.create_task(price(order))
    early: str = await task  # refused
    won: tuple[str, Decimal] = await cloche.race(price=price(order), paid=with_context(order))  # refused
    await cloche.start_child("invoice", order, id=17)  # refused
    _, value = await cloche.race(one=price(order), other=price(order))
    value.order  # refused
    await cloche.sleep([3])  # refused
    await count(5)  # refused
    return await count("a")  # refused


create_workflow(id="a", input_schema=Order).then(to_lines)  # refused
create_workflow(id="b", input_schema=Order).then(price).then(to_lines)  # refused
create_workflow(id="c", input_schema=Order, output_schema=Paid).then(price).commit()  # refused by pyright
create_workflow(id="d", input_schema=Order).then(of_one)  # refused
create_workflow(id="e", input_schema=list[str]).foreach(price)  # refused
create_workflow(id="f", input_schema=Paid).then(lines)  # refused


async def main() -> None:
    async with Cloche(workflows=[shop]) as app:
        await app.start(shop, 5)  # refused
        await app.start(shop)  # refused
        run = await app.start(shop, Order(id="o", lines=[]))
        text: str = (await run.result()).unwrap()  # refused
        (await run.result()).unwrap().price  # refused
        async for record in run.stream():
            record.path.missing  # refused
            record.nothing  # refused
        await app.start(shop, Order(id="o", lines=[]), run_id=17)  # refused
