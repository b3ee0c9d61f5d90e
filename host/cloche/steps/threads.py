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
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from cloche.history import TenantId
from cloche.tenancy.fairness import Turns

THREADS = 32
HUNG_MAX = 256  # threads that hang and were replaced: each takes some 100 KB, and what its step holds

log = logging.getLogger("cloche")


class OutOfTime(TimeoutError):
    """A step took longer than it may; not raised by the step itself."""


@dataclass(slots=True, eq=False)
class _Work:
    call: Callable[[], Any]
    done: asyncio.Future[Any]
    is_given_up: bool = False
    context: contextvars.Context = field(default_factory=contextvars.copy_context)


class StepThreads:
    """At most `threads` steps at a time that are not hung. On one loop's thread alone, but for the work itself.

    The threads are daemons: a step that hangs does not keep the process from ending.
    """

    def __init__(self, threads: int = THREADS, hung_max: int = HUNG_MAX) -> None:
        self.hung = 0  # threads that were given up, and whose steps have not ended
        self._free = threads
        self._hung_max = hung_max
        self._idle = 0  # threads that wait for work
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._turns = Turns()
        self._numbers = itertools.count()

    async def run(self, tenant: TenantId, call: Callable[[], Any], timeout_s: float | None = None) -> Any:
        """What `call` returns, made in a thread when it is the tenant's turn.

        Raises:
            OutOfTime: it took longer than `timeout_s` from when it had its thread; it may go on.
            BaseException: what it raised.
        """
        await self._have_place(tenant)
        loop = asyncio.get_running_loop()
        work = _Work(call, loop.create_future())
        self._begin(work)
        try:
            done, _ = await asyncio.wait([work.done], timeout=timeout_s)
        except asyncio.CancelledError:
            self._give_up(work)
            raise
        if not done:
            self._give_up(work)
            raise OutOfTime
        return work.done.result()

    def close(self) -> None:
        """Begin nothing more. Threads at work end with it; what hangs is left behind."""
        for _ in range(self._idle):
            self._queue.put(None)
        self._idle = 0

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
        if not self._turns.give():
            self._free += 1

    def _begin(self, work: _Work) -> None:
        if self._idle:
            self._idle -= 1
        else:
            threading.Thread(target=self._serve, name=f"cloche-step_{next(self._numbers)}", daemon=True).start()
        self._queue.put(work)

    def _give_up(self, work: _Work) -> None:
        """Nobody waits for this work any more: its place goes to the next, as long as not too many threads hang."""
        if work.done.done():
            return
        work.is_given_up = True
        self.hung += 1
        if self.hung <= self._hung_max:
            self._pass_on()
        else:
            log.warning(
                "%s steps hang in their threads, and no more are replaced: others wait until they end", self.hung
            )

    def _ended(self, work: _Work, result: Any, error: BaseException | None) -> None:
        self._idle += 1
        if work.is_given_up:
            if self.hung > self._hung_max:  # its place was not given on yet
                self._pass_on()
            self.hung -= 1
            self._queue.put(None)  # one thread less: there was one more for as long as this one hung
            self._idle -= 1
            return
        self._pass_on()
        if work.done.done():
            return
        if error is None:
            work.done.set_result(result)
        else:
            work.done.set_exception(error)

    def _serve(self) -> None:
        """A thread's life."""
        while (work := self._queue.get()) is not None:
            result, error = None, None
            try:
                result = work.context.run(work.call)
            except BaseException as raised:
                # A StopIteration cannot be the exception of a future: it becomes what a coroutine makes of it (PEP 479).
                error = raised
                if isinstance(raised, StopIteration):
                    error = RuntimeError("the step's function raised StopIteration")
                    error.__cause__ = raised
            try:
                work.done.get_loop().call_soon_threadsafe(self._ended, work, result, error)
            except RuntimeError:  # the loop is closed: nobody hears of it
                return
            del work, result, error
