"""The cell cache: live cells, as many as fit into a budget of memory.

A driven run has a cell, and one that was parked keeps its own until room is needed: waking it then costs nothing. When the
budget is used up, the tenant whose cells take most gives up that of the run which has had no turn for longest, after a
checkpoint if its history is long; its next turn rebuilds it. So no tenant loses a cell to one that has more. A cell in a turn
is never taken away, so the budget may be exceeded by as many as are at work.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from cloche.history import RunKey, TenantId

if TYPE_CHECKING:
    from cloche.run.ports import CellOwner

BYTES_MAX = 256 << 20  # about 1,600 cells of small workflows

Owners: TypeAlias = "OrderedDict[RunKey, tuple[CellOwner, int]]"
_NONE: Owners = OrderedDict()


class CellCache:
    """Who has a cell, and of how many bytes as of its last turn: by tenant, least recently used first."""

    def __init__(self, bytes_max: int = BYTES_MAX, most_of: Callable[[TenantId], int] = lambda tenant: 1 << 62) -> None:
        """`most_of` says how many bytes the cells of one tenant may take."""
        self.bytes_max = bytes_max
        self._most_of = most_of
        self.bytes_used = 0
        self.bytes_of: dict[TenantId, int] = {}
        self._owners: dict[TenantId, Owners] = {}

    def __len__(self) -> int:
        return sum(map(len, self._owners.values()))

    def add(self, owner: CellOwner, size: int) -> None:
        """`owner` has a cell of `size` bytes now; make room for it."""
        key = owner.key
        self._drop(key)
        self._owners.setdefault(key.tenant, OrderedDict())[key] = (owner, size)
        self._count(key.tenant, size)
        if self.bytes_of[key.tenant] > (most := self._most_of(key.tenant)):
            self._shrink(key, most)
        if self.bytes_used > self.bytes_max:
            self._make_room(key)

    def used(self, key: RunKey, size: int) -> None:
        """The run had a turn, and its cell has `size` bytes by now."""
        owners = self._owners.get(key.tenant, _NONE)
        if key in owners:
            owner, before = owners[key]
            if size == before:
                self._owners[key.tenant].move_to_end(key)
            else:
                self.add(owner, size)

    def get(self, key: RunKey) -> CellOwner | None:
        """The owner that has a cell of this run."""
        found = self._owners.get(key.tenant, _NONE).get(key)
        return found[0] if found is not None else None

    def drop(self, owner: CellOwner) -> None:
        """Its cell is of no use any more."""
        if self.get(owner.key) is owner:
            self._drop(owner.key)

    def _drop(self, key: RunKey) -> None:
        owners = self._owners.get(key.tenant, _NONE)
        if key in owners:
            self._count(key.tenant, -owners.pop(key)[1])
            if not owners:
                del self._owners[key.tenant], self.bytes_of[key.tenant]

    def _count(self, tenant: TenantId, size: int) -> None:
        self.bytes_used += size
        self.bytes_of[tenant] = self.bytes_of.get(tenant, 0) + size

    def _make_room(self, newest: RunKey) -> None:
        """Of the tenants that have most, until it is enough: those whose cells are all at work are passed over, and nobody is
        brought below an even share by them.
        """
        passed = set[TenantId]()
        while self.bytes_used > self.bytes_max and (left := self.bytes_of.keys() - passed):
            tenant = max(left, key=lambda one: (self.bytes_of[one], one))
            if self.bytes_of[tenant] <= self.bytes_max // len(self.bytes_of):
                break
            if not self._evict_one(tenant, newest):
                passed.add(tenant)

    def _shrink(self, newest: RunKey, most: int) -> None:
        while self.bytes_of[newest.tenant] > most and self._evict_one(newest.tenant, newest):
            pass

    def _evict_one(self, tenant: TenantId, newest: RunKey) -> bool:
        """The one that has had no turn for longest; False: all of them are at work."""
        for key, (owner, _) in self._owners[tenant].items():
            if key != newest and owner.evict_cell():
                self._drop(key)
                return True
        return False
