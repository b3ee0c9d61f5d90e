"""`Tenant`: the runs of one tenant, the code it has deployed, and everything that may be done with them.

One process serves many tenants on one store. A handle reaches its own tenant's runs only, since a run is named by tenant and
id together wherever it is looked up: the run of another tenant is not found, with the error of one that never was.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from cloche.client.runs import Run
from cloche.engines import CellSource, Code, Language
from cloche.errors import LeasedElsewhere, LeaseLost, NotFound, NotSuspended, RunConflict, SeqConflict, UsageError
from cloche.history import Record, RunKey
from cloche.history.ids import event_name, new_run_key, run_key, tenant_id
from cloche.history.messages import Started
from cloche.history.notes import RunCreated, unpack_created
from cloche.history.reading import message_of
from cloche.history.values import encode, plain
from cloche.operations import export, fork, replay
from cloche.operations.deploy import Deployment, baked, keep
from cloche.operations.filters import status_of
from cloche.run.code import code_of, load_code
from cloche.run.limits import check_event, check_start
from cloche.run.results import RunResult
from cloche.run.selection import path_of
from cloche.status import FINAL
from cloche.steps.registry import workflow_of_graph
from cloche.steps.schemas import validated
from cloche.store import GRANTED, RunRow, Usage, Version
from cloche.tenancy import Policy
from cloche.worker.inbox import token_of
from cloche.worker.queue import asked

if TYPE_CHECKING:
    from cloche.client.cloche import Cloche
    from cloche.run.clock import World
    from cloche.worker.worker import Worker
    from cloche_codegen import Graph, Workflow


class Runs:
    """The runs of one tenant, on the store of an open `Cloche`.

    Raises:
        UsageError: the tenant's id is no text of 1 to 200 bytes without control characters.
    """

    def __init__(self, app: Cloche, id: str) -> None:
        self.app = app
        self._engine: CellSource = app._engine
        self._world: World = app._world
        self._tenant = tenant_id(id)

    @property
    def tenant_id(self) -> str:
        return self._tenant

    @property
    def policy(self) -> Policy:
        """What new runs of this tenant are pinned to."""
        return self.app.policy_of(self._tenant)

    @property
    def _running(self) -> Worker:
        return self.app._running

    async def start(
        self,
        workflow: str | Version | Workflow,
        input_data: Any = None,
        *,
        run_id: str | None = None,
        initial_state: dict[str, Any] | None = None,
        request_context: dict[str, Any] | None = None,
        per_step: bool = False,
    ) -> Run:
        """Start a run and return when its beginning is durable. Idempotent on `run_id`, also across processes.

        `workflow` is what the tenant has deployed (a version, its id, or a workflow's id for its last one), or else what is
        registered here. `per_step` lets it run one entry of its graph and pause; `Run.resume` goes on.

        Raises:
            NotFound: the tenant has deployed no such workflow, and none is registered here.
            InvalidInput: input or state do not fit the workflow's schemas; nothing was started.
            RunConflict: the run id exists with another workflow or input.
            LimitExceeded: code or input are larger than the policy allows; nothing was started.
            StoreUnavailable: the store did not take it. Starting it again with the same run id is safe.
            Exception: what the workflow's `on_start` raised; nothing was started.
        """
        return await self._start(workflow, input_data, run_id, initial_state, request_context, per_step=per_step)

    async def _start(
        self,
        workflow: str | Version | Workflow,
        input_data: Any = None,
        run_id: str | None = None,
        initial_state: dict[str, Any] | None = None,
        request_context: dict[str, Any] | None = None,
        *,
        per_step: bool = False,
        depth: int = 0,
    ) -> Run:
        """As `start`; `depth` is how many runs stand above this one."""
        found, code = self._found(workflow)
        key = self._new_key(run_id)
        value = checked_input(found, input_data)
        given: dict[str, Any] = {}
        if request_context:
            given["context"] = plain(request_context, "request_context")
        if initial_state:
            given["state"] = checked_state(found, initial_state)
        async with self.app._starting.setdefault(key, asyncio.Lock()):
            row = self._running.store.run(key)
            if row is not None:
                return self._existing(row, code, value)
            if found is not None and found.on_start is not None:
                answer = found.on_start({"run_id": key.run, "workflow_id": found.id, "input": value})
                if inspect.isawaitable(answer):
                    await answer
            started = Started(self._world.now(), self._world.seed(), value, given)
            check_start(self.policy, code, started)
            try:
                await self._begin(key, code, started, per_step=per_step, depth=depth)
            except SeqConflict:  # another process was faster
                return self._existing(replay.row_of(self._running.store, key), code, value)
        return Run(self, key, None if code.owner else found)

    async def _begin(self, key: RunKey, code: Code, started: Started, *, depth: int, **more: Any) -> None:
        """At once where the tenant has room, or else in its turn.

        A child (of `depth`) never waits: its parent may hold the place that it would wait for.
        """
        running = self._running
        more["depth"] = depth
        if depth or (running.admission.admits(self._tenant) and self._tenant not in running.claims.held):
            await running.starting.start(key, code, [self._created(code, **more), started])
        else:
            await running.starting.queue(key, code, self._created(code, **more, queued=started.pack()))

    def _created(self, code: Code, **more: Any) -> RunCreated:
        policy = self.policy
        limits, differences = policy.limits().to_data(), policy.pinned()
        pinned = (code.workflow, code.guest, self._engine.name, limits, differences)
        return RunCreated(self._world.now(), *pinned, **more)

    async def fork(self, run_id: str, *, at: str, input_data: Any = fork.SAME, new_run_id: str | None = None) -> Run:
        """A new run with the history of `run_id` up to its last call of step `at`, which runs (again) in the new one.

        Nothing before `at` is executed again, and the old run is not touched. `input_data` is what the step gets instead.

        Raises:
            NotFound: there is no such run.
            UsageError: it never called such a step, or its input cannot be replaced.
            LimitExceeded: its code or input are more than the tenant's policy allows today.
        """
        row = replay.row_of(self._running.store, self._key(run_id))
        records = list(self._running.store.records(row.key))
        inputs = fork.inputs_before(records, at, input_data)
        code = load_code(self._running.store, row.code)
        check_start(self.policy, code, next(one for one in inputs if isinstance(one, Started)))
        depth = unpack_created(records[0]).depth
        created = self._created(code, forked_from={"run": run_id, "at": at}, depth=depth)
        key = self._new_key(new_run_id or None)
        if self._running.store.run(key) is not None:
            raise _exists(key)
        try:
            await self._running.starting.start(key, code, [created, *inputs])
        except SeqConflict as error:
            raise _exists(key) from error
        return self._run(row, key)

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
        unless `foreach_index` names one. `per_step` is for paused runs: one more entry.

        With an `idempotency_key` it happens once, however often it is asked for, by however many processes, also after a
        crash: later calls with the same key wait for the run like the first.

        Raises:
            NotFound: there is no such run.
            NotSuspended: nothing that is meant is suspended, or it is not clear which; nothing has changed.
            InvalidInput: the data does not fit the step's resume schema; nothing has changed.
        """
        key = self._key(run_id)
        row = replay.row_of(self._running.store, key)
        named = {"step": path_of(step), "label": label, "foreach_index": foreach_index, "per_step": per_step}
        asked = {"data": plain(resume_data, "resume_data") if idempotency_key else resume_data, **named}
        run = self._run(row)
        if idempotency_key is None:
            try:
                await self._running.requests.resume(key, asked)
                return await run.result()
            except (LeasedElsewhere, LeaseLost):  # it is asked for the same
                asked["data"] = plain(resume_data, "resume_data")
        await self._running.inbox.ask(key, "resume", asked, idempotency_key)
        return await run.result()

    async def send_event(
        self, run_id: str, name: str, payload: Any = None, *, idempotency_key: str | None = None
    ) -> None:
        """Send an event to a run that waits for it, or will: it is kept until then, and delivered once.

        The same `idempotency_key` again is the same event, for as long as the run is in the store.

        Raises:
            NotFound: there is no such run.
            NotSuspended: it has ended.
            InvalidInput: no workflow can wait for an event of that name, or the payload does not fit the schema that the
                run's workflow has for it.
            LimitExceeded: the payload is larger than `payload_bytes` of the policy that the run is pinned to.
        """
        key, name = self._key(run_id), event_name(name)
        store = self._running.store
        row = replay.row_of(store, key)
        token = token_of(key, "event", idempotency_key or self._world.run_id())
        if idempotency_key is not None and store.answer(token) == GRANTED:
            return
        if row.status in FINAL:
            raise NotSuspended(f"run {run_id} has ended ({row.status}): it takes no event", run_id=run_id, suspended=[])
        payload = self._running.registry.checked_event(self._running.cells.code(row.code), name, payload)
        check_event(replay.created(store, key), payload)
        body = encode([name, payload])
        store.post(key, "event", body, token, self._world.now(), kept=idempotency_key is not None)
        await self._running.inbox.look()

    async def delete(self, run_id: str) -> None:
        """Delete a finished run and its records; a tombstone keeps its id, and `verify` honest.

        What only it needed (parts of large bodies, code, guest) is collected by the next `prune`.

        Raises:
            NotFound: there is no such run.
            UsageError: it has not ended; cancel it first.
        """
        key = self._key(run_id)
        row = replay.row_of(self._running.store, key)
        if row.status not in FINAL or key in self._running.drivers:
            raise UsageError(f"run {run_id} is {row.status}: only a run that has ended can be deleted; cancel it first")
        if not self._running.store.delete([key], self._world.now()):
            raise UsageError(f"run {run_id} is still at work in another worker: delete it when that has let go of it")

    async def get(self, run_id: str) -> Run:
        """A run by its id.

        Raises:
            NotFound: there is none.
        """
        key = self._key(run_id)
        return self._run(replay.row_of(self._running.store, key))

    async def list(
        self,
        *,
        status: str | None = None,
        workflow: str | None = None,
        limit: int | None = 100,
        after: str | None = None,
    ) -> Sequence[RunRow]:
        """Runs, newest first; `after` is the run id to go on after.

        Raises:
            UsageError: there is no such status.
        """
        return self._running.store.runs(
            tenant=self._tenant, status=status_of(status), workflow=workflow, limit=limit, after=after
        )

    async def cancel(self, run_id: str) -> None:
        """Ask a run to end: its signal is set, running steps end and are recorded, nothing starts after them.

        The code of a native workflow is told: `Canceled` is raised where it waits, and its clean-up may call steps, for at
        most `Policy.clean_up_s`.

        Returns when the request is durable. Asking twice is asking once, and one that has ended stays as it is.

        Raises:
            NotFound: there is no such run.
        """
        key, reason = self._key(run_id), "asked for by the caller"
        await self._running.cancel(key, reason)

    async def replay(self, run_id: str, workflow: Workflow | None = None) -> replay.ReplayReport:
        """Feed a run's history to a fresh cell, of its own code or of `workflow`'s, and compare.

        Raises:
            NotFound: there is no such run.
            HistoryError: its history is damaged.
        """
        code = code_of(workflow, self._engine) if workflow is not None else None
        return replay.replay(self._running.store, self._key(run_id), self._engine, code)

    async def export(self, run_id: str) -> bytes:
        """A run as one file that verifies on another machine (`operations.export` has its form).

        Raises:
            NotFound, HistoryError: it is not there, or damaged.
        """
        return export.export_run(self._running.store, self._key(run_id))

    def _key(self, run_id: str) -> RunKey:
        return run_key(run_id, self._tenant)

    def _new_key(self, run_id: str | None) -> RunKey:
        return new_run_key(self._world.run_id() if run_id is None else run_id, self._tenant)

    def _run(self, row: RunRow, key: RunKey | None = None) -> Run:
        return Run(self, key or row.key, self._running.workflow_of_row(row))

    def _found(self, workflow: str | Version | Workflow) -> tuple[Workflow | None, Code]:
        """What a run is to be of: its code, and the workflow that knows its schemas, if there is one."""
        running = self._running
        if isinstance(workflow, (str, Version)):
            name = workflow if isinstance(workflow, str) else workflow.id
            if (version := running.store.version_of(self._tenant, name)) is not None:
                code = running.cells.code(version.digest)
                return workflow_of_graph(code.graph) if code.graph else None, code
            found = running.registry.workflow(name)
            if found is None:
                raise self._no_such_workflow(name)
            return found, code_of(found, self._engine)
        if running.registry.workflow(workflow.id) is None:
            running.registry.register([workflow], [])
        found = running.registry.workflow(workflow.id)
        assert found is not None
        return found, code_of(found, self._engine)

    def _no_such_workflow(self, name: str) -> NotFound:
        return NotFound(
            f"tenant {self._tenant} has deployed no workflow '{name}', and none is registered here: deploy it, "
            "or pass it in Cloche(workflows=[…])",
            kind="workflow",
            id=name,
        )

    def _existing(self, row: RunRow, code: Code, value: Any) -> Run:
        before = next(
            (found for record in self._running.store.records(row.key) if (found := _input_of(record))), [None]
        )
        if row.workflow != code.workflow or encode(before[0]) != encode(value):
            raise RunConflict(
                f"run {row.key} exists already, of workflow '{row.workflow}' with another input: "
                "use another run id, or the same input to get that run",
                run_id=row.key.run,
            )
        return self._run(row)


class Tenant(Runs):
    """What one tenant can do: by `Cloche.tenant`."""

    async def usage(self, run_id: str | None = None) -> Usage:
        """What all runs of the tenant have used, the deleted ones too, or one of them.

        Raises:
            NotFound: there is no such run.
        """
        store = self._running.store
        if run_id is None:
            return next((found.usage for found in store.usage(self._tenant)), Usage())
        row = replay.row_of(store, self._key(run_id))
        found = store.metered(row.key)
        return found.usage if found is not None else Usage()

    async def deploy(
        self, content: str | Graph, *, workflow: str | None = None, language: Language | None = None
    ) -> Version:
        """Keep code that was brought at run time; `start` takes its version, or its workflow for the last one deployed.

        It is loaded once, under glass and within the limits of a turn, and pinned in the store with its guest: a later
        process needs the steps alone. The same content is the same version. Runs go on under what they began with.

        Args:
            content: a graph, as model or JSON; or with `language` the source of a workflow: an ES module whose default export
                is the workflow, or a Python module with a `@workflow`.
            workflow: its id; needed for source.

        Raises:
            DeployRefused: it is no such code, does not load, or met a limit: the message has line and reason. Nothing was kept.
        """
        one = Deployment(self._tenant, content, workflow, language, self.policy)
        running = self._running
        code = await running.services.lanes.beside(self._tenant, partial(baked, self._engine, one))
        return keep(running.store, self._engine, one, code, self._world.now())

    async def versions(self, workflow: str | None = None) -> Sequence[Version]:
        """What the tenant has deployed, the last first."""
        return self._running.store.versions(self._tenant, workflow)

    async def withdraw(self, version: str | Version) -> None:
        """Forget a version: nothing starts with it any more. Runs that began with it go on, and keep its code.

        Raises:
            NotFound: the tenant has no such version.
        """
        id = version if isinstance(version, str) else version.id
        if not self._running.store.withdraw(self._tenant, id):
            raise NotFound(f"tenant {self._tenant} has no version '{id}'", kind="version", id=id)


def _input_of(record: Record) -> list[Any] | None:
    """The input of a run, in a list, if this is the record that has it."""
    match message_of(record):
        case Started(input=value):
            return [value]
        case RunCreated() as created if created.queued:
            return [asked(created).input]
    return None


def checked_input(workflow: Workflow | None, value: Any) -> Any:
    adapter = workflow.input_adapter() if workflow is not None and workflow.validate_inputs else None
    if adapter is not None and workflow is not None:
        value = validated(adapter, value, f"the input of workflow '{workflow.id}'")
    return plain(value, "input")


def checked_state(workflow: Workflow | None, state: dict[str, Any]) -> Any:
    adapter = workflow.state_adapter() if workflow is not None else None
    if adapter is not None and workflow is not None:
        state = validated(adapter, state, f"the initial state of workflow '{workflow.id}'")
    return plain(state, "initial_state")


def _exists(key: RunKey) -> RunConflict:
    return RunConflict(f"run {key} exists already: give the fork another id", run_id=key.run)
