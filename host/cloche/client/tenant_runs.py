"""`Runs`: the runs of one tenant, and what can be asked of them wherever they are executed.

A handle reaches its own tenant's runs only, since a run is named by tenant and id together wherever it is looked up: the run of
another tenant is not found, with the error of one that never was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, overload

from cloche.client.deadlines import Deadline, deadline_ms
from cloche.client.in_turn import in_turn
from cloche.client.many import Many
from cloche.client.runs import Run
from cloche.client.schedules import Schedules
from cloche.client.sought import Sought
from cloche.client.telling import Telling
from cloche.errors import UsageError
from cloche.history import RunKey
from cloche.history.ids import check_idempotency_key, check_named, new_run_key, retry_key, run_key, tenant_id
from cloche.history.values import encode, plain
from cloche.operations import acts, export, replay
from cloche.operations.acts import Act
from cloche.operations.filters import count_of, status_of
from cloche.operations.on_their_way import check_first, meant
from cloche.operations.start_requests import check_same_retry, has_run
from cloche.operations.view import RunView, Startable, startable, view_of
from cloche.run.results import RunResult
from cloche.run.selection import path_of
from cloche.status import FINAL, RunStatus
from cloche.store import GRANTED, RunRow, Usage, Version
from cloche.store.histories import newest
from cloche.telemetry.starter import tags_with_starter
from cloche.worker.answers import start_token, token_of
from cloche.worker.retry_request import Retry, planned, records_to_retry
from cloche_codegen.variables import In, Out

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Unpack

    from cloche.client.ports import Connection
    from cloche_codegen import Workflow


class StartOptions(TypedDict, total=False):
    """The options of `start`."""

    run_id: str | None
    initial_state: dict[str, Any] | None
    request_context: dict[str, Any] | None
    per_step: bool
    tags: Mapping[str, str] | None
    deadline: Deadline | None


class Runs(Sought, Many, Telling):
    """The runs of one tenant, over a connection: `connect` gives it, or raises `UsageError` while there is none.

    Raises:
        UsageError: the tenant's id is no text of 1 to 200 bytes without control characters.
    """

    def __init__(self, connect: Callable[[], Connection], id: str) -> None:
        self._connect = connect
        self._tenant = tenant_id(id)

    @property
    def tenant_id(self) -> str:
        return self._tenant

    @property
    def connection(self) -> Connection:
        """The open store, and whoever moves its runs.

        Raises:
            UsageError: it is not open.
        """
        return self._connect()

    @property
    def schedules(self) -> Schedules:
        """What begins runs of the tenant at set times."""
        return Schedules(self, self._tenant)

    @overload
    async def start(
        self, workflow: Workflow[In, Out], input_data: In | Mapping[str, Any], **options: Unpack[StartOptions]
    ) -> Run[Out]: ...
    @overload
    async def start(
        self, workflow: Workflow[None, Out], input_data: None = None, **options: Unpack[StartOptions]
    ) -> Run[Out]: ...
    @overload
    async def start(
        self,
        workflow: str | Version,
        input_data: Any = None,
        **options: Unpack[StartOptions],
    ) -> Run[Any]: ...
    async def start(
        self,
        workflow: Any,
        input_data: Any = None,
        *,
        run_id: str | None = None,
        initial_state: dict[str, Any] | None = None,
        request_context: dict[str, Any] | None = None,
        per_step: bool = False,
        tags: Mapping[str, str] | None = None,
        deadline: Deadline | None = None,
    ) -> Run[Any]:
        """Start a run and return when its beginning is durable. Idempotent on `run_id`, also across processes.

        `workflow` is what the tenant has deployed (a version, its id, or a workflow's id for its last one), or else what is
        registered: here, or with a worker of the store. `per_step` lets it run one entry of its graph and pause; `Run.resume`
        goes on. `tags` are names and values by which the run is found (`list(tags=…)`): at most 32, each of 200 characters.
        Within a span of OpenTelemetry its context is one of them, `traceparent`.

        By its `deadline` (a datetime; or from now seconds, a timedelta, `"8 hours"`) the run must have ended: then it is told
        to end as if it was canceled, cleans up, and fails with DeadlineExceeded. Starting it again changes neither.

        A `Client` leaves a request, which is durable when this returns: a worker that has the workflow checks it again and
        begins the run, under its own policy. What it refuses is raised by `Run.result`; until then the run is `pending`.

        Raises:
            NotFound: the tenant has deployed no such workflow, and none is registered.
            InvalidInput: input or state do not fit the workflow's schemas; nothing was started.
            RunConflict: the run id exists with another workflow or input.
            LimitExceeded: code or input are larger than the policy allows; nothing was started.
            QueueFull: too many runs of the tenant wait to begin; nothing was started.
            StoreUnavailable: the store did not take it. Starting it again with the same run id is safe.
            Exception: what the workflow's `on_start` raised (of a worker elsewhere: `StartRefused`); nothing was started.
        """
        connection, tags = self.connection, tags_with_starter(tags)
        check_named("workflow", workflow if isinstance(workflow, str) else "")
        key = new_run_key(connection.world.run_id() if run_id is None else run_id, self._tenant)
        options: dict[str, Any] = {
            "per_step": per_step,
            "tags": tags,
            "deadline": deadline_ms(deadline, connection.world.now()),
        }
        start = connection.start(key, workflow, input_data, initial_state, request_context, **options)
        found = await connection.in_turn(self._tenant, start)
        return Run(self, key, found)

    @in_turn
    async def resume(
        self,
        run_id: str,
        *,
        step: Any = None,
        label: str | None = None,
        resume_data: Any = None,
        foreach_index: int | None = None,
        per_step: bool = False,
        idempotency_key: str | None = None,
    ) -> RunResult:
        """Give data to a suspended run, or let a paused one go on, and wait until it stops again.

        Without `step` and `label` the only suspended step is meant; all suspended items of a foreach get the same data
        unless `foreach_index` names one, by its place in the list that `step` names, or in the only one. `per_step` is for
        paused runs: one more entry.

        With an `idempotency_key` it happens once, however often it is asked for, by however many processes, also after a
        crash: later calls with the same key wait for the run like the first.

        Raises:
            NotFound: there is no such run.
            NotSuspended: nothing that is meant is suspended, or it is not clear which, or data for it is on its way already;
                nothing has changed.
            InvalidInput: the data does not fit the step's resume schema, or the key is no name; nothing has changed.
        """
        key, connection = await self._newest(run_id), self.connection
        check_idempotency_key(idempotency_key)
        run = await self._run(await replay.row_of(connection.store, key))
        named = {**_named(step, label, foreach_index), "per_step": per_step}
        await connection.resume(key, {"data": resume_data, **named}, idempotency_key)
        return await run.result()

    @in_turn
    async def request_resume(
        self,
        run_id: str,
        *,
        step: Any = None,
        label: str | None = None,
        resume_data: Any = None,
        foreach_index: int | None = None,
        idempotency_key: str | None = None,
        is_given: bool = True,
        by: str = "",
    ) -> list[str] | None:
        """As `resume`, without waiting: the data is durable when this returns, and a worker gives it to the run.

        A paused run goes on to its end. `is_given=False`: nobody has named any data, which is refused where the schema of a
        step asks for some; a null that is given leaves that to the step. `by` is who does it, for the audit log.

        Returns:
            The paths of the suspended steps that it is for, of a paused run none; None if the key was accepted before.

        Raises:
            NotFound, NotSuspended: as `resume`; or data for the same step is on its way already.
            InvalidInput: the data does not fit the step's resume schema, as far as it is known here; nothing has changed.
                What a worker refuses later is not heard of here: `why` says it.
        """
        key, connection = await self._newest(run_id), self.connection
        check_idempotency_key(idempotency_key)
        store = connection.store
        named = _named(step, label, foreach_index)
        token = token_of(key, "resume", idempotency_key or connection.world.run_id())
        if idempotency_key is not None and await store.answer(token) == GRANTED:
            return None
        machine = await replay.machine_of(store, key)
        steps = []
        if machine.status != RunStatus.PAUSED:  # what is paused waits for no data
            steps = await meant(store, machine, named)
            await check_first(store, machine, steps, token)
            for one in steps:
                await connection.check_answer(key, one, resume_data, is_given=is_given)
        body = encode({"data": plain(resume_data, "resume_data"), **named})
        if by and await store.request(token) is None:  # else it was asked for before
            await self._write_act(Act.RESUMED, by, run=key.run, steps=[one.path for one in steps])
        await store.post(key, "resume", body, token, connection.world.now(), kept=idempotency_key is not None)
        await connection.posted()
        return [one.path for one in steps]

    @in_turn
    async def cancel(self, run_id: str, *, by: str = "") -> None:
        """Ask a run to end: its signal is set, running steps end and are recorded, nothing starts after them.

        Steps that have not ended after `Policy.cancel_s` are left behind: the run ends without them.
        The code of a native workflow is told: `Canceled` is raised where it waits, and its clean-up may call steps, for at
        most `Policy.clean_up_s`.

        Returns when the request is durable. Asking twice is asking once, and one that has ended stays as it is. `by` is who
        asks, for the audit log.

        Raises:
            NotFound: there is no such run.
        """
        key, connection = await self._newest(run_id), self.connection
        if by and ((row := await connection.store.run(key)) is None or row.status not in FINAL):
            await self._write_act(Act.CANCELED, by, run=key.run)
        await connection.cancel(key, "asked for by the caller")

    async def retry(
        self,
        run_id: str,
        *,
        onto: str | Version | Workflow | None = None,
        from_step: str | None = None,
        even_at_most_once: bool = False,
        even_after_clean_up: bool = False,
        by: str = "",
    ) -> Run:
        """A new run that goes on from where this one failed or was canceled; the old one stays as it is.

        Steps that completed are not run again. The call that failed last, and those that were under way, are made again, under
        the idempotency keys that they had. Retrying a run twice is retrying it once: the same new run is given; if that has
        failed as well, retry that.

        Args:
            onto: a workflow, its id, or a version that the tenant has deployed: the run goes on under that code, which is given
                all that happened and must ask for the same, but for what it does at the end.
            from_step: the path of a step: its last call is made again, and all that came after is left out.
            even_at_most_once: also where a step that is to run at most once may have done its work.
            even_after_clean_up: also where steps completed after the failure, which may have undone what came before.
            by: who does it, for the audit log.

        Raises:
            NotFound: there is no such run.
            UsageError: it has not failed, cannot be retried so, or was retried otherwise; the message says what to do.
            Divergence: the code of `onto` does not fit its history. (Of a worker elsewhere: by `Run.result`.)
            LimitExceeded: it is more than the tenant's policy allows today.
        """
        key, connection = await self._newest(run_id), self.connection
        store, new = connection.store, retry_key(key)
        named = onto if onto is None or isinstance(onto, str) else onto.id
        asked = Retry.of(key, named, from_step, even_at_most_once, even_after_clean_up)
        if await has_run(store, new):
            await check_same_retry(store, new, asked)
        else:
            row = await replay.row_of(store, key)
            records = await records_to_retry(store, row)
            if onto is None:
                planned(row, records, asked)
            await self._write_act(Act.RETRIED, by, run=key.run, **{"as": new.run})
            await store.forget(start_token(new))  # a request that was refused
            await connection.retry(new, asked, row.workflow)
        return await self.get(new.run)

    @in_turn
    async def delete(self, run_id: str, *, by: str = "") -> None:
        """Delete a finished run and its records; a tombstone keeps its id, and `verify` honest.

        What only it needed (parts of large bodies, code, guest) is collected by the next `prune`. `by` is who does it, for the
        audit log.

        Raises:
            NotFound: there is no such run.
            UsageError: it has not ended; cancel it first.
        """
        key, connection = self._key(run_id), self.connection
        row = await replay.row_of(connection.store, key)
        if row.status not in FINAL or connection.is_driven(key):
            raise UsageError(f"run {run_id} is {row.status}: only a run that has ended can be deleted; cancel it first")
        now = connection.world.now()
        await acts.write_act(connection.store, Act.DELETED, by, now, key.tenant, run=key.run)
        if not await connection.store.delete([key], now):
            raise UsageError(f"run {run_id} is still at work in another worker: delete it when that has let go of it")

    @in_turn
    async def get(self, run_id: str) -> Run:
        """A run by its id, also one that no worker has begun yet.

        Raises:
            NotFound: there is none.
        """
        key, connection = self._key(run_id), self.connection
        row = await connection.store.run(key)
        if row is None and await has_run(connection.store, key):
            return Run(self, key, None)
        return await self._run(row or await replay.row_of(connection.store, key))

    @in_turn
    async def view(self, run_id: str) -> RunView:
        """A run as it stands, also one that goes on or was not begun, with a sentence that says why it does not move.

        Raises:
            NotFound: there is none.
            ClocheError: a worker refused to start it, as `Client.start` says.
        """
        connection = self.connection
        return await view_of(connection.store, await self._newest(run_id), connection.world.now())

    @in_turn
    async def list(
        self,
        *,
        status: str | None = None,
        workflow: str | None = None,
        limit: int | None = 100,
        after: str | None = None,
    ) -> Sequence[RunRow]:
        """Runs that have begun or are queued, newest first; `after` is the run id to go on after."""
        if limit is not None:
            count_of("limit", limit)
        return await self.connection.store.runs(
            tenant=self._tenant, status=status_of(status), workflow=workflow, limit=limit, after=after
        )

    @in_turn
    async def versions(self, workflow: str | None = None) -> Sequence[Version]:
        """What the tenant has deployed, the last first. Raises `UsageError` if the name is none."""
        if workflow is not None:
            check_named("workflow", workflow)
        return await self.connection.store.versions(self._tenant, workflow)

    @in_turn
    async def startable(self) -> Sequence[Startable]:
        """What the tenant can start, in the order of the ids: what workers have registered, and what it has deployed."""
        return await startable(self.connection.store, self._tenant)

    @in_turn
    async def export(self, run_id: str) -> bytes:
        """A run as one file that verifies on another machine (`operations.export` has its form).

        Raises:
            NotFound, HistoryError: it is not there, or damaged.
        """
        return await export.export_run(self.connection.store, self._key(run_id))

    # ---- for the classes on top ----

    def _bulk_id(self) -> str:
        return self.connection.world.run_id()

    async def _write_bulk(self, by: str, facts: dict[str, Any]) -> None:
        await acts.write_act(self.connection.store, Act.BULK, by, self.connection.world.now(), self._tenant, **facts)

    @in_turn
    async def _usage(self, run_id: str | None) -> Usage:
        store = self.connection.store
        if run_id is None:
            return next((found.usage for found in await store.usage(self._tenant)), Usage())
        row = await replay.row_of(store, self._key(run_id))
        found = await store.metered(row.key)
        return found.usage if found is not None else Usage()

    def _key(self, run_id: str) -> RunKey:
        return run_key(run_id, self._tenant)

    async def _newest(self, run_id: str) -> RunKey:
        """The newest history of a run that may have gone on as another one."""
        return await newest(self.connection.store, self._key(run_id))

    async def _run(self, row: RunRow, key: RunKey | None = None) -> Run:
        return Run(self, key or row.key, await self.connection.workflow_of(row))


def _named(step: Any, label: str | None, foreach_index: int | None) -> dict[str, Any]:
    """What a resume is meant for, as the request says it.

    Raises:
        UsageError: one of them can be no name, or no place in a list.
    """
    found = {"step": path_of(step), "label": label}
    for what, name in found.items():
        if name is not None:
            check_named(what, name)
    index = None if foreach_index is None else count_of("foreach_index", foreach_index)
    return {**found, "foreach_index": index}
