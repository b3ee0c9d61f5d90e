"""A run outlives its process: the first one leaves in the middle of a sleep, the second goes on and finishes."""

import asyncio
import tempfile
from pathlib import Path

from cloche import Cloche, create_workflow, step


@step(id="charge")
async def charge(amount: int) -> str:
    print("charging", amount)
    return f"receipt for {amount}"


@step(id="thank")
async def thank(receipt: str) -> str:
    return f"thank you: {receipt}"


workflow = create_workflow(id="payment", input_schema=int).then(charge).sleep(0.5).then(thank).commit()


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = Path(directory) / "payments.db"
        async with Cloche(store, workflows=[workflow]) as app:
            run = await app.start("payment", 25, run_id="order-17")
            await asyncio.sleep(0.2)
            print("leaving while the run is", await run.status())
        async with Cloche(store, workflows=[workflow]) as app:  # as a new process would
            result = await (await app.get("order-17")).result()
            print(result.unwrap())
            print("replays:", (await app.replay("order-17")).ok, "· log intact:", (await app.verify()).ok)


if __name__ == "__main__":
    asyncio.run(main())
