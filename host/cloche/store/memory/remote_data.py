"""Attempts of remote steps, in memory: the rows."""

from __future__ import annotations

from dataclasses import dataclass, field

from cloche.history.ids import CallId, RunKey
from cloche.store.protocol import Append
from cloche.store.remote import RemoteTask


@dataclass(eq=False, slots=True)
class RemoteData:
    """All attempts of one store that are with remote workers, or wait for one."""

    tasks: dict[tuple[RunKey, CallId], RemoteTask] = field(default_factory=dict)  # in the order in which they were sent
    secret: bytes | None = None

    def follow(self, append: Append) -> None:
        """Within a commit: what it sends, and what is not wanted any more."""
        for call in append.returned:
            self.tasks.pop((append.key, call), None)
        for task in append.sent:
            self.tasks.pop((task.key, task.call), None)
            self.tasks[task.key, task.call] = task
