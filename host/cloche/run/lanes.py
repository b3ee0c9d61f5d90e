"""Two lanes for turns: light ones on the event loop's thread, heavy ones on a pool of threads (a guest runs without the GIL).

Every workflow begins in the light lane, where a turn may take a few milliseconds. One that takes longer is stopped there and
made again in the heavy lane, and so are the next turns of all runs of the same code: a guest that computes, or spins, holds up
nobody else for longer than that, once in many turns. Code is loaded in the heavy lane the first time: it may do anything at its
top level too.

In both lanes tenants take turns (`fairness.Turns`): whoever comes waits for no more than one turn of each other tenant, and for
those that have begun. There is one thread more than cores, and no tenant has more of them than there are cores: one is left for
others, whatever a tenant computes. Where only one tenant has runs, nobody waits for a turn on the loop's thread.

The time that all of this takes is charged to the tenant (`fairness.HostTime`), also where a turn was stopped: one whose turns
cost the host much comes later.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import perf_counter_ns
from typing import Any, Protocol, TypeVar

from cloche.engines import Cell, Code
from cloche.errors import CellBusy, HeavyTurn
from cloche.history import TenantId
from cloche.history.limits import Limits
from cloche.sandbox.process.readers import Readers
from cloche.steps.schemas import is_small
from cloche.tenancy.beside import Lane
from cloche.tenancy.fairness import HostTime
from cloche.tenancy.loop_turns import LoopTurns

T = TypeVar("T")

LIGHT_TURN_EVENTS = 64  # a longer batch is a replay
HEAVY_TURNS = 100  # how many turns of a code are taken as heavy after one that was
CODES_MAX = 1_000
LOADED_MAX = 256
READINGS = 2  # texts of tenants that are read at one time, each of another tenant, in processes of theirs


class Watch(Protocol):
    """Counts the nanoseconds that a run's work takes."""

    wall_ns: int


