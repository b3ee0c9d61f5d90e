"""Time, ids and chance: everything the runtime takes from outside, in one place that tests and simulators replace."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import os
import socket
import time
from base64 import b32encode
from collections.abc import Callable
from typing import Protocol

from cloche.history.ids import RunId, TimeMs

log = logging.getLogger("cloche")

_LONGEST_WAIT_S = 20.0  # a clock that was set is noticed after this long


class Alarm(Protocol):
    """Something that will ring once."""

    def cancel(self) -> None: ...


class World(Protocol):
    """What a process knows of the outside."""

    @property
    def is_real_time(self) -> bool:
        """Whether time passes while the event loop stands still: then a thread says that the worker lives."""

    def now(self) -> TimeMs:
        """Wall time in milliseconds since 1970."""

    def monotonic(self) -> float:
        """Seconds that only ever grow, whatever is done to the wall clock: for leases."""

    def run_id(self) -> RunId: ...

    def seed(self) -> bytes:
        """16 bytes for a run's generator."""

    def worker_id(self) -> str:
        """A name for this process's life on a store, never used before."""

    def alarm(self, due: TimeMs, ring: Callable[[], None]) -> Alarm:
        """Call `ring` at a wall time, or before when the clock may have been set: who is rung looks at the clock again."""

    async def pause(self, seconds: float) -> None:
        """Wait between two looks at what others write. A world where nothing else happens meanwhile may take longer."""


class LoopWaits:
    """The waits of a world whose time passes as that of its event loop."""

    is_real_time = False

    def alarm(self: World, due: TimeMs, ring: Callable[[], None]) -> Alarm:
        wait_s = min(max((due - self.now()) / 1000, 0), _LONGEST_WAIT_S)
        return asyncio.get_running_loop().call_later(wait_s, ring)

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SystemWorld(LoopWaits):
    """The real one."""

    is_real_time = True

    def now(self) -> TimeMs:
        return TimeMs(time.time_ns() // 1_000_000)

    def monotonic(self) -> float:
        return time.monotonic()

    def run_id(self) -> RunId:
        """Sorts by time: 48 bits of milliseconds, then 72 of chance, in lower-case base 32."""
        raw = (time.time_ns() // 1_000_000).to_bytes(6, "big") + os.urandom(9)
        return RunId("r_" + b32encode(raw).decode().lower())

    def seed(self) -> bytes:
        return os.urandom(16)

    def worker_id(self) -> str:
        return f"pid {os.getpid()} on {socket.gethostname()} ({os.urandom(4).hex()})"


class Timers:
    """Callbacks at wall times, in order of time. One handle of the event loop for all of them.

    A callback whose owner has lost interest is called all the same: owners check. Wall time is read again at every wake-up,
    so a clock that jumps forward fires what is due, and one that jumps back lets things wait.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._heap: list[tuple[TimeMs, int, Callable[[], object]]] = []
        self._count = itertools.count()
        self._handle: Alarm | None = None
        self._closed = False

    def at(self, due: TimeMs, callback: Callable[[], object]) -> None:
        if self._closed:
            return
        heapq.heappush(self._heap, (due, next(self._count), callback))
        if self._heap[0][0] == due:
            self._arm()

    def close(self) -> None:
        """Nothing fires any more, also not what is asked for later."""
        self._closed = True
        self._heap.clear()
        if self._handle is not None:
            self._handle.cancel()

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._world.alarm(self._heap[0][0], self.fire_due)

    def fire_due(self) -> None:
        """Call what is due by now. The loop does, and so may who moves the clock. One that raises does not stop the others."""
        now = self._world.now()
        while self._heap and self._heap[0][0] <= now:
            callback = heapq.heappop(self._heap)[2]
            try:
                callback()
            except Exception:
                log.exception("a timer's callback raised")
        if self._heap:
            self._arm()
