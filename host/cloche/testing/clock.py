"""Virtual time: an event loop whose clock moves at once to whatever is next, and a world that reads it.

A sleep of thirty days costs as much as one of a second: nothing. Everything on the loop lives in that time, steps and their
timeouts too, and functions that would run in threads run in place, so that a test goes the same way each time. While sockets
are open, time passes as it really does.

`looptime` does not fit: threads and a standstill cost real time there, pauses do not grow, and it leans on more of asyncio's
privates (the loop's selector, the waiters of tasks) than the one here, `_clock_resolution`.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from typing import Any, TypeVar, TypeVarTuple

from cloche.history import RunId, TimeMs
from cloche.run.clock import Alarm

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START = TimeMs(1_767_225_600_000)  # 2026-01-01T00:00:00Z
PAUSE_S_MAX = 86_400.0
QUIET_PAUSES_MAX = 100  # so many looks at the store that found nothing, while nothing else is due: nothing will happen


class StandStill(RuntimeError):
    """Everything waits, and nothing is due: the test would wait for ever, for an event or a resume that it does not send."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time, which begins at 0 s."""

    def __init__(self, pause_s_max: float = PAUSE_S_MAX) -> None:
        self._pause_s_max = pause_s_max
        self._time_s = 0.0
        self._pauses: dict[asyncio.Future[None], tuple[float, float]] = {}  # since when, and for how long at least
        self._quiet = 0  # idle moments in a row, between which no task did anything
        self._turns = 0  # passes of the loop since time moved
        super().__init__(_Idle(self))
        self._clock_resolution = 1e-5  # a float of decades in seconds has no finer steps; at 1e-9 asyncio would spin

    def time(self) -> float:
        return self._time_s

    def advance(self, seconds: float) -> None:
        """Let time pass at once; what has become due meanwhile comes in order, all of it now."""
        self._time_s += seconds

    async def pause(self, seconds: float) -> None:
        """Wait for `seconds`; longer and longer while nothing happens, and not beyond the next thing that does."""
        pause: asyncio.Future[None] = self.create_future()
        self._pauses[pause] = (self._time_s, seconds)
        try:
            await pause
        finally:
            self._pauses.pop(pause, None)

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Call `func` now, here: threads are not deterministic."""
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done

    def idle(self, timeout_s: float | None) -> None:
        """No task has anything to do before `timeout_s` has passed: move the clock to what comes next."""
        self._turns += 1
        if timeout_s is not None and timeout_s <= 0:
            return
        self._quiet = self._quiet + 1 if self._turns <= 2 else 0
        self._turns = 0
        due = None if timeout_s is None else self._time_s + timeout_s
        if due is None and (not self._pauses or self._quiet > QUIET_PAUSES_MAX):
            self._quiet = 0
            raise StandStill(
                "everything waits and nothing is due: is there an event or a resume that the test does not send?"
            )
        patience = [
            since + min(least * 2 ** min(self._quiet, 40), self._pause_s_max) for since, least in self._pauses.values()
        ]
        moments = [*patience, *([due] if due is not None else [])]
        self._time_s = max(self._time_s, min(moments))
        for pause, (since, least) in list(self._pauses.items()):
            if not pause.done() and since + least <= self._time_s:
                pause.set_result(None)


class _Idle(selectors.DefaultSelector):
    """Tells the loop when it would wait."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if len(self.get_map()) > 1:  # more than the loop's own socket: others decide when to go on
            before = time.monotonic()
            ready = super().select(timeout)
            self._loop.advance(time.monotonic() - before)
            return ready
        ready = super().select(0)
        if not ready:
            self._loop.idle(timeout)
        return ready


class VirtualWorld:
    """The world of one `VirtualLoop`: its wall clock can be set, and its ids and seeds are always the same."""

    is_real_time = False

    def __init__(self, start: TimeMs = START) -> None:
        self._start_ms = start
        self._ids = 0
        self._workers = 0
        self._alarms: set[_Alarm] = set()

    @property
    def loop(self) -> VirtualLoop:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        return loop

    def now(self) -> TimeMs:
        return TimeMs(self._start_ms + round(self.loop.time() * 1000))

    def monotonic(self) -> float:
        return self.loop.time()

    def run_id(self) -> RunId:
        self._ids += 1
        return RunId(f"run-{self._ids}")

    def worker_id(self) -> str:
        self._workers += 1
        return f"worker-{self._workers}"

    def seed(self) -> bytes:
        return bytes(16)

    def set_clock(self, by_s: float) -> None:
        """Set the wall clock forward or back, as an administrator would; no time passes."""
        self._start_ms = TimeMs(self._start_ms + round(by_s * 1000))
        for alarm in list(self._alarms):
            alarm.notice()

    def alarm(self, due: TimeMs, ring: Callable[[], None]) -> Alarm:
        return _Alarm(self._alarms, max((due - self.now()) / 1000, 0), ring)

    async def pause(self, seconds: float) -> None:
        await self.loop.pause(seconds)


class _Alarm:
    """Rings when it is due, or when the wall clock is set: it is not known any more when that is."""

    def __init__(self, alarms: set[_Alarm], delay_s: float, ring: Callable[[], None]) -> None:
        self._alarms = alarms
        self._ring = ring
        self._handle: asyncio.Handle = asyncio.get_running_loop().call_later(delay_s, self._rings)
        alarms.add(self)

    def notice(self) -> None:
        self._handle.cancel()
        self._handle = asyncio.get_running_loop().call_soon(self._rings)

    def cancel(self) -> None:
        self._alarms.discard(self)
        self._handle.cancel()

    def _rings(self) -> None:
        self._alarms.discard(self)
        self._ring()


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class VirtualTime:
    """Runs coroutines in virtual time, one after the other: each begins when the one before has ended."""

    def __init__(self, world: VirtualWorld | None = None, pause_s_max: float = PAUSE_S_MAX) -> None:
        self.world = world or VirtualWorld()
        self.stack = AsyncExitStack()  # closed at the end of `run`, in its loop
        self._pause_s_max = pause_s_max
        self.passed_s = 0.0  # in all runs so far

    def now(self) -> TimeMs:
        """Wall time in milliseconds since 1970."""
        return self.world.now()

    def set_clock(self, by_s: float) -> None:
        """Set the wall clock forward or back; no time passes."""
        self.world.set_clock(by_s)

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """As `asyncio.run`, in virtual time.

        Raises:
            StandStill: everything waits, and nothing is due.
            RuntimeError: an event loop runs in this thread already.
        """
        if _in_a_loop():
            work.close()
            raise RuntimeError("virtual time cannot run in a running event loop: use it from a plain function")

        async def whole() -> T:
            async with self.stack:
                return await work

        with asyncio.Runner(loop_factory=self._loop) as runner:
            try:
                return runner.run(whole())
            finally:
                self.passed_s = runner.get_loop().time()

    def _loop(self) -> VirtualLoop:
        loop = VirtualLoop(self._pause_s_max)
        loop.advance(self.passed_s)
        return loop
