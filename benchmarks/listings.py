"""Pages of runs in a store with very many: how long each takes. `python -m benchmarks.listings [--runs N] [postgresql://…]`

The store is filled with rows of runs and marks alone, by SQL: there are no records, so text cannot be looked for.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from cloche.history import TenantId, TimeMs
from cloche.history.marks import ERROR, STEP
from cloche.operations.finding import find
from cloche.status import RunStatus
from cloche.store import RunFilter, Store, open_store
from cloche.store.postgres import PostgresStore
from cloche.store.postgres.address import Address

RUNS = 1_000_000
TENANT = TenantId("default")
PAGE = 100
TIMES = 5
# Of 20 runs 15 have succeeded, one has failed, two wait, one is suspended, one is canceled; each is a second younger.
_STATUS = (
    "CASE WHEN n % 20 < 15 THEN 'success' WHEN n % 20 = 15 THEN 'failed' WHEN n % 20 < 18 THEN 'waiting' "
    "WHEN n % 20 = 18 THEN 'suspended' ELSE 'canceled' END"
)
_ROWS = (
    f"'default', 'r' || n, 'w' || (n % 7), 'c', {_STATUS}, CASE WHEN n % 20 IN (16, 17) THEN 253402300799999 END, "
    "n * 1000, n * 1000, 3, "
)
_COLUMNS = "tenant, run, workflow, code, status, wake_at, created_at, updated_at, head_seq, head_hash"
_SERIES = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {runs})"
_MARKS = (
    "INSERT INTO {schema}marks (tenant, run_id, name, value) SELECT tenant, id, 'tag customer', 'c-' || (id % 5000) "
    "FROM {schema}runs WHERE id % 4 = 0",
    f"INSERT INTO {{schema}}marks (tenant, run_id, name, value) SELECT tenant, id, '{ERROR}', "
    "CASE WHEN id % 3 = 0 THEN 'Declined' ELSE 'ValueError' END FROM {schema}runs WHERE status = 'failed'",
    f"INSERT INTO {{schema}}marks (tenant, run_id, name, value) SELECT tenant, id, '{STEP}', 'charge' "
    "FROM {schema}runs WHERE status = 'failed'",
)


async def fill(store: Store, url: str, runs: int) -> None:
    """Rows of so many runs, in a store that is there and empty."""
    if isinstance(store, PostgresStore):
        import asyncpg

        address, schema = url.split("?")[0], f"{Address.parse(url).schema}."
        connection = await asyncpg.connect(address)
        series = f"FROM generate_series(1::bigint, {runs}) AS n"
        await connection.execute(f"INSERT INTO {schema}runs ({_COLUMNS}) SELECT {_ROWS} ''::bytea {series}")
        for marks in _MARKS:
            await connection.execute(marks.format(schema=schema))
        await connection.execute("ANALYZE")
        await connection.close()
        return
    with sqlite3.connect(url) as db:
        db.execute(f"INSERT INTO runs ({_COLUMNS}) {_SERIES.format(runs=runs)} SELECT {_ROWS} x'00' FROM s")
        for marks in _MARKS:
            db.execute(marks.format(schema=""))
    db.close()


def asked(runs: int) -> dict[str, Callable[[Store], Awaitable[Any]]]:
    """What somebody looks for, by name."""

    def page(**filter: Any) -> Callable[[Store], Awaitable[Any]]:
        return lambda store: find(store, RunFilter(TENANT, **filter), None, PAGE, None)

    waiting, old = RunStatus.WAITING, TimeMs(runs * 500)
    return {
        "the newest": page(),
        "failed": page(status=RunStatus.FAILED),
        "failed or canceled": page(status=(RunStatus.FAILED, RunStatus.CANCELED)),
        "of a workflow": page(workflow="w3"),
        "failed, of a workflow": page(status=RunStatus.FAILED, workflow="w3"),
        "with a tag": page(marks={"tag customer": "c-16"}),
        "with an error": page(marks={ERROR: "Declined"}),
        "with an error and a tag": page(marks={ERROR: "Declined", "tag customer": "c-16"}),
        "since just now": page(since=TimeMs(runs * 1000 - 60_000)),
        "waiting, half as old as all": page(status=waiting, until=old),
        "waiting, older than all": page(status=waiting, until=TimeMs(1)),
        "of all, older than half": page(until=old),
        "failures": lambda store: store.failures(RunFilter(TENANT), limit=100),
        "failures of a day": lambda store: store.failures(
            RunFilter(TENANT, since=TimeMs(runs * 1000 - 86_400_000)), limit=100
        ),
        "open, by status": lambda store: store.count_open(),
    }


async def measure(store: Store, runs: int, names: Sequence[str] = ()) -> None:
    for name, ask in asked(runs).items():
        if names and name not in names:
            continue
        taken = []
        for _ in range(TIMES):
            began = perf_counter()
            await ask(store)
            taken.append((perf_counter() - began) * 1000)
        print(f"{name:30}  {sorted(taken)[TIMES // 2]:9.1f} ms  (first {taken[0]:.1f})", flush=True)


async def main(url: str | None, runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        where = url or str(Path(folder) / "listings.db")
        store = await open_store(where)
        try:
            began = perf_counter()
            await fill(store, where, runs)
            print(f"{runs:,} runs in {perf_counter() - began:.1f} s", flush=True)
            await measure(store, runs)
        finally:
            await store.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", help="an empty store of PostgreSQL; without it a new one of SQLite")
    parser.add_argument("--runs", type=int, default=RUNS)
    given = parser.parse_args()
    asyncio.run(main(given.url, given.runs))
