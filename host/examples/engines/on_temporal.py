"""The same workflow on Temporal: `temporal server start-dev`, then this. TEMPORAL_ADDRESS is where the server listens."""

import asyncio
import os

from flow import workflow
from temporalio.client import Client
from temporalio.worker import Worker

from cloche.foreign.temporal import TemporalExecutionEngine


async def main() -> None:
    client = await Client.connect(os.environ.get("TEMPORAL_ADDRESS", "127.0.0.1:7233"))
    async with Worker(client, task_queue="orders", **TemporalExecutionEngine([workflow]).worker):
        run = await client.start_workflow("order", {"items": 2}, id="order-17", task_queue="orders")
        await run.signal("event", args=["paid", {"amount": 50}])
        print(await run.result())


if __name__ == "__main__":
    asyncio.run(main())
