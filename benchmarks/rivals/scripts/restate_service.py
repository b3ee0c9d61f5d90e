"""The handlers for Restate, served by hypercorn: restate_service.py PORT."""

from __future__ import annotations

import asyncio
import os
import sys
import time

import hypercorn.asyncio
import hypercorn.config
import restate

bench = restate.Service("Bench")
executed = 0


async def inc(x: int) -> int:
    global executed
    executed += 1
    return x + 1


@bench.handler()
async def sequential(context: restate.Context, count: int) -> int:
    x = 0
    for _ in range(count):
        x = await context.run_typed("inc", inc, x=x)
    return x


@bench.handler()
async def dying(context: restate.Context, arguments: list) -> dict:
    """`count` steps, then the process dies once; the next attempt, in a new process, says how long its replay took."""
    count, flag = arguments
    begin, x = time.perf_counter(), 0
    for _ in range(count):
        x = await context.run_typed("inc", inc, x=x)
    walk = time.perf_counter() - begin
    if os.path.exists(flag):
        os.unlink(flag)
        os._exit(9)
    return {"result": x, "executed": executed, "walk": walk}


if __name__ == "__main__":
    config = hypercorn.config.Config()
    config.bind = [f"127.0.0.1:{sys.argv[1]}"]
    config.h2_max_concurrent_streams = 2147483647
    config.keep_alive_timeout = 3600
    config.accesslog = None
    asyncio.run(hypercorn.asyncio.serve(restate.app([bench]), config))
