"""One turn: inputs through the glass, and the records that come of it. A fault is pinned to the event that did it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable, Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING

from cloche.errors import CellGone, GuestFault, HeavyTurn
from cloche.history import Batch, Failure, Kind, Note, TimeMs
from cloche.history.lifecycles import RunPhase
from cloche.history.machine import Input
from cloche.history.messages import CompleteRun
from cloche.history.reading import message_of

if TYPE_CHECKING:
    from cloche.run.live_run import LiveRun
    from cloche.run.ports import RunServices

FAULT_TRIES = 3  # for faults that depend on the machine


class Turn:
    """Makes the turns of one run. `prepare` adds what the host records of its own to a batch before it is written, in
    pieces as `RunMachine.accepting`."""

    def __init__(self, services: RunServices, run: LiveRun, prepare: Callable[[Batch], Iterable[None]]) -> None:
        self._services = services
        self._run = run
        self._prepare = prepare

    async def take(self, inputs: Sequence[Input]) -> tuple[int, Batch]:
        """How many of the inputs were taken, and the batch that they led to. Nothing is written yet.

        Raises:
            HistoryError: the run had to be rebuilt, and cannot be.
            StoreError: the store did not answer meanwhile.
        """
        run = self._run
        is_over = run.machine.ended or run.machine.phase is RunPhase.CANCELING  # then nothing is delivered any more
        if run.cell is None and run.machine.head_seq and not is_over:
            await run.rebuild()  # the cell was evicted
        now = self._services.world.now()
        try:
            events = run.machine.deliver(inputs)
            output = await self._pass(events) if events else b""
            return len(inputs), await self._accepted(inputs, output, now)
        except GuestFault as fault:
            return await self.isolate(inputs, fault)

    async def isolate(self, inputs: Sequence[Input], fault: GuestFault) -> tuple[int, Batch]:
        """As `take` after a stopped turn: it was passing, or the run ends at exactly the event that did it."""
        tries = 1
        while True:
            self._run.meter.waste()
            await self._run.rebuild()
            machine, now = self._run.machine, self._services.world.now()
            events = machine.deliver(inputs)
            if len(events) > 1:
                inputs = inputs[: next(index for index, one in enumerate(inputs, 1) if not isinstance(one, Note))]
            elif fault.deterministic or tries == FAULT_TRIES:
                return len(inputs), machine.stop(inputs, Failure.from_exception(fault), fault.code, now)
            else:
                tries += 1
            try:
                output = await self._pass(machine.deliver(inputs))
                return len(inputs), await self._accepted(inputs, output, now)
            except GuestFault as again:
                fault = again

    async def _accepted(self, inputs: Sequence[Input], output: bytes, now: TimeMs) -> Batch:
        """The batch. That of a large turn is made in pieces: the loop goes on between them."""
        work = self._accepting(inputs, output, now)
        while True:
            began = perf_counter_ns()
            try:
                next(work)
            except StopIteration as end:
                batch: Batch = end.value
                return batch
            finally:  # what cannot be taken costs the host as much
                self._worked(perf_counter_ns() - began)
            await asyncio.sleep(0)

    def _accepting(self, inputs: Sequence[Input], output: bytes, now: TimeMs) -> Generator[None, None, Batch]:
        batch = yield from self._run.machine.accepting(inputs, output, now)
        self._check_result(batch)
        yield from self._prepare(batch)
        return batch

    def _worked(self, ns: int) -> None:
        self._run.meter.wall_ns += ns
        self._services.lanes.charge(self._run.key.tenant, ns)

    def _check_result(self, batch: Batch) -> None:
        """A run that would end with a value of another type than its workflow says fails instead, at the same event."""
        last = batch.records[-1] if batch.records else None
        if last is not None and last.kind is Kind.RUN_COMPLETED:
            message = message_of(last)
            if isinstance(message, CompleteRun):
                self._services.registry.check_result(self._run.code, message.value)

    async def _pass(self, events: list[bytes]) -> bytes:
        """One crossing. A turn that turns out to be heavy is made again in the other lane, on a cell that is as it was."""
        run = self._run
        cell = await run.live_cell()
        run.limits.check_turn(run.started, self._services.world.now(), cell.fuel_used, events)
        while True:
            run.tail += len(events)
            try:
                output = await run.meter.cross(self._services.lanes, run.key.tenant, run.code, cell, events)
                break
            except (HeavyTurn, CellGone):
                await run.rebuild()
                cell = await run.live_cell()
        run.limits.check_fuel(cell.fuel_used)
        return output
