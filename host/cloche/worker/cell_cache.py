"""Live cells, as many as fit into a budget of memory.

A driven run has a cell, and one that was parked keeps its own until room is needed: waking it then costs nothing. When the
budget is used up, the run that has had no turn for longest gives up its cell, behind a checkpoint if its history is long; its
next turn rebuilds it. A cell in a turn is never taken away, so the budget may be passed by as many as are at work.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from cloche.history import RunKey

if TYPE_CHECKING:
    from cloche.run.driver import RunDriver

BYTES_MAX = 256 << 20  # about 1,600 cells of small workflows


class WarmCells:
    """The drivers that have a cell, least recently used first."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self.bytes_max = bytes_max
        self.bytes_used = 0
        self._drivers: OrderedDict[RunKey, tuple[RunDriver, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._drivers)

    def add(self, driver: RunDriver, size: int) -> None:
        """`driver` has a cell of `size` bytes now; make room for it."""
        self._drop(driver.key)
        self._drivers[driver.key] = (driver, size)
        self.bytes_used += size
        self._make_room()

    def used(self, key: RunKey) -> None:
        """The run had a turn."""
        if key in self._drivers:
            self._drivers.move_to_end(key)

    def get(self, key: RunKey) -> RunDriver | None:
        """The driver that has a cell of this run."""
        return self._drivers.get(key, (None, 0))[0]

    def drop(self, driver: RunDriver) -> None:
        """Its cell is of no use any more."""
        if self.get(driver.key) is driver:
            self._drop(driver.key)

    def _drop(self, key: RunKey) -> None:
        self.bytes_used -= self._drivers.pop(key, (None, 0))[1]

    def _make_room(self) -> None:
        freed: list[RunKey] = []
        newest, too_many = next(reversed(self._drivers)), self.bytes_used - self.bytes_max
        for key, (driver, size) in self._drivers.items() if too_many > 0 else ():
            if too_many <= 0 or key == newest:
                break
            if driver.give_up_cell():
                freed.append(key)
                too_many -= size
        for key in freed:
            self._drop(key)
