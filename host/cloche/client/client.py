"""`Client`: a store's runs for a process that executes nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cloche.client.operated import Operated
from cloche.client.requests import StoreConnection
from cloche.client.tenant_runs import Runs
from cloche.errors import UsageError
from cloche.history import DEFAULT_TENANT
from cloche.history.ids import tenant_id
from cloche.operations.finding import RunList
from cloche.operations.stores import is_server
from cloche.run.clock import SystemWorld, World
from cloche.store import MEMORY, Store, TenantUsage, Usage, check_url, open_store

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from typing_extensions import Unpack

    from cloche.client.ports import Connection
    from cloche.client.sought import RunQuery


class TenantRuns(Operated):
    """What one tenant can do, by `Client.tenant`."""

    async def usage(self, run_id: str | None = None) -> Usage:
        """What all runs of the tenant have used, the deleted ones too, or one of them.

        Raises:
            NotFound: there is no such run.
        """
        return await self._usage(run_id)


class Client(Runs):
    """Starts, asks and reads the runs of a store, and never executes anything; an async context manager.

    Of the URL of a server (`cloche serve`) a `RemoteClient` is made, with the same names: `Client("https://…", token=…)`.

    It is none of the store's workers: it claims no run, pins none to a policy, and blocks none. What it asks for waits in the
    store until a worker accepts it. It is itself the handle of one tenant's runs; `Client.tenant` gives those of the others.

    Args:
        store: the path of a file (SQLite, made if it does not exist), a URL such as `sqlite:PATH`, or a `Store`.
        tenant: whose runs the methods of this object are about.
        must_exist: whether a file that is not there is refused.
        token: what lets in to a server; a store is opened without.
        world: clock and ids; tests put their own here.

    Raises (on entering):
        StoreError: the store cannot be opened; the message says why.
    """

    def __new__(cls, store: Any = MEMORY, *arguments: Any, **options: Any) -> Self:
        if cls is Client and is_server(store):
            from cloche.client.remote import RemoteClient

            options.pop("must_exist", None)
            return RemoteClient(store, *arguments, **options)  # type: ignore[return-value]  # it has the same names
        return super().__new__(cls)

    def __init__(
        self,
        store: str | os.PathLike[str] | Store,
        *,
        tenant: str = DEFAULT_TENANT,
        must_exist: bool = False,
        token: str | None = None,
        world: World | None = None,
    ) -> None:
        if token is not None:
            raise UsageError("a token is for the URL of a server: http://… or https://…")
        super().__init__(self._opened, tenant)
        if isinstance(store, str | os.PathLike):
            check_url(store)
        self._where = store
        self._check_shared()
        self._must_exist = must_exist
        self._world = world or SystemWorld()
        self._open_connection: Connection | None = None

    async def __aenter__(self) -> Self:
        self._open_connection = StoreConnection(await self._open_store(), self._world)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection, self._open_connection = self._open_connection, None
        if isinstance(connection, StoreConnection):
            connection.closed = True
            await connection.store.close()

    @property
    def is_open(self) -> bool:
        return self._open_connection is not None

    def tenant(self, id: str) -> TenantRuns:
        """The handle of a tenant; nothing need have been known of it before.

        Raises:
            UsageError: the id is no text of 1 to 200 bytes without control characters.
        """
        return TenantRuns(self._opened, id)

    async def list(
        self,
        *,
        tenant: str | None = None,
        all_tenants: bool = False,
        text: str | None = None,
        limit: int | None = 100,
        cursor: str | None = None,
        after: str | None = None,
        **query: Unpack[RunQuery],
    ) -> RunList:
        """As `find`; of another tenant than its own if one is named. `after`, and no cursor, is the run id to go on after:
        with a status and a workflow alone."""
        of = Runs(self._opened, tenant or self._tenant)
        if after is None:
            return await of.find(text=text, all_tenants=all_tenants, limit=limit, cursor=cursor, **query)
        status, workflow = query.get("status"), query.get("workflow")
        is_more = text or all_tenants or cursor or query.keys() - {"status", "workflow"}
        if is_more or not (status is None or isinstance(status, str)):
            raise UsageError(
                "after goes with one status and workflow alone: take the cursor, which is `next` of the page before"
            )
        return RunList([*await of.list(status=status, workflow=workflow, limit=limit, after=after)])

    async def usage(self, tenant: str | None = None) -> Sequence[TenantUsage]:
        """What tenants have used, in the order of their ids: all that have or had a run, or the one named."""
        return await self.connection.store.usage(tenant_id(tenant) if tenant is not None else None)

    async def workers(self) -> Sequence[str]:
        """The names of the workers that execute the runs of the store just now."""
        return [worker.id for worker in await self.connection.store.leases.workers() if not worker.is_dead]

    def _check_shared(self) -> None:
        if self._where == MEMORY:
            raise UsageError("a store in memory is that of one Cloche: a Client needs one that a worker can open too")

    def _opened(self) -> Connection:
        if self._open_connection is None:
            name = type(self).__name__
            raise UsageError(f"this {name} is not open: use it as 'async with {name}(…) as …:'")
        return self._open_connection

    async def _open_store(self) -> Store:
        """A connection of its own, which is closed in the end; a store that was given stays open."""
        if isinstance(self._where, str | os.PathLike):
            return await open_store(self._where, must_exist=self._must_exist)
        return await self._where.connect()
