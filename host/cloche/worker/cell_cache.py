"""The cell cache: live cells, as many as fit into a budget of memory.

A driven run has a cell, and one that was parked keeps its own until room is needed: waking it then costs nothing. When the
budget is used up, the run that has had no turn for longest gives up its cell, after a checkpoint if its history is long; its
next turn rebuilds it. A cell in a turn is never taken away, so the budget may be exceeded by as many as are at work.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from cloche.history import RunKey

if TYPE_CHECKING:
    from cloche.run.ports import CellOwner

BYTES_MAX = 256 << 20  # about 1,600 cells of small workflows


class CellCache:
    """Who has a cell, least recently used first."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self.bytes_max = bytes_max
        self.bytes_used = 0
        self._owners: OrderedDict[RunKey, tuple[CellOwner, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._owners)

    def add(self, owner: CellOwner, size: int) -> None:
        """`owner` has a cell of `size` bytes now; make room for it."""
        self._drop(owner.key)
        self._owners[owner.key] = (owner, size)
        self.bytes_used += size
        self._make_room()

    def used(self, key: RunKey) -> None:
        """The run had a turn."""
        if key in self._owners:
            self._owners.move_to_end(key)

    def get(self, key: RunKey) -> CellOwner | None:
        """The owner that has a cell of this run."""
        return self._owners.get(key, (None, 0))[0]

    def drop(self, owner: CellOwner) -> None:
        """Its cell is of no use any more."""
        if self.get(owner.key) is owner:
            self._drop(owner.key)

    def _drop(self, key: RunKey) -> None:
        self.bytes_used -= self._owners.pop(key, (None, 0))[1]

    def _make_room(self) -> None:
        freed: list[RunKey] = []
        newest, too_many = next(reversed(self._owners)), self.bytes_used - self.bytes_max
        for key, (owner, size) in self._owners.items() if too_many > 0 else ():
            if too_many <= 0 or key == newest:
                break
            if owner.evict_cell():
                freed.append(key)
                too_many -= size
        for key in freed:
            self._drop(key)
