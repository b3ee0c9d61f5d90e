"""A workflow as a function: it runs in the Python guest, its steps on this side of the glass."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import cloche
from cloche import Cloche, gather, sleep, step

TRIAL_S = 0.2  # frozen into the workflow


@step
async def create_account(user: dict[str, Any]) -> dict[str, Any]:
    return {"id": f"a-{user['name']}", "addresses": user["addresses"]}


@step(retries=2)
async def send_mail(address: str) -> str:
    return f"welcome, {address}"


@cloche.workflow(id="onboard")
async def onboard(user: dict[str, Any]) -> dict[str, Any]:
    account = await create_account(user)
    mails = await gather(*[send_mail(a) for a in account["addresses"]], limit=5)
    await sleep(TRIAL_S)
    return {"account": account["id"], "mails": len(mails)}


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with Cloche(Path(directory) / "onboard.db", workflows=[onboard]) as app:
            run = await app.start(onboard, {"name": "ann", "addresses": ["ann@one.example", "ann@two.example"]})
            print((await run.result(final=True)).unwrap())
            print("replays:", (await app.replay(run.id)).ok)


if __name__ == "__main__":
    asyncio.run(main())
