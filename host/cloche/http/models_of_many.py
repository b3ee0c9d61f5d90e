"""What goes in and out about time and about many runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from cloche.http.models import Given, RunId, RunOut, Shown
from cloche.http.rules import BULK
from cloche.http.scalars import Instant, Tags, Whole
from cloche.status import RunStatus


class NotBegunOut(Shown):
    """A run that was asked for and that no worker has begun. `since` as RFC 3339."""

    id: RunId
    shown_id: str
    tenant: str
    workflow: str
    status: RunStatus
    since: str
    sentence: str
    tags: dict[str, str]


class RunPage(Shown):
    """`next` is the cursor of the page that follows; null: there is none. With the first page alone, `not_begun` are the runs
    that were asked for last and that no worker has begun."""

    runs: list[RunOut]
    next: str | None
    not_begun: list[NotBegunOut]


class WhereBody(Given):
    """Which runs are meant: those that are all of it; of several statuses any. Times as RFC 3339, `age` in seconds."""

    status: RunStatus | list[RunStatus] | None = None
    workflow: Annotated[str, Field(max_length=200)] | None = None
    version: Annotated[str, Field(max_length=200)] | None = None
    since: Instant | None = None
    until: Instant | None = None
    age: Annotated[float, Field(strict=True, ge=0, le=1e10)] | None = None
    error: Annotated[str, Field(max_length=200)] | None = None
    step: Annotated[str, Field(max_length=200)] | None = None
    tags: Tags | None = None


class BulkBody(Given):
    """`action` is done to a page of the runs, of which `most` are looked at; `after` is `next` of the answer before, and
    `bulk_id` that of the first: the same again gives nothing twice."""

    model_config = ConfigDict(json_schema_extra=BULK)
    action: Literal["cancel", "retry", "resume", "event", "upgrade", "delete"]
    where: WhereBody
    text: Annotated[str, Field(max_length=200)] | None = None
    data: Any = None
    event: Annotated[str, Field(max_length=200)] | None = None
    step: Annotated[str, Field(max_length=200)] | None = None
    onto: Annotated[str, Field(max_length=200)] | None = None
    even_at_most_once: bool = Field(False, strict=True)
    dry_run: bool = Field(False, strict=True)
    bulk_id: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    after: Annotated[str, Field(pattern="^[0-9]{1,18}$")] | None = None
    most: Whole = Field(200, ge=1, le=1000)


class BulkFailed(Shown):
    run_id: RunId
    message: str


class BulkOut(Shown):
    """What was done, or with `dry_run` would be. `next`: where the rest begins; null: there is none."""

    action: str
    dry_run: bool
    matched: int
    done: int
    first: list[str]
    made: list[str]
    failed: list[BulkFailed]
    next: str | None
    bulk_id: str


class AttemptOut(Shown):
    """One attempt of a step. Times in ms since 1970; durations in ms."""

    attempt: int
    started_at: int
    queue_ms: int
    work_ms: int
    ended_at: int | None
    outcome: str
    error: str | None


class LineOut(Shown):
    at: int
    level: str
    text: str
    attempt: int


class StoryOut(Shown):
    """One step of a run, all its calls together; step "" is the workflow itself."""

    step: str
    calls: int
    attempts_made: int
    queue_ms: int
    work_ms: int
    retry_wait_ms: int
    suspended_ms: int
    attempts: list[AttemptOut]
    lines: list[LineOut]
    dropped: int


class TimingOut(Shown):
    steps: list[StoryOut]


class SpreadOut(Shown):
    """Milliseconds."""

    p50: int
    p95: int
    max: int


class SlowStepOut(Shown):
    workflow: str
    step: str
    count: int
    open: int
    work: SpreadOut
    queue: SpreadOut
    retry_wait: SpreadOut
    suspended: SpreadOut


class OverdueOut(Shown):
    run_id: RunId
    tenant: str
    workflow: str
    step: str
    since: int
    worked_ms: int
    usually_ms: int


class TopOut(Shown):
    """`runs` is how many were read, the newest first; `is_whole`: that is all that were asked for."""

    runs: int
    is_whole: bool
    steps: list[SlowStepOut]
    overdue: list[OverdueOut]


class CountedOut(Shown):
    """`is_whole`: there are no more than so many."""

    count: int
    is_whole: bool


class SummaryOut(Shown):
    """How a tenant's runs stand. Statuses that no run has are left out. Times as RFC 3339. `failed_unretried` is null where too
    many have failed for them to be counted at once."""

    statuses: dict[RunStatus, CountedOut]
    oldest_suspended: str | None
    failed_unretried: int | None
    workers: int


class StandsOut(Shown):
    step: str
    status: str


class ReasonOut(Shown):
    """One line about a run: `kind`, `actions`, `since` and `until` (ms since 1970) as of `why`; of a run that has ended
    `sentence` is its result as JSON, or its error. `steps` are its first ones, of `steps_count`."""

    run_id: RunId
    status: str
    kind: str
    sentence: str
    since: int | None
    until: int | None
    step: str | None
    question: str | None
    event: str | None
    actions: list[str]
    steps: list[StandsOut]
    steps_count: int


class ReasonList(Shown):
    reasons: list[ReasonOut]


class FailureOut(Shown):
    """Failed runs that failed alike, and that nobody has retried. Times as RFC 3339."""

    tenant: str
    workflow: str | None
    error: str | None
    step: str | None
    count: int
    first: str
    last: str
    example: RunId


class FailureList(Shown):
    failures: list[FailureOut]
