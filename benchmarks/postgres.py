"""The store in PostgreSQL, on a server of its own with its durable defaults, beside a bare commit and beside SQLite."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from benchmarks import workflows as w
from benchmarks.baselines import scratch
from benchmarks.figures import Figure, Scale
from benchmarks.postgres_server import Server, own_server
from benchmarks.proxy import proxy
from cloche.history import TenantId, TimeMs
from cloche.store.postgres import PostgresStore
from cloche.store.postgres.statements import in_schema

ROUNDS = 5
STEPS = 10
FAR_S = 0.0024  # there and back
DUE = """
INSERT INTO cloche.runs (tenant, run, workflow, code, status, wake_at, created_at, updated_at, head_seq, head_hash)
SELECT 't' || n % 50, 'r' || n, 'w', 'c', 'waiting', CASE WHEN n <= {due} THEN n ELSE 1e15::bigint END, n, n, 1, ''
FROM generate_series(1, {all}) AS n
"""


def postgres(scale: Scale) -> Iterator[Figure]:
    """Steps one after another, many runs at once by one worker and by two, claims, and a server that is far away."""
    with own_server() as server:
        yield from _sequential(server, scale.sizes(10, 200)[-1])
        yield from _together(server, scale.sizes(10, 100, 1_000)[-1])
        yield from _claims(server, scale.sizes(100, 20_000)[-1])
        yield from _far(server, scale.sizes(10, 50)[-1], scale.sizes(10, 100, 1_000)[-1])


def _sequential(server: Server, count: int) -> Iterator[Figure]:
    workflow = w.chain(count)
    steps, commits, selects = [], [], []

    async def rounds() -> None:
        bare = await _bare(server)
        async with w.app(server.url(), workflow) as app:
            await w.live(app, workflow, 0)
            for _ in range(ROUNDS):  # interleaved, so that a noisy minute meets all three alike
                commits.append(await _each_us(lambda: bare.fetch("INSERT INTO bare VALUES ($1)", 1), 100))
                selects.append(await _each_us(lambda: bare.fetch("SELECT 1"), 100))
                begin = time.perf_counter_ns()
                await w.live(app, workflow, 0)
                steps.append((time.perf_counter_ns() - begin) / 1000 / count)
        await bare.close()

    w.run(rounds())
    commit, each, select = map(statistics.median, (commits, steps, selects))
    yield Figure("durable step on PostgreSQL", each, "µs", "bare commit of one row", commit, commit + 450)
    yield Figure("durable step on PostgreSQL", each, "µs", "SELECT 1", select)


def _together(server: Server, count: int) -> Iterator[Figure]:
    with scratch() as directory:
        embedded = w.run(_rate(directory / "runs.db", count))
    one = w.run(_rate(server.url(), count))
    two = _rate_of_processes(server.url(), count, 2)
    name = f"steps of {count:,} runs at once on PostgreSQL"
    yield Figure(f"{name}, 1 worker", one, "steps/s", "SQLite, 1 worker", embedded, 0.8 * embedded, at_least=True)
    yield Figure(f"{name}, 2 workers", two, "steps/s", "SQLite, 1 worker", embedded, 1.2 * embedded, at_least=True)


def _claims(server: Server, due: int) -> Iterator[Figure]:
    async def claim() -> tuple[float, float]:
        store = await PostgresStore.open(server.url())
        server.psql(in_schema(DUE.format(due=due, all=15 * due), store._database.address.schema))
        select = await _each_us(lambda: store._database.read("SELECT 1"), 200)
        await store.leases.join("one")
        shares, taken = {TenantId(f"t{number}"): 2 for number in range(50)}, 0
        begin = time.perf_counter()
        while rows := await store.leases.claim_due("one", TimeMs(due), shares):
            taken += len(rows)
        rate = taken / (time.perf_counter() - begin)
        if taken != due:
            raise AssertionError(f"{taken} runs were claimed, and {due} were due")
        await store.close()
        return rate, select

    rate, select = w.run(claim())
    note = f"{due:,} due among {15 * due:,} that wait, 50 tenants"
    yield Figure("claims, 100 at once", rate, "runs/s", "SELECT 1/s", 1e6 / select, 10_000, note, at_least=True)


def _far(server: Server, steps: int, runs: int) -> Iterator[Figure]:
    workflow = w.chain(steps)

    async def sequential(url: str) -> float:
        async with w.app(url, workflow) as app:
            await w.live(app, workflow, 0)
            begin = time.perf_counter()
            await w.live(app, workflow, 0)
            return (time.perf_counter() - begin) * 1000 / steps

    async def trip(port: int) -> float:
        bare = await asyncpg.connect(server.url().replace(f":{server.port}/", f":{port}/").partition("?")[0])
        each = await _each_us(lambda: bare.fetch("INSERT INTO bare VALUES ($1)", 1), 50)
        await bare.close()
        return each / 1000

    near = w.run(_rate(server.url(), runs))
    with _away(server) as port:
        url = server.url().replace(f":{server.port}/", f":{port}/")
        commit, each = w.run(trip(port)), w.run(sequential(url))
        far = w.run(_rate(server.url("far").replace(f":{server.port}/", f":{port}/"), runs))
    note = f"{FAR_S * 1000} ms there and back"
    yield Figure("durable step, server far away", each, "ms", "bare commit there", commit, commit + 1, note)
    name = f"steps of {runs:,} runs at once, server far away"
    yield Figure(name, far, "steps/s", "the same, near", near, 0.8 * near, note, at_least=True)


@contextmanager
def _away(server: Server) -> Iterator[int]:
    """The port of a way to the server that takes its time."""
    with proxy(server.port) as way:
        way.delay_s = FAR_S / 2
        yield way.port


async def _bare(server: Server) -> asyncpg.Connection:
    bare = await asyncpg.connect(server.url().partition("?")[0])
    await bare.execute("CREATE TABLE IF NOT EXISTS bare (x int)")
    return bare


async def _each_us(ask: Callable[[], Awaitable[object]], count: int) -> float:
    times = []
    for _ in range(count):
        begin = time.perf_counter_ns()
        await ask()
        times.append((time.perf_counter_ns() - begin) / 1000)
    return statistics.median(times)


async def _rate(store: str | Path, count: int) -> float:
    workflow = w.chain(STEPS)
    async with w.app(store, workflow) as app:
        await w.live(app, workflow, 0)
        begin = time.perf_counter()
        await asyncio.gather(*(w.live(app, workflow, 0) for _ in range(count)))
        return count * STEPS / (time.perf_counter() - begin)


def _rate_of_processes(url: str, count: int, processes: int) -> float:
    """By so many processes that begin when all are there."""
    w.run(_rate(url, 1))  # the schema is made
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "benchmarks.postgres", url, str(count // processes)]
    each = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(processes)
    ]
    for process in each:
        assert process.stdout is not None
        process.stdout.readline()
    begin = time.perf_counter()
    for process in each:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in each:
        if process.wait() != 0:
            raise AssertionError("a worker failed")
    return count // processes * processes * STEPS / (time.perf_counter() - begin)


async def _share(url: str, count: int) -> None:
    workflow = w.chain(STEPS)
    async with w.app(url, workflow) as app:
        await w.live(app, workflow, 0)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await asyncio.gather(*(w.live(app, workflow, 0) for _ in range(count)))


if __name__ == "__main__":
    asyncio.run(_share(sys.argv[1], int(sys.argv[2])))
