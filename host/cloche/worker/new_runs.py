"""Beginning runs by their workflow: checked, pinned to code, guest, policy and limits of this worker, and recorded."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

from cloche.engines import CellSource, Code, has_hooks, holds_several
from cloche.errors import ClocheError, InvalidInput, NotFound, QueueFull, SeqConflict, StartRefused, UsageError
from cloche.history import RunKey, TenantId, TimeMs
from cloche.history.ids import RunId, parent_of
from cloche.history.marks import checked_tags
from cloche.history.messages import Started
from cloche.history.notes import RunCreated
from cloche.history.values import plain
from cloche.run.asked import permits_of_run
from cloche.run.code import code_of
from cloche.run.limits import check_start
from cloche.steps.authors import is_raised
from cloche.steps.contracts import Contract, contract_of
from cloche.steps.registry import is_from_a_notebook, is_same
from cloche.steps.schemas import as_plain, checked, is_small
from cloche.store import GRANTED, InboxRow, Version, blob_digest
from cloche.worker import holds
from cloche.worker.continuing import Continuing
from cloche.worker.holds import Holds
from cloche.worker.retries import QUEUE_RETRY_S, Retries
from cloche.worker.retry_request import Retry
from cloche.worker.start_request import StartRequest, check_same, digest_of

if TYPE_CHECKING:
    from cloche.run.ports import ChildStart, RunServices
    from cloche.tenancy import Policy
    from cloche.worker.admission import Admission
    from cloche.worker.cells import WorkerCells
    from cloche.worker.claims import Claims
    from cloche.worker.policies import Policies
    from cloche.worker.starting import Starting
    from cloche_codegen import Workflow


Check = Callable[["Workflow | Contract | None", Any], Any]

T = TypeVar("T")

HOST = ""  # as the owner of code
NAMES_SHOWN_MAX = 20

log = logging.getLogger("cloche")


@dataclass(frozen=True, slots=True)
class Begun:
    """By another run: `owner` is whose code has named the workflow, `parent` which call of which run it was (as in record 1),
    `depth` how many runs stand above. `lender` is the run that begins it from a step: it may wait there for this one, which is
    given its place where there is no other.
    """

    owner: str | None
    parent: Mapping[str, Any]
    depth: int
    lender: RunKey | None = None  # whose place it may have: that of the run whose step began it
    is_wanted: Callable[[], bool] = lambda: True  # asked while it waits for room in the queue

    @classmethod
    def by(cls, start: ChildStart, depth: int) -> Begun:
        lender = start.parent if parent_of(start.key) is None else None
        return cls(start.owner, {"run": start.parent.run, "call": start.call}, depth, lender, start.is_wanted)


class NewRuns:
    """Of one worker. `on_registered` is called when it has more."""

    def __init__(
        self,
        services: RunServices,
        starting: Starting,
        admission: Admission,
        claims: Claims,
        cells: WorkerCells,
        engine: CellSource,
        policies: Policies,
        on_registered: Callable[[], None],
    ) -> None:
        self._services = services
        self._starting = starting
        self._admission = admission
        self._claims = claims
        self._cells = cells
        self._engine = engine
        self.policies = policies
        self.holds = Holds(services.store, services.tasks)  # what it may not begin, nor the worker drive
        self._on_registered = on_registered
        self.retries = Retries(services, starting, admission, claims, engine, policies, self.find, self.created)
        self.continuing = Continuing(services, cells, policies, self._go_on, self.created)
        self._locks: WeakValueDictionary[RunKey, asyncio.Lock] = WeakValueDictionary()

    async def start(
        self,
        key: RunKey,
        workflow: str | Version | Workflow,
        input_data: Any = None,
        initial_state: dict[str, Any] | None = None,
        request_context: dict[str, Any] | None = None,
        *,
        per_step: bool = False,
        tags: Mapping[str, str] | None = None,
        deadline: TimeMs | None = None,
        begun: Begun | None = None,
    ) -> Workflow | None:
        """Begin a run, once; returns when that is durable, with the workflow as it is registered here.

        `begun` is given for a run that another one begins.

        Raises:
            NotFound: the tenant has deployed no such workflow, and none is registered here.
            InvalidInput, RunConflict, LimitExceeded, QueueFull, StoreUnavailable: see `Cloche.start`.
            Exception: what `on_start` raised.
        """
        found, code, policy = await self.find(key.tenant, workflow, begun.owner if begun else None)
        value = await self._compared(key, found, input_data, _checked_input)
        given: dict[str, Any] = {}
        if request_context:
            given["context"] = plain(request_context, "request_context")
        if initial_state:
            if not isinstance(initial_state, Mapping):
                raise InvalidInput("initial_state is a mapping, of names to data", path="initial_state", problems=[])
            given["state"] = await self._compared(key, found, initial_state, _checked_state)
        digest = await self._made(key, value, lambda: digest_of(code.workflow, _as_it_came(input_data, value)))
        above = {"depth": begun.depth if begun else 0, "parent": begun.parent if begun else {}}
        more = {"per_step": per_step, **above, "tags": checked_tags(tags or {}), "deadline": deadline}
        await self._start(key, found, code, policy, value, given, digest, more, begun=begun)
        return None if code.owner or isinstance(found, Contract) else found

    async def start_code(self, key: RunKey, code: Code, policy: Policy, input_data: Any) -> None:
        """Begin a run of a tenant's code, once, under a policy of its own; returns when that is durable.

        The same run id means the same code and input. Raises as `start`.
        """
        digest = blob_digest(code.pack())
        await holds.check(self._services.store, key.tenant, digest)
        value = await self._made(key, input_data, lambda: plain(input_data, "input"))
        request = await self._made(key, value, lambda: digest_of(f"{code.workflow}@{digest}", value))
        await self._start(key, None, code, policy, value, {}, request, {"per_step": False, "depth": 0})

    async def accept(self, row: InboxRow) -> None:
        """Begin the run that a client has asked for; the request is answered in the same commit.

        Raises:
            ClocheError: it is refused, as `start` says; or it cannot be answered now (`StoreError`).
        """
        if not await self._services.store.take(row.id, self._services.ownership.worker):
            return
        asked = StartRequest.unpack(row.body)
        if (retry := asked.more.get("retry")) is not None:
            await self.retries.begin(row.key, Retry(*retry), request=row.id)
            return
        if "continues" in asked.more:
            await self.continuing.begin(row, asked)
            return
        found, code, policy = await self.find(row.key.tenant, asked.workflow)
        given = dict(asked.given)
        value = await self._compared(row.key, found, asked.input, _checked_input)
        if "state" in given:
            given["state"] = await self._compared(row.key, found, given["state"], _checked_state)
        more = {"per_step": asked.per_step, "depth": 0, "tags": checked_tags(asked.more.get("tags", {}))}
        more["deadline"] = asked.more.get("deadline")
        await self._start(row.key, found, code, policy, value, given, asked.digest(code.workflow), more, row.id)

    async def _go_on(
        self,
        key: RunKey,
        workflow: str,
        input_data: Any,
        given: dict[str, Any],
        request: int,
        before: RunCreated,
        owner: str,
        more: dict[str, Any],
    ) -> None:
        """Begin the next history of a run that `before` has created; raises as `start`."""
        found, code, policy = await self.find(key.tenant, workflow, owner)
        value = await self._compared(key, found, input_data, _checked_input)
        digest, begun = digest_of(code.workflow, input_data), Begun(owner, before.parent, before.depth)
        await self._start(
            key, found, code, policy, value, given, digest, {"per_step": False, **more}, request, begun=begun
        )

    async def check_input(self, tenant: TenantId, workflow: str | Version | Workflow, value: Any) -> None:
        """Whether a run of it could be started with this input; raises as `start`."""
        found, _, _ = await self.find(tenant, workflow)
        await self._compared(RunKey(tenant, RunId("")), found, value, _checked_input)

    async def can_accept(self, row: InboxRow) -> bool:
        """Whether this worker has the workflow that a client wants to start."""
        return await self.has(row.key.tenant, StartRequest.unpack(row.body).workflow)

    async def has(self, tenant: TenantId, name: str, owner: str | None = None) -> bool:
        """Whether a run of this workflow can be started here now, by code of `owner`: see `find`."""
        store = self._services.store
        version = await store.version_of(tenant, name) if owner != HOST else None
        if version is None and self._services.registry.workflow(name) is None:
            return False
        return holds.of(await store.holds(tenant), tenant, version.digest if version is not None else "") is None

    def created(self, code: Code, policy: Policy, **more: Any) -> RunCreated:
        """The first record of a run: what it is pinned to."""
        pinned = (code.workflow, code.guest, self._engine.name, policy.limits().to_data(), policy.pinned())
        return RunCreated(self._services.world.now(), *pinned, derived_ids=True, **more)

    async def find(
        self, tenant: TenantId, workflow: str | Version | Workflow, owner: str | None = None
    ) -> tuple[Workflow | Contract | None, Code, Policy]:
        """What a run is to be of: the workflow that knows its schemas, if there is one, its code, and what it is pinned to.

        A name means what the tenant has deployed, else what is registered here. In code of the host (`owner` is "") it means
        what is registered alone: a tenant could deploy its own under that name.

        Raises:
            NotFound: there is no such workflow.
            HeldBack: an operator holds the tenant or the code back.
            UsageError: another one is registered under its id.
        """
        services = self._services
        if isinstance(workflow, (str, Version)):
            name = workflow if isinstance(workflow, str) else workflow.id
            version = await services.store.version_of(tenant, name) if owner != HOST else None
            await holds.check(services.store, tenant, version.digest if version is not None else "")
            if version is not None:
                code = await self._cells.code(version.digest)
                policy = self.policies.of_code(tenant, code, is_wide=version.is_wide)
                return contract_of(code) if code.graph else None, code, policy
            found = services.registry.workflow(name)
            if found is None:
                there = {one.id for one in services.registry.workflows()}
                there |= {one.workflow for one in await services.store.versions(tenant)}
                raise _no_such_workflow(tenant, name, sorted(there))
            return self._registered(tenant, found)
        await holds.check(services.store, tenant)
        if not hasattr(workflow, "graph"):
            name = getattr(workflow, "__name__", repr(workflow))
            what = f"{name}, which is a {type(workflow).__name__} and no workflow"
            raise UsageError(f"start takes a workflow, its id or a version, and not {what}: put @workflow above it")
        if services.registry.workflow(workflow.id) is None:
            services.registry.register([workflow], [])
            self._on_registered()
        found = services.registry.workflow(workflow.id)
        assert found is not None
        if is_same(found, workflow):
            return self._registered(tenant, found)
        if is_from_a_notebook(workflow) and is_from_a_notebook(found):  # the cell was run again
            self.register(workflow, replace=True)
            return self._registered(tenant, workflow)
        raise _registered_otherwise(workflow.id)

    def register(self, workflow: Workflow, *, replace: bool = False) -> None:
        """
        Raises:
            UsageError: another one is registered under its id, and is not to be replaced.
        """
        registry = self._services.registry
        known = registry.workflow(workflow.id)
        if replace:
            registry.replace(workflow)
        elif known is not None and not is_same(known, workflow):
            raise _registered_otherwise(workflow.id)
        else:
            registry.register([workflow], [])
        self._on_registered()

    # ---- inside ----

    def _registered(self, tenant: TenantId, workflow: Workflow) -> tuple[Workflow, Code, Policy]:
        code = code_of(workflow, self._engine)
        return workflow, code, self.policies.of_code(tenant, code)

    async def _compared(self, key: RunKey, workflow: Workflow | Contract | None, value: Any, check: Check) -> Any:
        """A value as the workflow's schema has it. The host's own models are asked on the loop's thread, as everywhere."""
        if workflow is None:
            return await self._made(key, value, lambda: check(None, value))
        if not isinstance(workflow, Contract):
            return check(workflow, value)
        return await self._services.lanes.compared(key.tenant, value, lambda: check(workflow, value))

    async def _made(self, key: RunKey, value: Any, make: Callable[[], T]) -> T:
        """What `make` makes of a value, going through all of it: of a large one beside the loop."""
        return make() if is_small(value) else await self._services.lanes.beside(key.tenant, make)

    async def _start(
        self,
        key: RunKey,
        workflow: Workflow | Contract | None,
        code: Code,
        policy: Policy,
        value: Any,
        given: dict[str, Any],
        digest: bytes,
        more: dict[str, Any],
        request: int | None = None,
        *,
        begun: Begun | None = None,
    ) -> None:
        """Begin it, unless it has begun; `request` is the row of the inbox that is accepted with it."""
        store, world = self._services.store, self._services.world
        async with self._locks.setdefault(key, asyncio.Lock()):
            if await store.run(key) is not None:
                await self._find_again(key, code, digest, value, request)
                return
            if workflow is not None and workflow.on_start is not None and not more.get("continues"):
                await _call_on_start(workflow, key, value, is_request=request is not None)
            if holds_several(code):
                given = {**given, "run": {"id": key.run, "entry": code.workflow, "spread": True}}
            elif has_hooks(code):
                given = {**given, "run": {"tokens": world.seed() + world.seed()}}
            await self._cells.compile(code)  # before the run's first moment
            started = Started(world.now(), world.seed(), value, given)
            more = {**more, "permits": permits_of_run(workflow, policy, key.tenant, value)}
            await self._made(key, value, lambda: check_start(policy, code, started))
            try:
                await self._begin(key, code, policy, started, {"request": digest, **more}, request, begun)
            except SeqConflict:  # another process was faster, or a call that gave up has begun it here
                await self._starting.begun(key)
                if await store.run(key) is None:
                    raise
                await self._find_again(key, code, digest, value, request)

    async def _find_again(self, key: RunKey, code: Code, digest: bytes, value: Any, request: int | None) -> None:
        await check_same(self._services.store, key, code.workflow, digest, value)
        if request is not None:
            await self._services.store.resolve(request, GRANTED)

    async def _begin(
        self,
        key: RunKey,
        code: Code,
        policy: Policy,
        started: Started,
        more: dict[str, Any],
        request: int | None,
        begun: Begun | None,
    ) -> None:
        """At once where the tenant has room, or another run lends its place; else in its turn. For parents see `Places`.

        Nobody hears of a child that is refused but its parent, which would fail for it: it waits for room in the queue.
        """
        counters, most = self._starting.counters, self.policies.known(key.tenant).starts_per_second
        if wait_s := counters.take(key.tenant, "starts_per_second", most, 1):
            await asyncio.sleep(wait_s)
        lender = begun.lender if begun is not None else None
        is_told = False
        while True:
            await self._admission.learn([key.tenant])
            has_room = self._admission.admits(key.tenant) and key.tenant not in self._claims.held
            waits = bool(more["permits"])  # it begins when it has them
            if not waits and (has_room or (lender is not None and self._starting.lend(lender, key))):
                try:
                    await self._starting.start(key, code, [self.created(code, policy, **more), started], request)
                except BaseException:
                    self._starting.leave_place(key)
                    raise
                return
            created = self.created(code, policy, **more, queued=started.pack())
            try:
                await self._starting.queue(key, code, created, request)
                return
            except QueueFull as full:
                if begun is None or not begun.is_wanted():
                    raise
                if not is_told:
                    log.warning("child run %s waits for room in the queue: %s", key, full.message)
            is_told = True
            await asyncio.sleep(QUEUE_RETRY_S)


