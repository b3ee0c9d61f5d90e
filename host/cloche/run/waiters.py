"""Those who told a run something and wait until it is durable."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from cloche.errors import NotSuspended
from cloche.history import RunKey
from cloche.history.machine import Fact
from cloche.run.inputs import Arrival


class Answers:
    """Facts of a run and who waits for each."""

    def __init__(self, key: RunKey) -> None:
        self._key = key
        self._waiting: list[tuple[Fact, asyncio.Future[None]]] = []

    def to(self, fact: Fact) -> asyncio.Future[None]:
        """Resolves when `fact` is recorded, or raises what it was refused for."""
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((fact, answer))
        return answer

    def give(self, recorded: Iterable[Arrival]) -> None:
        """These facts are durable."""
        waiting, self._waiting = self._waiting, []
        recorded = list(recorded)
        for fact, answer in waiting:
            if not is_in(fact, recorded):
                self._waiting.append((fact, answer))
            elif not answer.done():
                answer.set_result(None)

    def refuse(self, error: BaseException | None = None) -> None:
        """What has not been recorded by now was dropped: for the reason given, or because it came too late."""
        for _, answer in self._waiting:
            if not answer.done():
                answer.set_exception(error or NotSuspended(f"run {self._key} does not wait for this any more"))
        self._waiting = []


def is_in(fact: Arrival, facts: Iterable[Arrival]) -> bool:
    """Whether it is one of these, and not only equal to one."""
    return any(one is fact for one in facts)
