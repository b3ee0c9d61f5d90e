"""Runs on a real store: durable steps, replay from disk, against what the disk itself needs."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks import histories as h
from benchmarks.measure import Figure, once_us
from cloche import Cloche, clone_step, create_workflow, step
from cloche.engines import Code, SandboxEngine
from cloche.history import Kind, Note, RunId, RunKey, RunMachine, Seq, TenantId
from cloche.history.replay import script
from cloche.history.values import encode_plain
from cloche.runtime import reading
from cloche.runtime.pinned import load_code
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
            raw = once_us(partial(_read_raw, store))
            whole = once_us(partial(_rebuild, store, engine))
            store.close()
        yield Figure(
            f"replay from the store, {size:,} steps", whole / size, "µs/step", "reading the rows", raw / size, 25
        )


def concurrent_runs() -> Iterator[Figure]:
    """Many runs of ten steps at once: their appends share commits."""
    workflow = _chain(10)

    async def all_of(app: Cloche, count: int) -> float:
        begin = time.perf_counter()
        runs = await asyncio.gather(*(app.start(workflow, 0) for _ in range(count)))
        for run in runs:
            (await run.result()).unwrap()
        return count * 10 / (time.perf_counter() - begin)

    async def main(store: str, count: int) -> float:
        async with Cloche(store, workflows=[workflow]) as app:
            await all_of(app, 1)
            return await all_of(app, count)

    for count in (1, 10, 100, 1_000):
        with tempfile.TemporaryDirectory(dir=".", prefix=".bench-") as name:
            commit = _sqlite_commit_us(Path(name) / "base.db")
            rate = asyncio.run(main(f"{name}/runs.db", count))
        yield Figure(f"durable steps, {count:,} runs at once", rate, "steps/s", "SQLite commits/s", 1e6 / commit)


def grouped_append() -> Iterator[Figure]:
    """What a record costs when many share a commit."""
    with tempfile.TemporaryDirectory(dir=".", prefix=".bench-") as name:
        commit = _sqlite_commit_us(Path(name) / "base.db")
        for group in (1, 100):
            store = SqliteStore(Path(name) / f"runs{group}.db")
            times = []
            for number in range(60):
                appends = [_new_run(f"{number}-{index}") for index in range(group)]
                times.append(once_us(partial(store.commit, appends)))
            store.close()
            each = statistics.median(times) / group
            yield Figure(f"append of a run's start, {group} a commit", each, "µs", "SQLite WAL FULL commit", commit)


def _new_run(run: str) -> Append:
    key = RunKey(TenantId("default"), RunId(run))
    note = Note(Kind.RUN_CREATED, h.NOW, {"workflow": "bench", "limits": {}})
    batch = RunMachine(key).accept([note, h.started(1)], STARTED_OUTPUT, h.NOW)
    return Append(key, Seq(0), batch.records, "running", None, h.NOW, NewRun("bench", "0" * 64))


STARTED_OUTPUT = encode_plain([0, 1, "inc", "inc", [0]]) + b"\xf6"


def isolation_tax() -> Iterator[Figure]:
    """The same steps without durability, under glass and as plain awaits: what the glass and the log's work in memory cost."""
    workflow = _chain(STEPS)

    async def under_glass() -> float:
        async with Cloche(workflows=[workflow]) as app:
            times = []
            for _ in range(9):
                begin = time.perf_counter_ns()
                (await (await app.start(workflow, 0)).result()).unwrap()
                times.append((time.perf_counter_ns() - begin) / 1000 / STEPS)
            return statistics.median(times)

    async def as_tasks() -> float:
        value, begin = 0, time.perf_counter_ns()
        for _ in range(STEPS):
            value = await asyncio.create_task(inc.execute(value))
        return (time.perf_counter_ns() - begin) / 1000 / STEPS

    tasks = statistics.median(asyncio.run(as_tasks()) for _ in range(9))
    yield Figure("step in memory, under glass", asyncio.run(under_glass()), "µs", "asyncio task a step", tasks)


def log_bytes() -> Iterator[Figure]:
    """How the file grows: a sequential step with a small integer in and out."""
    with tempfile.TemporaryDirectory(dir=".", prefix=".bench-") as name:
        store = SqliteStore(Path(name) / "runs.db")
        _write_history(store, SandboxEngine(), 10_000)
        row = store._select("SELECT sum(length(record)), count(*) FROM records", ())[0]
        pages = store._select("SELECT sum(pgsize) FROM dbstat WHERE name LIKE 'records%'", ())
        store.close()
    yield Figure("log bytes of a step, on disk", pages[0][0] / 10_000, "B", "bytes of its records", row[0] / 10_000)


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
