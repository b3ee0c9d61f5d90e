"""Which of the runs that a worker drives take a place of their tenant's `concurrent_runs`.

Those that are at work: they have not ended, and do not wait for other runs alone. A run of which a step begins another one may
wait for it in that step. So where there is no room, the child is given its parent's place, and the parent goes on without one
until no step of it is under way and there is room again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cloche.run.driver import has_steps_under_way, only_waits

if TYPE_CHECKING:
    from cloche.history import RunKey
    from cloche.run.driver import RunDriver
    from cloche.worker.admission import Admission


class Places:
    """Of one worker. `on_room` is called when a place is free."""

    def __init__(self, admission: Admission, on_room: Callable[[], None]) -> None:
        self._admission = admission
        self._on_room = on_room
        self._taken: set[RunKey] = set()
        self._lending: set[RunKey] = set()  # whose place another run was given
        self._promised: set[RunKey] = set()  # those that were given one, and are not driven yet

    def take(self, key: RunKey) -> None:
        """The run is driven."""
        if key not in self._taken:
            self._taken.add(key)
            if key in self._promised:
                self._promised.discard(key)
            else:
                self._admission.entered(key.tenant)

    def give(self, key: RunKey) -> None:
        """The run is not at work for now."""
        if key in self._taken or key in self._promised:
            self._taken.discard(key)
            self._promised.discard(key)
            self._admission.left(key.tenant)
            self._on_room()

    def leave(self, key: RunKey) -> None:
        """The run is driven no more, or has ended."""
        self._lending.discard(key)
        self.give(key)

    def lend(self, lender: RunKey, key: RunKey) -> bool:
        """Give the place of `lender`, a step of which begins `key`, to that run: whether it had one."""
        if lender not in self._taken:
            return False
        self._taken.discard(lender)
        self._lending.add(lender)
        self._promised.add(key)
        return True

    @property
    def counted(self) -> tuple[set[RunKey], int]:
        """Those that are driven and take a place, and how many places are promised to others."""
        return set(self._taken), len(self._promised)

    def follow(self, driver: RunDriver) -> None:
        """The run has committed: what it waits for now may be something else."""
        key = driver.key
        if only_waits(driver):
            self.give(key)  # its children take places of their own: they would wait for those that their parents hold
        elif key not in self._lending:
            self.take(key)
        elif not has_steps_under_way(driver) and self._admission.admits(key.tenant):
            self._lending.discard(key)
            self.take(key)
