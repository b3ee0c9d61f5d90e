"""The store in PostgreSQL, on a server of its own with its durable defaults, beside a bare commit and beside SQLite."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks import workflows as w
from benchmarks.baselines import scratch
from benchmarks.figures import Figure, Scale
from benchmarks.postgres_server import Server, own_server
from benchmarks.rivals.catalogue import RIVALS
from benchmarks.rivals.running import absent, outcomes
from cloche import Cloche, create_step, create_workflow
from cloche.client import Workflow
from cloche.history import TenantId, TimeMs
from cloche.status import RunStatus
from cloche.store.postgres import PostgresStore
from cloche.store.postgres.statements import in_schema

ROOT = Path(__file__).parents[1]
ROUNDS = 5
STEPS = 10
FAR_S = 0.0024  # there and back
DUE = """
INSERT INTO cloche.runs (tenant, run, workflow, code, status, wake_at, created_at, updated_at, head_seq, head_hash)
SELECT 't' || n % 50, 'r' || n, 'w', 'c', 'waiting', CASE WHEN n <= {due} THEN n ELSE 1e15::bigint END, n, n, 1, ''
FROM generate_series(1, {all}) AS n
"""
PARKED = """
INSERT INTO cloche.runs (tenant, run, workflow, code, status, wake_at, created_at, updated_at, head_seq, head_hash)
SELECT 't' || n % 50, 'r' || n, 'w' || n % 3, 'c', (ARRAY['waiting', 'suspended', 'success'])[1 + n % 3],
    CASE WHEN n % 3 = 0 THEN 1e15::bigint END, n, n, 1, ''
