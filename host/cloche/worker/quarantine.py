"""Steps that ran each time a process ended: one of them may be the reason, and the others must not fail for it.

They begin one after the other: the one at fault runs alone when it ends the process, and those that merely ran beside it pass.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from cloche.history import RunKey, TimeMs
from cloche.run.clock import Timers, World
from cloche.run.ports import Attempt

ALONE_MS = 1_000  # one that has run for so long lets the next one begin


class StepQuarantine:
    """Implements `Quarantine` of `run.ports` for one worker. Used on the loop's thread alone."""

    def __init__(self, world: World, timers: Timers) -> None:
        self._world = world
        self._timers = timers
        self._waiting: OrderedDict[Attempt, Callable[[], bool]] = OrderedDict()
        self._alone: Attempt | None = None

    def __bool__(self) -> bool:
        return self._alone is not None

    def begin(self, attempt: Attempt, action: Callable[[], bool]) -> None:
        """Call `action` when it is its turn; it says whether it has begun anything."""
        self._waiting[attempt] = action
        self._next()

    def over(self, attempt: Attempt) -> None:
        """It has ended, or has been alone for long enough."""
        if self._alone == attempt:
            self._alone = None
            self._next()

    def leave(self, key: RunKey) -> None:
        """The run is driven here no more."""
        for attempt in [attempt for attempt in self._waiting if attempt[0] == key]:
            del self._waiting[attempt]
        if self._alone is not None and self._alone[0] == key:
            self.over(self._alone)

    def _next(self) -> None:
        while self._alone is None and self._waiting:
            attempt, action = self._waiting.popitem(last=False)
            self._alone = attempt
            if action():
                self._timers.at(TimeMs(self._world.now() + ALONE_MS), partial(self.over, attempt))
            else:
                self._alone = None
