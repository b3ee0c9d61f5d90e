"""DBOS Transact on SQLite, with the settings that it makes itself (rollback journal, synchronous=FULL).

Replay: a process dies behind the last step of a workflow, the next one recovers it; the walk over its steps is timed inside.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import uuid

from dbos import DBOS, SetWorkflowID
from rows import row, sizes

executed = 0
walk = 0.0


@DBOS.step()
async def inc(x: int) -> int:
    global executed
    executed += 1
    return x + 1


@DBOS.workflow()
async def sequential(count: int) -> int:
    x = 0
    for _ in range(count):
        x = await inc(x)
    return x


@DBOS.workflow()
async def dying(count: int) -> int:
    global walk
    begin, x = time.perf_counter(), 0
    for _ in range(count):
        x = await inc(x)
    walk = time.perf_counter() - begin
    if "DYING" in os.environ:
        os._exit(9)
    return x


def launch() -> None:
    url = f"sqlite:///{os.environ['RIVAL_DATA']}/dbos.db"
    DBOS(config={"name": "bench", "system_database_url": url, "application_version": "1", "log_level": "ERROR"})
    DBOS.launch()


async def die(count: int, workflow_id: str) -> None:
    launch()
    with SetWorkflowID(workflow_id):
        await dying(count)


async def recover(count: int, workflow_id: str) -> None:
    launch()
    handle = await DBOS.retrieve_workflow_async(workflow_id)
    assert await handle.get_result(polling_interval_sec=0.005) == count
    assert executed == 0, "a step ran again"
    print(json.dumps({"walk": walk}), flush=True)
    os._exit(0)


def replayed(count: int) -> float:
    workflow_id = uuid.uuid4().hex
    command = [sys.executable, __file__, str(count), workflow_id]
    died = subprocess.run([*command, "die"], env={**os.environ, "DYING": "1"}, capture_output=True, timeout=300)
    assert died.returncode == 9, died.stderr[-300:]
    done = subprocess.run([*command, "recover"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-300:]
    return float(json.loads(done.stdout.splitlines()[-1])["walk"])


async def durable() -> None:
    launch()
    for count in sizes(10, 100, 1_000):
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            assert await (await DBOS.start_workflow_async(sequential, count)).get_result() == count
            times.append(time.perf_counter() - begin)
        row("durable step", "SQLite, rollback journal, FULL", count, times)
    os._exit(0)


if len(sys.argv) == 4:
    asyncio.run({"die": die, "recover": recover}[sys.argv[3]](int(sys.argv[1]), sys.argv[2]))
else:
    for count in sizes(10, 100, 1_000):  # before this process holds the database
        row("replay", "each step read from SQLite", count, [replayed(count) for _ in range(3)])
    asyncio.run(durable())
