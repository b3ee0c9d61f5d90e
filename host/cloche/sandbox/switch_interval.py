"""How long a busy Python thread may keep the interpreter while guests run: the one setting here that is the whole process's.

A guest is stopped in time by a thread that lets an epoch pass every 4 ms (`engine`). That thread needs the interpreter, and a
busy Python thread (a step that computes) gives it up only after `sys.getswitchinterval()`, 5 ms by default:
so a guest would run on for a multiple of a tick. While a guest has outlasted a tick, the interval is therefore shortened. That
slows nothing down that waits, but it holds for the whole process, the embedding application's threads included: each worker
says what it wants (`Worker(switch_interval_s=…)`), and what was there before is put back as soon as no guest runs.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from threading import Lock

SWITCH_INTERVAL_S = 0.0005


class SwitchInterval:
    """The interpreter's switch interval, shortened from time to time. Safe to be used by any thread."""

    def __init__(self) -> None:
        self._choices: list[float] = []
        self._usual: float | None = None  # what was there before it was shortened
        self._shortened = 0.0
        self._lock = Lock()

    def choose(self, seconds: float | None) -> Callable[[], None]:
        """Shorten to `seconds` from now on; None: do not touch it. Of several choices at a time, the shortest holds.

        Returns what takes the choice back, and restores the interval.
        """
        choice = math.inf if seconds is None else seconds
        with self._lock:
            self._choices.append(choice)
        taken_back = False

        def take_back() -> None:
            nonlocal taken_back
            with self._lock:
                if not taken_back:
                    taken_back = True
                    self._choices.remove(choice)
                    self._restore()

        return take_back

    def shorten(self) -> None:
        """A guest has outlasted a tick. Without any choice (no worker is open) `SWITCH_INTERVAL_S` holds."""
        with self._lock:
            if self._usual is not None:
                return
            usual, wanted = sys.getswitchinterval(), min(self._choices, default=SWITCH_INTERVAL_S)
            if wanted < usual:
                sys.setswitchinterval(wanted)
                self._usual, self._shortened = usual, sys.getswitchinterval()

    def restore(self) -> None:
        """No guest runs. An interval that the application has set meanwhile stays."""
        with self._lock:
            self._restore()

    def _restore(self) -> None:
        if self._usual is not None and sys.getswitchinterval() == self._shortened:
            sys.setswitchinterval(self._usual)
        self._usual = None


switch_interval = SwitchInterval()
