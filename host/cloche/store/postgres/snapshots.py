"""Which transactions have ended, by the server's own numbers: what others have written is known without a row for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`pg_snapshot` of PostgreSQL: below `xmin` all have ended, from `xmax` on none has, between them those that are not
    `open`."""

    xmin: int
    xmax: int
    open: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        xmin, xmax, listed = text.split(":")
        return cls(int(xmin), int(xmax), frozenset(map(int, listed.split(","))) if listed else frozenset())

    def ended_since(self, before: Snapshot, own: Iterable[int]) -> int:
        """How many have ended since `before`, and are not in `own`."""
        ended = sum(1 for xid in before.open if self._has_ended(xid))
        ended += max(0, self.xmax - before.xmax) - sum(1 for xid in self.open if xid >= before.xmax)
        return ended - sum(1 for xid in own if self._has_ended(xid) and not before._has_ended(xid))

    def _has_ended(self, xid: int) -> bool:
        return xid < self.xmax and xid not in self.open
