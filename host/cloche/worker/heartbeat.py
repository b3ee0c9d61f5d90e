"""A worker's heartbeat in a thread of its own: a step that blocks the event loop does not make its worker look dead.

The thread also sees that the loop stands still, and says which step does it. After `stall_max_s` it sends no more
heartbeats: a loop that will never move again must lose its runs.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable

from cloche.errors import StoreError

LOOP_STALL_MAX_S = 300.0
REPORT_AFTER_S = 1.0
TICK_S = 0.25

log = logging.getLogger("cloche")


class Heartbeat:
    """Calls `renew` again and again while the running loop moves. Made on the loop's thread.

    Args:
        renew: sends a heartbeat if it is time; called in this object's thread.
        monotonic: the clock, in seconds.
        stall_max_s: for how long the loop may stand still before the heartbeats end.
    """

    def __init__(self, renew: Callable[[], None], monotonic: Callable[[], float], stall_max_s: float) -> None:
        self._renew = renew
        self._monotonic = monotonic
        self._stall_max_s = stall_max_s
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._asked: float | None = None  # since when the loop owes an answer
        self._is_reported = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cloche-heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when the last heartbeat was sent."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def tick(self) -> None:
        """Look at the loop once, and renew unless it has stood still for too long.

        Raises:
            RuntimeError: the loop is closed.
        """
        stall_s = self._stall_s()
        if stall_s < REPORT_AFTER_S:
            self._is_reported = False
        elif not self._is_reported:
            self._is_reported = True
            log.warning("the event loop has stood still for %.1f s %s", stall_s, self._culprit())
        if stall_s < self._stall_max_s:
            self._renew()

    def _stall_s(self) -> float:
        now, asked = self._monotonic(), self._asked
        if asked is not None:
            return now - asked
        self._asked = now
        self._loop.call_soon_threadsafe(self._answer)
        return 0.0

    def _answer(self) -> None:
        self._asked = None

    def _culprit(self) -> str:
        """The task that has the loop (a step's is named after it), and the line where it is."""
        task = asyncio.current_task(self._loop)
        who = f"in {task.get_name()}" if task is not None else "in a callback"
        frame = sys._current_frames().get(self._loop_thread)
        place = f", at {frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""
        return f"{who}{place}: what blocks belongs in a step that is a plain function, which runs in a thread"

    def _run(self) -> None:
        while not self._stopped.wait(TICK_S):
            try:
                self.tick()
            except StoreError:
                continue  # the loop asks the same store, renews when it has to, and says what is wrong
            except Exception:
                if not self._loop.is_closed():  # else it was closed, and nobody stopped this
                    log.exception("the heartbeat's thread ended by a fault of cloche itself")
                return
