"""What a worker's look for work leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cloche.store import RunRow


class Work(Protocol):
    """The parts of a worker that do what `Claims` finds."""

    async def adopt(self, row: RunRow) -> None:
        """Drive a run that was claimed just now, or let it go if that cannot be."""

    async def look(self) -> None:
        """See to what other processes wrote: requests, runs that were blocked elsewhere, runs that are waited for here."""

    def lose_all(self) -> None:
        """This worker was evicted, and has another name now: what it owned by the old one is others'."""
