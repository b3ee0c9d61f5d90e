"""Restate's saga: flight, car and payment; what was done is undone in reverse order where a later part fails for good."""

import asyncio
from collections.abc import Callable
from typing import Any

import cloche
from cloche import Cloche, FatalError, scope, step


@step
async def reserve_flight(customer: str) -> str:
    return f"flight-{customer}"


@step
async def cancel_flight(flight: str) -> None:
    print("undone:", flight)


@step
async def rent_car(customer: str) -> str:
    return f"car-{customer}"


@step
async def cancel_car(car: str) -> None:
    print("undone:", car)


@step(retries=2)
async def pay(customer: str, amount: int) -> str:
    if amount > 100:
        raise FatalError("this payment will never go through")
    return f"{customer} paid {amount}"


@cloche.workflow(id="trip")
async def trip(customer: str, amount: int) -> str:
    undo: list[Callable[[], Any]] = []
    try:
        flight = await reserve_flight(customer)
        undo.append(lambda: cancel_flight(flight))
        car = await rent_car(customer)
        undo.append(lambda: cancel_car(car))
        return await pay(customer, amount)
    except FatalError:
        with scope("undo"):
            for one in reversed(undo):
                await one()
        raise


async def main() -> None:
    async with Cloche(workflows=[trip]) as app:
        for amount in (50, 500):
            run = await app.start(trip, {"customer": "ann", "amount": amount})
            result = await run.result(final=True)
            print(result.status, result.result, result.error)


asyncio.run(main())
