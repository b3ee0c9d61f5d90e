"""A worker whose runs do not end: each is in a step that takes a minute there, and a moment elsewhere.

Run as a script it starts `RUNS` of them on the store at BUSY_STORE, says `ready` and goes on until it is killed.
"""

from __future__ import annotations

import asyncio
import os
import sys

from cloche import Cloche, create_step, create_workflow
from cloche.status import RunStatus

RUNS = 10
IS_VICTIM = False


async def slow(number: int) -> int:
    await asyncio.sleep(float(os.environ["BUSY_STEP_S"]) if IS_VICTIM else 0.01)
    return number + 1


slowly = create_workflow(id="slowly", input_schema=int).then(create_step(id="slow", execute=slow)).commit()


async def main() -> None:
    async with Cloche(os.environ["BUSY_STORE"], workflows=[slowly], lease_ttl_s=float(os.environ["BUSY_TTL_S"])) as app:
        await asyncio.gather(*(app.start(slowly, number, run_id=f"busy-{number}") for number in range(RUNS)))
        while {row.status for row in await app.list()} != {RunStatus.RUNNING}:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        print("ready", flush=True)
        await asyncio.sleep(60)


if __name__ == "__main__":
    IS_VICTIM = True
    asyncio.run(main())
    sys.exit(0)
