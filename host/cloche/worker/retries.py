"""Beginning runs that go on from others which failed. They begin one after another, as their tenant has room."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from cloche.engines import CellSource, Code
from cloche.errors import Divergence, NotFound, QueueFull, SeqConflict, UsageError
from cloche.history import Record, RunKey, TenantId
from cloche.history.ids import stored_run_key
from cloche.history.limits import Limits
from cloche.history.machine import Input
from cloche.history.marks import tags_in
from cloche.history.messages import EVENTS, FailRun, Started, unpack_event
from cloche.history.notes import RunCreated, unpack_created, unpack_note
from cloche.history.output import unpack_command
from cloche.history.records import Kind
from cloche.history.replay import find_divergence, script
from cloche.history.resuming import COPIED, KeyOwners
from cloche.run.asked import permits_of_run
from cloche.run.code import guest_of, load_code
from cloche.run.limits import check_start
from cloche.store import GRANTED
from cloche.worker import holds, queue
from cloche.worker.retry_request import Retry, planned, records_to_retry

if TYPE_CHECKING:
    from cloche.run.ports import RunServices
    from cloche.store import RunRow
    from cloche.tenancy import Policy
    from cloche.worker.admission import Admission
    from cloche.worker.claims import Claims
    from cloche.worker.policies import Policies
    from cloche.worker.starting import Starting

QUEUE_RETRY_S = 1.0  # until one that was asked for looks again for room in a queue that was full
ROOM_S = 0.05  # until one that waits looks again whether its tenant has room


class Retries:
    """Of one worker."""

    def __init__(
        self,
        services: RunServices,
        starting: Starting,
        admission: Admission,
        claims: Claims,
        engine: CellSource,
        policies: Policies,
        find: Callable[[TenantId, str, str | None], Awaitable[tuple[Any, Code, Policy]]],
        created: Callable[..., RunCreated],
    ) -> None:
        self._services = services
        self._starting = starting
        self._admission = admission
        self._claims = claims
        self._engine = engine
        self._policies = policies
        self._find = find
        self._created = created
        self._turns: WeakValueDictionary[TenantId, asyncio.Lock] = WeakValueDictionary()

    async def begin(
        self,
        key: RunKey,
        asked: Retry,
        *,
        request: int | None = None,
        depth: int = 0,
        parent: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Begin the run `key`, once; returns when that is durable.

        `request` is the row of the inbox that is accepted with it; `parent` and `depth` are given for a child
        (as in its first record), which waits for no room: the run that waits for it has some.

        Raises:
            NotFound: there is no run to go on from, or no such workflow.
            UsageError: it cannot be retried so; the message says why.
            Divergence: the code that it is to go on under asks for something else than the history says.
            HeldBack, LimitExceeded, StoreError: as for any run that begins.
        """
        child = {"depth": depth, "parent": parent} if parent else {}
        if child:
            await self._begin(key, asked, request, child)
            return
        turn = self._turns.setdefault(key.tenant, asyncio.Lock())
        async with turn:
            await self._admission.learn([key.tenant])
            while not self._admission.admits(key.tenant) or key.tenant in self._claims.held:  # noqa: ASYNC110
                await asyncio.sleep(ROOM_S)
            await self._begin(key, asked, request, child)

    async def _begin(self, key: RunKey, asked: Retry, request: int | None, child: Mapping[str, Any]) -> None:
        store = self._services.store
        if await store.run(key) is None:
            row = await self._row(stored_run_key(asked.run, key.tenant))
            await holds.check(store, key.tenant, row.code)
            records = await records_to_retry(store, row)
            code, inputs, keys = await self._inputs(row, records, asked)
            policy = await self._policies.of_fork(key.tenant, code, row.code)
            check_start(policy, code, next(one for one in inputs if isinstance(one, Started)))
            old = unpack_created(records[0])
            more = _origin(old, row.key, keys)
            more["tags"] = tags_in(await store.marks(row.key))
            more |= {"depth": old.depth, "request": asked.digest, **child}
            try:
                await self._go_on(key, code, policy, old, inputs, more, request)
                return
            except SeqConflict:  # somebody else was faster
                if await store.run(key) is None:
                    raise
        if request is not None:
            await store.resolve(request, GRANTED)

    async def fork(self, key: RunKey, row: RunRow, records: list[Record], inputs: list[Input], at: str) -> None:
        """Begin the run `key` with what the run of `row`, whose `records` these are, had come to before its step `at`.

        Raises:
            SeqConflict: there is a run of that id.
            LimitExceeded, QueueFull, InvalidInput, StoreError: as for any run that begins.
        """
        code, old = await load_code(self._services.store, row.code), unpack_created(records[0])
        policy = await self._policies.of_fork(key.tenant, code, row.code)
        check_start(policy, code, next(one for one in inputs if isinstance(one, Started)))
        origin = {"run": row.key.run, "at": at}
        await self._go_on(key, code, policy, old, inputs, {"forked_from": origin, "depth": old.depth}, None)

    async def _go_on(
        self,
        key: RunKey,
        code: Code,
        policy: Policy,
        old: RunCreated,
        inputs: list[Input],
        more: dict[str, Any],
        request: int | None,
    ) -> None:
        """Begin it with all this: at once, or when it has the permits that a run of its workflow needs."""
        permits = self._permits(key, code, policy, old, inputs)
        if not permits:
            await self._starting.start(key, code, [self._created(code, policy, **more), *inputs], request)
            return
        created = self._created(code, policy, **more, permits=permits, **queue.queued(inputs, code.abi))
        while True:
            try:
                await self._starting.queue(key, code, created, request)
                return
            except QueueFull:
                if request is None and not more.get("parent"):
                    raise
            await asyncio.sleep(QUEUE_RETRY_S)

    def _permits(
        self, key: RunKey, code: Code, policy: Policy, old: RunCreated, inputs: list[Input]
    ) -> Sequence[Sequence[Any]]:
        """By the limits that its workflow has here today; those that the old run had, where it is not registered here."""
        workflow = self._services.registry.workflow(code.workflow) if not code.owner else None
        if workflow is None:
            return old.permits
        started = next(one for one in inputs if isinstance(one, Started))
        return permits_of_run(workflow, policy, key.tenant, started.input)

    async def _row(self, key: RunKey) -> RunRow:
        row = await self._services.store.run(key)
        if row is None:
            raise NotFound(f"there is no run {key} to go on from: it was deleted", kind="run", id=key.run)
        return row

    async def _inputs(
        self, row: RunRow, records: list[Record], asked: Retry
    ) -> tuple[Code, list[Input], list[list[Any]]]:
        """The code that it goes on under, what it begins with, and whose idempotency keys its calls have."""
        store = self._services.store
        owners = KeyOwners.of(row.key, unpack_created(records[0]).retry_of)
        pinned = await load_code(store, row.code)
        if asked.onto is None:
            found = planned(row, records, asked)
            return pinned, found.inputs, owners.passed_on(found.last_call)
        _, code, _ = await self._find(row.key.tenant, asked.onto, pinned.owner or None)
        if code.workflow != row.workflow:
            raise UsageError(f"run {row.key} is of workflow '{row.workflow}', and not of '{code.workflow}'")
        await self._check_fits(row, records, code, pinned)
        inputs = [one for record in records if (one := _copied(record)) is not None]
        return code, inputs, owners.passed_on(max((record.call or 0 for record in records), default=0))

    async def _check_fits(self, row: RunRow, records: list[Record], code: Code, pinned: Code) -> None:
        """
        Raises:
            Divergence: it does not.
            GuestFault: the code was stopped where the history was not.
        """
        part = script(records, upgrading=True)
        limits = Limits.from_data(unpack_created(records[0]).limits)
        guest = await guest_of(self._services.store, self._engine, code)
        expected = b"".join(part.expected[:-1]) + _before_failure(part.expected[-1], part.commands[-1])

        def fed() -> bytes:
            output: bytes = self._engine.open(code, guest, limits, row.key.tenant).turn(part.events)
            return output

        output = await self._services.lanes.beside(row.key.tenant, fed)
        if not output.startswith(expected):
            report = find_divergence(row.key.run, part, output, code.lines, pinned.lines)
            raise Divergence(str(report), report=report)


def _origin(old: RunCreated, run: RunKey, keys: list[list[Any]]) -> dict[str, Any]:
    first = old.retry_of.get("first", run.run)
    origin: Mapping[str, Any] = {"run": run.run, "first": first, "keys": keys}
    return {"retry_of": origin}


def _copied(record: Record) -> Input | None:
    if record.kind in EVENTS and record.kind is not Kind.RUN_UPGRADED:
        return unpack_event(record.body)
    return unpack_note(record) if record.kind in COPIED else None


def _before_failure(expected: bytes, commands: list[tuple[Any, bytes]]) -> bytes:
    """What the last event gave, without the failure of the run and the end of its answer."""
    bodies = [body for _, body in commands]
    if bodies and isinstance(unpack_command(bodies[-1]), FailRun):
        return b"".join(bodies[:-1])
    return expected
