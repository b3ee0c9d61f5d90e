"""Those who gave an input to a run and wait until it is durable."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from cloche.errors import NotSuspended
from cloche.history import RunKey
from cloche.history.machine import Input


class Waiters:
    """Who waits for which input of a run."""

    def __init__(self, key: RunKey) -> None:
        self._key = key
        self._waiting: list[tuple[Input, asyncio.Future[None]]] = []

    def wait_for(self, one: Input) -> asyncio.Future[None]:
        """Resolves when `one` is recorded; raises what it was rejected for."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((one, waiter))
        return waiter

    def replace(self, one: object, other: Input) -> None:
        """`other` is recorded instead of `one`."""
        self._waiting = [(other if known is one else known, waiter) for known, waiter in self._waiting]

    def resolve(self, recorded: Iterable[object]) -> None:
        """These inputs are durable."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        recorded_ids = {id(one) for one in recorded}
        for one, waiter in waiting:
            if id(one) not in recorded_ids:
                self._waiting.append((one, waiter))
            elif not waiter.done():
                waiter.set_result(None)

    def reject(self, error: BaseException | None = None) -> None:
        """What has not been recorded by now was dropped: for the reason given, or because it came too late."""
        for _, waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(error or NotSuspended(f"run {self._key} does not wait for this any more"))
        self._waiting = []
