"""Machine and cell of a run as its store has them: from the newest checkpoint and what came after it, or from the beginning."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from cloche.errors import BrokenChain, CellGone, CellLost, CheckpointRejected, Divergence, GuestFault, HeavyTurn
from cloche.history import Record, RunKey, RunMachine, Seq
from cloche.history.fast_replay import Heard, Row, follow
from cloche.history.replay import Script, find_divergence, script
from cloche.run import checkpoints
from cloche.run.ports import RunServices

if TYPE_CHECKING:
    from cloche.engines import Cell, Code

PORTION_ROWS = 4_000  # of a history that is read: about 10 ms
LOST_MAX = 3  # times running that its cell's process ended over one rebuild

log = logging.getLogger("cloche.run")


@dataclass(slots=True)
class Recovery:
    """Rebuilds one run. `cell` is None until something is delivered to it; `tail` counts the events since a checkpoint."""

    services: RunServices
    key: RunKey
    code: Code
    limits: dict[str, Any]
    new_machine: Callable[[], RunMachine]
    machine: RunMachine = field(init=False)
    cell: Cell | None = None
    tail: int = 0
    has_checkpoint: bool = False
    burnt: int = 0  # fuel

    async def recover(self) -> None:
        """Lead `machine` and `cell` to the end of the log.

        Raises:
            HistoryError: the history cannot be read, or the code asks for something else than it says.
        """
        lost = 0
        while True:
            try:
                if not await self._from_checkpoint():
                    await self._from_beginning()
                return
            except (HeavyTurn, CellGone):  # a heavy turn is known now: begun again, it goes in the other lane
                continue
            except CellLost:  # perhaps over another run of the tenant
                lost += 1
                if lost == LOST_MAX:
                    raise

    async def _from_beginning(self) -> None:
        self.machine, self.cell, self.tail = self.new_machine(), None, 0
        await self._follow(self.services.store.rows(self.key))

    async def _from_checkpoint(self) -> bool:
        """Whether there was a checkpoint that could be used. One about which there is a doubt is never looked at again."""
        saved = self.services.checkpoints.get(self.key)
        if saved is None:
            return False
        try:
            return await self._restore(saved)
        except CellGone:
            raise
        except (CheckpointRejected, Divergence, GuestFault) as error:
            log.warning("a checkpoint of run %s is not used, now or again: %s", self.key, error.message)
            self.services.checkpoints.reject(self.key)
            return False

    async def _restore(self, saved: bytes) -> bool:
        """False where the engine makes no checkpoints.

        Raises:
            CheckpointRejected, Divergence, GuestFault: there is a doubt about it.
        """
        store = self.services.store
        checkpoint = checkpoints.opened(self.key, saved)
        machine = self.new_machine()
        machine.restore(checkpoint.machine)
        rows = store.rows(self.key, checkpoint.seq)
        first = next(rows, None)
        row = store.run(self.key)
        checkpoints.check_joint(machine, row.head_hash if row is not None else b"", first)
        self.cell = self.services.cells.thaw(self.key.tenant, self.code, self.limits, checkpoint.cell)
        if self.cell is None:
            return False
        self.machine, self.tail, self.has_checkpoint = machine, 0, True
        if first is not None:
            await self._follow(chain([first], rows))
        return True

    async def _follow(self, rows: Iterator[Row]) -> None:
        """Lead machine and cell through stored records, from where they stand to the end of the log."""
        begin, heard = self.machine.head_seq, Heard()
        while portion := list(islice(rows, PORTION_ROWS)):
            follow(self.machine, portion, self._read, heard)
            await asyncio.sleep(0)  # the other runs go on meanwhile
        if self.machine.ended or not heard.events:
            return
        if self.cell is None:
            self.cell = await self.services.cells.open(self.key.tenant, self.code, self.limits)
        if heard.is_upgraded:  # what its code is told depends on all of the history
            part = self._script(begin)
            events, expected = part.events, b"".join(part.expected)
        else:
            events, expected = heard.events, heard.output()
        self.tail += len(events)
        before = self.cell.fuel_used
        try:
            output, _ = await self.services.lanes.turn(self.key.tenant, self.code, self.cell, events)
        finally:
            self.burnt += self.cell.fuel_used - before
        if output != expected:
            report = find_divergence(self.key.run, self._script(begin), output, self.code.lines)
            raise Divergence(str(report), report=report)

    def _script(self, after: Seq) -> Script:
        return script(list(self.services.store.records(self.key, after)))

    def _read(self, seq: Seq) -> Record:
        found = next(self.services.store.records(self.key, Seq(seq - 1)), None)
        if found is None:
            raise BrokenChain(f"run {self.key}, record {seq} is missing", run_id=self.key.run, seq=seq)
        return found
