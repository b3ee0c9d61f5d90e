"""The same done to many runs: counted first, page by page, each by itself. One that it fails on is listed, the others go on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cloche.errors import ClocheError, StoreError, UsageError
from cloche.operations.start_requests import NotBegun
from cloche.status import FINAL, RunStatus
from cloche.store import RunRow
from cloche.text import quoted

PAGE = 200
SHOWN = 5


class BulkAction(StrEnum):
    """What can be done to many runs."""

    CANCEL = "cancel"
    RETRY = "retry"
    RESUME = "resume"
    EVENT = "event"
    UPGRADE = "upgrade"
    DELETE = "delete"


@dataclass(slots=True)
class BulkReport:
    """What was done, or with `dry_run` would be.

    matched: how many runs the filter gives that the action is for. first: some of them. done: how many it was done to.
    made: the new runs of a retry. failed: run id and why not. next: where the rest begins; None: there is none.
    bulk_id: by which the same is known if it is asked for again.
    """

    action: str
    dry_run: bool
    matched: int = 0
    done: int = 0
    first: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    next: str | None = None
    bulk_id: str = ""

    @property
    def ok(self) -> bool:
        return not self.failed

    def add(self, page: BulkReport) -> None:
        """What the page that follows has come to."""
        self.matched += page.matched
        self.done += page.done
        self.first = (self.first + page.first)[:SHOWN]
        self.made += page.made
        self.failed += page.failed
        self.next = page.next

    def to_data(self) -> dict[str, Any]:
        """For JSON."""
        failed = [{"run_id": run, "message": message} for run, message in self.failed]
        return {**{name: getattr(self, name) for name in self.__dataclass_fields__}, "failed": failed}


Pages = Callable[[str | None], Awaitable[tuple[Sequence[RunRow | NotBegun], str | None]]]


def action_of(name: str, event: str | None) -> BulkAction:
    """
    Raises:
        UsageError: there is no such action, or an event without a name.
    """
    try:
        action = BulkAction(name)
    except ValueError:
        raise UsageError(
            f"there is no action {quoted(name)} for many runs; there are: {', '.join(BulkAction)}"
        ) from None
    if action is BulkAction.EVENT and event is None:
        raise UsageError("say which event is to be sent: event='NAME'")
    return action


def is_for(action: BulkAction, row: RunRow | NotBegun) -> bool:
    """Whether the action can be meant for a run that stands so: the others are passed over, done already or not to be done."""
    match action:
        case BulkAction.RETRY:
            return row.status in (RunStatus.FAILED, RunStatus.CANCELED)
        case BulkAction.DELETE:
            return row.status in FINAL
        case BulkAction.RESUME:
            return row.status == RunStatus.SUSPENDED
        case BulkAction.UPGRADE:
            return row.status not in FINAL and row.status != RunStatus.PENDING
    return row.status not in FINAL


async def counted(action: BulkAction, pages: Pages) -> BulkReport:
    """How many runs it is for, and the first of them; nothing is done."""
    report = BulkReport(str(action), dry_run=True)
    cursor: str | None = None
    while True:
        rows, cursor = await pages(cursor)
        meant = [row.key.run for row in rows if is_for(action, row)]
        report.matched += len(meant)
        report.first = (report.first + meant)[:SHOWN]
        if cursor is None:
            return report


async def done(
    action: BulkAction,
    pages: Pages,
    do: Callable[[Any], Awaitable[str | None]],
    announce: Callable[[Sequence[str]], Awaitable[None]],
    cursor: str | None = None,
    most: int | None = None,
) -> BulkReport:
    """Do it to each; `do` gives the id of a new run, if it made one, and `announce` is called before with those of a page. It
    begins at `cursor`, and ends with the page in which it has looked at `most` runs: `next` is the cursor then.

    Raises:
        StoreError: the store did not answer. Those before are done; the same again goes on with the others.
    """
    report, looked = BulkReport(str(action), dry_run=False), 0
    while True:
        rows, cursor = await pages(cursor)
        looked += max(len(rows), 1)
        rows = [row for row in rows if is_for(action, row)]
        if rows:
            await announce([row.key.run for row in rows])
        for row in rows:
            report.matched += 1
            report.first = [*report.first, row.key.run][:SHOWN]
            try:
                made = await do(row)
            except StoreError:
                raise
            except ClocheError as error:
                report.failed.append((row.key.run, error.message))
                continue
            report.done += 1
            if made is not None:
                report.made.append(made)
        if cursor is None or (most is not None and looked >= most):
            report.next = cursor
            return report
