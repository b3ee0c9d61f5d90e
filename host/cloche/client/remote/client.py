"""`RemoteClient`: what `Client("https://…", token=…)` gives, with the names of a `Client` of a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloche.client.deadlines import Deadline, deadline_ms
from cloche.client.remote.forms import row_of, view_of
from cloche.client.remote.many import RemoteMany
from cloche.client.remote.operated import RemoteOperated
from cloche.client.remote.run import RemoteRun
from cloche.client.remote.schedules import RemoteSchedules
from cloche.client.remote.sought import PAGE_RUNS, RemoteSought
from cloche.client.remote.transport import Transport, segment, values
from cloche.client.telling import sent_failure
from cloche.errors import UsageError
from cloche.history import DEFAULT_TENANT, TenantId
from cloche.history.ids import check_idempotency_key, new_run_key, run_key, stored_run_key, tenant_id
from cloche.history.values import plain
from cloche.operations.filters import status_of
from cloche.operations.finding import RunList
from cloche.operations.forms import instant_ms
from cloche.operations.view import RunView, Startable
from cloche.run.clock import SystemWorld, World
from cloche.run.results import RunResult
from cloche.run.selection import path_of
from cloche.store import RunRow, TenantUsage, Usage, Version
from cloche.telemetry.starter import tags_with_starter

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    import httpx
    from typing_extensions import Unpack

    from cloche.client.sought import RunQuery
    from cloche_codegen import Workflow


class RemoteRuns(RemoteSought, RemoteMany):
    """The runs of one tenant, as the server has them. `sent` is the tenant that it is told; None: the token says which.

    Every method raises as the one of `Runs` whose name it has, and as `Transport`.
    """

    def __init__(self, server: RemoteClient, tenant: str, sent: str | None) -> None:
        self._server = server
        self._tenant = tenant_id(tenant)
        self._sent = sent

    @property
    def tenant_id(self) -> str:
        return self._tenant

    @property
    def schedules(self) -> RemoteSchedules:
        """As `Client.schedules`."""
        return RemoteSchedules(self, self._tenant, self._server.world)

    async def start(
        self,
        workflow: str | Version | Workflow,
        input_data: Any = None,
        *,
        run_id: str | None = None,
        initial_state: dict[str, Any] | None = None,
        request_context: dict[str, Any] | None = None,
        per_step: bool = False,
        tags: Mapping[str, str] | None = None,
        deadline: Deadline | None = None,
    ) -> RemoteRun:
        """As `Client.start`."""
        named = workflow if isinstance(workflow, str) else workflow.id
        key = new_run_key(self._server.world.run_id() if run_id is None else run_id, self._tenant)
        body = {
            "input": plain(input_data, "input"),
            "run_id": key.run,
            "initial_state": initial_state,
            "request_context": request_context,
            "per_step": per_step,
            "tags": dict(tags) if (tags := tags_with_starter(tags)) else None,
        }
        if (due := deadline_ms(deadline, self._server.world.now())) is not None:  # a server of before takes no such key
            body["deadline"] = datetime.fromtimestamp(due / 1000, UTC).isoformat()
        await self.ask("POST", f"/workflows/{segment(named)}/runs", body)
        return RemoteRun(self, key, self._server.world)

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
        """As `Client.resume`; what a worker refuses after the server has accepted it is not heard of."""
        if per_step:
            raise UsageError("per_step is for runs that are resumed where the store is")
        await self.request_resume(
            run_id,
            step=step,
            label=label,
            resume_data=resume_data,
            foreach_index=foreach_index,
            idempotency_key=idempotency_key,
        )
        return await (await self.get(run_id)).result()

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
        """As `Client.request_resume`. The server knows by the token who does it, here as elsewhere: `by` is not sent."""
        body = {"step": path_of(step), "label": label, "foreach_index": foreach_index}
        if is_given:
            body["data"] = plain(resume_data, "resume_data")
        answer = await self.ask("POST", f"{self._place(run_id)}/resume", body, headers=_key(idempotency_key))
        found: list[str] | None = values(answer)["paths"]
        return found

    async def send_event(
        self,
        run_id: str,
        name: str,
        payload: Any = None,
        *,
        error: BaseException | str | Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        by: str = "",
    ) -> bool:
        """As `Client.send_event`; of an error its name, message and data cross."""
        body: dict[str, Any] = {"payload": plain(payload, "payload")}
        if error is not None:
            failure = sent_failure(error)
            body["error"] = {"name": failure.name, "message": failure.message, "data": failure.data}
        place = f"{self._place(run_id)}/events/{segment(name)}"
        return bool(values(await self.ask("POST", place, body, headers=_key(idempotency_key)))["is_new"])

    async def heartbeat_event(self, run_id: str, name: str) -> None:
        """As `Client.heartbeat_event`."""
        await self.ask("POST", f"{self._place(run_id)}/events/{segment(name)}", {"heartbeat": True})

    async def resume_hook(self, token: str, payload: Any = None, *, idempotency_key: str | None = None) -> str:
        """As `Client.resume_hook`."""
        body = plain(payload, "payload")
        answer = await self.ask("POST", f"/hooks/{segment(token)}", body, headers=_key(idempotency_key))
        return str(values(answer)["id"])

    async def cancel(self, run_id: str, *, by: str = "") -> None:
        """As `Client.cancel`."""
        await self.ask("POST", f"{self._place(run_id)}/cancel")

    async def delete(self, run_id: str, *, by: str = "") -> None:
        """As `Client.delete`. The server knows by the token who does it."""
        if by:
            raise UsageError("the audit log of a server says whose token it was: leave by= out")
        await self.ask("DELETE", self._place(run_id))

    async def get(self, run_id: str) -> RemoteRun:
        """As `Client.get`."""
        answer = await self.ask("GET", self._place(run_id), accept="application/json")
        return RemoteRun(self, stored_run_key(answer.json()["id"], self._tenant), self._server.world)

    async def view(self, run_id: str) -> RunView:
        """As `Client.view`."""
        return (await self.seen(run_id, {}))[1]

    async def list(
        self,
        *,
        status: str | None = None,
        workflow: str | None = None,
        limit: int | None = 100,
        after: str | None = None,
    ) -> Sequence[RunRow]:
        """As `Client.list`, page by page."""
        import base64

        rows: list[RunRow] = []
        cursor = base64.urlsafe_b64encode(after.encode()).decode().rstrip("=") if after is not None else None
        while limit is None or len(rows) < limit:
            most = PAGE_RUNS if limit is None else min(PAGE_RUNS, limit - len(rows))
            parameters = {"status": status_of(status), "workflow": workflow, "limit": most, "cursor": cursor}
            page = values(await self.ask("GET", "/runs", parameters=parameters))
            rows += [row_of(one) for one in page["runs"]]
            if (cursor := page["next"]) is None:
                break
        return rows

    async def retry(
        self,
        run_id: str,
        *,
        onto: str | Version | Workflow | None = None,
        from_step: str | None = None,
        even_at_most_once: bool = False,
        even_after_clean_up: bool = False,
        by: str = "",
    ) -> RemoteRun:
        """As `Client.retry`."""
        named = onto if onto is None or isinstance(onto, str) else onto.id
        body = {"onto": named, "from_step": from_step}
        flags = {"even_at_most_once": even_at_most_once, "even_after_clean_up": even_after_clean_up}
        made = values(await self.ask("POST", f"{self._place(run_id)}/retry", {**body, **flags}))
        return RemoteRun(self, stored_run_key(made["id"], self._tenant), self._server.world)

    async def versions(self, workflow: str | None = None) -> Sequence[Version]:
        """As `Client.versions`."""
        if workflow is None:
            names = [one.id for one in await self.startable() if one.versions]
            found = [version for name in names for version in await self.versions(name)]
            return sorted(found, key=lambda one: one.deployed_at, reverse=True)
        listed = values(await self.ask("GET", f"/workflows/{segment(workflow)}/versions"))["versions"]
        return [
            Version(self._tenant, one["id"], one["workflow"], one["digest"], instant_ms(one["deployed_at"]))  # type: ignore[arg-type]
            for one in listed
        ]

    async def startable(self) -> Sequence[Startable]:
        """As `Client.startable`."""
        found = values(await self.ask("GET", "/workflows"))["workflows"]
        return [Startable(one["id"], one["input_schema"], one["is_registered"], one["versions"]) for one in found]

    async def export(self, run_id: str) -> bytes:
        """As `Client.export`."""
        return (await self.ask("GET", f"{self._place(run_id)}/export", accept="application/octet-stream")).content

    # ---- for the classes beside ----

    async def seen(self, run_id: str, headers: Mapping[str, str]) -> tuple[bool, RunView]:
        """Whether a run is at rest, and how it stands."""
        answer = await self.ask("GET", f"{self._place(run_id)}/result", headers=headers)
        return answer.status_code == 200, view_of(values(answer))

    async def ask(self, method: str, place: str, body: Any = None, **options: Any) -> httpx.Response:
        options["headers"] = {**(options.get("headers") or {}), **self._headers}
        return await self._server.transport.ask(method, place, body, **options)

    def stream(
        self, place: str, headers: Mapping[str, str], parameters: Mapping[str, Any]
    ) -> AbstractAsyncContextManager[httpx.Response]:
        return self._server.transport.stream(place, headers={**headers, **self._headers}, parameters=parameters)

    @property
    def _headers(self) -> Mapping[str, str]:
        return {"Cloche-Tenant": self._sent} if self._sent is not None else {}

    def _place(self, run_id: str) -> str:
        return f"/runs/{segment(run_key(run_id, self._tenant).run)}"

    async def _usage(self, run_id: str | None) -> Usage:
        if run_id is not None:
            return Usage(**values(await self.ask("GET", f"{self._place(run_id)}/usage")))
        found = values(await self.ask("GET", "/usage"))["tenants"]
        return next((Usage(**one["usage"]) for one in found if one["tenant"] == self._tenant), Usage())


class RemoteTenant(RemoteOperated, RemoteRuns):
    """What one tenant can do, by `Client.tenant`."""

    async def usage(self, run_id: str | None = None) -> Usage:
        """As `TenantRuns.usage`."""
        return await self._usage(run_id)


class RemoteClient(RemoteRuns):
    """A client of a server; an async context manager, and itself the handle of one tenant's runs.

    Args:
        url: where the server is, with the prefix that its app is mounted at, if it is.
        tenant: whose runs are meant, for a token of all tenants; a token of one tenant says it itself.
        token: what lets in.
        transport: how requests go; tests put their own here.
    """

    def __init__(
        self,
        url: str,
        *,
        tenant: str = DEFAULT_TENANT,
        token: str | None = None,
        world: World | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(self, tenant, tenant if tenant != DEFAULT_TENANT else None)
        self._url, self._token, self._given = url, token, transport
        self._transport: Transport | None = None
        self.world = world or SystemWorld()

    async def __aenter__(self) -> Self:
        self._transport = Transport(self._url, self._token, self._given)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.close()

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    @property
    def transport(self) -> Transport:
        """
        Raises:
            UsageError: it is not open.
        """
        if self._transport is None:
            raise UsageError("this Client is not open: use it as 'async with Client(…) as …:'")
        return self._transport

    def tenant(self, id: str) -> RemoteTenant:
        """The handle of a tenant."""
        return RemoteTenant(self, id, id)

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
        """As `Client.list`, of one tenant; without a cursor page by page until there are `limit`."""
        of: RemoteRuns = self if tenant is None else self.tenant(tenant)
        status, workflow = query.get("status"), query.get("workflow")
        is_more = text or all_tenants or cursor or query.keys() - {"status", "workflow"}
        if is_more or not (status is None or isinstance(status, str)):
            return await of.find(text=text, all_tenants=all_tenants, limit=limit, cursor=cursor, **query)
        return RunList([*await RemoteRuns.list(of, status=status, workflow=workflow, limit=limit, after=after)])

    async def usage(self, tenant: str | None = None) -> Sequence[TenantUsage]:
        """As `Client.usage`: of those that the token reaches."""
        headers = {"Cloche-Tenant": tenant} if tenant is not None else {}
        found = values(await self.transport.ask("GET", "/usage", headers=headers))["tenants"]
        return [TenantUsage(TenantId(one["tenant"]), one["runs"], Usage(**one["usage"])) for one in found]

    async def workers(self) -> Sequence[str]:
        """As `Client.workers`; for a token of all tenants."""
        found: Sequence[str] = values(await self.ask("GET", "/workers"))["workers"]
        return found


def _key(idempotency_key: str | None) -> dict[str, str]:
    check_idempotency_key(idempotency_key)
    return {"Idempotency-Key": idempotency_key} if idempotency_key is not None else {}
