"""`Gate`: what lets a run go one entry of its graph at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from cloche.history.calls import OpenCalls


class Gate(Protocol):
    """Lets a run go one entry of its graph at a time; see `run.stepping`."""

    def holds(self, calls: OpenCalls) -> bool:
        """Whether everything that is open belongs to an entry after the one that may run."""

    def reopen(self, *, per_step: bool) -> None:
        """The run was continued."""

    def see(self, calls: OpenCalls) -> None:
        """These calls are open after a record, from the log or new: the same ones whenever the run is rebuilt."""

    def saved(self) -> list[Any]:
        """What it knows, as plain data."""

    def restore(self, data: list[Any]) -> None:
        """Know what was `saved`."""