def _registered_otherwise(id: str) -> UsageError:
    return UsageError(
        f"workflow '{id}' is registered here as another one, which would run instead of the one given: give one of them "
        "another id, start it by its id, or let this one take its place: app.register(workflow, replace=True)"
    )


def _no_such_workflow(tenant: str, name: str, there: list[str]) -> NotFound:
    known = ", ".join(there[:NAMES_SHOWN_MAX]) + (", …" if len(there) > NAMES_SHOWN_MAX else "") or "none"
    return NotFound(
        f"tenant {tenant} has deployed no workflow '{name}', and none is registered here; there are: {known}. Deploy it, "
        "or pass it in Cloche(workflows=[…])",
        kind="workflow",
        id=name,
    )


async def _call_on_start(workflow: Workflow, key: RunKey, value: Any, *, is_request: bool) -> None:
    """
    Raises:
        StartRefused: it raised, and it is another process that is to hear of it (`is_request`).
        BaseException: what it raised, else.
    """
    assert workflow.on_start is not None
    try:
        answer = workflow.on_start({"run_id": key.run, "workflow_id": workflow.id, "input": value})
        if inspect.isawaitable(answer):
            await answer
    except ClocheError:
        raise
    except BaseException as error:
        if not (is_request and is_raised(error)):
            raise
        name = type(error).__name__
        raise StartRefused(
            f"on_start of workflow '{workflow.id}' refused run {key}: {name}: {error}", workflow=workflow.id, error=name
        ) from error


def _as_it_came(input_data: Any, value: Any) -> Any:
    """The input before its schema was applied, plain; the checked `value` where only the schema makes it fit to cross."""
    try:
        return plain(input_data, "input")
    except InvalidInput:
        return value


def _checked_input(workflow: Workflow | Contract | None, value: Any) -> Any:
    adapter = workflow.input_adapter() if workflow is not None and workflow.validate_inputs else None
    if adapter is not None and workflow is not None:
        value = checked(adapter, value, f"the input of workflow '{workflow.id}'")
    return as_plain(adapter, value, "input")


def _checked_state(workflow: Workflow | Contract | None, state: dict[str, Any]) -> Any:
    adapter = workflow.state_adapter() if workflow is not None else None
    if adapter is not None and workflow is not None:
        state = checked(adapter, state, f"the initial state of workflow '{workflow.id}'")
    return as_plain(adapter, state, "initial_state")
