"""The last words before the memory is kept: the driver gets its functions, the outside is closed, the heap is settled."""

from __future__ import annotations

import gc
import hashlib
import os
import random
import sys
from importlib import import_module
from typing import Any

import _cloche

from . import bundles, digests, files, lines, numbers, outside, places, sources, store, values

loop: Any = import_module("cloche._loop")  # after `places`, which completes the driver's module
failures: Any = import_module("cloche._failures")
aio: Any = import_module("_world.aio")
driver: Any = _cloche


def report(error: BaseException) -> dict[str, Any]:
    """The failure of code that could not be loaded, with the place in its source where that is known."""
    failure = dict(loop.failure(error))
    if inner := places.module(error):
        failure["message"] = f"{failure['message']} (in {inner}, which it imports)"
    where = places.place(error)
    return {**failure, "data": where} if where else failure


def load(source: str) -> None:
    """What the code has made stays: the collector need not look at it in each cell again, which would dirty its pages."""
    if "asyncio" in source:  # or a file of its: then it runs as a task of asyncio's, which `asyncio.timeout` asks for
        loop.around = aio.as_task
    source = bundles.opened(source)
    sources.show(places.SOURCE, source)
    loop.load(source)
    gc.freeze()


def begin(seed: bytes) -> None:
    """`random`'s own functions repeat in each replay."""
    random.seed(seed)
    aio.begin()


def settle() -> None:
    """Everything that is there now stays for ever: no collection looks at it, and nobody counts its references."""
    store.forget()
    gc.collect()
    found: list[Any] = gc.get_objects()
    seen = {id(found), id(sys._getframe()), *map(id, found)}
    found[:] = [item for item in found if type(item).__name__ != "frame"]
    for item in found:  # it grows meanwhile
        for inner in gc.get_referents(item):
            if id(inner) not in seen:
                seen.add(id(inner))
                found.append(inner)
    keep(found)


# What a bytes object takes beside its contents (CPython 3.14, 32 bit): reference count, type, size, hash and a NUL.
_HEADER_BYTES = 17
# Sizes of holes, largest first, and how many fillers that land above everything are held before the next size is tried. Steps
# of 4 bytes are finer than what malloc rounds to; below 18 bytes there is no filler.
_SIZES: list[tuple[int, int]] = [
    *((1 << n, 1) for n in range(19, 13, -1)),
    *((size, 16) for size in range(8192, 1008, -64)),
    *((size, 64) for size in range(1008, 17, -4)),
]


def fill_heap_holes() -> list[bytes]:
    """Fill the holes that the start-up left in the heap; the fillers are to be kept for ever.

    A live cell then writes to fresh pages at the top, side by side, and not into a hole on every old page: a small sequential
    workflow dirties 53 pages instead of 83. The fillers are zero, so nothing that was freed is left in the image.

    This is fragile: it knows that wasi-libc's malloc is best fit, that there is no pymalloc in the guest, and that `id` is an
    address. Where one of these changes the guest stays correct and its cells grow; `tests/guest_python/test_pages.py` sees it.
    """
    gc.collect()
    large = bytes(1 << 20)
    top = max(id(large), *map(id, gc.get_objects()))
    kept: list[bytes] = []
    for size, patience in _SIZES:
        above: list[bytes] = []  # held for now, so that holes above do not hide those below
        while len(above) < patience:
            filler = bytes(size - _HEADER_BYTES)
            (kept if id(filler) < top else above).append(filler)
    return kept


for _name, _function in {
    "deliver": loop.deliver,
    "load": load,
    "report": report,
    "convert": values.convert,
    "mend": values.mend,
    "parse_time": values.parse_time,
    "parse_zoned": values.parse_zoned,
    "begin": begin,
    "suspend": loop.suspend,
    "canceled": failures.Canceled,
    "not_ours": aio.adopt,
}.items():
    driver.attach(_name, _function)
keep = driver.keep
del driver.attach, driver.keep

_chance: tuple[Any, ...] = (os, sys.modules["posix"])
for _module in _chance:
    _module.urandom = driver.urandom
setattr(random, "_urandom", driver.urandom)  # noqa: B010
loop.execute = sources.run
executes: Any = store
executes.execute = sources.run
lines.open_lines()
more: Any = hashlib
more.pbkdf2_hmac = digests.pbkdf2_hmac
numbers.number_as_linux()
outside.close()
store.keep_baked()
files.let_through()
random.seed(0)
