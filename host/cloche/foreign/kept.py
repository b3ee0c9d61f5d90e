"""Conductors of earlier requests, for engines that send the whole history of a run with each: one that is led on from here
need not be led from its beginning. Where there is none, or its history is another one, a fresh one is: nothing depends on it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cloche.foreign.conductor import Conductor

BYTES_MAX = 64_000_000


@dataclass(slots=True)
class Kept:
    """A conductor that rests: what its run began with, and the history that it was led through, entry by entry.

    `resumed` counts how often each call was resumed.
    """

    run: Conductor
    begun: Any
    history: list[tuple[str, Any]]
    resumed: dict[int, int]


class KeptConductors:
    """Conductors by the identity of their runs, the last used ones; together their cells take about `bytes_max`."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._kept: OrderedDict[str, tuple[Kept, int]] = OrderedDict()
        self._bytes = 0

    def take(self, identity: str, begun: Any, history: Sequence[tuple[str, Any]]) -> Kept | None:
        """The conductor of a run, which nobody else has from now on; None unless its history is where this one begins."""
        kept, _ = self._kept.get(identity, (None, 0))
        if kept is None or kept.begun != begun or kept.history != list(history[: len(kept.history)]):
            return None
        self._drop(identity)
        return kept

    def put(self, identity: str, kept: Kept) -> None:
        """Keep a conductor until its run's next request; those that were not used for longest are dropped for it."""
        other, _ = self._kept.get(identity, (None, 0))
        if other is not None:
            if len(other.history) > len(kept.history):  # a request that came late, beside others of the run
                return
            self._drop(identity)
        size = kept.run.resident_bytes
        self._kept[identity] = kept, size
        self._bytes += size
        while self._bytes > self._bytes_max:
            self._drop(next(iter(self._kept)))

    def _drop(self, identity: str) -> None:
        _, size = self._kept.pop(identity)
        self._bytes -= size

    def __len__(self) -> int:
        return len(self._kept)
