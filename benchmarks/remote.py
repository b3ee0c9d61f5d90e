"""Remote steps: what one costs beside a step of the process, and what idle workers ask of PostgreSQL."""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import uvicorn

from benchmarks.engine_servers import NotInstalled, free_port
from benchmarks.figures import Figure, Scale
from benchmarks.postgres_server import own_server
from cloche import Client, Cloche, RemoteStep, create_workflow, http, step

# A worker is a process of its own.
WORKER = """
import asyncio, sys
from cloche import step
from cloche.remote import StepWorker

@step(id="inc-away")
async def inc_away(x: int) -> int:
    return x + 1

async def main():
    async with StepWorker(sys.argv[1], [inc_away]) as worker:
        await worker.run()

asyncio.run(main())
"""
IDLE_S = 10.0
QUERIES_PER_S_MAX = 200.0


def remote(scale: Scale) -> Iterator[Figure]:
    """A remote step by pull, over loopback and on a file, beyond a local one; and workers that wait for nothing."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        local, away = asyncio.run(_steps(Path(folder), min(scale.most, 200)))
        commit = _commit_ms(Path(folder), 50)
    goal = 2 * commit + 3
    yield Figure("a remote step by pull, beyond a local one, p50", away - local, "ms", "2 commits + 3 ms", goal, goal)
    workers = scale.sizes(10, 1_000)[-1]
    try:
        with own_server() as server:
            asked = asyncio.run(_idle(server.url(), workers))
    except NotInstalled:
        return
    yield Figure(f"{workers} idle remote workers", asked, "queries/s", "its goal", QUERIES_PER_S_MAX, QUERIES_PER_S_MAX)


async def _steps(folder: Path, count: int) -> tuple[float, float]:
    """The medians in ms of runs of one step: of the process, and of a remote worker. They take turns."""

    @step(id="inc")
    async def inc(x: int) -> int:
        return x + 1

    flows = {
        "here": create_workflow(id="here").then(inc).commit(),
        "away": create_workflow(id="away").then(RemoteStep("inc-away")).commit(),
    }

    taken: dict[str, list[float]] = {name: [] for name in flows}
    async with Cloche(folder / "runs.db", workflows=list(flows.values())) as app:
        port = free_port()
        server = uvicorn.Server(
            uvicorn.Config(http.app(app, auth=http.local, requests_per_s=1e6), port=port, log_level="error")
        )
        serving = asyncio.create_task(server.serve())
        worker = subprocess.Popen([sys.executable, "-c", WORKER, f"http://127.0.0.1:{port}"])
        try:
            await (await app.start("away", 1)).result()  # it is there
            for _ in range(count):
                for name in flows:
                    began = time.perf_counter()
                    await (await app.start(name, 1)).result()
                    taken[name].append((time.perf_counter() - began) * 1000)
        finally:
            worker.kill()
            worker.wait()
        server.should_exit = True
        await serving
    return statistics.median(taken["here"]), statistics.median(taken["away"])


def _commit_ms(folder: Path, count: int) -> float:
    """One durable commit on the same disk, as the store makes it."""
    db = sqlite3.connect(folder / "bare.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE t (x)")
    times = []
    for _ in range(count):
        began = time.perf_counter()
        db.execute("INSERT INTO t VALUES (1)")
        times.append((time.perf_counter() - began) * 1000)
    db.close()
    return statistics.median(times)


async def _idle(url: str, workers: int) -> float:
    """Transactions a second while so many workers wait in long polls, each with a token of one tenant."""
    from cloche.operations import tokens

    async with Client(url) as client:
        store, now = client.connection.store, client.connection.world.now()
        made = await tokens.create(store, tenant="default", role="worker", label="", now=now)
        app = http.app(client, requests_per_s=1e6, burst=10**6)
        transport = httpx.ASGITransport(app=app)
        headers = {"Authorization": f"Bearer {made.text}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://cloche", headers=headers, timeout=60) as ask:

            async def wait() -> None:
                while True:
                    await ask.post("/v1/steps/poll", json={"steps": ["resize"], "wait_s": 20})

            waiting = [asyncio.create_task(wait()) for _ in range(workers)]
            await asyncio.sleep(5)
            before = await _transactions(url)
            began = time.monotonic()
            await asyncio.sleep(2 * IDLE_S)  # as long as a poll: each is made once
            asked = (await _transactions(url) - before) / (time.monotonic() - began)
            for task in waiting:
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task
    return asked


async def _transactions(url: str) -> int:
    """How many the server has ended in this database."""
    connection: Any = await asyncpg.connect(url.partition("?")[0])
    try:
        await asyncio.sleep(1)  # what sessions have counted is told once a second
        return int(
            await connection.fetchval("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
        )
    finally:
        await connection.close()
