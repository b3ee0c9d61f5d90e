"""One entry of the graph at a time (Mastra's `perStep`): a gate that holds what belongs to the next entry."""

from __future__ import annotations

from typing import Any

from cloche.engines.code import GraphOutline
from cloche.history.calls import OpenCalls


class EntryGate:
    """Implements `history.machine.Gate` for a graph.

    The entry that may run is that of the first call after the run has begun, or was continued.
    Maps run inside the guest and are no entry to stop at.
    """

    def __init__(self, graph: GraphOutline) -> None:
        self._entries = {name: index for index, node in enumerate(graph.nodes) for name in node.names}
        self._open: int | None = None
        self._holds_nothing = False

    def see(self, calls: OpenCalls) -> None:
        if self._open is None and calls:
            self._open = self._first(calls)

    def holds(self, calls: OpenCalls) -> bool:
        if self._holds_nothing or self._open is None or not calls:
            return False
        return self._first(calls) > self._open

    def reopen(self, *, per_step: bool) -> None:
        """The run goes on: by one more entry, or to its end."""
        self._open = None
        self._holds_nothing = not per_step

    def saved(self) -> list[Any]:
        return [self._open, self._holds_nothing]

    def restore(self, data: list[Any]) -> None:
        self._open, self._holds_nothing = data

    def _first(self, calls: OpenCalls) -> int:
        return min(self._entry(call.path) for call in calls.values())

    def _entry(self, path: str) -> int:
        name = path.partition("/")[0].partition("[")[0].partition("#")[0]
        return self._entries.get(name, 0)
