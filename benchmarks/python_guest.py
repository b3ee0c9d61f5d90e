"""The Python guest beside the JavaScript one: its size, cells of a workflow with much code, by pages and mapped."""

from __future__ import annotations

import gc
import time
import zlib
from collections.abc import Iterator

import cloche_guest
from benchmarks import histories as h
from benchmarks.figures import Figure, Scale, median_us, private_bytes
from cloche.sandbox import BaseImage, Cell, Image, cells, load_image
from cloche.sandbox.mapped_images import MappedImages

HEAD = 'from cloche import gather, step, workflow\ninc = step("inc")\n'
SEQUENTIAL = f"{HEAD}@workflow\nasync def main(n):\n    x = 0\n    for i in range(n): x = await inc(x)\n    return x\n"
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


def python_guest(_: Scale) -> Iterator[Figure]:
    """Nothing where it is not built."""
    guest = cloche_guest.find_guest("python")
    if guest is None:
        return
    packed = len(zlib.compress(guest.wasm, 9)) / 1e6
    javascript = len(zlib.compress(cloche_guest.ensure_guest().wasm, 9)) / 1e6
    yield Figure("python: guest, compressed", packed, "MB", "javascript guest", javascript, 7)
    yield from _cells(h.base("python"))


def _cells(base: BaseImage) -> Iterator[Figure]:
    bare = median_us(lambda: base.instantiate(h.LIMITS), 100)
    begun = time.perf_counter()
    image = load_image(base, LARGE, h.LIMITS)
    yield Figure("python: load 100 lines", time.perf_counter() - begun, "s", "bare instance", bare / 1e6, 0.5)
    start = h.started(10**6).pack()
    kept, cells.mapped_images = cells.mapped_images, MappedImages(lambda work: None)  # nothing is mapped: pages
    javascript = median_us(lambda: Cell(h.image(h.SMALL), h.LIMITS), 100)
    yield from _cell(image, start, "pages", javascript, (5_000, 5_000, 2.5))
    cells.mapped_images = MappedImages(lambda work: work())
    for _ in range(4):
        Cell(image, h.LIMITS)
    yield from _cell(image, start, "mapped", javascript, (300, 1_500, 0.4))
    cells.mapped_images = kept


def _cell(
    image: Image, start: bytes, how: str, baseline: float, limits: tuple[float, float, float]
) -> Iterator[Figure]:
    new = median_us(lambda: Cell(image, h.LIMITS), 50)
    yield Figure(f"python: new cell, {how}", new, "µs", "javascript cell", baseline, limits[0])
    first = median_us(lambda: Cell(image, h.LIMITS).turn([start]), 50)
    yield Figure(f"python: new cell to first commands, {how}", first, "µs", "javascript cell", baseline, limits[1])
    gc.collect()
    before = private_bytes()
    live = [Cell(image, h.LIMITS) for _ in range(100)]
    for cell in live:
        cell.turn([start])
    used = (private_bytes() - before) / len(live) / 1e6
    size = len(image.base.state) / 1e6
    yield Figure(f"python: live cell, resident, {how}", used, "MB", "base image", size, limits[2], "100 cells")
