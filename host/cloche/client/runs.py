"""`Run`: one run of a workflow, as its owner holds it; `ForeignRun`: one that another engine keeps, under the same face."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from functools import partial
from typing import TYPE_CHECKING, Any, Generic

from cloche.client.pictures import picture_now, read_picture
from cloche.client.records import Places, RunRecord, are_tagged, may_be_tagged
from cloche.engines import is_written
from cloche.errors import NotFound, RunFailed, UsageError
from cloche.foreign.ports import event_name, resume_name
from cloche.history import Record, RunKey, Seq
from cloche.history.ids import continuation_key, history_key, history_number
from cloche.history.messages import LOG_LEVELS, FailRun, WriteLog
from cloche.history.notes import AttemptFailed
from cloche.history.reading import message_of
from cloche.history.values import plain
from cloche.operations import replay, why
from cloche.operations.filters import count_of
from cloche.operations.start_requests import waiting_start
from cloche.run.child_waits import WaitingRun
from cloche.run.code import load_code
from cloche.run.known_results import known_result
from cloche.run.results import RunResult, revive
from cloche.run.tracebacks import places_of, traceback_in
from cloche.status import FINAL, HALTED, OVER, RESTING, RunStatus
from cloche.steps.authors import is_raised
from cloche.steps.schemas import validated
from cloche.store import record_pages
from cloche.store.histories import newest
from cloche.tenancy.beside import beside
from cloche.text import shown
from cloche_codegen.variables import Out

if TYPE_CHECKING:
    from cloche.client.ports import Connection, OwnApp, RunOwner
    from cloche.engines import Code
    from cloche.foreign import ExecutionEngine
    from cloche.operations.picture import RunPicture
    from cloche.operations.why import Why
    from cloche.store import RunRow, Store
    from cloche_codegen import Workflow


AT_ONCE = 200  # records that are placed, before others may go on: about 4 ms

log = logging.getLogger("cloche")


class Run(Generic[Out]):
    """One run of a workflow. Made by `start` and `get` of a `Client`, `Cloche` or `Tenant`, or by `Workflow.create_run`.

    `own_app` is opened for the time of a call, where the run has one to itself.
    """

    def __init__(
        self, owner: RunOwner, key: RunKey, workflow: Workflow | None, *, own_app: OwnApp | None = None
    ) -> None:
        self._owner = owner
        self._key = key
        self._workflow = workflow
        self._own_app = own_app

    @property
    def id(self) -> str:
        return self._key.run

    @property
    def key(self) -> RunKey:
        """Tenant and run, as the store names it: for those who build on cloche."""
        return self._key

    def __repr__(self) -> str:
        return f"Run({self.id!r})"

    def _repr_html_(self) -> str:
        """For notebooks: what `picture` gives, where the store answers without being waited for; else how to ask for it."""
        return picture_now(self)

    async def picture(self) -> RunPicture:
        """How the run stands, its timeline and its last records, as HTML for notebooks: no scripts, all texts escaped."""
        async with self._open() as connection:
            store, key = connection.store, await newest(connection.store, self._key)
            return await read_picture(store, key, self.id, connection.world.now())

    async def start(
        self,
        input_data: Any = None,
        *,
        initial_state: dict[str, Any] | None = None,
        request_context: dict[str, Any] | None = None,
        per_step: bool = False,
    ) -> RunResult[Out]:
        """Start this run, which `create_run` made, and wait until it stops. Raises as `Cloche.start`."""
        if self._workflow is None:
            raise UsageError(f"the workflow of run {self.id} is not registered here")
        async with self._open():
            await self._owner.start(
                self._workflow,
                input_data,
                run_id=self.id,
                initial_state=initial_state,
                request_context=request_context,
                per_step=per_step,
            )
            return await self.result()

    async def resume(
        self,
        *,
        step: Any = None,
        label: str | None = None,
        resume_data: Any = None,
        foreach_index: int | None = None,
        per_step: bool = False,
        idempotency_key: str | None = None,
    ) -> RunResult[Out]:
        """As `Cloche.resume`."""
        async with self._open():
            result: RunResult[Out] = await self._owner.resume(
                self.id,
                step=step,
                label=label,
                resume_data=resume_data,
                foreach_index=foreach_index,
                per_step=per_step,
                idempotency_key=idempotency_key,
            )
            return result

    async def result(self, *, final: bool = False) -> RunResult[Out]:
        """Wait until the run has ended, is suspended, paused or blocked, and return it as it stands then.

        A run that sleeps, waits for retries or for an event is waited for. One that waits for a child which is suspended,
        paused or blocked is not: `waiting_for` says which. With `final` the run is waited for in any case, until somebody has
        resumed it (or the child), unless it is blocked. `unwrap()` of the result gives the value or raises.

        Raises:
            UsageError: this `Cloche` or `Client` was closed before; the run goes on where a worker has its store.
            ClocheError: a worker refused to start it, as `Client.start` says.
        """
        async with self._open() as connection:
            waiting = WaitingRun(connection.store, self._key)
            while True:
                key = await newest(connection.store, self._key)
                if key != waiting.key:
                    waiting = WaitingRun(connection.store, key)
                if connection.closed:
                    raise UsageError(
                        f"this {connection.name} was closed while run {self.id} had not ended: it goes on with the next worker"
                    )
                with closing(await connection.stopped(key)) as stopped:
                    if (row := await self._found(connection.store, key)) is None:
                        await stopped
                        continue
                    if row.status == RunStatus.CONTINUED:
                        continue
                    stops = (*FINAL, RunStatus.BLOCKED) if final else RESTING
                    if row.status in stops or (not final and await waiting.needs_somebody(row)):
                        await connection.reported(key)
                        return await self._folded(row)
                    if (error := connection.last_error(row)) is not None:
                        raise error
                    await stopped

    async def row(self) -> RunRow:
        """The run's entry in listings.

        Raises:
            NotFound: it has not begun.
        """
        async with self._open() as connection:
            return await replay.row_of(connection.store, await newest(connection.store, self._key))

    async def status(self) -> str:
        """success, failed, canceled, suspended, paused, waiting, running, pending (not started yet) or blocked.

        Raises:
            ClocheError: a worker refused to start it, as `Client.start` says.
        """
        async with self._open() as connection:
            try:
                row = await self._found(connection.store, await newest(connection.store, self._key))
            except RunFailed as error:  # it was canceled before a worker began it
                return RunStatus(error.facts["status"])
            except NotFound as error:
                if error.facts.get("kind") != "run":  # what its start was refused with
                    raise
                row = None
        return row.status if row is not None else RunStatus.PENDING

    async def cancel(self) -> None:
        """As `Cloche.cancel`."""
        async with self._open():
            await self._owner.cancel(self.id)

    async def why(self) -> Why:
        """Why it does not move, and what moves it, as data. Raises as `Client.why`."""
        async with self._open() as connection:
            return await why.why(connection.store, await newest(connection.store, self._key), connection.world.now())

    async def history(self, from_seq: int = 0, *, history: int | None = None) -> list[RunRecord]:
        """All records so far of the newest history, or of that number (from 0), verified; those after number `from_seq`."""
        async with self._open() as connection:
            key = await self._history(connection.store, history)
            places = self._places(connection.store, key)
            found: list[RunRecord] = []
            async for page in record_pages(connection.store, key, Seq(count_of("from_seq", from_seq))):
                for one in page:
                    if len(found) % AT_ONCE == AT_ONCE - 1:
                        await asyncio.sleep(0)
                    found.append(await places.placed(one))
            return found

    async def traceback_of(self, record: Record) -> str | None:
        """Where it went wrong, for people: the traceback of an attempt that failed, or the place in its author's file where a
        workflow failed that somebody wrote, or that an error in the log names. None of other records."""
        match message_of(record):
            case AttemptFailed(traceback=text):
                return shown(text, lines=True) or None
            case FailRun(failure) if failure.trace:
                code = await self.code()
                if not is_written(code):
                    return None
                return await beside(self._key.tenant, partial(traceback_in, failure, code))
            case WriteLog(level, text) if LOG_LEVELS[level] == "error":
                return await beside(self._key.tenant, partial(places_of, text, await self.code()))
        return None

    async def code(self) -> Code:
        """What the run is pinned to: source, graph and guest.

        Raises:
            NotFound: it has not begun.
        """
        async with self._open() as connection:
            return await load_code(connection.store, (await self.row()).code)

    async def records(self, after: int = 0, limit: int = 100, *, history: int | None = None) -> list[Record]:
        """A page of the newest history, or of that number: up to `limit` records after number `after`, verified. Fewer: there
        are no more."""
        async with self._open() as connection:
            key, seq = await self._history(connection.store, history), Seq(count_of("after", after))
            return await connection.store.records(key, seq, count_of("limit", limit))

    async def are_tagged(self, records: Sequence[Record]) -> bool:
        """Whether values in these records are as JavaScript has them (guest/ABI.md, "tagged")."""
        if not any(map(may_be_tagged, records)):
            return False
        async with self._open() as connection:
            store, key = connection.store, await newest(connection.store, self._key)
            return await are_tagged(lambda after, limit: store.records(key, Seq(after), limit))

    async def stream(self, from_seq: int | tuple[int, int] = 0, *, final: bool = False) -> AsyncIterator[RunRecord]:
        """The records after number `from_seq`, then each new one as it becomes durable, until the run stops, as in `result`.

        A run that goes on as a new history is followed there. A record's `position` says in which it is; a number alone is one
        of the history that this run's id names.
        """
        number, seq = _position_of(from_seq, history_number(self._key))
        stops = (*OVER, RunStatus.BLOCKED) if final else (*OVER, *HALTED)
        async with self._open() as connection:
            key = history_key(self._key, number)
            places = self._places(connection.store, key)
            while not connection.closed:
                with closing(await connection.changed(key)) as changed:
                    if (row := await self._found(connection.store, key)) is not None:
                        async for page in record_pages(connection.store, key, Seq(seq)):
                            for record in page:
                                seq = record.seq
                                yield await places.placed(record)
                        if row.status in stops:
                            return
                        if row.status == RunStatus.CONTINUED:
                            key, seq = continuation_key(key), 0
                            places = self._places(connection.store, key)
                            continue
                    await changed

    async def _history(self, store: Store, number: int | None) -> RunKey:
        if number is None:
            return await newest(store, self._key)
        return history_key(self._key, count_of("the number of a history", number))

    @staticmethod
    def _places(store: Store, key: RunKey) -> Places:
        async def page(after: int, limit: int) -> list[Record]:
            return await store.records(key, Seq(after), limit)

        return Places(page, history_number(key))

    def _open(self) -> AbstractAsyncContextManager[Connection]:
        """The connection; a run that has its `Cloche` to itself opens it for the time of a call."""
        return self._opened()

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Connection]:
        if self._own_app is not None and not self._own_app.is_open:
            async with self._own_app:
                yield self._owner.connection
        else:
            yield self._owner.connection

    async def _found(self, store: Store, key: RunKey) -> RunRow | None:
        """The row of this history of the run; None while no worker has begun it.

        Raises:
            NotFound: there is no such run.
            ClocheError: what the request to start it was refused with.
        """
        row = await store.run(key)
        if row is None and await waiting_start(store, key) is None:
            return await replay.row_of(store, key)  # it was begun just now
        return row

    async def _folded(self, row: RunRow) -> RunResult[Out]:
        store = self._owner.connection.store
        out = await known_result(store, row)
        out.run_id = self.id
        if self._workflow is None:
            return out
        steps = {id: adapter for id, step in self._workflow.steps.items() if (adapter := step.output_adapter())}
        return revive(out, self._workflow.output_adapter(), steps)


def _position_of(given: object, history: int) -> tuple[int, int]:
    """The number of a history and of a record in it; a number alone is one of `history`.

    Raises:
        UsageError: it is neither.
    """
    number, seq = given if isinstance(given, tuple) and len(given) == 2 else (history, given)
    return count_of("the number of a history", number), count_of("from_seq", seq)


class ForeignRun(Run[Out]):
    """Made by `create_run` of a workflow whose `execution_engine` keeps whole runs: it is started, reached and canceled there.

    What reads a history of cloche's own raises `UsageError`: the engine has it. The workflow's `on_start`, `on_finish` and
    `on_error` are called here, round `start` and `resume`.
    """

    def __init__(self, engine: ExecutionEngine, workflow: Workflow, run_id: str) -> None:
        self._engine = engine
        self._started = workflow
        self._id = run_id

    @property
    def id(self) -> str:
        return self._id

    async def start(
        self,
        input_data: Any = None,
        *,
        initial_state: dict[str, Any] | None = None,
        request_context: dict[str, Any] | None = None,
        per_step: bool = False,
    ) -> RunResult[Out]:
        """Start this run on its engine, and wait until it has ended or, where the engine can tell, is suspended.

        Raises:
            InvalidInput: the input does not fit the workflow's schema; nothing was started.
            UsageError: the engine cannot be reached, or was asked to go step by step.
            Divergence, RunFailed: the engine ended the run itself.
            Exception: what `on_start` raised; nothing was started.
        """
        if per_step:
            raise UsageError("per_step needs a store of cloche's own")
        workflow, value = self._started, input_data
        adapter = workflow.input_adapter() if workflow.validate_inputs else None
        if adapter is not None:
            value = validated(adapter, input_data, f"the input of workflow '{workflow.id}'")
        if workflow.on_start is not None:
            await _awaited(workflow.on_start({"run_id": self._id, "workflow_id": workflow.id, "input": value}))
        state, context = initial_state or {}, request_context or {}
        return await self._told(
            await self._engine.run(workflow, plain(input_data), run_id=self._id, state=state, context=context)
        )

    async def resume(
        self,
        *,
        step: Any = None,
        label: str | None = None,
        resume_data: Any = None,
        foreach_index: int | None = None,
        per_step: bool = False,
        idempotency_key: str | None = None,
    ) -> RunResult[Out]:
        """Resume a suspended step by its path (its id, on the top level) or by a label, and wait as `start` does.

        Raises:
            UsageError: the engine cannot be reached, or was asked for what needs a store of cloche's own.
            Divergence, RunFailed: the engine ended the run itself.
        """
        if per_step or idempotency_key is not None:
            raise UsageError("per_step and idempotency_key need a store of cloche's own")
        name = resume_name(getattr(step, "id", step), label, foreach_index)
        return await self._told(await self._engine.resume(self._started, self._id, name, plain(resume_data)))

    async def _told(self, result: RunResult[Out]) -> RunResult[Out]:
        """The result, after the workflow's callbacks were given it; what they raise is logged."""
        workflow = self._started
        for call in (workflow.on_finish, workflow.on_error if result.status == RunStatus.FAILED else None):
            try:
                if call is not None:
                    await _awaited(call(result))
            except BaseException as error:
                if not is_raised(error):
                    raise
                log.exception("a callback of run %s raised; the run is not affected", self._id)
        return result

    async def send_resume(
        self, *, step: str | None = None, label: str | None = None, foreach_index: int | None = None, data: Any = None
    ) -> None:
        """Resume a suspended step by its path (its id, on the top level) or by a label."""
        await self._engine.send(self._started.id, self._id, resume_name(step, label, foreach_index), plain(data))

    async def send_event(self, name: str, payload: Any = None) -> None:
        """What `wait_for_event(name)` waits for."""
        await self._engine.send(self._started.id, self._id, event_name(name), plain(payload))

    async def cancel(self) -> None:
        """Ask the engine to cancel the run."""
        await self._engine.cancel(self._started.id, self._id)

    def _open(self) -> AbstractAsyncContextManager[Connection]:
        raise UsageError(f"run {self._id} is kept by {type(self._engine).__name__}: look at it there")


async def _awaited(answer: Any) -> None:
    if inspect.isawaitable(answer):
        await answer
