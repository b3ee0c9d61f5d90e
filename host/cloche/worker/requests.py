"""What clients ask of the runs that are executed here: resume and cancel. Events are the inbox's (`worker.inbox`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cloche.engines import graph_of
from cloche.errors import NotSuspended
from cloche.history import RunKey
from cloche.history.effects import Suspension
from cloche.history.machine import Input
from cloche.history.messages import CancelRequested, StepResumed
from cloche.history.notes import RunContinued
from cloche.run.selection import chosen, open_suspensions
from cloche.status import RunStatus
from cloche.store import GRANTED
from cloche.worker import queue

if TYPE_CHECKING:
    from cloche.run.driver import RunDriver
    from cloche.run.ports import RunServices
    from cloche.worker.listeners import Listeners
    from cloche.worker.starting import Starting


class Requests:
    """Each method returns when what was asked for is durable. `request` is the row of the inbox that is accepted with it."""

    def __init__(self, services: RunServices, starting: Starting, listeners: Listeners) -> None:
        self._services = services
        self._starting = starting
        self._listeners = listeners

    async def cancel(self, key: RunKey, reason: str, request: int | None = None) -> None:
        """Ask for the end of a run. One that has ended, or is about to, is left alone.

        Raises:
            NotFound: there is no such run.
            LeasedElsewhere, LeaseLost: another worker executes it.
        """
        driver = await self._starting.wake(key)
        try:
            row = await self._services.store.run(key) if driver is None else None
            if row is not None and row.status == RunStatus.PENDING:
                async with self._starting.alone(key):
                    await queue.cancel(self._services, row, request)
                self._listeners.announce(key, stopped=True)
                return
            if driver is not None:
                await driver.record(CancelRequested(self._services.world.now(), reason), request)
                return
        except NotSuspended:
            pass
        if request is not None:
            await self._services.store.resolve(request, GRANTED)

    async def resume(self, key: RunKey, asked: Mapping[str, Any], request: int | None = None) -> None:
        """Give data to suspended steps, or let a paused run go on. One caller wins.

        `asked` has `data`, and `step`, `label`, `foreach_index` as `selection.chosen` takes them; `per_step` is for a paused
        run: one entry of its graph, or on to its end.

        Raises:
            NotSuspended: nothing that is named is suspended.
            InvalidInput: the data does not fit the step's resume schema; nothing has changed.
            LeasedElsewhere, LeaseLost: another worker executes it.
        """
        async with self._starting.with_driver(key) as driver:
            if request is not None and not await self.is_waiting(driver, request):
                return
            first, *others = self._resumed(driver, dict(asked))
            for event in others:
                driver.tell(event)
            await driver.record(first, request)

    async def is_waiting(self, driver: RunDriver, request: int) -> bool:
        """Whether a request still waits, now that this worker owns its run: one that had it before may have accepted it."""
        return not driver.inputs.accepts(request) and await self._services.store.is_waiting(request)

    def _resumed(self, driver: RunDriver, asked: dict[str, Any]) -> Sequence[Input]:
        now, data, per_step = self._services.world.now(), asked.pop("data"), asked.pop("per_step", False)
        if driver.machine.status == RunStatus.PAUSED:
            return [RunContinued(now, per_step)]
        suspended = open_suspensions(driver.machine, driver.inputs)
        graph = graph_of(driver.code) if asked.get("foreach_index") is not None else None
        found = chosen(driver.key.run, suspended, **asked, graph=graph)
        return [StepResumed(now, one.call, one.path, self._checked(one, data)) for one in found]

    def _checked(self, one: Suspension, data: Any) -> Any:
        return self._services.registry.checked_resume(one.step, one.path, data)
