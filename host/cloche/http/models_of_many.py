"""What goes in and out about time and about many runs."""

from __future__ import annotations

from cloche.http.models import RunId, Shown


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
