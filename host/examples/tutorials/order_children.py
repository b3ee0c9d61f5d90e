"""Temporal's child workflows: an order has a child for each of its parcels; one that fails does not take the others along."""

import asyncio
from dataclasses import dataclass

import cloche
from cloche import Cloche, create_task, gather, step


class OutOfStock(ValueError):
    pass


@dataclass
class Parcel:
    item: str
    count: int


@step(retries=2)
async def pack(parcel: Parcel) -> str:
    if parcel.item == "unicorn":
        raise OutOfStock(parcel.item)
    return f"{parcel.count} {parcel.item}"


@cloche.workflow(id="ship")
async def ship(parcel: Parcel) -> str:
    return f"shipped {await pack(parcel)}"


@cloche.workflow(id="order")
async def order(parcels: list[Parcel]) -> dict[str, list[str]]:
    first = create_task(ship(parcels[0]), name="first")
    rest = await gather(*[ship(one) for one in parcels[1:]], settle=True)
    return {"done": [await first, *rest.values], "failed": [str(one.error) for one in rest.failed]}


async def main() -> None:
    async with Cloche(workflows=[order, ship]) as app:
        run = await app.start(order, [Parcel("tea", 2), Parcel("unicorn", 1), Parcel("salt", 3)], run_id="o-1")
        print((await run.result(final=True)).unwrap())
        print(sorted(row.id for row in await app.list(workflow="ship")))


asyncio.run(main())
