"""Where a run stands, in the words that users see."""

from __future__ import annotations

from enum import StrEnum


class RunStatus(StrEnum):
    """`pending`: not begun. `waiting`: for a time or an event. `blocked`: it cannot go on for an outside reason."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    SUSPENDED = "suspended"
    PAUSED = "paused"
    BLOCKED = "blocked"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"


FINAL = (RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.CANCELED)
RESTING = (*FINAL, RunStatus.SUSPENDED, RunStatus.PAUSED, RunStatus.BLOCKED)  # it moves when somebody outside acts