FROM generate_series(1, {all}) AS n
"""
FILTERS: dict[str, dict[str, Any]] = {
    "all": {},
    "of a tenant": {"tenant": "t7"},
    "of a tenant by status": {"tenant": "t7", "status": RunStatus.SUSPENDED},
    "of a tenant by workflow": {"tenant": "t7", "workflow": "w1"},
}


def postgres(scale: Scale) -> Iterator[Figure]:
    """Steps one after another, many runs at once by one worker and by two, claims, and a server that is far away."""
    with own_server() as server:
        theirs = _dbos(server, scale.sizes(10, 200)[-1], scale.sizes(10, 100, 1_000)[-1])
        yield from _sequential(server, scale.sizes(10, 200)[-1], theirs)
        yield from _together(server, scale.sizes(10, 100, 1_000)[-1], theirs)
        yield from _claims(server, scale.sizes(100, 20_000)[-1])
        yield from _takeover(server)
        yield from _parked(server, scale.sizes(100, 100_000)[-1])
        yield from _listing(server, scale.sizes(1_000, 1_000_000)[-1])
        yield from _far(server, scale.sizes(10, 200)[-1], scale.sizes(10, 100, 1_000)[-1])


def _dbos(server: Server, steps: int, runs: int) -> tuple[float, float] | None:
    """µs a step of DBOS on the same server, and steps a second of many runs at once; None if it is not installed."""
    if absent(RIVALS["dbos"]):
        print(f"without DBOS beside it: {absent(RIVALS['dbos'])}", file=sys.stderr)
        return None
    server.psql("DROP DATABASE IF EXISTS dbos")
    server.psql("CREATE DATABASE dbos")
    url = f"postgresql+psycopg://postgres@127.0.0.1:{server.port}/dbos"
    rows = list(outcomes(RIVALS["dbos"], "dbos_postgres.py", url, str(steps), str(runs)))
    if any("failed" in row for row in rows):
        raise AssertionError(f"DBOS: {rows[-1]['failed']}")
    return rows[0]["us_per_step"], 1e6 / rows[1]["us_per_step"]


def _sequential(server: Server, count: int, theirs: tuple[float, float] | None) -> Iterator[Figure]:
    workflow = w.chain(count)
    steps, commits, selects, in_memory = [], [], [], []

    async def rounds() -> None:
        bare = await _bare(server)
        async with w.app(server.url(), workflow) as app, w.app("memory:", workflow) as without:
            await w.live(app, workflow, 0)
            await w.live(without, workflow, 0)
            for _ in range(ROUNDS):  # interleaved, so that a noisy minute meets all of them alike
                in_memory.append(await _each_step_us(without, workflow, count))
                commits.append(await _each_us(lambda: bare.fetch("INSERT INTO bare VALUES ($1)", 1), 100))
                selects.append(await _each_us(lambda: bare.fetch("SELECT 1"), 100))
                steps.append(await _each_step_us(app, workflow, count))
        await bare.close()

    w.run(rounds())
    commit, each, select, alone = map(statistics.median, (commits, steps, selects, in_memory))
    yield Figure("durable step on PostgreSQL", each, "µs", "bare commit of one row", commit, commit + 450)
    floor = "a bare commit, and a step without a store"
    yield Figure("durable step on PostgreSQL", each, "µs", floor, commit + alone)
    yield Figure("durable step on PostgreSQL", each, "µs", "SELECT 1", select)
    if theirs is not None:
        yield Figure("durable step on PostgreSQL", each, "µs", "DBOS, same server", theirs[0])


async def _each_step_us(app: Cloche, workflow: Workflow, count: int) -> float:
    begin = time.perf_counter_ns()
    await w.live(app, workflow, 0)
    return (time.perf_counter_ns() - begin) / 1000 / count


def _together(server: Server, count: int, theirs: tuple[float, float] | None) -> Iterator[Figure]:
    with scratch() as directory:
        embedded = w.run(_rate(directory / "runs.db", count))
    one = w.run(_rate(server.url(), count))
    two = _rate_of_processes(server.url(), count, 2)
    name = f"steps of {count:,} runs at once on PostgreSQL"
    yield Figure(f"{name}, 1 worker", one, "steps/s", "SQLite, 1 worker", embedded, 0.8 * embedded, at_least=True)
    yield Figure(f"{name}, 2 workers", two, "steps/s", "SQLite, 1 worker", embedded, 1.2 * embedded, at_least=True)
    if theirs is not None:
        yield Figure(f"{name}, 1 worker", one, "steps/s", "DBOS, same server", theirs[1], 5 * theirs[1], at_least=True)


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


def _takeover(server: Server) -> Iterator[Figure]:
    """From kill -9 of a worker until another one has all its runs."""
    url = server.url()

    async def measure() -> tuple[float, float]:
        slow = _slow(60)
        with _process("victim", url, "10") as victim:
            async with w.app(url, slow) as app:
                database = _database(app._running.store)
                select = await _each_us(lambda: database.read("SELECT 1"), 50)
                victim.kill()
                begin = time.perf_counter()
                owners = "SELECT count(*) AS left FROM cloche.runs WHERE owner IS DISTINCT FROM $1"
                while (await database.read(owners, app._running.claims.worker))[0]["left"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                return time.perf_counter() - begin, select

    took, select = w.run(measure())
    yield Figure("takeover of 10 runs after kill -9", took, "s", "SELECT 1", select / 1e6, 1.5)


def _parked(server: Server, count: int) -> Iterator[Figure]:
    """How long a worker takes to be there where many runs wait for data or for a time that is far away."""
    url = server.url()

    async def measure() -> tuple[float, float]:
        async with w.app(url, w.chain(1)) as app:
            select = await _each_us(lambda: _database(app._running.store).read("SELECT 1"), 50)
        _fill(server, url, PARKED.format(all=count))
        begin = time.perf_counter()
        async with w.app(url, w.chain(1)) as app:
            took = time.perf_counter() - begin
            await w.live(app, w.chain(1), 0)
        return took, select

    took, select = w.run(measure())
    yield Figure(f"start of a worker, {count:,} runs wait", took, "s", "SELECT 1", select / 1e6, 2.0)


def _listing(server: Server, count: int) -> Iterator[Figure]:
    url = server.url()

    async def measure() -> tuple[dict[str, float], float]:
        store = await PostgresStore.open(url)
        _fill(server, url, PARKED.format(all=count))
        select = await _each_us(lambda: store._database.read("SELECT 1"), 50)
        found = {}
        for name, filters in FILTERS.items():
            found[name] = await _each_us(lambda filters=filters: store.runs(limit=50, **filters), 20)  # type: ignore[misc]
        await store.close()
        return found, select

    found, select = w.run(measure())
    for name, each in found.items():
        note = f"{count:,} runs"
        yield Figure(f"a page of 50 runs, {name}", each / 1000, "ms", "SELECT 1", select / 1000, 50.0, note)


def _fill(server: Server, url: str, sql: str) -> None:
    schema = url.partition("schema=")[2]
    server.psql(in_schema(sql, schema))
    server.psql(f"VACUUM ANALYZE {schema}.runs")


def _database(store: Any) -> Any:
    return store._database


def _slow(seconds: float) -> Workflow:
    async def slow(data: int) -> int:
        await asyncio.sleep(seconds)
        return data

    return create_workflow(id="slow", input_schema=int).then(create_step(id="slow", execute=slow)).commit()


def _far(server: Server, steps: int, runs: int) -> Iterator[Figure]:
    workflow = w.chain(steps)

    async def sequential(url: str, port: int) -> tuple[float, float]:
        """ms of a bare commit and of a step, each the median of rounds in turns."""
        bare = await asyncpg.connect(server.url().replace(f":{server.port}/", f":{port}/").partition("?")[0])
        commits, each = [], []
        async with w.app(url, workflow) as app:
            await w.live(app, workflow, 0)
            for _ in range(ROUNDS):
                commits.append(await _each_us(lambda: bare.fetch("INSERT INTO bare VALUES ($1)", 1), 50) / 1000)
                begin = time.perf_counter()
                await w.live(app, workflow, 0)
                each.append((time.perf_counter() - begin) * 1000 / steps)
        await bare.close()
        return statistics.median(commits), statistics.median(each)

    near = w.run(_rate(server.url(), runs))
    with _away(server) as port:
        url = server.url().replace(f":{server.port}/", f":{port}/")
        commit, each = w.run(sequential(url, port))
        far = w.run(_rate(server.url("far").replace(f":{server.port}/", f":{port}/"), runs))
    note = f"{FAR_S * 1000} ms there and back"
    yield Figure("durable step, server far away", each, "ms", "bare commit there", commit, commit + 1, note)
    name = f"steps of {runs:,} runs at once, server far away"
    yield Figure(name, far, "steps/s", "the same, near", near, 0.8 * near, note, at_least=True)


@contextmanager
def _away(server: Server) -> Iterator[int]:
    """The port of a way to the server that takes its time, in a process of its own: the worker does not compute for it."""
    command = [sys.executable, "-m", "benchmarks.proxy", str(server.port), str(FAR_S / 2)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_environment()) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


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
    with ExitStack() as stack:
        each = [stack.enter_context(_process("share", url, str(count // processes))) for _ in range(processes)]
        begin = time.perf_counter()
        for process in each:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in each:
            if process.wait() != 0:
                raise AssertionError("a worker failed")
        return count // processes * processes * STEPS / (time.perf_counter() - begin)


@contextmanager
def _process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """This file as a script, when it is ready."""
    command = [sys.executable, "-m", "benchmarks.postgres", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=_environment()) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise AssertionError(f"{' '.join(command)} did not begin")
            yield process
        finally:
            process.kill()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}


async def _share(url: str, count: int) -> None:
    workflow = w.chain(STEPS)
    async with w.app(url, workflow) as app:
        await w.live(app, workflow, 0)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await asyncio.gather(*(w.live(app, workflow, 0) for _ in range(count)))


async def _victim(url: str, count: int) -> None:
    slow = _slow(60)
    async with w.app(url, slow) as app:
        await asyncio.gather(*(app.start(slow, number) for number in range(count)))
        print("ready", flush=True)
        await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run({"share": _share, "victim": _victim}[sys.argv[1]](sys.argv[2], int(sys.argv[3])))
