"""What the machine itself needs, measured beside every figure: a bare await, a task, a synced append, a SQLite commit."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import median_us

STEP_BYTES = 3 * (40 + 32)  # the records of a sequential step: attempt, completion, next call, each with its hash


async def inc(x: int) -> int:
    return x + 1


def await_us(count: int = 100_000) -> float:
    """An awaited call that does nothing durable."""

    async def main() -> float:
        x, begin = 0, time.perf_counter_ns()
        for _ in range(count):
            x = await inc(x)
        return (time.perf_counter_ns() - begin) / 1000 / count

    return asyncio.run(main())


def task_us(count: int = 5_000) -> float:
    """The same, each call a task: one trip round the event loop."""

    async def main() -> float:
        x, begin = 0, time.perf_counter_ns()
        for _ in range(count):
            x = await asyncio.create_task(inc(x))
        return (time.perf_counter_ns() - begin) / 1000 / count

    return asyncio.run(main())


def append_sync_us(directory: Path, size: int = STEP_BYTES, appends: int = 100) -> float:
    """`size` bytes appended to a file and synced (fdatasync)."""
    data = bytes(size)
    with (directory / "raw").open("ab", buffering=0) as out:

        def append() -> None:
            out.write(data)
            os.fdatasync(out.fileno())

        return median_us(append, appends)


def sqlite_commit_us(directory: Path, size: int = STEP_BYTES, commits: int = 100) -> float:
    """One row of `size` bytes in one synced commit (WAL, synchronous=FULL)."""
    with _table(directory) as db:

        def commit() -> None:
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO rows (data) VALUES (?)", (bytes(size),))
            db.execute("COMMIT")

        return median_us(commit, commits)


def sqlite_row_us(directory: Path, size: int = STEP_BYTES, rows: int = 1_000) -> float:
    """The same, for one of many rows in one commit."""
    with _table(directory) as db:

        def commit() -> None:
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT INTO rows (data) VALUES (?)", [(bytes(size),)] * rows)
            db.execute("COMMIT")

        return median_us(commit, 5) / rows


def python_ms() -> float:
    """A Python process that does nothing."""
    import subprocess
    import sys

    return (
        statistics.median(median_us(lambda: subprocess.run([sys.executable, "-c", "pass"]), 1) for _ in range(9)) / 1e3
    )


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory on the disk of the working directory, where a store would lie (a temporary one may be in memory)."""
    with tempfile.TemporaryDirectory(dir=".", prefix=".cloche-bench-") as name:
        yield Path(name)


@contextmanager
def _table(directory: Path) -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(directory / "baseline.db", isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, data BLOB)")
        yield db
    finally:
        db.close()
