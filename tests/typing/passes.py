"""Lines that type checkers must pass, each with the type they must see."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, assert_type

from pydantic import BaseModel

import cloche
from cloche import Cloche, Run, RunResult, Step, StepContext, Workflow, create_step, create_workflow, step


class Order(BaseModel):
    id: str
    lines: list[str]


class Paid(BaseModel):
    order: str
    total: Decimal


@step
async def price(order: Order) -> Decimal:
    return Decimal(len(order.lines))


@step(id="charge-card", retries=2)
def charge(order: Order, amount: Decimal, currency: str = "EUR") -> Paid:  # sync, several parameters
    return Paid(order=order.id, total=amount)


@step
async def with_context(order: Order, ctx: StepContext) -> Paid:
    return Paid(order=ctx.run_id, total=Decimal(1))


@step(timeout_s=5)
def context_first(ctx: StepContext, name: str) -> str:
    return ctx.run_id + name


@step
async def context_by_keyword(name: str, *, ctx: StepContext) -> int:
    return ctx.attempt


@step
def anything(value: object, more: Any) -> dict[str, Any]:
    return {"value": value, "more": more}


@step
async def to_lines(paid: Paid) -> list[str]:
    return [paid.order]


@step
async def loose(paid: Paid) -> dict[str, Any]:
    return {"id": paid.order, "lines": []}


made = create_step(id="made", execute=with_context.execute)
priced = create_step(id="priced", execute=price.execute, retries=1)


async def of_one(order: Order) -> Paid:
    return Paid(order=order.id, total=Decimal(0))


of_one_step = create_step(id="of-one", execute=of_one, output_schema=Paid)
as_annotated: Step[[Order], Paid] = of_one_step


@cloche.workflow(id="shop")
async def shop(order: Order) -> Paid:
    assert_type(await price(order), Decimal)
    assert_type(await charge(order, Decimal(1), currency="USD"), Paid)
    assert_type(await charge(order=order, amount=Decimal(1)), Paid)
    assert_type(await with_context(order), Paid)
    assert_type(await context_first("a"), str)
    assert_type(await context_by_keyword("a"), int)
    await anything(1, "two")
    first, second = await cloche.gather(price(order), with_context(order))
    assert_type(first, Decimal)
    assert_type(second, Paid)
    assert_type(await cloche.gather(*[price(order) for _ in range(3)], limit=2), list[Decimal])
    settled = await cloche.gather(price(order), price(order), settle=True)
    assert_type(settled, cloche.Batch[Decimal])
    enough = await cloche.gather(*[price(order) for _ in range(3)], min_successes=2)
    assert_type(enough.values, list[Decimal])
    assert_type(enough[0].value, Decimal)
    task = cloche.create_task(price(order), name="early")
    assert_type(await task, Decimal)
    assert_type(await cloche.race(one=price(order), other=price(order)), tuple[str, Decimal])
    won: tuple[str, Decimal | Paid] = await cloche.race(price=price(order), paid=with_context(order))
    match won:
        case name, Decimal() as amount:
            assert_type((name, amount), tuple[str, Decimal])
        case _, paid:
            assert_type(paid, Paid)
    assert_type(await cloche.race(price(order), with_context(order), count("a"), price(order)), Decimal | Paid | int)
    assert_type(await cloche.start_child("invoice", order, id="invoice", name="bill"), Any)
    assert_type(settled[0].error, Exception)
    assert_type(settled.failed, list[cloche.BatchItem[Decimal]])
    with cloche.create_hook(schema=Order, token="orders") as hook:
        assert_type(hook.token, str)
        assert_type(await hook, Order)
        async for answer in hook:
            assert_type(answer, Order)
    assert_type(await cloche.race(price(order), with_context(order)), Decimal | Paid)
    assert_type(await cloche.wait_for_event("paid", schema=Paid, timeout=timedelta(days=3)), Paid)
    await cloche.sleep(days=3)
    await cloche.sleep("3 days")
    assert_type(await count("a"), int)
    return await charge(order, first)


@cloche.workflow
async def count(text: str) -> int:
    return len(text)


@cloche.workflow(id="two")
async def two(left: int, right: int) -> int:
    return left + right


assert_type(shop, Workflow[Order, Paid])
assert_type(count, Workflow[str, int])
assert_type(two, Workflow[Any, int])

lines = (
    create_workflow(id="lines", input_schema=Order, output_schema=list[str])
    .then(with_context)
    .sleep(5)
    .then(to_lines, id="again")
    .commit()
)
assert_type(lines, Workflow[Order, list[str]])
each = create_workflow(id="each", input_schema=list[Order]).foreach(of_one_step, concurrency=3).commit()
both = create_workflow(id="both", input_schema=Order).parallel([price, with_context]).then(to_lines).commit()
nested = create_workflow(id="nested", input_schema=Order, output_schema=list[str]).then(lines).commit()
mapped = create_workflow(id="mapped", input_schema=Order).map({"order": {"value": "o"}}).then(to_lines).commit()
by_name = create_workflow(id="by-name", input_schema=Order).then(loose_end := with_context).then(loose).then(charge)
bare: Workflow = create_workflow(id="bare").then(price).commit()


async def main(some: Step) -> None:
    async with Cloche(workflows=[shop, lines]) as app:
        run = await app.start(shop, Order(id="o", lines=[]), run_id="order-17")
        assert_type(run, Run[Paid])
        result = await run.result()
        assert_type(result, RunResult[Paid])
        assert_type(result.unwrap(), Paid)
        assert_type(result.result, Paid)
        assert_type((await (await app.start(lines, {"id": "o", "lines": []})).result()).unwrap(), list[str])
        await app.start(two, {"left": 1, "right": 2})
        assert_type((await (await app.start("shop", {"id": "o"})).result()).unwrap(), Any)
        assert_type(await (await count.create_run()).start("abc"), RunResult[int])


def without_async() -> None:
    with cloche.SyncCloche(workflows=[shop]) as app:
        run = app.start(shop, Order(id="o", lines=[]))
        assert_type(run, cloche.SyncRun[Paid])
        assert_type(run.result().unwrap(), Paid)


async def records(app: Cloche, client: cloche.Client) -> None:
    run = await app.get("order-17")
    async for record in run.stream():
        assert_type(record, cloche.RunRecord)
        assert_type(record.kind, cloche.Kind)
        assert_type(record.path + "", str)  # always there
        assert_type(record.at, datetime)
        assert_type(record.to_data(), dict[str, Any])
    assert_type(await run.history(), list[cloche.RunRecord])
    assert_type((await client.start(shop, Order(id="o", lines=[]))).id + "", str)
    for row in await client.list(status="failed"):
        assert_type(row.status, cloche.RunStatus)
    done = await app.evaluate("acme", "async def main(x): return x", 1, steps=[price], policy=cloche.Policy.strict())
    assert_type(done, cloche.Evaluation)
    assert_type(done.problem, cloche.Problem | None)


async def caught(run: Run[Paid]) -> str:
    try:
        return (await run.result()).unwrap().order
    except cloche.RunFailed as error:
        assert_type(error.message, str)
        return error.message
    except (cloche.NotFound, cloche.LimitExceeded, cloche.StoreUnavailable) as error:
        return f"{error.message} {error.facts}"
