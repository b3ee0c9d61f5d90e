"""What clients ask of the runs that are executed here: resume and cancel. Events are the inbox's (`worker.inbox`)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from cloche.errors import ClocheError, DamagedStore, LeasedElsewhere, NotFound, NotSuspended, SeqConflict, StoreError
from cloche.history import CallId, RunKey
from cloche.history.effects import StartTimer, Suspension
from cloche.history.ids import Child
from cloche.history.machine import Input
from cloche.history.messages import CancelRequested, StepResumed
from cloche.history.notes import RunContinued
from cloche.history.permitted import WHOLE_RUN
from cloche.history.values import encode
from cloche.run.driver import is_told_to_end, permit_granted, tell_remote
from cloche.run.selection import chosen, open_suspensions
from cloche.status import FINAL, RunStatus
from cloche.steps.registry import read_graph
from cloche.store import CANCEL, GRANTED, cancel_token
from cloche.store.histories import is_to_begin, newest

if TYPE_CHECKING:
    from cloche.run.driver import RunDriver
    from cloche.run.ports import RunServices
    from cloche.run.remote import Told
    from cloche.worker.listeners import Listeners
    from cloche.worker.starting import Starting
    from cloche_codegen import Graph

log = logging.getLogger("cloche")


class Requests:
    """Each method returns when what was asked for is durable. `request` is the row of the inbox that is accepted with it."""

    def __init__(self, services: RunServices, starting: Starting, listeners: Listeners) -> None:
        self._services = services
        self._starting = starting
        self._listeners = listeners
        self._being_canceled: WeakValueDictionary[RunKey, asyncio.Lock] = WeakValueDictionary()

    async def cancel(self, key: RunKey, reason: str, request: int | None = None) -> None:
        """Ask for the end of a run. One that has ended, or is about to, is left alone; one that is blocked ends at once.

        Raises:
            NotFound: there is no such run.
            HistoryError, DamagedStore: it is blocked, and its records cannot be read.
            LeasedElsewhere, LeaseLost: another worker executes it.
        """
        # One after the other: of a run that is blocked each would take up what the other one is about to end.
        async with self._being_canceled.setdefault(key, asyncio.Lock()):
            await self._cancel(key, reason, request)

    async def _cancel(self, key: RunKey, reason: str, request: int | None) -> None:
        driver = None
        try:
            if (driver := await self._starting.wake(key)) is not None:
                await driver.record(CancelRequested(self._services.world.now(), reason), request)
                return None
        except NotFound:
            if not await is_to_begin(self._services.store, key):
                raise
            return await self._leave(key, reason)
        except StoreError as error:
            if not isinstance(error, DamagedStore):
                raise
        except ClocheError as error:  # it has ended, or is blocked: as far as its records can be read it can be ended
            log.debug("run %s is not told that it is canceled: %s", key, error.message)
        row = await self._services.store.run(key)
        if row is not None and row.status == RunStatus.CONTINUED:
            await self._cancel_newest(key, reason)
        elif row is not None and row.status in (RunStatus.PENDING, RunStatus.BLOCKED):
            try:
                await self._starting.cancel_undriven(row, reason, request)
            except SeqConflict:  # it begins here just now
                await self._cancel(key, reason, request)
            return None
        if row is not None and row.status not in FINAL and not (driver is not None and is_told_to_end(driver.machine)):
            if row.owner in (None, self._services.ownership.worker):  # it was taken up here meanwhile
                await asyncio.sleep(0)
                return await self._cancel(key, reason, request)
            message = f"run {key} was taken up by another worker just now"
            raise LeasedElsewhere(message, run_id=key.run, owner=row.owner)
        if request is not None:
            await self._services.store.resolve(request, GRANTED)
        return None

    async def _cancel_newest(self, key: RunKey, reason: str) -> None:
        """The run has gone on as another history: that is canceled, or is as soon as it begins."""
        store = self._services.store
        following = await newest(store, key)
        if await store.run(following) is not None:
            await self.cancel(following, reason)
        else:
            await self._leave(following, reason)

    async def _leave(self, key: RunKey, reason: str) -> None:
        """Of a history that was asked for and has not begun: it is canceled in place of that."""
        now = self._services.world.now()
        await self._services.store.post(key, CANCEL, encode(reason), cancel_token(key), now)
        self._services.supervisor.look_for_requests()

    async def end_blocked(self, key: RunKey, reason: str) -> None:
        """End a run that was told to end, if it is still blocked; raises as `cancel`."""
        row = await self._services.store.run(key)
        if row is not None and row.status == RunStatus.BLOCKED:
            await self._starting.cancel_undriven(row, reason, None)

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
            by_index = asked.get("foreach_index") is not None and driver.code.graph
            graph = await read_graph(driver.code) if by_index else None
            first, *others = self._resumed(driver, dict(asked), graph)
            for event in others:
                driver.tell(event)
            await driver.record(first, request)

    async def child_ended(self, key: RunKey, child: Child, request: int) -> None:
        """See to it that the run is told of the end of this child, which it accepts the request with.

        Raises:
            LeasedElsewhere, LeaseLost: another worker executes it.
        """
        with contextlib.suppress(NotSuspended, NotFound):  # it has ended, or was deleted
            async with self._starting.with_driver(key) as driver:
                if not await self.is_waiting(driver, request):
                    return
                if (ended := driver.child_ended(child)) is not None:
                    self._listeners.announce(ended, stopped=True)
                    return
        await self._services.store.resolve(request, GRANTED)

    async def wake(self, key: RunKey, calls: Sequence[CallId], request: int) -> None:
        """End these sleeps of the run now, those that it is still in.

        Raises:
            LeasedElsewhere, LeaseLost: another worker executes it.
        """
        with contextlib.suppress(NotSuspended, NotFound):  # it has ended, or was deleted
            async with self._starting.with_driver(key) as driver:
                await driver.fire([StartTimer(call, self._services.world.now()) for call in calls])
        await self._services.store.resolve(request, GRANTED)

    async def remote_told(self, key: RunKey, told: Told, request: int) -> None:
        """See to it that the run hears what came of an attempt that is performed elsewhere.

        Raises:
            ClocheError: it cannot be told now; the request is kept.
        """
        with contextlib.suppress(NotSuspended, NotFound):  # it has ended, or was deleted
            async with self._starting.with_driver(key) as driver:
                if not await self.is_waiting(driver, request):
                    return
                if await tell_remote(driver, told, request):
                    return
        await self._services.store.resolve(request, GRANTED)

    async def permit_granted(self, key: RunKey, call: CallId, permit: int, *, request: int) -> None:
        """Have an attempt begin, or a run, that has its permits since now; with an attempt the request is accepted.

        Raises:
            ClocheError: it cannot begin here.
        """
        if call == WHOLE_RUN:
            await self._starting.begin_permitted(key)
            await self._services.store.resolve(request, GRANTED)
            return
        with contextlib.suppress(NotSuspended, NotFound):  # the run has ended, or was deleted
            async with self._starting.with_driver(key) as driver:
                if not await self.is_waiting(driver, request):
                    return
                if await permit_granted(driver, call, permit, request):
                    return
        await self._services.store.resolve(request, GRANTED)

    async def is_waiting(self, driver: RunDriver, request: int) -> bool:
        """Whether a request still waits, now that this worker owns its run: one that had it before may have accepted it."""
        if driver.inputs.accepts(request) or not await self._services.store.is_waiting(request):
            return False
        return not driver.inputs.accepts(request)  # it may have come to it while the store was asked

    def _resumed(self, driver: RunDriver, asked: dict[str, Any], graph: Graph | None) -> Sequence[Input]:
        now, data, per_step = self._services.world.now(), asked.pop("data"), asked.pop("per_step", False)
        if driver.machine.status == RunStatus.PAUSED:
            return [RunContinued(now, per_step)]
        suspended = open_suspensions(driver.machine, driver.inputs)
        found = chosen(driver.key.run, suspended, **asked, graph=graph)
        return [StepResumed(now, one.call, one.path, self._checked(one, data)) for one in found]

    def _checked(self, one: Suspension, data: Any) -> Any:
        return self._services.registry.checked_resume(one.step, one.path, data)
