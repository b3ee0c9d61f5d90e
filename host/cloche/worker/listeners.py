"""Futures of those who wait for a run: they resolve when its log has grown, or when it has come to a stop."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable
from typing import Any

from cloche.history import RunId, RunKey, TenantId

Waiting = dict[RunKey, list[asyncio.Future[None]]]
_ANY = RunKey(TenantId(""), RunId(""))  # no run has this key


class Listeners:
    """Used on the loop's thread alone."""

    def __init__(self) -> None:
        self._of_changes: Waiting = {}
        self._of_stops: Waiting = {}
        self._of_sent: Waiting = {}
        self._moved: dict[RunKey, None] | None = None

    def announce(self, key: RunKey, *, stopped: bool = False) -> None:
        """Wake those who wait for a run: its log has grown, or it has `stopped` (ended, parked, blocked)."""
        if self._moved is not None:
            self._moved[key] = None
        for waiting in (self._of_changes, self._of_stops) if stopped else (self._of_changes,):
            _resolve(waiting, key)
        if _ANY in self._of_changes:
            _resolve(self._of_changes, _ANY)

    def wake(self, key: RunKey) -> None:
        """Wake those who wait for a run to stop: what it waits for has changed, although it has not."""
        _resolve(self._of_stops, key)

    def announce_sent(self) -> None:
        """Wake those who wait for attempts of remote steps: there may be new ones."""
        _resolve(self._of_sent, _ANY)

    def anything(self) -> Listener:
        """Resolves when any run's log has grown, or another process has written."""
        return Listener(self._of_changes, _ANY)

    def sent(self) -> Listener:
        """Resolves when an attempt may have been left for a remote worker."""
        return Listener(self._of_sent, _ANY)

    def announce_others(self, driven: Iterable[RunKey]) -> None:
        """Wake those who wait for any run but these."""
        for key in {*self._of_changes, *self._of_stops}.difference(driven):
            self.announce(key, stopped=True)

    def __len__(self) -> int:
        """How many wait."""
        return sum(len(all_of_one) for waiting in (self._of_changes, self._of_stops) for all_of_one in waiting.values())

    def changed(self, key: RunKey) -> Listener:
        """Resolves when the run's log has grown or the run has stopped."""
        return Listener(self._of_changes, key)

    def stopped(self, key: RunKey) -> Listener:
        """Resolves when the run is not driven any more, or cannot go on for now."""
        return Listener(self._of_stops, key)

    def take_moved(self) -> list[RunKey] | None:
        """The runs that were announced since the last call, in that order; None for the first call, which begins to count."""
        moved = None if self._moved is None else list(self._moved)
        self._moved = {}
        return moved


def _resolve(waiting: Waiting, key: RunKey) -> None:
    for listener in waiting.pop(key, ()):
        if not listener.done():
            listener.set_result(None)


class Listener:
    """Awaited, it lasts until it is announced. Closed by who made it, whether it was awaited or not: nothing is left then."""

    def __init__(self, waiting: Waiting, key: RunKey) -> None:
        self._future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting = waiting
        self._key = key
        waiting.setdefault(key, []).append(self._future)

    def __await__(self) -> Generator[Any, None, None]:
        return self._future.__await__()

    def close(self) -> None:
        """Listen no more."""
        of_this_run = self._waiting.get(self._key, [])
        if self._future in of_this_run:
            of_this_run.remove(self._future)
            if not of_this_run:
                del self._waiting[self._key]
