"""A worker in this process: what is asked of the runs it executes happens at once, and goes through the inbox else."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from cloche.errors import ClocheError, HeldBack, LeasedElsewhere, LeaseLost
from cloche.history.values import plain
from cloche.operations.answering import check_pinned_answer
from cloche.worker.run_inbox import checked_event

if TYPE_CHECKING:
    from cloche.history import RunKey, TenantId, TimeMs
    from cloche.history.effects import Suspension
    from cloche.run.clock import World
    from cloche.run.ports import Listening
    from cloche.store import RunRow, Store, Version
    from cloche.tenancy import Policy
    from cloche.worker.retry_request import Retry
    from cloche.worker.worker import Worker
    from cloche_codegen import Workflow

T = TypeVar("T")


class WorkerConnection:
    """Implements `Connection`."""

    name = "Cloche"

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    @property
    def store(self) -> Store:
        return self.worker.store

    @property
    def world(self) -> World:
        return self.worker.services.world

    @property
    def guest_memory_bytes(self) -> int:
        return self.worker.cells.cached.bytes_used

    @property
    def closed(self) -> bool:
        return self.worker.closed

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
        """Begin it here; raises as `NewRuns.start`."""
        return await self.worker.new_runs.start(
            key, workflow, input_data, initial_state, request_context, per_step=per_step, tags=tags, deadline=deadline
        )

    async def retry(self, key: RunKey, asked: Retry, workflow: str) -> None:
        """Begin it here; raises as `Retries.begin`."""
        await self.worker.new_runs.retries.begin(key, asked)

    async def in_turn(self, tenant: TenantId, work: Coroutine[Any, Any, T]) -> T:
        worker = self.worker
        most = worker.new_runs.policies.known(tenant).calls_per_second
        if wait_s := worker.starting.counters.take(tenant, "calls_per_second", most, 1):
            try:
                await asyncio.sleep(wait_s)
            except BaseException:
                work.close()
                raise
        return await worker.services.lanes.loop.in_turn(tenant, work)

    async def resume(self, key: RunKey, request: Mapping[str, Any], idempotency_key: str | None) -> None:
        """
        Raises:
            ClocheError: it was refused.
        """
        if idempotency_key is None:
            try:
                await self.worker.requests.resume(key, request)
                return
            except HeldBack:
                raise
            except (LeasedElsewhere, LeaseLost):  # the worker that has it is asked for the same
                pass
        body = {**request, "data": plain(request["data"], "resume_data")}
        await self.worker.inbox.ask(key, "resume", body, idempotency_key)

    async def cancel(self, key: RunKey, reason: str) -> None:
        await self.worker.cancel(key, reason)

    async def posted(self) -> None:
        await self.worker.inbox.look_soon()

    async def scheduled(self) -> None:
        await self.worker.inbox.schedules.look_soon()

    async def check_schedule(self, tenant: TenantId, workflow: str | Version | Workflow, value: Any) -> Policy:
        """Raises as `NewRuns.start`."""
        new_runs = self.worker.new_runs
        await new_runs.check_input(tenant, workflow, value)
        await new_runs.policies.learn([tenant])
        return new_runs.policies.known(tenant)

    async def checked_event(self, row: RunRow, name: str, payload: Any) -> Any:
        """Raises as `Registry.checked_event`."""
        code = await self.worker.cells.code(row.code)
        return await checked_event(self.worker.services, code, row.key.tenant, name, payload)

    async def check_answer(self, key: RunKey, one: Suspension, data: Any, *, is_given: bool) -> None:
        """By the step of today, as the worker that gives it to the run does; by the run's code where it has no such step."""
        registry = self.worker.services.registry
        if is_given and registry.step(one.step) is not None:
            registry.checked_resume(one.step, one.path, data)
        else:
            await check_pinned_answer(self.store, key, one, data, is_given=is_given)

    async def workflow_of(self, row: RunRow) -> Workflow | None:
        return await self.worker.workflow_of_row(row)

    def is_driven(self, key: RunKey) -> bool:
        return key in self.worker.drivers

    def last_error(self, row: RunRow) -> ClocheError | None:
        if row.key in self.worker.drivers or row.wake_at is not None:
            return None
        return self.worker.blocks.last_error(row.key)

    async def changed(self, key: RunKey) -> Listening:
        return self.worker.listeners.changed(key)

    async def stopped(self, key: RunKey) -> Listening:
        return self.worker.listeners.stopped(key)

    async def anything(self) -> Listening:
        return self.worker.listeners.anything()

    async def sent(self) -> Listening:
        return self.worker.listeners.sent()

    async def reported(self, key: RunKey) -> None:
        await self.worker.drivers.callbacks.done(key)
