"""Where a run stands, in the words that users see."""

from __future__ import annotations

from enum import StrEnum


class RunStatus(StrEnum):
    """`pending`: not begun. `waiting`: for a time or an event. `blocked`: it cannot go on for an outside reason.
    `continued`: this history has ended, and the run goes on as the next one."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    SUSPENDED = "suspended"
    PAUSED = "paused"
    BLOCKED = "blocked"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"
    CONTINUED = "continued"


OVER = (RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.CANCELED)  # of a run with all its histories
FINAL = (*OVER, RunStatus.CONTINUED)  # of one history
HALTED = (RunStatus.SUSPENDED, RunStatus.PAUSED, RunStatus.BLOCKED)
RESTING = (*FINAL, *HALTED)  # it moves when somebody outside acts
