"""The last words before the memory is kept: the driver gets its functions, the outside is closed, the heap is settled."""

import gc
import os
import random
import sys

import _cloche
from _world import lines, outside, places, values

import cloche._loop as loop  # after places, which completes the driver's module

def report(error):
    """The failure of code that could not be loaded, with the place in its source where that is known."""
    failure = dict(loop.failure(error))
    where = places.place(error)
    return {**failure, "data": where} if where else failure


def begin(seed):
    """`random`'s own functions repeat in each replay."""
    random.seed(seed)


def plug():
    """Fill the holes that the start-up left in the heap (wasi-libc's malloc is best fit, and there is no pymalloc).

    A live cell then writes to fresh pages at the top, side by side, and not into a hole on every old page. The fillers are
    zero, so nothing that was freed is left in the image.
    """
    gc.collect()
    large = bytes(1 << 20)
    top = max(id(large), *map(id, gc.get_objects()))
    kept = []
    for size in (*(1 << n for n in range(19, 9, -1)), *range(1008, 31, -16)):
        while id(filler := bytes(size - 17)) < top:
            kept.append(filler)
    return kept


for _name, _function in {
    "deliver": loop.deliver,
    "load": loop.load,
    "report": report,
    "convert": values.convert,
    "mend": values.mend,
    "parse_time": values.parse_time,
    "begin": begin,
}.items():
    _cloche.attach(_name, _function)
del _cloche.attach

for _module in (os, sys.modules["posix"]):
    _module.urandom = _cloche.urandom
random._urandom = _cloche.urandom
lines.open_lines()
outside.close()
random.seed(0)
