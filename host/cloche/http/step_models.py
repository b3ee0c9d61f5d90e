"""The forms of the endpoints for those who perform remote steps."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from cloche.http.models import Given, Shown
from cloche.operations.remote_answers import CompleteBody, FailBody, SuspendBody

__all__ = [
    "AttemptGiven",
    "AttemptSaid",
    "BeatBody",
    "CompleteBody",
    "FailBody",
    "Heard",
    "PollBody",
    "Polled",
    "ProgressBody",
    "SuspendBody",
]

MOST_MAX = 100  # attempts that a worker takes at once
STEPS_MAX = 1_000


class PollBody(Given):
    """Which steps a worker performs, and how many attempts it has room for."""

    steps: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(min_length=1, max_length=STEPS_MAX)
    most: int = Field(1, ge=1, le=MOST_MAX, strict=True)
    wait_s: float = Field(20.0, ge=0, le=3_600, description="The server may answer earlier: after 30 s at the latest.")
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


class Polled(Shown):
    attempts: list[AttemptGiven]


class BeatBody(Given):
    """Nothing: `{}`, or no body."""


class ProgressBody(Given):
    """A value that is recorded while the attempt is performed."""

    value: Any = None
    key: str | None = Field(None, min_length=1, max_length=200, description="The same key again is the same value.")


class Heard(Shown):
    """`is_canceled`: nobody wants the attempt any more, and its worker should end it."""

    is_canceled: bool


class AttemptSaid(Shown):
    """`is_late`: nobody waited for this attempt any more, and its end is recorded as a late result."""

    is_late: bool
