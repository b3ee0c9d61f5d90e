"""`RemoteSought`: the runs of a tenant as an operator looks for them, of a server."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from cloche.client.remote.forms import (
    code_of,
    failure_of,
    limit_of,
    lineage_of,
    not_begun_of,
    row_of,
    story_of,
    top_of,
    why_of,
)
from cloche.client.remote.transport import segment, values
from cloche.errors import UsageError
from cloche.operations.filters import statuses_of
from cloche.operations.finding import RunList
from cloche.operations.forms import instant
from cloche.operations.limits import LimitState
from cloche.operations.lineage import Lineage
from cloche.operations.shown_code import ShownCode
from cloche.operations.start_requests import NotBegun
from cloche.operations.timing import TOP_RUNS_MAX, StepStory, TopReport
from cloche.operations.why import Why
from cloche.store import FailureGroup

if TYPE_CHECKING:
    import httpx
    from typing_extensions import Unpack

    from cloche.client.sought import RunQuery
    from cloche_codegen import Workflow

PAGE_RUNS = 1000


class RemoteSought:
    """What is asked about many runs; `RemoteRuns` has all else."""

    async def ask(self, method: str, place: str, body: Any = None, **options: Any) -> httpx.Response:
        raise AssertionError("the classes on top ask")

    def _place(self, run_id: str) -> str:
        raise AssertionError("the classes on top know")

    async def find(
        self,
        *,
        text: str | None = None,
        all_tenants: bool = False,
        limit: int | None = 100,
        cursor: str | None = None,
        **query: Unpack[RunQuery],
    ) -> RunList:
        """As `Client.find`, of one tenant."""
        page = await self._page(text, all_tenants, limit, cursor, query)
        return RunList([row_of(one) for one in page["runs"]], page["next"])

    async def not_begun(
        self, *, text: str | None = None, all_tenants: bool = False, limit: int = 100, **query: Unpack[RunQuery]
    ) -> Sequence[NotBegun]:
        """As `Client.not_begun`, of one tenant."""
        page = await self._page(text, all_tenants, limit, None, query)
        return [not_begun_of(one) for one in page.get("not_begun", ())]  # an older server says nothing

    async def _page(
        self, text: str | None, all_tenants: bool, limit: int | None, cursor: str | None, query: RunQuery
    ) -> dict[str, Any]:
        if all_tenants:
            raise UsageError("a server shows the runs of one tenant at a time: name it")
        if query.get("is_retried") not in (None, False):
            raise UsageError("is_retried is for a Client of a store")
        tags = [f"{name}={value}" for name, value in (query.get("tags") or {}).items()]
        given: dict[str, Any] = {name: query.get(name) for name in ("workflow", "version", "error", "step")}
        times = {"since": _instant(query.get("since")), "until": _instant(query.get("until"))}
        age = query.get("age")
        given["age"] = age.total_seconds() if isinstance(age, timedelta) else age
        more = {"status": statuses_of(query.get("status")), "tag": tags or None, "text": text, "cursor": cursor}
        parameters = {**given, **times, **more, "limit": PAGE_RUNS if limit is None else min(limit, PAGE_RUNS)}
        found: dict[str, Any] = values(await self.ask("GET", "/runs", parameters=parameters))
        return found

    async def failures(
        self,
        *,
        since: datetime | int | None = None,
        until: datetime | int | None = None,
        workflow: str | None = None,
        group_by: Sequence[str] = ("error", "step"),
        all_tenants: bool = False,
        limit: int = 100,
    ) -> Sequence[FailureGroup]:
        """As `Client.failures`, of one tenant."""
        if all_tenants:
            raise UsageError("a server shows the runs of one tenant at a time: name it")
        parameters = {"since": _instant(since), "until": _instant(until), "workflow": workflow, "limit": limit}
        parameters["by_workflow"] = "true" if "workflow" in group_by else None
        found = values(await self.ask("GET", "/failures", parameters=parameters))["failures"]
        return [failure_of(one) for one in found]

    async def top(
        self,
        *,
        since: datetime | int | None = None,
        until: datetime | int | None = None,
        workflow: str | None = None,
        all_tenants: bool = False,
        runs_max: int = TOP_RUNS_MAX,
    ) -> TopReport:
        """As `Client.top`, of one tenant."""
        if all_tenants:
            raise UsageError("a server shows the runs of one tenant at a time: name it")
        parameters = {"since": _instant(since), "until": _instant(until), "workflow": workflow, "runs_max": runs_max}
        return top_of(values(await self.ask("GET", "/top", parameters=parameters)))

    async def limits(self, name: str | None = None, *, all_tenants: bool = False) -> Sequence[LimitState]:
        """As `Client.limits`, of one tenant."""
        if all_tenants:
            raise UsageError("a server shows the calls of one tenant at a time: name it")
        found = values(await self.ask("GET", "/limits", parameters={"name": name}))["limits"]
        return [limit_of(one) for one in found]

    async def timing(self, run_id: str) -> Sequence[StepStory]:
        """As `Client.timing`."""
        return [story_of(one) for one in values(await self.ask("GET", f"{self._place(run_id)}/timing"))["steps"]]

    async def lineage(self, run_id: str, *, after: int = 0, limit: int = 100) -> Lineage:
        """As `Client.lineage`."""
        asked = {"after": after, "limit": limit}
        return lineage_of(values(await self.ask("GET", f"{self._place(run_id)}/lineage", parameters=asked)))

    async def code_of_run(self, run_id: str) -> ShownCode:
        """As `Client.code_of_run`."""
        return code_of(values(await self.ask("GET", f"{self._place(run_id)}/code")))

    async def code_of_workflow(self, id: str, registered: Workflow | None = None) -> ShownCode:
        """As `Client.code_of_workflow`; the server knows what it has registered itself."""
        return code_of(values(await self.ask("GET", f"/workflows/{segment(id)}/code")))

    async def other_tenants(self, most: int = 5) -> Sequence[str]:
        """A server does not say."""
        return ()

    async def why(self, run_id: str) -> Why:
        """As `Client.why`."""
        return why_of(values(await self.ask("GET", f"{self._place(run_id)}/why")))


def _instant(time: datetime | int | None) -> str | None:
    """As the server takes it."""
    if isinstance(time, datetime):
        time = int(time.timestamp() * 1000)
    return instant(time) if time is not None else None
