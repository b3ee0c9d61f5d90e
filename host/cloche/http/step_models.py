"""The forms of the endpoints for those who perform remote steps."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from cloche.http.models import Given, Shown
from cloche.http.scalars import Whole
from cloche.operations.remote_answers import CompleteBody, FailBody, IsTagged, SuspendBody

__all__ = [
    "AttemptGiven",
    "AttemptSaid",
    "BeatBody",
    "CompleteBody",
    "FailBody",
    "Heard",
    "LookBody",
    "PollBody",
    "Polled",
    "ProgressBody",
    "Seen",
    "SuspendBody",
]

MOST_MAX = 100  # attempts that a worker takes at once
STEPS_MAX = 1_000


class PollBody(Given):
    """Which steps a worker performs, and how many attempts it has room for."""

    steps: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(min_length=1, max_length=STEPS_MAX)
    most: Whole = Field(1, ge=1, le=MOST_MAX)
    wait_s: float = Field(
        20.0, strict=True, ge=0, le=3_600, description="The server may answer earlier: after 30 s at the latest."
    )
    worker: str = Field("", max_length=200, description="A name for people.")


class AttemptGiven(Shown):
    """An attempt. `token` is what is said of it under, and known to nobody else."""

    token: str
    step: str
    input: Any
    run_id: str
    workflow_id: str
    tenant: str
    path: str
    attempt: int
    redispatched: int
    idempotency_key: str
    state: dict[str, Any]
    request_context: dict[str, Any]
    is_resumed: bool
    resume_data: Any
    suspend_data: Any
    at_most_once: bool
    timeout_s: float | None
    heartbeat_s: float
    call: dict[str, Any] | None = Field(
        None, description='Of "use workflow" code: `args`, `this`, `closure`, as it called.'
    )


class Polled(Shown):
    attempts: list[AttemptGiven]


class BeatBody(Given):
    """Nothing: `{}`, or no body."""


class ProgressBody(Given):
    """A value that is recorded while the attempt is performed."""

    value: Any = None
    is_tagged: IsTagged = False
    abort: str | None = Field(
        None, max_length=200, description="A signal of the run that the step aborts; `value` says why."
    )
    key: str | None = Field(None, min_length=1, max_length=200, description="The same key again is the same value.")


class LookBody(Given):
    """Which stream a step reads, from after which record; of another run, if it names one. Which signals it was given."""

    stream: str | None = Field(None, max_length=500)
    run: str | None = Field(None, min_length=1, max_length=1_000)
    after: Whole = Field(0, ge=0, lt=2**53)
    signals: list[Annotated[str, Field(max_length=200)]] = Field(default_factory=list, max_length=1_000)


class Seen(Shown):
    """`after` is what the next look begins with; `is_closed`: no chunk follows. `aborted`: signals by name, and why."""

    chunks: list[Any]
    is_closed: bool
    after: int
    aborted: dict[str, Any]


class Heard(Shown):
    """`is_canceled`: nobody wants the attempt any more, and its worker should end it."""

    is_canceled: bool


class AttemptSaid(Shown):
    """`is_late`: nobody waited for this attempt any more, and its end is recorded as a late result."""

    is_late: bool
