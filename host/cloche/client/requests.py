"""A store without a worker in this process: what is asked of its runs waits in the inbox until a worker accepts it."""

from __future__ import annotations

from collections.abc import Coroutine, Generator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from cloche.errors import ClocheError, NotFound, RunFailed, UsageError
from cloche.history.values import encode, plain
from cloche.operations import replay
from cloche.operations.answering import check_pinned_answer
from cloche.operations.on_their_way import check_first, meant
from cloche.run.code import load_code
from cloche.status import FINAL
from cloche.steps.contracts import contract_of
from cloche.steps.registry import Registry
from cloche.steps.schemas import validated
from cloche.store import CANCEL, GRANTED, START, Version, cancel_token
from cloche.store.histories import is_to_begin
from cloche.worker.answers import pack_refusal, refusal_of, start_token, token_of
from cloche.worker.offers import published
from cloche.worker.start_request import StartRequest, check_same, conflict

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from cloche.history import RunKey, TenantId, TimeMs
    from cloche.history.effects import Suspension
    from cloche.run.clock import World
    from cloche.run.ports import Listening
    from cloche.store import RunRow, Store
    from cloche.worker.retry_request import Retry
    from cloche_codegen import Workflow

T = TypeVar("T")

LOOK_S = 0.05  # between two looks at whether others wrote
ANY_LOOK_S = 0.25  # the same, of those who follow all runs


class StoreConnection:
    """Implements `Connection`: it reads, and leaves requests. It is none of the store's workers."""

    name = "Client"

    def __init__(self, store: Store, world: World) -> None:
        self.store = store
        self.world = world
        self.closed = False
        self.guest_memory_bytes = 0  # it executes nothing

    async def start(
        self,
        key: RunKey,
        workflow: str | Version | Workflow,
        input_data: Any,
        initial_state: dict[str, Any] | None,
        request_context: dict[str, Any] | None,
        *,
        per_step: bool,
        tags: Mapping[str, str] | None = None,
        deadline: TimeMs | None = None,
    ) -> Workflow | None:
        """Leave the request to start a run, or find the one that is there.

        Raises:
            NotFound: there are workers, and none of them has the workflow.
            InvalidInput: the input does not fit the workflow's schema, where that is known; or a value cannot cross.
            RunConflict: there is a run of that id, or a request for one, with other input or of another workflow.
        """
        store, named = self.store, workflow if isinstance(workflow, str) else workflow.id
        known = None if isinstance(workflow, str | Version) else workflow
        given = named, input_data, initial_state, request_context
        request = StartRequest.of(*given, per_step=per_step, tags=tags, deadline=deadline)
        if not await self._is_there(key, request):
            await _check_offered(store, key.tenant, request, known)
            await store.post(key, START, request.pack(), start_token(key), self.world.now(), kept=True)
            await self._is_there(key, request)  # somebody else may have been faster
        return known

    async def retry(self, key: RunKey, asked: Retry, workflow: str) -> None:
        """Leave the request for a worker that has the workflow.

        Raises:
            NotFound: there are workers, and none of them has what it is to go on under.
            UsageError: that is another workflow.
        """
        if asked.onto is not None:
            await _input_adapter(self.store, key.tenant, asked.onto, None)
            if (found := await _workflow_id(self.store, key.tenant, asked.onto)) != workflow:
                raise UsageError(f"run {asked.run} is of workflow '{workflow}', and not of '{found}'")
        request = StartRequest(workflow, None, more={"retry": asked.packed()})
        await self.store.post(key, START, request.pack(), start_token(key), self.world.now(), kept=True)

    async def _is_there(self, key: RunKey, request: StartRequest) -> bool:
        """Whether this start was made before.

        Raises:
            RunConflict: another one was.
        """
        store = self.store
        id = await _workflow_id(store, key.tenant, request.workflow)
        waiting = await store.request(start_token(key))
        if waiting is not None:
            before = StartRequest.unpack(waiting.body)
            before_id = await _workflow_id(store, key.tenant, before.workflow)
            if before.digest(before_id) != request.digest(id):
                raise conflict(key, before_id)
            return True
        if await store.run(key) is None:
            return False
        await check_same(store, key, id, request.digest(id), request.input)
        return True

    async def in_turn(self, tenant: TenantId, work: Coroutine[Any, Any, T]) -> T:
        """At once: this process executes nothing."""
        return await work

    async def resume(self, key: RunKey, request: Mapping[str, Any], idempotency_key: str | None) -> None:
        """Leave the request, and wait until a worker has accepted it.

        Raises:
            ClocheError: it was refused.
            NotSuspended: data for the same step is on its way already; nothing was left.
            UsageError: this client was closed before; the request is kept.
        """
        store = self.store
        token = token_of(key, "resume", idempotency_key or self.world.worker_id())
        machine = await replay.machine_of(store, key)
        if machine.open.suspended:
            steps = await meant(store, machine, request)
            await check_first(store, machine, steps, token)
            for one in steps:
                await self.check_answer(key, one, request["data"], is_given=True)
        body = {**request, "data": plain(request["data"], "resume_data")}
        await store.post(key, "resume", encode(body), token, self.world.now(), kept=True)
        while True:
            changed = await self.changed(key)
            if (answer := await store.answer(token)) is not None:
                break
            await changed
            if self.closed:
                raise UsageError(f"this Client was closed before the request for run {key} was accepted; it is kept")
        if idempotency_key is None:
            await store.forget(token)
        if answer != GRANTED:
            raise refusal_of(answer)

    async def cancel(self, key: RunKey, reason: str) -> None:
        """Leave the request. A run that no worker has begun yet does not begin."""
        store = self.store
        row = await store.run(key)
        if row is not None and row.status in FINAL:
            return
        if row is None and not await is_to_begin(store, key):
            waiting = await store.request(start_token(key))
            if waiting is None:
                await replay.row_of(store, key)  # raises, if it was not begun just now
            else:
                canceled = RunFailed(f"run {key} was canceled before it began", run_id=key.run, status="canceled")
                if await store.withdraw_request(waiting.id, pack_refusal(canceled)):
                    return
        await store.post(key, CANCEL, encode(reason), cancel_token(key), self.world.now())

    async def posted(self) -> None:
        """A worker sees it by itself."""

    async def scheduled(self) -> None:
        """A worker sees it by itself."""

    async def check_schedule(self, tenant: TenantId, workflow: str | Version | Workflow, value: Any) -> None:
        """Raises as `start`."""
        named = workflow if isinstance(workflow, str) else workflow.id
        known = None if isinstance(workflow, str | Version) else workflow
        await _check_offered(self.store, tenant, StartRequest(named, value), known)

    async def checked_event(self, row: RunRow, name: str, payload: Any) -> Any:
        """
        Raises:
            InvalidInput: it does not fit the schema in the code that the run's tenant deployed, or cannot cross.
        """
        return Registry().checked_event(await load_code(self.store, row.code), name, payload)

    async def check_answer(self, key: RunKey, one: Suspension, data: Any, *, is_given: bool) -> None:
        """By the schema that is pinned with the run."""
        await check_pinned_answer(self.store, key, one, data, is_given=is_given)

    async def workflow_of(self, row: RunRow) -> Workflow | None:
        return None

    def is_driven(self, key: RunKey) -> bool:
        return False

    def last_error(self, row: RunRow) -> ClocheError | None:
        return None

    async def changed(self, key: RunKey) -> Listening:
        return Change(self, (await self.store.news(None)).mark)

    async def stopped(self, key: RunKey) -> Listening:
        return await self.changed(key)

    async def anything(self) -> Listening:
        return Change(self, (await self.store.news(None)).mark, ANY_LOOK_S)

    async def sent(self) -> Listening:
        return Change(self, (await self.store.news(None)).mark)

    async def reported(self, key: RunKey) -> None:
        """Callbacks are the worker's."""


