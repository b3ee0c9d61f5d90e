"""What runs take of memory: live ones a cell, parked ones a row on disk."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import histories as h
from benchmarks.baselines import scratch
from benchmarks.figures import Figure, Scale, private_bytes
from cloche.engines import Language
from cloche.history import CallId, RunId, RunKey, RunMachine, Seq, TenantId, TimeMs
from cloche.history.notes import AttemptStarted, RunCreated
from cloche.history.values import encode_plain
from cloche.sandbox import Cell
from cloche.status import RunStatus
from cloche.store import Append, NewRun, SqliteStore, blob_digest

GB = 1_000_000_000
FAR = TimeMs(4_000_000_000_000)  # the year 2096
CELLS = 500
COMMIT_RUNS = 500


def live_memory(_: Scale) -> Iterator[Figure]:
    """Cells after their first turn, each of its own run."""
    shapes: list[tuple[str, str, Language]] = [("JavaScript", h.SMALL, "javascript")]
    if h.has_python():
        shapes.append(("Python", h.PY_SEQUENTIAL, "python"))
    for name, source, language in shapes:
        image, start = h.image(source, language), h.started(1).pack()
        first = Cell(image, h.LIMITS)
        first.turn([start])
        before = private_bytes()
        cells = [Cell(image, h.LIMITS) for _ in range(CELLS)]
        for cell in cells:
            cell.turn([start])
        used = (private_bytes() - before) / CELLS
        state = len(first.state())
        note = f"{CELLS} cells"
        yield Figure(f"live cell, {name}, resident", used / 1e6, "MB", "its whole state", state / 1e6, note=note)
        label = f"live cells a GB, {name}"
        yield Figure(label, GB / used, "cells", "as whole states", GB / state, 1_200, note, at_least=True)


_OPENED = """
import asyncio, sys, time
sys.path.insert(0, sys.argv[2])  # `benchmarks` is not installed
from cloche import Cloche
from benchmarks.figures import private_bytes

async def main(store):
    begin = time.perf_counter()
    async with Cloche(store):
        seconds = time.perf_counter() - begin
        await asyncio.sleep(0.1)
        print(private_bytes(), seconds)

asyncio.run(main(sys.argv[1]))
"""


def parked_memory(scale: Scale) -> Iterator[Figure]:
    """What a worker takes, and how long it needs, that was started on a store full of runs that wait: beside an empty one."""
    for count in scale.sizes(1_000, 10_000, 100_000):
        for status, wake_at in (("suspended", None), ("waiting", FAR)):
            with scratch() as directory:
                empty, full = directory / "empty.db", directory / "full.db"
                asyncio.run(SqliteStore(empty).close())
                size = asyncio.run(_write_parked(full, count, status, wake_at))
                (full_bytes, full_s), (empty_bytes, empty_s) = _worker(full), _worker(empty)
                above = (full_bytes - empty_bytes) / 1e6
            what = "a timer" if wake_at else "somebody"
            name, label = f"{count:,} runs that wait for {what}, above none", f"waiting for {what}"
            yield Figure(name, above, "MB", "their rows on disk", size / 1e6, 20, series=label, size=count)
            start = f"start of a worker, {count:,} runs wait for {what}"
            yield Figure(start, full_s * 1000, "ms", "on an empty store", empty_s * 1000, 2_000)


def _worker(store: Path) -> tuple[int, float]:
    """The memory of a worker that was started on `store`, and the seconds until it was."""
    command = [sys.executable, "-c", _OPENED, str(store), str(Path(__file__).parents[1])]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    size, seconds = done.stdout.split()
    return int(size), float(seconds)


async def _write_parked(path: Path, count: int, status: str, wake_at: TimeMs | None) -> int:
    """A store with `count` such runs, and its size."""
    store = SqliteStore(path)
    for first in range(0, count, COMMIT_RUNS):
        numbers = range(first, min(first + COMMIT_RUNS, count))
        await store.commit([_parked(f"r{number}", status, wake_at) for number in numbers])
    await store.close()
    return path.stat().st_size


def _parked(run: str, status: str, wake_at: TimeMs | None) -> Append:
    """A run that has asked for one thing: a step that suspended, or a timer."""
    key = RunKey(TenantId("default"), RunId(run))
    machine = RunMachine(key)
    created = RunCreated(h.NOW, "bench")
    asked = [1, 1, "nap", wake_at, None] if wake_at else [0, 1, "ask", "ask", [1]]
    records = machine.accept([created, h.started(1)], encode_plain(asked) + b"\xf6", h.NOW).records
    if not wake_at:
        attempt = AttemptStarted(h.NOW, CallId(1), 1)
        suspended = h.suspended(1, "ask")
        records = [*records, *machine.accept([attempt, suspended], b"\xf6", h.NOW).records]
    return Append(key, Seq(0), records, RunStatus(status), wake_at, h.NOW, NewRun("bench", blob_digest(b"bench")))
