"""Machine and cell of a run as its store has them: from the newest checkpoint and what came after it, or from the beginning."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cloche.errors import BrokenChain, CellGone, CellLost, CheckpointRejected, Divergence, GuestFault, HeavyTurn
from cloche.history import Record, RunKey, RunMachine, Seq
from cloche.history.fast_replay import Row, Transcript, follow
from cloche.history.lifecycles import RunPhase
from cloche.history.limits import Limits
from cloche.history.replay import Script, find_divergence, script
from cloche.run import checkpoints
from cloche.run.ports import RunServices
from cloche.store import all_records, first_record, row_pages

if TYPE_CHECKING:
    from cloche.engines import Cell, Code

LOST_MAX = 3  # times running that its cell's process ended over one rebuild

log = logging.getLogger("cloche.run")


@dataclass(slots=True)
class Recovery:
    """Rebuilds one run. `cell` is None until something is delivered to it; `tail` counts the events since a checkpoint."""

    services: RunServices
    key: RunKey
    code: Code
    limits: Limits
    new_machine: Callable[[], RunMachine]
    machine: RunMachine = field(init=False)
    cell: Cell | None = None
    tail: int = 0
    has_checkpoint: bool = False
    burnt: int = 0  # fuel
    wall_ns: int = 0  # that its turns took

    def __post_init__(self) -> None:
        self.machine = self.new_machine()

    async def recover(self) -> None:
        """Bring `machine` and `cell` to the end of the log.

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
        await self._follow([], row_pages(self.services.store, self.key))

    async def _from_checkpoint(self) -> bool:
        """Whether there was a checkpoint that could be used. One about which there is a doubt is never looked at again."""
        saved = await self.services.checkpoints.get(self.key)
        if saved is None:
            return False
        try:
            return await self._restore(saved)
        except CellGone:
            raise
        except (CheckpointRejected, Divergence, GuestFault) as error:
            log.warning("a checkpoint of run %s is not used, now or again: %s", self.key, error.message)
            await self.services.checkpoints.reject(self.key)
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
        pages = row_pages(store, self.key, checkpoint.seq)
        first: list[Row] = await anext(pages, [])
        row = await store.run(self.key)
        checkpoints.check_joint(machine, row.head_hash if row is not None else b"", first[0] if first else None)
        self.cell = await self.services.cells.thaw(self.key.tenant, self.code, self.limits, checkpoint.cell)
        if self.cell is None:
            return False
        self.machine, self.tail, self.has_checkpoint = machine, 0, True
        if first:
            await self._follow(first, pages)
        return True

    async def _follow(self, first: Sequence[Row], pages: AsyncIterator[Sequence[Row]]) -> None:
        """Take machine and cell through stored records, from where they stand to the end of the log."""
        begin, transcript = self.machine.head_seq, Transcript()
        await self._pass(first, transcript)
        async for page in pages:
            await self._pass(page, transcript)
            await asyncio.sleep(0)  # the other runs go on meanwhile
        if self.machine.phase is RunPhase.CANCELING:  # nothing is delivered any more
            self.cell = None
        if self.machine.ended or self.machine.phase is RunPhase.CANCELING or not transcript.events:
            return
        if self.cell is None:
            self.cell = await self.services.cells.open(self.key.tenant, self.code, self.limits)
        if transcript.is_upgraded:  # what its code is told depends on all of the history
            part = await self._script(begin)
            events, expected = part.events, b"".join(part.expected)
        else:
            events, expected = transcript.events, transcript.output()
        self.tail += len(events)
        before = self.cell.fuel_used
        try:
            output = await self.services.lanes.turn(self.key.tenant, self.code, self.cell, events, self)
        finally:
            self.burnt += self.cell.fuel_used - before
        if output != expected:
            report = find_divergence(self.key.run, await self._script(begin), output, self.code.lines)
            raise Divergence(str(report), report=report)

    async def _pass(self, rows: Sequence[Row], transcript: Transcript) -> None:
        """Take the machine through stored records."""
        asks = follow(self.machine, rows, transcript)
        wanted = next(asks, None)
        while wanted is not None:
            record = await self._read(wanted)
            try:
                wanted = asks.send(record)
            except StopIteration:
                return

    async def _script(self, after: Seq) -> Script:
        return script(await all_records(self.services.store, self.key, after))

    async def _read(self, seq: Seq) -> Record:
        found = await first_record(self.services.store, self.key, Seq(seq - 1))
        if found is None:
            raise BrokenChain(f"run {self.key}, record {seq} is missing", run_id=self.key.run, seq=seq)
        return found
