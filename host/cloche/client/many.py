"""`Many`: the same done to many runs, of a store or of a server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloche.errors import UsageError
from cloche.operations import bulk
from cloche.operations.bulk import BulkAction, BulkReport, action_of

if TYPE_CHECKING:
    from cloche.client.sought import RunQuery
    from cloche.operations.start_requests import NotBegun
    from cloche.store import RunRow

_FOR_NOT_BEGUN = (BulkAction.CANCEL, BulkAction.EVENT)
NOT_BEGUN_MAX = 100_000  # runs that no worker has begun, to which it is done at once


class Many:
    """Beside `find` and the methods that do it to one run."""

    def _bulk_id(self) -> str:
        raise AssertionError("the classes on top have one")

    async def _write_bulk(self, by: str, facts: dict[str, Any]) -> None:
        """Into the audit log."""

    async def bulk(
        self,
        action: str,
        *,
        dry_run: bool = False,
        text: str | None = None,
        data: Any = None,
        event: str | None = None,
        step: str | None = None,
        even_at_most_once: bool = False,
        onto: Any = None,
        by: str = "",
        bulk_id: str | None = None,
        after: str | None = None,
        most: int | None = None,
        where: RunQuery | None = None,
    ) -> BulkReport:
        """Do the same to all runs that `where` gives: `cancel`, `retry`, `resume`, `event`, `upgrade` or `delete`.

        Runs that it cannot be meant for are passed over (to retry: those that were retried); `cancel` and `event` mean those
        too that no worker has begun. Asked for again, it does the rest, of `resume` and `event` by the same `bulk_id`.

        Args:
            dry_run: count, and do nothing. text: as in `find`. data: what `resume` or `event` carries. event: its name.
            step: which suspended step. by: who does it, for the audit log.
            onto: of `upgrade` the workflow, registered with this `Cloche`, whose code of today the runs go on under.
            after, most: begin at `next` of a report, and end with the page in which so many were looked at.

        Raises:
            UsageError: there is no such action, or something that it needs is missing.
            StoreError: the store did not answer; those before are done.
        """
        asked = action_of(action, event)
        runs = _Runs(self, dict(where or {}), text, most, with_not_begun=asked in _FOR_NOT_BEGUN)
        given = _Given(data, event, step, even_at_most_once, by, bulk_id or self._bulk_id())
        if asked is BulkAction.RETRY:
            runs.query["is_retried"] = False
        if asked is BulkAction.UPGRADE:
            given.onto = runs.upgraded_to(onto)
        if dry_run:
            return await bulk.counted(asked, runs.page)
        await self._write_bulk(by, {"done": str(asked), "where": _facts(runs.query), "id": given.key})
        report = await bulk.done(asked, runs.page, *_doing(self, asked, given), after, most)
        report.bulk_id = given.key
        return report


def _doing(
    runs: Any, action: BulkAction, given: _Given
) -> tuple[Callable[[Any], Awaitable[str | None]], Callable[[Sequence[str]], Awaitable[None]]]:
    """What does it to one run, and what writes down beforehand which runs of a page it is done to."""

    async def announce(ids: Sequence[str]) -> None:
        await runs._write_bulk(given.by, {"done": str(action), "id": given.key, "runs": list(ids)})

    return lambda row: _done(runs, action, row.key.run, given), announce


def _facts(query: dict[str, Any]) -> dict[str, str]:
    return {
        name: ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        for name, value in sorted(query.items())
        if value is not None
    }


class _Runs:
    """Those that are meant, page by page."""

    def __init__(
        self, owner: Any, query: dict[str, Any], text: str | None, most: int | None, *, with_not_begun: bool
    ) -> None:
        self.query = query
        self._owner = owner
        self._text = text
        self._size = bulk.PAGE if most is None else min(most, bulk.PAGE)
        self._passed_over: set[str] = set()  # digests of code
        self._with_not_begun = with_not_begun

    async def page(self, cursor: str | None) -> tuple[Sequence[RunRow | NotBegun], str | None]:
        """The first one is of those that no worker has begun, and of those that have begun."""
        early: Sequence[NotBegun] = ()
        if cursor is None and self._with_not_begun:
            early = await self._owner.not_begun(text=self._text, limit=NOT_BEGUN_MAX, **self.query)
        page = await self._owner.find(text=self._text, limit=self._size, cursor=cursor, **self.query)
        return [*early, *(row for row in page if row.code not in self._passed_over)], page.next

    def upgraded_to(self, onto: Any) -> Any:
        """The workflow whose code of today is meant: its runs that have it are passed over.

        Raises:
            UsageError: nothing is executed here, or there is no such workflow.
        """
        if onto is None or not hasattr(self._owner, "upgrade"):
            raise UsageError(
                "runs are upgraded where today's code is: Cloche(…, workflows=[w]).bulk('upgrade', onto='w'), "
                "or 'cloche bulk upgrade --onto TARGET'"
            )
        workflow = self._owner.registered(onto) if isinstance(onto, str) else onto
        self.query["workflow"] = workflow.id
        self._passed_over = self._owner.codes()
        return workflow


@dataclass(slots=True)
class _Given:
    """What goes with an action."""

    data: Any
    event: str | None
    step: str | None
    even_at_most_once: bool
    by: str
    key: str
    onto: Any = None


async def _done(runs: Any, action: BulkAction, run: str, given: _Given) -> str | None:
    """Do it to one run; the id of a new one, if it makes one."""
    match action:
        case BulkAction.CANCEL:
            await runs.cancel(run)
        case BulkAction.DELETE:
            await runs.delete(run, by=given.by)
        case BulkAction.UPGRADE:
            await runs.upgrade(run, given.onto, by=given.by)
        case BulkAction.RESUME:
            await runs.request_resume(run, step=given.step, resume_data=given.data, idempotency_key=given.key)
        case BulkAction.EVENT:
            await runs.send_event(run, str(given.event), given.data, idempotency_key=given.key)
        case BulkAction.RETRY:
            made: str = (await runs.retry(run, even_at_most_once=given.even_at_most_once)).id
            return made
    return None
