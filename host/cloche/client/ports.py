"""What the handles of runs and tenants stand on: an open store, and whoever begins and moves its runs."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from cloche.client.deadlines import Deadline
    from cloche.errors import ClocheError
    from cloche.history import RunKey, TenantId, TimeMs
    from cloche.history.effects import Suspension
    from cloche.run.clock import World
    from cloche.run.ports import Listening
    from cloche.store import RunRow, Store, Version
    from cloche.tenancy import Policy
    from cloche.worker.retry_request import Retry
    from cloche_codegen import Workflow

T = TypeVar("T")


class Connection(Protocol):
    """An open store, with a worker in this process or without one."""

    @property
    def store(self) -> Store: ...

    @property
    def world(self) -> World: ...

    @property
    def closed(self) -> bool: ...

    @property
    def guest_memory_bytes(self) -> int:
        """What the cells take that this process keeps."""

    @property
    def name(self) -> str:
        """The class that users opened, for messages."""

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
        """See to it that the run begins; returns when that is durable, with the workflow if it is known here."""

    async def retry(self, key: RunKey, asked: Retry, workflow: str) -> None:
        """See to it that the run `key` begins, which goes on from another one; returns when that is durable.

        `workflow` is that of both."""

    async def in_turn(self, tenant: TenantId, work: Coroutine[Any, Any, T]) -> T:
        """What comes of `work`, which begins in the tenant's turn where this process executes the runs of several."""

    async def resume(self, key: RunKey, request: Mapping[str, Any], idempotency_key: str | None) -> None:
        """Give data to suspended steps; returns when that is durable. `request` is as `worker.requests` takes it."""

    async def cancel(self, key: RunKey, reason: str) -> None:
        """Ask for the end of a run; returns when that is durable."""

    async def posted(self) -> None:
        """A request was left in the store."""

    async def scheduled(self) -> None:
        """A schedule was put in the store, or goes on."""

    async def check_schedule(self, tenant: TenantId, workflow: str | Version | Workflow, value: Any) -> Policy | None:
        """Hold what a schedule is to begin against what is known of the workflow; the tenant's policy, if that is known.

        Raises:
            NotFound, InvalidInput: as `start`.
        """

    async def checked_event(self, row: RunRow, name: str, payload: Any) -> Any:
        """What an event carries, as far as its schema is known here."""

    async def check_answer(self, key: RunKey, one: Suspension, data: Any, *, is_given: bool) -> None:
        """Hold what a suspended step is resumed with against its schema, as far as that is known here.

        Raises:
            InvalidInput: it does not fit; or nothing is given (`data` is null then), and the schema asks for something.
        """

    async def workflow_of(self, row: RunRow) -> Workflow | None:
        """The workflow of a run, if it is known here."""

    def is_driven(self, key: RunKey) -> bool:
        """Whether this process executes the run just now."""

    def last_error(self, row: RunRow) -> ClocheError | None:
        """What keeps this process from going on with the run, if anything does."""

    async def changed(self, key: RunKey) -> Listening:
        """What resolves when the run's log has grown since this call, or may have."""

    async def stopped(self, key: RunKey) -> Listening:
        """What resolves when the run has come to a stop since this call, or may have."""

    async def anything(self) -> Listening:
        """What resolves when any run has moved since this call, or may have."""

    async def sent(self) -> Listening:
        """What resolves when an attempt was left for a remote worker since this call, or may have been."""

    async def reported(self, key: RunKey) -> None:
        """Wait for the callbacks of the workflow's author, of a run that has come to a stop here."""


class RunOwner(Protocol):
    """The runs of one tenant, as a `Run` uses them."""

    @property
    def connection(self) -> Connection:
        """
        Raises:
            UsageError: it is not open.
        """

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
    ) -> Any: ...

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
    ) -> Any: ...

    async def cancel(self, run_id: str) -> None: ...


class OwnApp(Protocol):
    """What a run of `Workflow.create_run` opens for itself."""

    @property
    def is_open(self) -> bool: ...

    async def __aenter__(self) -> Any: ...

    async def __aexit__(self, *error: Any) -> None: ...
