"""`LiveRun`: a run's machine and cell, as one state: rebuilt from the store, saved as a checkpoint, evicted to make room."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from cloche.engines import Code, is_native
from cloche.history import Kind, RunKey, RunMachine
from cloche.history.lifecycles import RunPhase
from cloche.history.messages import Started
from cloche.history.reading import unpack_started
from cloche.run import checkpoints
from cloche.run.limits import RunLimits
from cloche.run.recovery import Recovery
from cloche.sandbox.cells import LIGHT_CELL_BYTES
from cloche.store import record_pages

if TYPE_CHECKING:
    from cloche.engines import Cell
    from cloche.history.gate import Gate
    from cloche.run.meter import Meter
    from cloche.run.ports import RunServices

_SAVED_IN = (RunPhase.RUNNING, RunPhase.PAUSED)  # after a cancellation nothing more is delivered to the cell


class LiveRun:
    """Of one run while it is driven. `cell` is None until something is to be delivered, and after it was evicted."""

    def __init__(
        self,
        services: RunServices,
        key: RunKey,
        code: Code,
        limits: RunLimits,
        gate: Callable[[], Gate] | None,
        meter: Meter,
    ) -> None:
        self.key = key
        self.code = code
        self.limits = limits
        limits.abi = code.abi
        self.meter = meter
        self.started: Started | None = None
        self.cell: Cell | None = None
        self._services = services
        self._gate = gate
        self._handles_cancel = is_native(code)
        self.machine = self._new_machine()
        self.tail = 0  # events that the cell was given since the last checkpoint: without a new one they are replayed
        self._fuel_saved = 0  # what the cell had used up by then
        self._has_checkpoint = False
        self._is_turning = False

    # ---- from the store ----

    async def rebuild(self) -> None:
        """Machine and cell as the store has them: from the newest checkpoint and what came after it, or from the beginning.

        Raises:
            HistoryError: the history cannot be read, or the code asks for something else than it says.
        """
        if self.started is None:
            self.started = await self._recorded_start()
        self.cell = None  # whatever happens, it is not what the store has
        recovery = Recovery(self._services, self.key, self.code, self.limits.policy.limits(), self._new_machine)
        try:
            await recovery.recover()
        finally:
            self.machine = recovery.machine  # as far as its records could be read
        self.cell, self.tail = recovery.cell, recovery.tail
        self._fuel_saved = self.cell.fuel_used if self.cell is not None and recovery.has_checkpoint else 0
        self._has_checkpoint = self._has_checkpoint or recovery.has_checkpoint
        self.meter.burn(recovery.burnt, recovery.wall_ns)
        if (observer := self._services.observer) is not None:
            observer.replayed(self, recovery.tail, recovery.wall_ns / 1e9)
        self._count_cell()

    async def _recorded_start(self) -> Started | None:
        async for page in record_pages(self._services.store, self.key, first=2):
            for record in page:
                if record.kind is Kind.RUN_STARTED:
                    return unpack_started(record.body)
        return None

    async def is_at_head(self) -> bool:
        """Whether there is a cell, of a driver that was parked, and nobody has appended since."""
        row = await self._services.store.run(self.key)
        return self.cell is not None and row is not None and row.head_hash == self.machine.head_hash

    def take_over(self, parked: LiveRun) -> None:
        """Go on with machine and cell of a run that was parked."""
        self.machine, self.started = parked.machine, parked.started
        self.cell, self.tail, self._has_checkpoint = parked.cell, parked.tail, parked._has_checkpoint
        self._fuel_saved = parked._fuel_saved
        self._count_cell()

    # ---- the cell ----

    async def live_cell(self) -> Cell:
        """The cell, opened if there was none.

        Raises:
            GuestFault: its code does not load.
        """
        if self.cell is None:
            cells = self._services.cells
            self.cell = await cells.open(self.key.tenant, self.code, self.limits.policy.limits())
            self._count_cell()
        return self.cell

    @contextmanager
    def keeping_cell(self) -> Iterator[None]:
        """A turn or a rebuild is going on: the cell is not evicted."""
        self._is_turning = True
        try:
            yield
        finally:
            self._is_turning = False

    def evict_cell(self) -> bool:
        """Let go of the cell, after a checkpoint if that is worth it; False while it is at work."""
        if self._is_turning:
            return False
        if (cell := self._worth_saving(checkpoints.EVENTS_WORTH_KEEPING)) is not None:
            self._save(cell, cell.freeze)  # in the thread that writes it: nobody uses the cell any more
        self.cell = None
        return True

    async def save_checkpoint(self, events_min: int) -> None:
        """Take a checkpoint if so many events, or events that computed so much, would have to be replayed without it.

        A large cell is copied beside the loop. Written in another thread.
        """
        if (cell := self._worth_saving(events_min)) is None:
            return
        with self.keeping_cell():
            if cell.resident_bytes > LIGHT_CELL_BYTES:
                frozen = await self._services.lanes.beside(self.key.tenant, cell.freeze)
            else:
                frozen = cell.freeze()
        if frozen is not None:
            self._save(cell, lambda: frozen)

    def _worth_saving(self, events_min: int) -> Cell | None:
        if self.cell is None or self.machine.phase not in _SAVED_IN:
            return None
        if len(self.machine.open) > checkpoints.OPEN_CALLS_MAX:
            return None
        is_little = self.cell.fuel_used - self._fuel_saved < checkpoints.FUEL_BETWEEN
        return None if self.tail < events_min and is_little else self.cell

    def _save(self, cell: Cell, freeze: Callable[[], checkpoints.Frozen | None]) -> None:
        pack = checkpoints.taken(self.key, self.machine, freeze, self.limits.policy.checkpoint_bytes)
        self.tail, self._fuel_saved, self._has_checkpoint = 0, cell.fuel_used, True
        self._services.cells.save(self.key, self.machine.head_seq, pack)

    async def forget(self) -> None:
        """The run has ended: nothing is kept of it beside its log."""
        self.cell = None  # whoever still holds this run holds no memory of a guest
        self.limits.forget()
        if self._has_checkpoint:
            await self._services.checkpoints.forget(self.key)

    # ---- inside ----

    def _count_cell(self) -> None:
        if self.cell is not None:
            self._services.cells.keep(self, self.cell.resident_bytes)

    def _new_machine(self) -> RunMachine:
        machine = RunMachine(self.key)
        machine.gate = self._gate() if self._gate is not None else None
        machine.bounds = replace(self.limits.policy.bounds, has_old_names=not self.limits.derived_ids)
        machine.validator = self._services.cells.validator
        machine.handles_cancel = self._handles_cancel
        machine.abi = self.code.abi
        return machine
