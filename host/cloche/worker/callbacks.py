"""What a workflow's author wants to hear of its runs, once a stop, in the process that drove the run there."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cloche.history import RunKey
from cloche.run.results import FINAL, RunResult, fold

if TYPE_CHECKING:
    from cloche.client.workflows import Workflow
    from cloche.run.driver import RunDriver
    from cloche.worker.worker import Scheduler

log = logging.getLogger("cloche")


class Callbacks:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._reports: dict[RunKey, asyncio.Task[None]] = {}

    def call(self, driver: RunDriver, workflow: Workflow | None) -> None:
        """Call those of `workflow` for a run that has come to a stop in this process, once a stop."""
        status = driver.machine.status
        if workflow is None or not driver.turns or status not in (*FINAL, "suspended"):
            return
        driver.turns = 0
        wanted = [workflow.on_finish, workflow.on_error if status == "failed" else None]
        calls = [call for call in wanted if call is not None]
        if calls:
            self._reports[driver.key] = self._scheduler.spawn(self._report(driver.key, calls))

    async def _report(self, key: RunKey, calls: Sequence[Callable[[RunResult], Any]]) -> None:
        store = self._scheduler.store
        row = store.run(key)
        assert row is not None
        result = fold(row, store.records(key), ())
        for call in calls:
            try:
                answer = call(result)
                if inspect.isawaitable(answer):
                    await answer
            except Exception:
                log.exception("a callback of run %s raised; the run is not affected", key)
        self._reports.pop(key, None)

    async def done(self, key: RunKey) -> None:
        """Wait for the callbacks of a run that has come to a stop."""
        if task := self._reports.get(key):
            await asyncio.shield(task)
