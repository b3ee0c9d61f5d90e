"""The runs that this worker drives: the table of their drivers, and what it does as each of them stands."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from cloche.errors import ClocheError, StoreError
from cloche.history import RunKey
from cloche.history.ids import Child, parent_of
from cloche.history.resting import row_at_rest, waits_for_child
from cloche.run.driver import RunDriver
from cloche.status import RunStatus
from cloche.store import Lease, Store
from cloche.worker.places import Places

if TYPE_CHECKING:
    from cloche.engines import Code
    from cloche.run.ports import DrivenRun
    from cloche.steps.registry import Registry
    from cloche.worker.admission import Admission
    from cloche.worker.blocks import Blocks
    from cloche.worker.callbacks import Callbacks
    from cloche.worker.cell_cache import CellCache
    from cloche.worker.listeners import Listeners

log = logging.getLogger("cloche")


class Drivers:
    """Implements `Supervisor` of `run.ports`.

    `on_room` is called when a run has left, `on_hooks` with a run and the names of events that it begins to wait for, `on_due`
    with a run that waits for something from outside and has a timer that is due, `on_child` when a child has left a request for
    a run that is not driven here, `on_permits` when a step waits for a permit.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        admission: Admission,
        blocks: Blocks,
        cached: CellCache,
        callbacks: Callbacks,
        listeners: Listeners,
        *,
        on_room: Callable[[], None],
        on_hooks: Callable[[RunKey, Sequence[str]], None],
        on_due: Callable[[RunKey], None],
        on_child: Callable[[], None],
        on_permits: Callable[[], None] = lambda: None,
    ) -> None:
        self.callbacks = callbacks
        self.is_closing = False
        self._store = store
        self._registry = registry
        self._blocks = blocks
        self._cached = cached
        self._listeners = listeners
        self._on_room = on_room
        self.hooks_opened = on_hooks
        self.timer_due = on_due
        self.permits_wait = on_permits
        self._on_child = on_child
        self._drivers: dict[RunKey, RunDriver] = {}
        self._leaving: dict[RunDriver, asyncio.Future[None]] = {}  # those whose end is waited for
        self.places = Places(admission, on_room)

    # ---- the table ----

    def __len__(self) -> int:
        return len(self._drivers)

    def __iter__(self) -> Iterator[RunDriver]:
        return iter(list(self._drivers.values()))

    def __contains__(self, key: RunKey) -> bool:
        return key in self._drivers

    def keys(self) -> list[RunKey]:
        return list(self._drivers)

    def get(self, key: RunKey) -> RunDriver | None:
        return self._drivers.get(key)

    def enter(self, driver: RunDriver) -> None:
        """From now on this one drives its run here. No other one does: see `Starting.alone`."""
        assert driver.key not in self._drivers
        self._drivers[driver.key] = driver
        self.places.take(driver.key)

    async def left(self, driver: RunDriver) -> None:
        """Until this one drives its run no more."""
        if self._drivers.get(driver.key) is driver:
            left = self._leaving.setdefault(driver, asyncio.get_running_loop().create_future())
            await asyncio.shield(left)

    @property
    def is_idle(self) -> bool:
        """Whether all runs have ended. Steps that were left behind may go on: what comes of them is recorded as late."""
        return all(driver.machine.ended for driver in self)

    def drives_one(self) -> bool:
        return len(self._drivers) == 1

    def lose_all(self, *, but: str) -> None:
        """Runs are others' now, and whatever is still done for them is late: those that are not owned by the name `but`."""
        for driver in self:
            if driver.lease is not None and driver.lease.worker != but:
                driver.lose()

    # ---- as their supervisor ----

    def is_driver(self, run: DrivenRun) -> bool:
        return self._drivers.get(run.key) is run

    async def block(self, key: RunKey, error: ClocheError, lease: Lease | None, ends_in_s: int | None = None) -> None:
        await self._blocks.block(key, error, lease)
        if ends_in_s is not None:
            self._blocks.end_in(key, ends_in_s)

    def report(self, key: RunKey, error: ClocheError | None) -> None:
        self._blocks.report(key, error)

    async def release(self, run: DrivenRun) -> None:
        lease, run.lease = run.lease, None
        if lease is None or self.is_closing:  # at the end all of them are let go at once
            return
        machine = run.machine
        status, wake_at = row_at_rest(machine)
        try:
            row = await self._store.run(run.key)
            if row is not None and row.head_hash != machine.head_hash:  # it is ahead: its last append was not written
                status, wake_at = row.status, row.wake_at
            await self._store.leases.release(run.key, lease, status, wake_at)
        except StoreError as error:
            log.warning("run %s could not be let go: %s", run.key, error.message)
            self._blocks.try_again(run.key, error)

    def finished(self, run: DrivenRun, *, keeps_cell: bool = False) -> None:
        if self.is_driver(run):
            driver = self._drivers.pop(run.key)
            self.places.leave(run.key)
            if (left := self._leaving.pop(driver, None)) is not None:
                left.set_result(None)
        if not keeps_cell:
            self._cached.drop(run.live)
        self._on_room()
        self.stopped_moving(run)

    def announce(self, key: RunKey) -> None:
        driver = self._drivers.get(key)
        if driver is not None and not driver.machine.ended:
            self.places.follow(driver)
        self._listeners.announce(key)

    def stopped_moving(self, run: DrivenRun) -> None:
        """Tell those who wait for it: callbacks once, then everybody else."""
        if run.machine.ended and self.is_driver(run):
            self.places.leave(run.key)
        self.callbacks.call(run, self._registry.workflow_of(run.code))
        self._tell_waiting(run.key)

    def _tell_waiting(self, key: RunKey) -> None:
        """Those who wait for it, and for the runs above it."""
        self._listeners.announce(key, stopped=True)
        waits = parent_of(key)
        while waits is not None:  # what those wait for stands otherwise now
            self._listeners.wake(waits[0])
            waits = parent_of(waits[0])

    def ended_undriven(self, key: RunKey, code: Code | None, status: RunStatus = RunStatus.CANCELED) -> None:
        """A run has ended that nobody drives, and has left requests for its parent and its children."""
        if code is not None:
            self.callbacks.stopped(key, code, self._registry.workflow_of(code), status)
        self._tell_waiting(key)
        self.look_for_requests()

    def child_ended(self, parent: RunKey, child: Child) -> None:
        driver = self._drivers.get(parent)
        # Else it follows the child itself.
        if driver is None or driver.leaving is not None or not waits_for_child(driver.machine, child):
            self._on_child()

    def look_for_requests(self) -> None:
        self._on_child()
