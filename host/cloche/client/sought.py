"""`Sought`: the runs of a tenant as an operator looks for them, and what is done to many of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from cloche.errors import UsageError
from cloche.history.ids import run_key
from cloche.operations import finding, limits, start_requests, timing, why
from cloche.operations.finding import RunList
from cloche.operations.limits import LimitState
from cloche.operations.lineage import Lineage, lineage
from cloche.operations.replay import row_of
from cloche.operations.shown_code import ShownCode, code_by_digest, code_of_workflow
from cloche.operations.start_requests import NotBegun, waiting_start
from cloche.operations.timing import StepStory, TopReport
from cloche.operations.why import Why
from cloche.store import FailureGroup, RunFilter
from cloche.store.histories import newest
from cloche.text import QUOTED_CHARS_MAX, brief

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from cloche.client.ports import Connection
    from cloche.history import TenantId
    from cloche_codegen import Workflow


class RunQuery(TypedDict, total=False):
    """Which runs are meant: those that are all of it.

    status: one, or several: any of them. version: the id of a version that the tenant has deployed, or the digest of a code
    bundle. since, until: when the last record was written, as a datetime or in ms since 1970. age: for how long at least it has
    stood as it stands, without a record, as a timedelta or in seconds. error, step: how a failed run failed: the name of the
    error, the step without turns of loops. tags: name and value. is_retried: whether another run goes on from it.
    """

    status: str | Sequence[str] | None
    workflow: str | None
    version: str | None
    since: datetime | int | None
    until: datetime | int | None
    age: timedelta | float | None
    error: str | None
    step: str | None
    tags: Mapping[str, str] | None
    is_retried: bool | None


_ASKED = RunQuery.__annotations__.keys()


class Sought:
    """What is asked of the store about many runs. `Runs` has all else."""

    _tenant: TenantId

    @property
    def connection(self) -> Connection:
        raise AssertionError("the classes on top have one")

    async def find(
        self,
        *,
        text: str | None = None,
        all_tenants: bool = False,
        limit: int | None = 100,
        cursor: str | None = None,
        **query: Unpack[RunQuery],
    ) -> RunList:
        """A page of runs that have begun or are queued, newest first. `cursor` is `next` of the page before.

        What moves meanwhile is neither skipped nor seen twice. Where what is sought is rare, a page has looked at 5,000 runs
        that an index gives, and may have fewer than `limit`, or none: its cursor says how far it came. `text` is looked for in
        input, result and error, whatever the case; one page reads at most 5,000 runs for it. `limit=None`: all, in one answer.

        Raises:
            UsageError: there is no such status, or no page has given the cursor.
            InvalidInput: the tags are none.
        """
        filter = self._filter(all_tenants, dict(query))
        return await finding.find(self.connection.store, filter, text, limit, cursor)

    async def not_begun(
        self, *, text: str | None = None, all_tenants: bool = False, limit: int = 100, **query: Unpack[RunQuery]
    ) -> Sequence[NotBegun]:
        """Runs that were asked for and that no worker has begun, the last first, each with what it waits for.

        They are found by status (`pending`), workflow, tags, times (of the request) and text of the input: they have nothing
        else yet. Of many the last 1,000 are looked at.

        Raises:
            UsageError, InvalidInput: as `find`.
        """
        filter = self._filter(all_tenants, dict(query))
        return await start_requests.not_begun(self.connection.store, filter, text, limit)

    def _filter(self, all_tenants: bool, asked: dict[str, Any]) -> RunFilter:
        if unknown := asked.keys() - _ASKED:
            named = ", ".join(f"{brief(name, QUOTED_CHARS_MAX)}=" for name in sorted(unknown))
            raise UsageError(f"runs are not found by {named}: there are {', '.join(sorted(_ASKED))}")
        asked["until"] = finding.before(self.connection.world.now(), asked.pop("age", None), asked.get("until"))
        return finding.filter_of(None if all_tenants else self._tenant, **asked)

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
        """What failed and was not retried, alike by error and step (and `workflow`, where `group_by` has it), most first."""
        filter = finding.filter_of(None if all_tenants else self._tenant, since=since, until=until, workflow=workflow)
        return await self.connection.store.failures(filter, limit=limit, by_workflow="workflow" in group_by)

    async def top(
        self,
        *,
        since: datetime | int | None = None,
        until: datetime | int | None = None,
        workflow: str | None = None,
        all_tenants: bool = False,
        runs_max: int = timing.TOP_RUNS_MAX,
    ) -> TopReport:
        """What is slow, by workflow and step: work, queue, retry wait and suspension apart; and steps that work far longer than
        they usually do. It reads the records of up to `runs_max` runs, the newest first."""
        filter = finding.filter_of(None if all_tenants else self._tenant, since=since, until=until, workflow=workflow)
        connection = self.connection
        return await timing.top(connection.store, filter, connection.world.now(), runs_max)

    async def limits(self, name: str | None = None, *, all_tenants: bool = False) -> Sequence[LimitState]:
        """The limits of steps and workflows that somebody uses just now: who has permits, and who waits, the oldest first.

        Those in which this tenant has a part, with its own calls; `name`: those of that name alone.
        """
        connection, tenant = self.connection, None if all_tenants else self._tenant
        return await limits.limits(connection.store, tenant, connection.world.now(), name)

    async def timing(self, run_id: str) -> Sequence[StepStory]:
        """Where the time of a run went, by step, with the last attempts and what the step and the workflow (step "") have said.

        Raises:
            NotFound: there is none.
            HistoryError: it is damaged.
        """
        connection, key = self.connection, run_key(run_id, self._tenant)
        if await waiting_start(connection.store, key) is not None:
            return []
        row = await row_of(connection.store, key)
        return await timing.stories(connection.store, row, connection.world.now())

    async def lineage(self, run_id: str, *, after: int = 0, limit: int = 100) -> Lineage:
        """Where a run comes from and what came of it, with up to `limit` children, begun by records after `after`.

        Raises:
            NotFound: there is no such run, or no worker has begun it.
            HistoryError: it is damaged.
        """
        return await lineage(self.connection.store, run_key(run_id, self._tenant), after, limit)

    async def code_of_run(self, run_id: str) -> ShownCode:
        """The code that a run is pinned to: its graph, and its source in each language that it has.

        Raises:
            NotFound: there is no such run, or no worker has begun it.
        """
        store = self.connection.store
        return await code_by_digest(store, (await row_of(store, run_key(run_id, self._tenant))).code)

    async def code_of_workflow(self, id: str, registered: Workflow | None = None) -> ShownCode:
        """What a workflow, or a version by its id, would start with; `registered` is the one of this process.

        Raises:
            NotFound: it is known to workers elsewhere alone, and no run of it is there.
        """
        return await code_of_workflow(self.connection.store, self._tenant, id, registered)

    async def other_tenants(self, most: int = 5) -> Sequence[str]:
        """Tenants beside this one that have runs here, up to `most`."""
        return await self.connection.store.other_tenants(self._tenant, most)

    async def why(self, run_id: str) -> Why:
        """Why a run does not move, and what moves it, as data; of one that went on as a new history, why that does not.

        Raises:
            NotFound: there is none.
            ClocheError: a worker refused to start it, as `Client.start` says.
        """
        connection = self.connection
        key = await newest(connection.store, run_key(run_id, self._tenant))
        return await why.why(connection.store, key, connection.world.now())