class Change:
    """Awaited, it lasts until somebody else has written since `mark`, or the client is closed."""

    def __init__(self, connection: StoreConnection, mark: int, look_s: float = LOOK_S) -> None:
        self._connection = connection
        self._mark = mark
        self._look_s = look_s

    def __await__(self) -> Generator[Any, None, None]:
        return self._wait().__await__()

    def close(self) -> None:
        """Nothing is kept of it."""

    async def _wait(self) -> None:
        connection = self._connection
        while not connection.closed:
            news = await connection.store.news(self._mark)
            if news.is_any:
                return
            self._mark = news.mark
            await connection.world.pause(self._look_s)


async def _workflow_id(store: Store, tenant: TenantId, name: str) -> str:
    """The workflow that a start means: `name`, or that of the version of this id."""
    version = await store.version_of(tenant, name)
    return version.workflow if version is not None else name


async def _check_offered(store: Store, tenant: TenantId, request: StartRequest, workflow: Workflow | None) -> None:
    """Refuse at once what every worker would refuse.

    Raises:
        NotFound, InvalidInput: as `StoreConnection.start`.
    """
    adapter = await _input_adapter(store, tenant, request.workflow, workflow)
    if adapter is not None:
        validated(adapter, request.input, f"the input of workflow '{request.workflow}'")


async def _input_adapter(
    store: Store, tenant: TenantId, name: str, workflow: Workflow | None
) -> TypeAdapter[Any] | None:
    """What the input is held against, where that is known: by the tenant's code, by a worker, or by `workflow` itself."""
    from cloche_codegen.schemas import accepted_adapter

    if (version := await store.version_of(tenant, name)) is not None:
        code = await load_code(store, version.digest)
        return contract_of(code).input_adapter() if code.graph else None
    workers = await published(store)
    if (offer := workers.offers.get(name)) is not None:
        return accepted_adapter(offer.input_schema)
    if workers.is_complete:
        there = sorted({*workers.offers, *(one.workflow for one in await store.versions(tenant))})
        raise NotFound(
            f"there is no workflow '{name}'; there are: {', '.join(there) or 'none'}: start a worker that has it, "
            "or deploy it",
            kind="workflow",
            id=name,
        )
    return workflow.input_adapter() if workflow is not None and workflow.validate_inputs else None
