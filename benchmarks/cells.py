"""The guest alone: making cells, one turn, loading code, replay of long histories."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from benchmarks import histories as h
from benchmarks.measure import Figure, median_us, once_us, resident_bytes
from cloche.sandbox import Cell
from cloche.sandbox import images as sandbox_images

SIZES_SEQUENTIAL = (100, 1_000, 10_000, 100_000)
SIZES_PARALLEL = (100, 1_000, 10_000)


def new_cell() -> Iterator[Figure]:
    """A cell of a small workflow, ready for its first turn: store, instance, exports, pages."""
    base, small = h.base(), h.image(h.SMALL)
    bare = median_us(lambda: base.instantiate(h.LIMITS), 300)
    yield Figure(
        "new cell, small workflow", median_us(lambda: Cell(small, h.LIMITS), 300), "µs", "bare instance", bare, 300
    )
    size = sum(len(data) for _, data in small.pages)
    yield Figure(
        "pages of a small workflow", small.page_count, "pages", "base image", len(base.state) / 4096, note=f"{size} B"
    )
    before = resident_bytes()
    cells = [Cell(small, h.LIMITS) for _ in range(200)]
    for cell in cells:
        cell.turn([h.started({"x": 1}).pack()])
    used = (resident_bytes() - before) / len(cells) / 1e6
    yield Figure(
        "live cell, resident", used, "MB", "base image", len(base.state) / 1e6, 0.8, "200 cells after their first turn"
    )


def load() -> Iterator[Figure]:
    """A new workflow's code to an image; nothing is compiled to native code."""
    base = h.base()
    variants = iter(range(10_000))

    def fresh() -> None:
        sandbox_images.load_image(base, f"{h.SMALL}\n// {next(variants)}", h.LIMITS)

    bare = median_us(lambda: base.instantiate(h.LIMITS), 100)
    yield Figure("load a workflow's code", median_us(fresh, 100) / 1000, "ms", "bare instance", bare / 1000, 20)


def live_turn() -> Iterator[Figure]:
    """One event in, one command out, as a live run does it."""
    cell = Cell(h.image(h.SEQUENTIAL), h.LIMITS)
    cell.turn([h.started(1_000_000).pack()])
    calls = iter(range(1, 1_000_000))
    turn = median_us(lambda: cell.turn([h.completed(next(calls), 1).pack()]), 2_000)
    awaits = _await_us()
    yield Figure("one live turn", turn, "µs", "bare asyncio await", awaits)


def replay() -> Iterator[Figure]:
    """Whole histories in one crossing."""
    awaits = _await_us()
    for source, name, sizes, limit in (
        (h.SEQUENTIAL, "sequential", SIZES_SEQUENTIAL, 5.0),
        (h.PARALLEL, "parallel", SIZES_PARALLEL, 12.0),
    ):
        image = h.image(source)
        for size in sizes:
            events = h.events(size)
            repeats = max(1, min(9, 30_000 // size))
            times = sorted(once_us(_replay(Cell(image, h.LIMITS), events)) for _ in range(repeats))
            per_event = times[len(times) // 2] / len(events)
            yield Figure(
                f"replay in the guest, {name}, {size:,}", per_event, "µs/event", "bare asyncio await", awaits, limit
            )


def _replay(cell: Cell, events: list[bytes]):  # type: ignore[no-untyped-def]
    return lambda: cell.turn(events)


def _await_us(count: int = 100_000) -> float:
    """What Python itself needs for an awaited call that does nothing durable."""

    async def inc(x: int) -> int:
        return x + 1

    async def main() -> float:
        x, begin = 0, time.perf_counter_ns()
        for _ in range(count):
            x = await inc(x)
        return (time.perf_counter_ns() - begin) / 1000 / count

    return asyncio.run(main())
