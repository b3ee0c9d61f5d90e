"""The boundary: what it costs to look at every byte a guest wrote, and how soon a guest that spins is stopped."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks import histories as h
from benchmarks.figures import Figure, Scale, median_us, once_us, percentile
from cloche.errors import TimeExhausted
from cloche.history.output import split_output
from cloche.history.values import decode, encode
from cloche.sandbox import Cell, Limits, load_image
from cloche.sandbox.validator import checker

SPIN = "export default async () => { for (;;) {} }"
WALL_MS = 50
ORDINARY: dict[str, list[Any]] = {
    "a step call": [0, 17, "W/reserve[3]", "reserve", [{"order": "o-17", "count": 5}]],
    "a timer": [1, 18, "nap", 1_760_000_000_000, None],
    "a log line": [4, 2, "charging order 17"],
    "a result": [7, {"order": "o-17", "total": 99.5}],
}
ITEMS = {"1 KB": 26, "1 MB": 26_000, "4 MB": 100_000}


def validation(_: Scale) -> Iterator[Figure]:
    """One pass over a command before anything is built from it, beside building it."""
    checker().result()
    for name, command in ORDINARY.items():
        data = encode(command)
        took = median_us(_splitting(data), 2_000)
        built = median_us(lambda data=data: decode(data), 2_000)  # type: ignore[misc]
        yield Figure(f"validate {name}", took, "µs", "decode it", built, 10, f"{len(data)} B")
    for name, count in ITEMS.items():
        items = [{"sku": f"sku-{i}", "count": i, "price": i * 1.5} for i in range(count)]
        data = encode([0, 17, "W/reserve[3]", "reserve", [items]])
        took = median_us(_splitting(data), 3)
        built = median_us(lambda data=data: decode(data), 3)  # type: ignore[misc]
        yield Figure(f"validate items of {name}", took, "µs", "decode it", built, note=f"{len(data) / took:.0f} MB/s")


def _splitting(data: bytes) -> Callable[[], object]:
    output = data + b"\xf6"
    return lambda: list(split_output(output))


def spin_stop(scale: Scale) -> Iterator[Figure]:
    """How long after its wall limit a guest that never ends is stopped, while another thread computes in Python."""
    limits = Limits(fuel_per_event=1 << 60, wall_ms_per_event=WALL_MS)
    image, start = load_image(h.base(), SPIN, limits), h.started(1).pack()

    def spin(cell: Cell) -> None:
        try:
            cell.turn([start])
        except TimeExhausted:
            return
        raise AssertionError("a guest that spins was not stopped")

    cells = [Cell(image, limits) for _ in range(scale.sizes(5, 60)[-1])]
    with _busy():
        pairs = [(once_us(lambda cell=cell: spin(cell)), once_us(lambda: time.sleep(WALL_MS / 1000))) for cell in cells]  # type: ignore[misc]
    late, slept = ([took / 1000 - WALL_MS for took in column] for column in zip(*pairs, strict=True))
    note = f"median {statistics.median(late):.1f} ms"
    beside = max(percentile(slept, 95), 0.1)
    yield Figure("a spinning guest is stopped late by, p95", percentile(late, 95), "ms", "a sleep", beside, 25, note)


@contextmanager
def _busy() -> Iterator[None]:
    done = threading.Event()

    def compute() -> None:
        while not done.is_set():
            sum(range(100))

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
