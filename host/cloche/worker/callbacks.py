"""`on_finish` and `on_error` of workflows: called once a stop, in the process that drove the run there."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cloche.engines import Code
from cloche.errors import ClocheError
from cloche.history import RunKey
from cloche.run.results import RunResult, fold, outline_of
from cloche.status import OVER, RunStatus
from cloche.steps.authors import is_raised

if TYPE_CHECKING:
    from cloche.engines import Code
    from cloche.run.ports import DrivenRun, Tasks
    from cloche.store import Store
    from cloche_codegen import Workflow

log = logging.getLogger("cloche")


class Callbacks:
    """Calls `on_finish` and `on_error` of the workflows of one worker's runs."""

    def __init__(self, store: Store, tasks: Tasks) -> None:
        self._store = store
        self._tasks = tasks
        self._reports: dict[RunKey, asyncio.Task[None]] = {}

    def call(self, run: DrivenRun, workflow: Workflow | None) -> None:
        """Call those of `workflow` for a run that has come to a stop in this process, once a stop."""
        status = run.machine.status
        if workflow is None or not run.turns or status not in (*OVER, RunStatus.SUSPENDED):
            return
        run.turns = 0
        self.stopped(run.key, run.code, workflow, status)

    def stopped(self, key: RunKey, code: Code, workflow: Workflow | None, status: RunStatus) -> None:
        """As `call`, for a run that nobody drives, once."""
        if workflow is None:
            return
        wanted = [workflow.on_finish, workflow.on_error if status == RunStatus.FAILED else None]
        calls = [call for call in wanted if call is not None]
        if calls:
            self._reports[key] = self._tasks.spawn(self._report(key, code, calls))

    async def _report(self, key: RunKey, code: Code, calls: Sequence[Callable[[RunResult], Any]]) -> None:
        try:
            row = await self._store.run(key)
            assert row is not None
            result = await fold(self._store, row, outline_of(code))
            for call in calls:
                await _call(key, call, result)
        except ClocheError as error:
            log.warning("the callbacks of run %s are not called, for it cannot be read: %s", key, error.message)
        finally:
            self._reports.pop(key, None)

    async def done(self, key: RunKey) -> None:
        """Wait for the callbacks of a run that has come to a stop."""
        if task := self._reports.get(key):
            await asyncio.shield(task)


async def _call(key: RunKey, call: Callable[[RunResult], Any], result: RunResult) -> None:
    try:
        answer = call(result)
        if inspect.isawaitable(answer):
            await answer
    except BaseException as error:
        if not is_raised(error):
            raise
        log.exception("a callback of run %s raised; the run is not affected", key)
