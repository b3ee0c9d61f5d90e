"""Threads for steps that are not async.

Tenants take turns for them. A step's time begins when it has a thread. One that goes on after its time, or after nobody waits
for it any more, cannot be stopped: its thread is given up and replaced, up to a bound, so that hung steps hold up no others.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import Any

from cloche.history import TenantId
from cloche.steps.output import SCOPE
from cloche.tenancy.fairness import Turns

THREADS = 32
HUNG_MAX = 256  # threads that hang and were replaced: each takes some 100 KB, and what its step holds

log = logging.getLogger("cloche")


class OutOfTime(TimeoutError):
    """A step took longer than it may; not raised by the step itself."""


class StepThreads:
    """At most `threads` steps at a time that are not hung. On one loop's thread alone, but for the work itself."""

    def __init__(
        self, threads: int = THREADS, hung_max: int = HUNG_MAX, on_hung: Callable[[], None] = lambda: None
    ) -> None:
        self.hung = 0  # threads that were given up, and whose steps have not ended
        self._on_hung = on_hung  # called when that has changed
        self._free = threads
        self._hung_max = hung_max
        self._turns = Turns()
        self._daemons = _Daemons()
        self._given_up: set[asyncio.Future[Any]] = set()

    async def run(self, tenant: TenantId, call: Callable[[], Any], timeout_s: float | None = None) -> Any:
        """What `call` returns, made in a thread when it is the tenant's turn.

        Raises:
            OutOfTime: it took longer than `timeout_s` from when it had its thread; it may go on.
            BaseException: what it raised.
        """
        if not self._free and (scope := SCOPE.get()) is not None:
            began = time.monotonic()
            await self._have_place(tenant)
            scope.queued_ms += round((time.monotonic() - began) * 1000)
        else:
            await self._have_place(tenant)
        loop, run = asyncio.get_running_loop(), contextvars.copy_context().run
        work = loop.run_in_executor(self._daemons, run, _called, call)
        work.add_done_callback(self._ended)
        try:
            done, _ = await asyncio.wait([work], timeout=timeout_s)
        except asyncio.CancelledError:
            self._give_up(work)
            raise
        if not done:
            self._give_up(work)
            raise OutOfTime
        return work.result()

    def close(self) -> None:
        """Begin nothing more. Threads at work end with it; what hangs is left behind."""
        self._daemons.shutdown(wait=False)

    # ---- inside ----

    async def _have_place(self, tenant: TenantId) -> None:
        if self._free:
            self._free -= 1
            return
        place = self._turns.wait(tenant)
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():  # it was given, and nobody takes it
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        if self._turns.give() is None:
            self._free += 1

    def _give_up(self, work: asyncio.Future[Any]) -> None:
        """Nobody waits for this work any more: its place goes to the next, as long as not too many threads hang."""
        if work.done():
            return
        self._given_up.add(work)
        self.hung += 1
        self._on_hung()
        if self.hung <= self._hung_max:
            self._pass_on()
        else:
            log.warning(
                "%s steps hang in their threads, and no more are replaced: others wait until they end", self.hung
            )

    def _ended(self, work: asyncio.Future[Any]) -> None:
        if not work.cancelled():
            work.exception()  # who waits for it is told; if nobody does, that is no fault
        if work not in self._given_up:
            self._pass_on()
            return
        self._given_up.discard(work)
        if self.hung > self._hung_max:  # its place was not given on yet
            self._pass_on()
        self.hung -= 1
        self._on_hung()


def _called(call: Callable[[], Any]) -> Any:
    """A StopIteration cannot leave a future, which would never be done: it becomes what a coroutine makes of it (PEP 479).

    Ctrl-C never comes to this thread: a KeyboardInterrupt is the step's own, and would end the event loop.
    """
    try:
        return call()
    except (StopIteration, KeyboardInterrupt) as error:
        raise RuntimeError(f"the step's function raised {type(error).__name__}") from error


class _Daemons(Executor):
    """A thread for each call under way, kept for the next one. Daemons: a call that hangs does not keep the process alive."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._idle = 0  # threads that wait for work, and for which there is none in the queue
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        with self._lock:
            is_served = self._idle > 0
            self._idle -= is_served
        if not is_served:
            name = f"cloche-step_{next(self._numbers)}"
            threading.Thread(target=self._serve, name=name, daemon=True).start()
        self._queue.put((future, lambda: fn(*args, **options)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._lock:
            idle, self._idle = self._idle, 0
        for _ in range(idle):
            self._queue.put(None)

    def _serve(self) -> None:
        """A thread's life."""
        while (work := self._queue.get()) is not None:
            future, call = work
            if future.set_running_or_notify_cancel():
                try:
                    result = call()
                except BaseException as error:
                    self._is_idle()
                    future.set_exception(error)
                else:
                    self._is_idle()
                    future.set_result(result)
                    del result
            else:
                self._is_idle()
            del work, future, call

    def _is_idle(self) -> None:
        with self._lock:
            self._idle += 1
