"""The Python guest beside the JavaScript one: cells, memory, load, replay."""

from __future__ import annotations

import gc
import sys
import time
import zlib
from collections.abc import Iterator

import cloche_guest
from benchmarks import histories as h
from benchmarks.measure import Figure, median_us, once_us, resident_bytes
from cloche.sandbox import BaseImage, Cell, Image, base_image, cells, load_image
from cloche.sandbox.hot import HotImages

HEAD = 'from cloche import gather, step, workflow\ninc = step("inc")\n'
SEQUENTIAL = f"{HEAD}@workflow\nasync def main(n):\n    x = 0\n    for i in range(n): x = await inc(x)\n    return x\n"
PARALLEL = f"{HEAD}@workflow\nasync def main(n): return len(await gather(*[inc(i) for i in range(n)]))\n"
_ITEM = """
@dataclass
class Item{0}:
    name: str
    price: float = 0.0
    count: int = 1
    tags: list = field(default_factory=list)
    def total(self):
        return self.price * self.count
PATTERN{0} = re.compile(r"^([a-z]+)-(\\d{{{0},9}})(?:x|y[^z]*)+$")
def choose{0}(a, b=2, *others):
    if a > b:
        return [other for other in others if other]
    return {{"a": a, "b": b, "match": bool(PATTERN{0}.match("abc-123x"))}}
"""
LARGE = "import re\nfrom dataclasses import dataclass, field\n" + "".join(map(_ITEM.format, range(1, 8))) + SEQUENTIAL


def python_guest() -> Iterator[Figure]:
    """Everything of the Python guest; says so where it is not built."""
    guest = cloche_guest.find_guest("python")
    if guest is None:
        print("  the Python guest is not built: make guest-python", file=sys.stderr)
        return
    base = base_image(guest.digest, guest.wasm)
    packed = len(zlib.compress(guest.wasm, 9)) / 1e6
    javascript = len(zlib.compress(cloche_guest.ensure_guest().wasm, 9)) / 1e6
    yield Figure("python: guest, compressed", packed, "MB", "javascript guest", javascript, 7)
    yield from _cells(base)
    yield from _replay(base)


def _cells(base: BaseImage) -> Iterator[Figure]:
    bare = median_us(lambda: base.instantiate(h.LIMITS), 100)
    begun = time.perf_counter()
    image = load_image(base, LARGE, h.LIMITS)
    yield Figure("python: load 100 lines", time.perf_counter() - begun, "s", "bare instance", bare / 1e6, 0.5)
    start = h.started(10**6).pack()
    kept, cells.hot_images = cells.hot_images, HotImages(lambda work: None)  # nothing becomes hot: pages
    javascript = median_us(lambda: Cell(h.image(h.SMALL), h.LIMITS), 100)
    yield from _cell(image, start, "pages", javascript, (5_000, 5_000, 2.5))
    cells.hot_images = HotImages(lambda work: work())
    for _ in range(4):
        Cell(image, h.LIMITS)
    yield from _cell(image, start, "hot", javascript, (300, 1_500, 0.4))
    cells.hot_images = kept


def _cell(
    image: Image, start: bytes, how: str, baseline: float, limits: tuple[float, float, float]
) -> Iterator[Figure]:
    new = median_us(lambda: Cell(image, h.LIMITS), 50)
    yield Figure(f"python: new cell, {how}", new, "µs", "javascript cell", baseline, limits[0])
    first = median_us(lambda: Cell(image, h.LIMITS).turn([start]), 50)
    yield Figure(f"python: new cell to first commands, {how}", first, "µs", "javascript cell", baseline, limits[1])
    gc.collect()
    before = resident_bytes()
    live = [Cell(image, h.LIMITS) for _ in range(100)]
    for cell in live:
        cell.turn([start])
    used = (resident_bytes() - before) / len(live) / 1e6
    size = len(image.base.state) / 1e6
    yield Figure(f"python: live cell, resident, {how}", used, "MB", "base image", size, limits[2], "100 cells")


def _replay(base: BaseImage) -> Iterator[Figure]:
    for source, other, name, limit in (
        (SEQUENTIAL, h.SEQUENTIAL, "sequential", 6.0),
        (PARALLEL, h.PARALLEL, "parallel", 15.0),
    ):
        image, javascript = load_image(base, source, h.LIMITS), h.image(other)
        for size in (1_000, 10_000, 100_000) if name == "sequential" else (1_000, 10_000):
            events = h.events(size)
            times = [once_us(_turn(Cell(image, h.LIMITS), events)) / len(events) for _ in range(5)]
            beside = [once_us(_turn(Cell(javascript, h.LIMITS), events)) / len(events) for _ in range(5)]
            yield Figure(
                f"python: replay, {name}, {size:,}",
                sorted(times)[2],
                "µs/event",
                "javascript",
                sorted(beside)[2],
                limit,
            )


def _turn(cell: Cell, events: list[bytes]):  # type: ignore[no-untyped-def]
    return lambda: cell.turn(events)
