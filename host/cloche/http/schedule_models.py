"""The forms of the API about schedules."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from cloche.http.models import Given, RunId, Shown
from cloche.http.rules import AT, CRON, SCHEDULED, ZONE
from cloche.http.scalars import Whole


class ScheduleBody(Given):
    """A schedule: one of `cron`, `every` (seconds) and `at` (ISO) says when."""

    model_config = ConfigDict(json_schema_extra=SCHEDULED)
    workflow: str = Field(min_length=1, max_length=200)
    cron: Annotated[str, Field(max_length=200, json_schema_extra={"pattern": CRON})] | None = Field(
        None, description="Five fields, minute to day of the week."
    )
    every: float | None = Field(
        None, strict=True, ge=1, le=316_224_000, description="Seconds, at whole multiples of it since 1970."
    )
    at: str | None = Field(
        None, json_schema_extra={"anyOf": AT}, description="Once: ISO 8601; without an offset a time of `tz`."
    )
    tz: str = Field(
        "UTC", json_schema_extra={"pattern": ZONE}, description="As the IANA has it, such as Europe/Berlin."
    )
    input: Any = None
    overlap: Literal["skip", "queue", "allow", "replace"] = "skip"
    catch_up: Literal["none", "latest", "all"] = "latest"
    catch_up_max: Whole = Field(100, ge=1, le=1_000)
    jitter_s: float = Field(0, strict=True, ge=0, le=86_400)


class ScheduleOut(Shown):
    """A schedule. `when` says it in words; `next_at` null: it is over, or paused. Times as RFC 3339."""

    id: str
    tenant: str
    workflow: str
    when: str
    tz: str
    input: Any = None
    overlap: str
    catch_up: str
    catch_up_max: int
    jitter_s: float
    is_paused: bool
    next_at: str | None
    queued: list[str]
    last_run: RunId | None
    created_at: str


class ScheduleList(Shown):
    schedules: list[ScheduleOut]


class FiringOut(Shown):
    """What came of an instant, or of those up to `until`: `fired`, `skipped` or `refused`, with the reason."""

    number: int
    outcome: str
    instant: str
    at: str
    run: RunId | None
    reason: str
    until: str | None
    count: int


class FiringList(Shown):
    firings: list[FiringOut]
