"""Two lanes for turns: light ones on the event loop's thread, heavy ones on a pool of threads (a guest runs without the GIL).

Every workflow begins in the light lane, where a turn may take a few milliseconds. One that takes longer is stopped there and
made again in the heavy lane, and so are the next turns of all runs of the same code: a guest that computes, or spins, holds up
nobody else for longer than that, once in many turns.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

from cloche.engines import Code

HEAVY_TURNS = 100  # how many turns of a code are taken as heavy after one that was
CODES_MAX = 1_000


class Lanes:
    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(os.cpu_count() or 2, "cloche-turn")
        self._heavy: OrderedDict[str, int] = OrderedDict()  # source -> turns that it is still taken as heavy for

    def takes_as_light(self, code: Code) -> bool:
        """Whether the next turn of this code is tried on the loop's thread."""
        left = self._heavy.get(code.source)
        if left is None:
            return True
        if left > 1:
            self._heavy[code.source] = left - 1
        else:
            del self._heavy[code.source]
        return False

    def mark_heavy(self, code: Code) -> None:
        self._heavy[code.source] = HEAVY_TURNS
        self._heavy.move_to_end(code.source)
        while len(self._heavy) > CODES_MAX:
            self._heavy.popitem(last=False)

    def close(self) -> None:
        self.pool.shutdown(wait=False, cancel_futures=True)
