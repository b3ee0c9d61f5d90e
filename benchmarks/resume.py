"""Long histories in a store: going on from a checkpoint, and replaying all of them."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path

from benchmarks import histories as h
from benchmarks.baselines import scratch
from benchmarks.figures import Figure, Scale, once_us, wall_and_cpu_us
from cloche import SandboxEngine
from cloche.history import Record, Seq
from cloche.history.notes import RunCreated
from cloche.run.checkpoints import EVENTS_BETWEEN, taken
from cloche.run.clock import SystemWorld
from cloche.run.limits import RunLimits
from cloche.run.live_run import LiveRun
from cloche.run.meter import Meter
from cloche.status import RunStatus
from cloche.store import Append, Checkpoints, MemoryCheckpoints, NewRun, SqliteStore, all_records, blob_digest
from cloche.worker.worker import Worker

RESUMES = 15
REPLAYS = 5
COMMIT_STEPS = 5_000
TAIL = EVENTS_BETWEEN - 1  # the longest there is behind a checkpoint of a run that is driven


def resume(scale: Scale) -> Iterator[Figure]:
    """A run of a sequential workflow, its cell and machine rebuilt by a worker that has others open already."""
    for size in scale.sizes(100, 1_000, 10_000, 100_000, 1_000_000):
        with _stored(size) as store:
            log = store.path.stat().st_size
            whole, short, kept = asyncio.run(_resumed(store))
            asyncio.run(_extend(store, size, TAIL))
            tail = asyncio.run(_resumed_with_tail(store))
        base = "full replay, from the store"
        name = f"resume from a checkpoint at {size:,} steps"
        yield Figure(name, short, "ms", base, whole, 5, series="checkpoint", size=size)
        yield Figure(f"{name}, and {TAIL} behind it", tail, "ms", base, whole, None, "", "checkpoint and tail", size)
        yield Figure(f"checkpoint at {size:,} steps", kept / 1000, "KB", "the log, on disk", log / 1000, 60)


def replay_from_store(scale: Scale) -> Iterator[Figure]:
    """From the file to the end of the run: read, verify the chain, replay, compare every command."""
    for size in scale.sizes(1_000, 10_000, 100_000):
        with _stored(size) as store:
            raw = min(once_us(partial(_read, store)) for _ in range(REPLAYS))
            times = [wall_and_cpu_us(partial(_replay, store)) for _ in range(REPLAYS)]
        whole, cpu = (min(values) / size for values in zip(*times, strict=True))
        name, note = f"replay from the store, {size:,} steps", f"{cpu:.3g} of CPU; 3 records a step; least of {REPLAYS}"
        yield Figure(name, whole, "µs/step", "reading the rows", raw / size, 8, note, "steps", size)


def log_bytes(scale: Scale) -> Iterator[Figure]:
    """A sequential step with a small integer in and out: three records."""
    size = scale.sizes(1_000, 10_000)[-1]
    with _stored(size) as store:
        records = sum(len(record.packed) for record in asyncio.run(all_records(store, h.KEY)))
    with scratch() as directory:
        asyncio.run(SqliteStore(directory / "empty.db").close())
        empty = (directory / "empty.db").stat().st_size
        grown = asyncio.run(_written(directory / "runs.db", size)) - empty
    yield Figure("log bytes of a step, on disk", grown / size, "B", "bytes of its records", records / size)


@contextmanager
def _stored(size: int) -> Iterator[SqliteStore]:
    """A store with one open run that has done `size` steps."""
    with scratch() as directory:
        asyncio.run(_written(directory / "runs.db", size))
        store = SqliteStore(directory / "runs.db")
        try:
            yield store
        finally:
            asyncio.run(store.close())


async def _written(path: Path, size: int) -> int:
    store = SqliteStore(path)
    digest = SandboxEngine().guest()[0]
    code = h.sequential_code(digest).pack()
    await store.put_blob(blob_digest(code), code)
    await _append(store, 0, h.synthesised(size, digest), NewRun("bench", blob_digest(code)))
    await store.close()
    return path.stat().st_size


async def _extend(store: SqliteStore, size: int, steps: int) -> None:
    """The same run, `steps` further."""
    row = await store.run(h.KEY)
    assert row is not None
    turns = islice(h.synthesised(size + steps, SandboxEngine().guest()[0]), size + 1, None)
    await _append(store, row.head_seq, turns, None)


async def _append(store: SqliteStore, head: int, turns: Iterator[list[Record]], new: NewRun | None) -> None:
    while portion := list(islice(turns, COMMIT_STEPS)):
        records = [record for turn in portion for record in turn]
        await store.commit([Append(h.KEY, Seq(head), records, RunStatus.RUNNING, None, h.NOW, new)])
        head, new = records[-1].seq, None


def _read(store: SqliteStore) -> int:
    rows = store._database.connection.execute("SELECT record, hash FROM records ORDER BY run_id, seq")
    return sum(len(row[0]) for row in rows.fetchall())


def _run(store: SqliteStore, checkpoints: Checkpoints) -> LiveRun:
    engine = SandboxEngine()
    worker = Worker(store, SystemWorld(), engine, checkpoints)
    limits = RunLimits.of(RunCreated(h.NOW, limits=h.LIMITS.to_data()), h.KEY, worker.starting.counters)
    meter = Meter(worker.services.world.monotonic, engine.meter)
    return LiveRun(worker.services, h.KEY, h.sequential_code(engine.guest()[0]), limits, None, meter)


def _replay(store: SqliteStore) -> None:
    async def main() -> None:
        await _run(store, MemoryCheckpoints()).rebuild()

    asyncio.run(main())


async def _resumed(store: SqliteStore) -> tuple[float, float, int]:
    """Replayed in full and then from a checkpoint, both in ms, and the bytes of that."""
    run = _run(store, store.checkpoints)
    begin = time.perf_counter_ns()
    await run.rebuild()
    whole = (time.perf_counter_ns() - begin) / 1e6
    assert run.cell is not None
    kept = taken(h.KEY, run.machine, run.cell.freeze, run.limits.policy.checkpoint_bytes)()
    assert kept is not None
    await store.checkpoints.put(h.KEY, run.machine.head_seq, kept)
    return whole, await _resumed_with_tail(store), len(kept)


async def _resumed_with_tail(store: SqliteStore) -> float:
    times = []
    for _ in range(RESUMES):
        run = _run(store, store.checkpoints)
        begin = time.perf_counter_ns()
        await run.rebuild()
        times.append((time.perf_counter_ns() - begin) / 1e6)
        if await store.checkpoints.get(h.KEY) is None:
            raise AssertionError("the checkpoint was not used")
    return statistics.median(times)
