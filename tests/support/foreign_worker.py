"""A worker of its own process, to be killed: `python -m support.foreign_worker temporal ADDRESS` or `… restate PORT`.

Its steps leave a mark in the file `MARKS` for each time that they run.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from cloche import create_step, create_workflow, path

STEPS = 60


def mark(data: Any) -> Any:
    marks = os.open(os.environ["MARKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(marks, f"{data['x']}\n".encode())
    os.close(marks)
    return {"x": data["x"] + 1}


marks = create_step(id="marks", execute=mark)
MARKED = create_workflow(id="marked").dountil(marks, path("inputData.x") >= STEPS).commit()


# Another step with each value of STEP: what a deployment changes under open runs.
STEP = os.environ.get("STEP", "first")
step = create_step(id=STEP, execute=lambda data: data)
_BEGUN = create_workflow(id="changed")
CHANGED = (_BEGUN.sleep(0.01) if STEP == "sleep" else _BEGUN.then(step)).wait_for_event("go").commit()


async def temporal(address: str) -> None:
    from temporalio.client import Client
    from temporalio.worker import Worker

    from cloche.foreign.temporal import TemporalExecutionEngine

    client = await Client.connect(address)
    await Worker(client, task_queue="marked", **TemporalExecutionEngine([MARKED]).worker).run()


async def restate(port: str) -> None:
    import hypercorn.asyncio
    import hypercorn.config
    import restate as sdk

    from cloche.foreign.restate import RestateExecutionEngine

    config = hypercorn.config.Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.h2_max_concurrent_streams = 2**31 - 1
    await hypercorn.asyncio.serve(sdk.app(RestateExecutionEngine([MARKED, CHANGED]).services), config)


if __name__ == "__main__":
    asyncio.run({"temporal": temporal, "restate": restate}[sys.argv[1]](sys.argv[2]))
