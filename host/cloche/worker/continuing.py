"""Beginning the next history of a run that has gone on as a new one (`continue_as_new`): what was asked for in its last commit.

It has the tags, the deadline, the request context and the place among others of the one before; requests that waited for that
one go along, before it begins, so that none is lost wherever a process ends. What cannot begin is a history that fails.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from cloche.engines import Code
from cloche.errors import ClocheError, HeldBack, HistoryError, StoreError
from cloche.history import Batch, Failure, RunId, RunKey, RunMachine, TimeMs
from cloche.history.ids import parent_of
from cloche.history.marks import tags_in
from cloche.history.messages import Started
from cloche.history.notes import RunCanceled, RunCreated, unpack_created
from cloche.history.permitted import WHOLE_RUN
from cloche.history.reading import unpack_started
from cloche.run.meter import Tally
from cloche.store import CANCEL, GRANTED, Append, InboxRow, Metered, cancel_token, child_ended

if TYPE_CHECKING:
    from cloche.run.ports import RunServices
    from cloche.worker.cells import WorkerCells
    from cloche.worker.policies import Policies
    from cloche.worker.start_request import StartRequest

Begin = Callable[[RunKey, str, Any, dict[str, Any], int, RunCreated, str, dict[str, Any]], Awaitable[None]]


class Continuing:
    """Of one worker. `begin` begins a run as one that another has begun; `created` is the first record of a run."""

    def __init__(
        self,
        services: RunServices,
        cells: WorkerCells,
        policies: Policies,
        begin: Begin,
        created: Callable[..., RunCreated],
    ) -> None:
        self._services = services
        self._cells = cells
        self._policies = policies
        self._begin = begin
        self._created = created

    async def begin(self, row: InboxRow, asked: StartRequest) -> None:
        """Begin it; the request `row` is accepted in the same commit.

        Raises:
            StoreError, HistoryError: it cannot be begun now, or the one before cannot be read.
        """
        store, before = self._services.store, RunKey(row.key.tenant, RunId(asked.more["continues"]))
        found = await store.run(before)
        if found is None:
            raise HistoryError(
                f"run {before}, which run {row.key} goes on from, is not in the store", run_id=before.run
            )
        code = await self._cells.code(found.code)
        first, *others = await store.records(before, limit=2)
        created = unpack_created(first)
        given = unpack_started(others[0].body).given if others else {}
        context = {"context": given["context"]} if given.get("context") else {}
        more = {
            "tags": tags_in(await store.marks(before)),
            "deadline": asked.more.get("deadline"),
            "continues": before.run,
            "parent": created.parent,
            "depth": created.depth,
        }
        await self._move_requests(before, row.key)
        if (canceled := await store.request(cancel_token(row.key))) is not None:
            # Else code that goes on in its first turn, again and again, would never be told.
            await self._end(row, code, more, asked.input, canceled.id)
            return
        try:
            await self._begin(row.key, asked.workflow, asked.input, context, row.id, created, code.owner, more)
        except (StoreError, HeldBack):
            raise
        except ClocheError as error:
            await self._fail(row, code, more, error)

    async def _move_requests(self, before: RunKey, to: RunKey) -> None:
        """Events and a cancellation that wait for the one before, in their order. Doing it again does nothing."""
        store = self._services.store
        for row in await store.requests(before):
            if row.name is None and row.kind != CANCEL:
                continue
            token = cancel_token(to) if row.kind == CANCEL else to.token + row.token.removeprefix(before.token)
            await store.post(to, row.kind, row.body, token, row.posted_at, kept=row.kept, name=row.name)
            await store.resolve(row.id, GRANTED)

    async def _end(self, row: InboxRow, code: Code, more: dict[str, Any], value: Any, canceled: int) -> None:
        """It was canceled before it began: it does not begin. Both requests are accepted in that commit."""
        now = self._services.world.now()
        machine = RunMachine(row.key)
        machine.abi = code.abi
        started = Started(now, self._services.world.seed(), value, {})
        created = self._created(code, self._policies.of_code(row.key.tenant, code), queued=started.pack(), **more)
        batch = machine.accept([created, RunCanceled(now)], b"", now)
        await self._record(row, code, machine, batch, now, (row.id, canceled))

    async def _fail(self, row: InboxRow, code: Code, more: dict[str, Any], error: ClocheError) -> None:
        """What it was to begin with does not fit its workflow, or the tenant's policy: it has begun, and failed."""
        services, now = self._services, self._services.world.now()
        created = self._created(code, self._policies.of_code(row.key.tenant, code), **more)
        machine = RunMachine(row.key)
        machine.abi = code.abi
        started = Started(now, services.world.seed(), None, {})
        batch = machine.stop([created, started], Failure.from_exception(error), error.code, now)
        await self._record(row, code, machine, batch, now, (row.id,))

    async def _record(
        self, row: InboxRow, code: Code, machine: RunMachine, batch: Batch, now: TimeMs, taken: tuple[int, ...]
    ) -> None:
        services, waits = self._services, parent_of(row.key)
        append = Append(
            row.key,
            batch.expect,
            batch.records,
            machine.status,
            None,
            now,
            self._cells.new_run(code),
            taken,
            metered=Metered(Tally.of(batch.records).usage(), services.cells.meter),
            posts=[child_ended(*waits)] if waits is not None else (),
            marks=batch.marks,
            freed=(WHOLE_RUN,),  # what the one before has handed on
        )
        await services.log.append(append)
        services.supervisor.ended_undriven(row.key, code, machine.status)
