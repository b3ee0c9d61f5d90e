"""A clock in a workflow, as in the tutorials on schedules: it looks every minute, ends by its deadline, and sums up its day."""

import asyncio
from datetime import timedelta

import cloche
from cloche import Cloche, now, set_deadline, sleep, step


@step
async def temperature(hour: int) -> int:
    return 20 + hour


@step
async def report(values: list[int]) -> str:
    print(f"seen {values[:3]}")
    return "reported"


@cloche.workflow(id="clock")
async def clock(turns: int, every_s: float) -> dict[str, object]:
    set_deadline(timedelta(minutes=10))
    began = now()
    values: list[int] = []
    try:
        for turn in range(turns):
            values.append(await temperature(turn))
            await sleep(every_s, name="tick")
    finally:
        await report(values)
    return {"count": len(values), "took": now() - began >= timedelta(seconds=0.03)}


async def main() -> None:
    async with Cloche(workflows=[clock]) as app:
        run = await app.start(clock, {"turns": 3, "every_s": 0.01})
        print((await run.result(final=True)).unwrap())
        endless = await app.start(clock, {"turns": 10_000, "every_s": 3600}, run_id="endless")
        while len(await endless.history()) < 5:
            await asyncio.sleep(0.01)
        await app.cancel("endless")
        print((await endless.result(final=True)).status)


asyncio.run(main())
