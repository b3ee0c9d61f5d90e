"""What observers hear, heard by nobody: they say what of it they want."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloche.errors import ClocheError
    from cloche.history import Record
    from cloche.history.effects import StartStep
    from cloche.run.observing import ActiveRun, Ended, WatchedRun
    from cloche.store import Append
    from cloche_codegen import Step


class Watching:
    """Implements `Observer`; every method does nothing."""

    def activated(self, run: ActiveRun, traceparent: str | None) -> None:
        """As `Observer.activated`."""

    def committed(self, run: ActiveRun, records: Sequence[Record]) -> None:
        """As `Observer.committed`."""

    def attempt_begins(self, run: WatchedRun, step: Step, start: StartStep) -> Ended:
        """As `Observer.attempt_begins`."""
        return lambda outcome, error: None

    def replayed(self, run: WatchedRun, events: int, seconds: float) -> None:
        """As `Observer.replayed`."""

    def blocked(self, run: ActiveRun, error: ClocheError) -> None:
        """As `Observer.blocked`."""

    def left(self, run: ActiveRun) -> None:
        """As `Observer.left`."""

    def claimed(self, lag_s: float) -> None:
        """As `Observer.claimed`."""

    def appended(self, append: Append, seconds: float) -> None:
        """As `Observer.appended`."""
