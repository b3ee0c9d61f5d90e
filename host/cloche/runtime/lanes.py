"""Two lanes for turns: light ones on the event loop's thread, heavy ones on a pool of threads (a guest runs without the GIL).

Every workflow begins in the light lane, where a turn may take a few milliseconds. One that takes longer is stopped there and
made again in the heavy lane, and so are the next turns of all runs of the same code: a guest that computes, or spins, holds up
nobody else for longer than that, once in many turns. Code is loaded in the heavy lane the first time: it may do anything at its
top level too.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cloche.engines import Cell, Code
from cloche.errors import HeavyTurn

LIGHT_TURN_EVENTS = 64  # a longer batch is a replay
HEAVY_TURNS = 100  # how many turns of a code are taken as heavy after one that was
CODES_MAX = 1_000
LOADED_MAX = 256  # as many images as the sandbox keeps


class Lanes:
    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(os.cpu_count() or 2, "cloche-turn")
        self._heavy: OrderedDict[str, int] = OrderedDict()  # source -> turns that it is still taken as heavy for
        self._loaded: OrderedDict[tuple[str, str, str], None] = (
            OrderedDict()
        )  # guest, source and limits of code that loads

    async def open(self, code: Code, limits: dict[str, Any], make: Callable[[], Cell]) -> Cell:
        """The cell that `make` gives: here if its code was loaded before, which takes a fifth of a millisecond.

        Raises:
            GuestFault: it does not load. The next time is in the heavy lane as well.
        """
        key = (code.guest, code.source, repr(limits))
        if key in self._loaded:
            self._loaded.move_to_end(key)
            return make()
        cell = await asyncio.get_running_loop().run_in_executor(self.pool, make)
        self._loaded[key] = None
        while len(self._loaded) > LOADED_MAX:
            self._loaded.popitem(last=False)
        return cell

    async def turn(self, code: Code, cell: Cell, events: Sequence[bytes]) -> bytes:
        """One crossing in the lane where it belongs.

        Raises:
            HeavyTurn: it was not light, which is known from now on. The cell is spoilt: make the turn again on another.
        """
        if not self.takes_as_light(code, len(events)):
            return await asyncio.get_running_loop().run_in_executor(self.pool, cell.turn, events)
        try:
            return cell.turn(events, light=True)
        except HeavyTurn:
            self.mark_heavy(code)
            raise

    def takes_as_light(self, code: Code, events: int = 1) -> bool:
        """Whether the next turn of this code is tried on the loop's thread: a hop costs more than a light one."""
        if events > LIGHT_TURN_EVENTS:
            return False
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
