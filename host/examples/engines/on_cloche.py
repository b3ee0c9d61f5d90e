"""The workflow of flow.py on cloche itself: nothing else is needed."""

import asyncio

from flow import workflow

from cloche import Cloche


async def main() -> None:
    async with Cloche(workflows=[workflow]) as app:
        run = await app.start(workflow, {"items": 2}, run_id="order-17")
        await app.send_event(run.id, "paid", {"amount": 50})
        print((await run.result()).unwrap())


if __name__ == "__main__":
    asyncio.run(main())
