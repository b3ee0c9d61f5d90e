"""Taking inputs into the log: a turn, one append, and again for as long as the store does not answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cloche.errors import ClocheError, StoreUnavailable
from cloche.history import Batch, Kind
from cloche.history.ids import continuation_key, parent_of
from cloche.history.machine import Input
from cloche.history.messages import ContinueRun
from cloche.history.output import unpack_command
from cloche.history.permitted import WHOLE_RUN
from cloche.status import OVER
from cloche.store import Append, NewRun, Post, child_ended, child_unwanted, continuation
from cloche.store.refusals import lease_lost

if TYPE_CHECKING:
    from cloche.run.effects import Effects
    from cloche.run.inputs import Inputs
    from cloche.run.live_run import LiveRun
    from cloche.run.ports import DrivenRun, RunServices
    from cloche.run.turn import Turn

STORE_WAIT_S_MAX = 5.0

log = logging.getLogger("cloche.run")


class Commit:
    """Of one run. `owner` has the lease under which it appends."""

    def __init__(
        self, services: RunServices, run: LiveRun, turn: Turn, inputs: Inputs, owner: DrivenRun, effects: Effects
    ) -> None:
        self.new: NewRun | None = None  # of a run that is not in the store yet
        self.is_reported = True  # that something keeps the run from going on; it may have been before this driver
        self._services = services
        self._run = run
        self._turn = turn
        self._inputs = inputs
        self._owner = owner
        self._children = effects.children
        self._attempts = effects.attempts

    async def record(self, inputs: list[Input], comes_to_rest: Callable[[], bool]) -> tuple[int, Batch]:
        """Take inputs through a turn into the log: how many, and the batch that is durable now.

        `comes_to_rest` is asked when the turn was made: whether the run is let go in the same commit.

        Raises:
            StoreUnavailable: a new run was not written; there is no such run.
            LeaseLost: another worker has the run.
            HistoryError: it cannot be rebuilt.
        """
        batch: Batch | None = None
        count, wait_s = 0, 0.0
        while True:
            try:
                if wait_s:
                    await asyncio.sleep(wait_s)
                    await self._run.rebuild()
                    if batch is not None and await self._was_written(batch):
                        break
                    self._run.meter.waste()
                count, batch = await self._turn.take(inputs)
                await self._append(batch, inputs[:count], release=comes_to_rest())
                break
            except StoreUnavailable as error:
                if self.new is not None and not (batch is not None and await self._was_written(batch)):
                    raise  # there is no run yet: the caller is told, and may start it again
                # Whether it was written is seen when the store answers. The inputs are kept: a step that ran is not run again.
                log.warning("run %s waits for its store: %s", self._run.key, error.message)
                self.report(error)
                wait_s = min(wait_s * 2 or 0.05, STORE_WAIT_S_MAX)
        self._run.meter.committed()
        self.new = None
        self.report(None)
        return count, batch

    def report(self, error: ClocheError | None) -> None:
        """Something outside keeps the run from going on for now; None: not any more."""
        if error is not None or self.is_reported:
            self._services.supervisor.report(self._run.key, error)
            self.is_reported = error is not None

    async def regain(self) -> bool:
        """Own the run again, which was let go when it came to rest. Whether somebody appended meanwhile: it was rebuilt then.

        Raises:
            LeaseLost: another worker has it.
        """
        run = self._run
        row = await self._services.ownership.claim(run.key)
        if row is None:
            raise lease_lost(run.key)
        self._owner.lease = row.lease
        self._inputs.not_before(row.updated_at)
        if row.head_hash == run.machine.head_hash:
            return False
        with run.keeping_cell():
            await run.rebuild()
        return True

    async def _was_written(self, batch: Batch) -> bool:
        """Whether the log ends with `batch`, although the store said that it did not take it: only the answer was lost.

        Raises:
            StoreUnavailable: it cannot be said; try again.
            LeaseLost: another worker has the run.
        """
        row = await self._services.store.run(self._run.key)
        if row is None:
            return False
        if row.head_hash == batch.records[-1].hash:
            self._owner.lease = row.lease if row.owner == self._services.ownership.worker else None
            return True
        if row.lease != self._owner.lease:
            raise lease_lost(self._run.key)
        return False

    async def _append(self, batch: Batch, inputs: Sequence[Input], *, release: bool) -> None:
        if not batch.records:
            return
        run, machine = self._run, self._run.machine
        if wait_s := run.limits.append_wait_s(machine.log_bytes - batch.bytes_before):
            await asyncio.sleep(wait_s)
        if run.limits.sums is not None:
            run.limits.sums.written(run.key.tenant, machine.log_bytes - batch.bytes_before)
        run.meter.loop_ns += self._services.lanes.loop.unbilled.pop(run.key.tenant, 0)
        append = Append(
            run.key,
            batch.expect,
            batch.records,
            machine.status,
            machine.wake_at,
            batch.records[-1].time,
            self.new,
            self._inputs.requests(inputs),
            self._owner.lease,
            release,
            metered=run.meter.amounts(batch.records, run.cell, comes_to_rest=release or machine.ended),
            awaited=batch.awaited,
            unawaited=batch.unawaited,
            posts=self._posts(batch),
            marks=batch.marks,
            sent=self._attempts.remote.tasks(batch),
            returned=batch.returned,
        )
        if batch.asked or batch.freed:
            append = self._with_permits(append, batch)
        await self._services.log.append(append)
        if release:
            self._owner.lease = None

    def _with_permits(self, append: Append, batch: Batch) -> Append:
        permits = self._attempts.permits
        freed, detached = permits.freed(batch)
        asked = permits.asks(batch)
        goes_on = batch.records[-1].kind is Kind.RUN_CONTINUED_AS_NEW
        handed_to = continuation_key(self._run.key) if goes_on and WHOLE_RUN in freed else None
        return replace(append, asks=asked, freed=freed, detached=detached, handed_to=handed_to)

    def _posts(self, batch: Batch) -> list[Post]:
        """What is left for others in this commit: the end of a child, for the run that waits for it; and for children that
        nobody wants any more, that they are to end, whatever becomes of this process."""
        machine = self._run.machine
        waits = parent_of(self._run.key) if machine.status in OVER else None
        last = batch.records[-1]
        goes_on = unpack_command(last.body) if last.kind is Kind.RUN_CONTINUED_AS_NEW else None
        asked = (self._run.key, self._run.code.workflow)
        return [
            *([continuation(*asked, goes_on.input, machine.open.deadline)] if isinstance(goes_on, ContinueRun) else []),
            *([child_ended(*waits)] if waits is not None else []),
            *map(child_unwanted, self._children.unwanted(batch)),
        ]
