"""The guest alone: making cells, one turn, loading code, replay of long histories, two cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

from benchmarks import histories as h
from benchmarks.baselines import await_us
from benchmarks.figures import Figure, Scale, median_us, once_us, wall_and_cpu_us
from cloche.engines import Language
from cloche.sandbox import Cell, load_image

REPLAYED_MAX = 30_000  # events of the repeats of one figure: short histories are replayed more often
GOAL_SIZE_MIN = 1_000
BUSY_TURNS = 8  # on each road of `two_cores`; 0.1 s of computing each
BUSY_LOOPS = 400_000
_Shape = tuple[str, Language, str, Callable[[int], list[bytes]], tuple[int, ...], float]


def new_cell(_: Scale) -> Iterator[Figure]:
    """A cell of a small workflow: store, instance, exports, pages."""
    base, small = h.base(), h.image(h.SMALL)
    bare = median_us(lambda: base.instantiate(h.LIMITS), 300)
    cell = median_us(lambda: Cell(small, h.LIMITS), 300)
    yield Figure("new cell, small workflow", cell, "µs", "bare instance", bare, 300)
    size = sum(len(data) for _, data in small.pages)
    whole = len(base.state) / 4096
    yield Figure("pages of a small workflow", small.page_count, "pages", "base image", whole, note=f"{size} B")


def load(_: Scale) -> Iterator[Figure]:
    """A new workflow's code to an image; nothing is compiled to native code."""
    base, variants = h.base(), count()
    bare = median_us(lambda: base.instantiate(h.LIMITS), 100)
    fresh = median_us(lambda: load_image(base, f"{h.SMALL}\n// {next(variants)}", h.LIMITS), 100)
    yield Figure("load a workflow's code", fresh / 1000, "ms", "bare instance", bare / 1000, 20)


def live_turn(_: Scale) -> Iterator[Figure]:
    """One event in, one command out, as a live run does it."""
    shapes: list[tuple[str, str, Language]] = [("one live turn", h.SEQUENTIAL, "javascript")]
    if h.has_python():
        shapes.append(("one live turn, Python guest", h.PY_SEQUENTIAL, "python"))
    for name, source, language in shapes:
        cell = h.cell(source, language)
        cell.turn([h.started(1_000_000).pack()])
        calls = iter([h.completed(call, 1).pack() for call in range(1, 2_001)])
        turn = median_us(lambda cell=cell, calls=calls: cell.turn([next(calls)]), 2_000)  # type: ignore[misc]
        yield Figure(name, turn, "µs", "bare asyncio await", await_us())


def replay(scale: Scale) -> Iterator[Figure]:
    """Whole histories in one crossing. A step of a sequential workflow is one event and one command."""
    awaits = await_us()
    for name, language, source, events_of, sizes, goal in _shapes():
        image = h.image(source, language)
        for size in scale.sizes(*sizes):
            events = events_of(size)
            times = [_replay_us(Cell(image, h.LIMITS), events) for _ in range(max(1, min(9, REPLAYED_MAX // size)))]
            each, cpu = (sorted(values)[len(times) // 2] / len(events) for values in zip(*times, strict=True))
            note = f"{cpu:.3g} of CPU"
            label = f"replay in the guest, {name}, {size:,}"
            # A short history is mostly the start of its run: the goal is about what an event adds.
            aim = goal if size >= GOAL_SIZE_MIN else None
            yield Figure(label, each, "µs/event", "bare asyncio await", awaits, aim, note, name, size)


def _shapes() -> list[_Shape]:
    most = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
    shapes: list[_Shape] = [
        ("sequential", "javascript", h.SEQUENTIAL, h.events, most, 3.0),
        ("parallel", "javascript", h.PARALLEL, h.events, most[:-2], 8.0),  # a guest may ask for 100,000 calls at once
        ("mixed", "javascript", h.MIXED, h.mixed_events, most, 8.0),
    ]
    if h.has_python():
        shapes += [
            ("sequential, Python", "python", h.PY_SEQUENTIAL, h.events, most, 5.0),
            ("parallel, Python", "python", h.PY_PARALLEL, h.events, most[:-2], 8.0),
        ]
    return shapes


def _replay_us(cell: Cell, events: list[bytes]) -> tuple[float, float]:
    return wall_and_cpu_us(lambda: cell.turn(events))


def two_cores(_: Scale) -> Iterator[Figure]:
    """Turns that compute, of runs that know nothing of each other, on two threads and on one."""
    image = h.image(h.BUSY)
    start = h.started(BUSY_LOOPS).pack()
    cells = iter([Cell(image, h.LIMITS) for _ in range(BUSY_TURNS * 6)])

    def turns(threads: int) -> float:
        batch = [next(cells) for _ in range(BUSY_TURNS)]
        with ThreadPoolExecutor(threads) as pool:
            return once_us(lambda: list(pool.map(lambda cell: cell.turn([start]), batch)))

    pairs = [(turns(1), turns(2)) for _ in range(3)]
    one, two = min(one for one, _ in pairs), min(two for _, two in pairs)
    note = f"{os.cpu_count()} cores"
    yield Figure("two threads, guest-bound work", one / two, "x one", "one thread", 1.0, 1.6, note, at_least=True)
