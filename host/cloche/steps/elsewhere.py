"""What a step's context can ask of the store that keeps its run, where no store is at hand."""

from __future__ import annotations

import time
from typing import Any, NoReturn

from cloche.errors import UsageError


class NoStore:
    """Part of `Services` of `steps.context`.

    Raises:
        UsageError: what is asked for lies in a store.
    """

    def now_ms(self) -> int:
        return int(time.time() * 1000)

    def started_ms(self) -> int:
        return self.now_ms()

    async def start_named(self, workflow: str, args: list[Any], run_id: str) -> Any:
        _elsewhere("a run that start() begins")

    async def chunks_of(self, stream: str, after: int, run_id: str | None) -> Any:
        _elsewhere("a stream that another step wrote")

    async def wake(self, run_id: str, paths: Any) -> int:
        _elsewhere("another run")

    def abort_signal(self, name: str, reason: Any) -> None:
        _elsewhere("a signal of the workflow")

    async def other_run(self, id: str) -> Any:
        _elsewhere("another run")

    async def waits_for(self, token: str) -> str | None:
        _elsewhere("whether a token is its own")


def _elsewhere(what: str) -> NoReturn:
    raise UsageError(f"{what} lies in the store that keeps the run, and this step is performed where there is none")
