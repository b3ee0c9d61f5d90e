"""Finding runs: by what they are, and page by page, in the order in which they were begun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cloche.history.ids import RunKey, TenantId, TimeMs
from cloche.history.marks import ERROR, STEP
from cloche.status import FINAL, RunStatus
from cloche.store.runs import RunRow

OPEN = tuple(str(status) for status in RunStatus if status not in (*FINAL, RunStatus.RUNNING))  # and those that run
LOOKED_AT_MAX = 5_000  # rows that one page looks at: however rare what is sought is, its time is bounded


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs are meant: those that are all of it. None, and no marks: whatever they are.

    tenant: None is all of them.
    status: one, or several: any of them.
    code: the digest of their code bundle.
    since, until: when their last record was written, in ms since 1970, both included.
    marks: name and value, as `history.marks` has them; of each run all of these.
    is_retried: whether another run goes on from it.
    """

    tenant: TenantId | None = None
    status: RunStatus | tuple[RunStatus, ...] | None = None
    workflow: str | None = None
    code: str | None = None
    since: TimeMs | None = None
    until: TimeMs | None = None
    marks: Mapping[str, str] = field(default_factory=dict)
    is_retried: bool | None = None

    @property
    def statuses(self) -> tuple[RunStatus, ...]:
        """Those that are meant, each once; none: all."""
        if self.status is None or isinstance(self.status, RunStatus):
            return () if self.status is None else (self.status,)
        return tuple(dict.fromkeys(self.status))


@dataclass(frozen=True, slots=True)
class RunPage:
    """Some runs, newest first. `next` is what the page that follows is asked for with; None: there is none.

    A page may be empty, and have a next one: it has looked at as many rows as a page may.
    """

    rows: Sequence[RunRow]
    next: int | None


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failed runs that nobody has retried and that failed alike. `error` and `step` are None where that is not known: of runs
    that ended in an older release, or whose workflow failed by itself. `example` is the newest of them. Times in ms since 1970.
    """

    tenant: TenantId
    workflow: str | None
    error: str | None
    step: str | None
    count: int
    first: TimeMs
    last: TimeMs
    example: RunKey


class Listings(Protocol):
    """Which runs there are. Raises as `Store`."""

    async def find(self, filter: RunFilter, *, limit: int, before: int | None = None) -> RunPage:
        """A page of up to `limit` runs. `before` is `next` of the page before.

        The place of a run never changes, so one that is there all the time is seen once, whatever moves between two pages.
        """

    async def failures(self, filter: RunFilter, *, limit: int, by_workflow: bool = False) -> list[FailureGroup]:
        """Failed runs that nobody has retried, by tenant, error and step, the largest group first; of `filter` the tenant, the
        workflow and the times count."""

    async def count_open(self) -> Mapping[RunStatus, int]:
        """How many runs stand where, of all tenants, of those that have not ended."""

    async def marks(self, key: RunKey) -> Mapping[str, str]:
        """By which the run is found; empty if there is no such run."""

    async def retries(self, key: RunKey) -> list[RunKey]:
        """The runs that go on from this one, in the order of their beginning."""

    async def other_tenants(self, tenant: TenantId, most: int) -> list[TenantId]:
        """Tenants beside this one that have runs, in the order of their ids; up to `most`."""


def rarest(marks: Mapping[str, str]) -> tuple[str, str]:
    """The one of these marks by which runs are found: many fail with the same error or at the same step, and few have a tag."""
    return min(marks.items(), key=lambda mark: mark[0] in (ERROR, STEP))


def is_indexed(filter: RunFilter) -> bool:
    """Whether an index has the answer alone: nothing else has to be asked of what it gives."""
    others: list[object] = [filter.code, filter.since, filter.until, filter.is_retried]
    if filter.marks:  # found by one of them, of a tenant
        others += [filter.status, filter.workflow]
    return len(filter.marks) <= (filter.tenant is not None) and all(one is None for one in others)
