"""`Many`: the same done to many runs, of a store or of a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloche.operations import bulk
from cloche.operations.bulk import BulkAction, BulkReport, action_of

if TYPE_CHECKING:
    from cloche.client.sought import RunQuery
    from cloche.store import RunRow


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
        by: str = "",
        bulk_id: str | None = None,
        where: RunQuery | None = None,
    ) -> BulkReport:
        """Do the same to all runs that `where` gives: `cancel`, `retry`, `resume`, `event` or `delete`.

        Runs that it cannot be meant for are passed over (to retry: those that go on or were retried). Asked for again after it
        was cut off, it goes on with the rest: what was done is done once, of `resume` and `event` by the same `bulk_id`.

        Args:
            dry_run: count, and do nothing.
            text: as in `find`. data: what `resume` or `event` carries. event: its name. step: which suspended step.
            by: who does it, for the audit log.

        Raises:
            UsageError: there is no such action, or something that it needs is missing.
            StoreError: the store did not answer; those before are done.
        """
        asked, query = action_of(action, event), dict(where or {})
        if asked is BulkAction.RETRY:
            query["is_retried"] = False
        runs: Any = self
        named = bulk_id or self._bulk_id()

        async def pages(cursor: str | None) -> tuple[Sequence[RunRow], str | None]:
            page = await runs.find(text=text, limit=bulk.PAGE, cursor=cursor, **query)
            return page, page.next

        if dry_run:
            return await bulk.counted(asked, pages)
        facts = {name: str(value) for name, value in sorted(query.items()) if value is not None}
        await self._write_bulk(by, {"done": str(asked), "where": facts, "id": named})
        given = _Given(data, event, step, even_at_most_once, by, named)
        return await bulk.done(asked, pages, lambda row: _done(runs, asked, row.key.run, given))


@dataclass(frozen=True, slots=True)
class _Given:
    """What goes with an action."""

    data: Any
    event: str | None
    step: str | None
    even_at_most_once: bool
    by: str
    key: str


async def _done(runs: Any, action: BulkAction, run: str, given: _Given) -> str | None:
    """Do it to one run; the id of a new one, if it makes one."""
    match action:
        case BulkAction.CANCEL:
            await runs.cancel(run)
        case BulkAction.DELETE:
            await runs.delete(run, by=given.by)
        case BulkAction.RESUME:
            await runs.request_resume(run, step=given.step, resume_data=given.data, idempotency_key=given.key)
        case BulkAction.EVENT:
            await runs.send_event(run, str(given.event), given.data, idempotency_key=given.key)
        case BulkAction.RETRY:
            made: str = (await runs.retry(run, even_at_most_once=given.even_at_most_once)).id
            return made
    return None