class Lanes:
    """`tenants`: those that have runs, kept up by its owner. `place_in_s`: whether a tenant has what its turns need beside a
    thread: 0, or after how many seconds to ask again. `is_real_time`: whether time passes while the host works; where it does
    not, tenants take turns one by one.
    """

    def __init__(
        self,
        tenants: Collection[TenantId] = (),
        place_in_s: Callable[[TenantId], float] = lambda tenant: 0.0,
        *,
        is_real_time: bool = True,
    ) -> None:
        cores = os.cpu_count() or 2
        self.pool = ThreadPoolExecutor(cores + 1, "cloche-turn")
        self.time = HostTime()
        self.readers = Readers()
        self._is_real_time = is_real_time
        self.heavy = Lane(self.pool, cores + 1, cores, self.time, self.charge)
        self.reading = Lane(ThreadPoolExecutor(READINGS, "cloche-read"), READINGS, 1, self.time, self.charge)
        self.loop = LoopTurns(tenants, is_real_time=is_real_time)
        self._place_in_s = place_in_s
        self._waits: dict[TenantId, asyncio.Task[None]] = {}  # for a place
        # By the hash of the source, for so many sources take as much memory as somebody likes. Two of one hash share a
        # lane, and nothing else.
        self._heavy: OrderedDict[int, int] = OrderedDict()  # turns that it is still taken as heavy for
        self._loading: dict[tuple[str, int, Limits], asyncio.Future[Cell]] = {}
        self._loaded: OrderedDict[tuple[str, int, Limits], None] = OrderedDict()  # guest, source and limits

    async def open(
        self,
        tenant: TenantId,
        code: Code,
        limits: Limits,
        make: Callable[[], Cell],
        is_kept: Callable[[], bool] = lambda: True,
    ) -> Cell:
        """The cell that `make` gives: here if its code was loaded before, which takes a fifth of a millisecond.

        `is_kept` says whether what was loaded is still there: the engine may have had no room for it.

        Raises:
            GuestFault: it does not load. The next time is in the heavy lane as well.
        """
        key = (code.guest, hash(code.source), limits)
        while (loading := self._loading.get(key)) is not None:  # many runs of new code: one of them loads it
            await asyncio.wait([loading])
        if key in self._loaded and is_kept():
            self._loaded.move_to_end(key)
            return make()
        loading = self._loading[key] = asyncio.ensure_future(self.beside(tenant, make))
        loading.add_done_callback(lambda _: self._loading.pop(key))
        cell = await loading
        self._loaded[key] = None
        while len(self._loaded) > LOADED_MAX:
            self._loaded.popitem(last=False)
        return cell

    async def turn(self, tenant: TenantId, code: Code, cell: Cell, events: Sequence[bytes], watch: Watch) -> bytes:
        """What came back of one crossing, in the lane where it belongs. `watch` is told how long it took, however it ended.

        Raises:
            HeavyTurn: it was not light, which is known from now on. The cell is spoilt: make the turn again on another.
        """
        if not self.takes_as_light(code, len(events)):
            return await self.beside(tenant, partial(_timed, watch, cell, events))
        await self.loop.turn(tenant)
        before = watch.wall_ns
        try:
            return _timed(watch, cell, events, light=True)
        except CellBusy:
            pass
        except HeavyTurn:
            self.mark_heavy(code)
            raise
        finally:
            self.charge(tenant, watch.wall_ns - before)
        return await self.beside(tenant, partial(_timed, watch, cell, events))

    def charge(self, tenant: TenantId, ns: int) -> None:
        """The host has worked so long for this tenant."""
        if self._is_real_time:
            self.time.charge(tenant, ns)

    async def beside(self, tenant: TenantId, action: Callable[[], T]) -> T:
        """Call `action` in a thread of the heavy lane, when it is the tenant's turn."""
        if (wait_s := self._place_in_s(tenant)) > 0:
            await self._has_place(tenant, wait_s)
        return await self.heavy.call(tenant, action)

    async def compared(self, tenant: TenantId, value: Any, check: Callable[[], T]) -> T:
        """What `check` says, which compares `value` with a schema that a tenant has written. It is done beside the loop where
        the value is large, or where there are many ways to read it."""
        from cloche_codegen.json_schemas import OverAtOnce, at_once

        if is_small(value):
            try:
                with at_once():
                    return check()
            except OverAtOnce:
                pass
        return await self.beside(tenant, check)

    async def _has_place(self, tenant: TenantId, wait_s: float) -> None:
        """Wait, with no thread meanwhile. One asks for all runs of the tenant."""

        async def ask() -> None:
            left_s = wait_s
            while left_s > 0:
                await asyncio.sleep(left_s)
                left_s = self._place_in_s(tenant)

        if tenant not in self._waits:
            self._waits[tenant] = asyncio.create_task(ask())
            self._waits[tenant].add_done_callback(lambda _: self._waits.pop(tenant))
        await asyncio.shield(self._waits[tenant])

    async def read(self, tenant: TenantId, action: Callable[[Readers], T]) -> T:
        """As `beside`, for what waits for a reader and computes little: it takes no place of a turn."""
        return await self.reading.call(tenant, partial(action, self.readers))

    def takes_as_light(self, code: Code, events: int = 1) -> bool:
        """Whether the next turn of this code is tried on the loop's thread: a hop costs more than a light one."""
        if events > LIGHT_TURN_EVENTS:
            return False
        key = hash(code.source)
        left = self._heavy.get(key)
        if left is None:
            return True
        if left > 1:
            self._heavy[key] = left - 1
        else:
            del self._heavy[key]
        return False

    def mark_heavy(self, code: Code) -> None:
        key = hash(code.source)
        self._heavy[key] = HEAVY_TURNS
        self._heavy.move_to_end(key)
        while len(self._heavy) > CODES_MAX:
            self._heavy.popitem(last=False)

    def close(self) -> None:
        for wait in self._waits.values():
            wait.cancel()
        for lane in (self.heavy, self.reading):
            lane.close()
        self.readers.close()


def _timed(watch: Watch, cell: Cell, events: Sequence[bytes], *, light: bool = False) -> bytes:
    began = perf_counter_ns()
    try:
        return cell.turn(events, light=light) if light else cell.turn(events)
    finally:
        watch.wall_ns += perf_counter_ns() - began
