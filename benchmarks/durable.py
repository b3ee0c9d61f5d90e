"""Runs on a real store: durable steps, replay from disk, against what the disk itself needs."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import histories as h
from benchmarks.measure import Figure, once_us
from cloche import Cloche, clone_step, create_workflow, step
from cloche.engines import Code, SandboxEngine
from cloche.history import RunMachine, Seq
from cloche.history.replay import script
from cloche.runtime import reading
from cloche.runtime.scheduler import load_code
from cloche.store import Append, NewRun, SqliteStore, blob_digest

STEPS = 200


@step(id="inc")
async def inc(data: int) -> int:
    return data + 1


def _chain(length: int):  # type: ignore[no-untyped-def]
    workflow = create_workflow(id=f"chain-{length}", input_schema=int)
    for number in range(length):
        workflow.then(clone_step(inc, id=f"s{number}"))
    return workflow.commit()


def sequential_steps() -> Iterator[Figure]:
    """One run, one step after another: what a step costs above the one commit that it needs."""
    workflow = _chain(STEPS)

    async def rounds(store: str, directory: Path) -> tuple[list[float], list[float], list[float]]:
        steps, commits, syncs = [], [], []
        async with Cloche(store, workflows=[workflow]) as app:
            await (await app.start(workflow, 0)).result()
            for number in range(7):  # interleaved, so that a noisy minute meets all three alike
                commits.append(_sqlite_commit_us(directory / f"base{number}.db"))
                syncs.append(_append_sync_us(directory / "raw"))
                begin = time.perf_counter_ns()
                await (await app.start(workflow, 0)).result()
                steps.append((time.perf_counter_ns() - begin) / 1000 / STEPS)
        return steps, commits, syncs

    with tempfile.TemporaryDirectory(dir=".", prefix=".bench-") as name:
        directory = Path(name)
        steps, commits, syncs = asyncio.run(rounds(str(directory / "runs.db"), directory))
    commit, each, sync = map(statistics.median, (commits, steps, syncs))
    yield Figure("sequential durable step", each, "µs", "SQLite WAL FULL commit, same bytes", commit, commit + 300)
    yield Figure("sequential durable step", each, "µs", "append + fdatasync, same bytes", sync)
    yield Figure("sequential durable steps", 1e6 / each, "steps/s", "SQLite commits/s", 1e6 / commit)


def _sqlite_commit_us(file: Path, commits: int = 100) -> float:
    """One row of the same size in one synced commit."""
    db = sqlite3.connect(file, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, data BLOB)")
    times = []
    for _ in range(commits):
        begin = time.perf_counter_ns()
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO rows (data) VALUES (?)", (bytes(_bytes_per_step()),))
        db.execute("COMMIT")
        times.append(time.perf_counter_ns() - begin)
    db.close()
    return statistics.median(times) / 1000


def _append_sync_us(file: Path, appends: int = 100) -> float:
    times = []
    with file.open("ab", buffering=0) as out:
        for _ in range(appends):
            begin = time.perf_counter_ns()
            out.write(bytes(_bytes_per_step()))
            os.fdatasync(out.fileno())
            times.append(time.perf_counter_ns() - begin)
    return statistics.median(times) / 1000


def _bytes_per_step() -> int:
    """Records of one sequential step: attempt, completion, next call, each with its hash."""
    return 3 * (40 + 32)


def replay_from_store() -> Iterator[Figure]:
    """From the file to the end of the run: read, verify the chain, replay, compare every command."""
    engine = SandboxEngine()
    for size in (1_000, 10_000, 100_000):
        with tempfile.TemporaryDirectory(dir=".", prefix=".bench-") as name:
            store = SqliteStore(Path(name) / "runs.db")
            _write_history(store, engine, size)
            raw = once_us(lambda store=store: _read_raw(store))  # type: ignore[misc]
            whole = once_us(lambda store=store: _rebuild(store, engine))  # type: ignore[misc]
            store.close()
        yield Figure(
            f"replay from the store, {size:,} steps", whole / size, "µs/step", "reading the rows", raw / size, 25
        )


def _write_history(store: SqliteStore, engine: SandboxEngine, size: int) -> None:
    digest, wasm = engine.guest()
    code = Code("bench", digest, h.SEQUENTIAL, {}, "")
    store.put_blob(digest, wasm)
    store.put_blob(blob_digest(code.pack()), code.pack())
    machine = RunMachine(h.KEY)
    records = []
    for number, (_, facts, output) in enumerate(h.machine_batches(h.SEQUENTIAL, size)):
        if number == 0:
            facts = [h.created(code, digest), *facts]
        records += machine.accept(facts, output, h.NOW).records
    new = NewRun("bench", blob_digest(code.pack()))
    store.commit([Append(h.KEY, Seq(0), records, "success", None, h.NOW, new)])


def _read_raw(store: SqliteStore) -> int:
    return sum(len(row[0]) for row in store._select("SELECT record, hash FROM records ORDER BY run_id, seq", ()))


def _rebuild(store: SqliteStore, engine: SandboxEngine) -> None:
    records = list(store.records(h.KEY))
    machine = RunMachine(h.KEY)
    for record in records:
        machine.absorb(record)
    part = script(records)
    code = load_code(store, reading.row_of(store, h.KEY).code)
    cell = engine.open(code, lambda: b"", h.LIMITS.to_data())
    if cell.turn(part.events) != b"".join(part.expected):
        raise AssertionError("the replay did not give what was recorded")
