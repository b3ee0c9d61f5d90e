"""What an attempt printed and logged, and how long it waited for a thread, on its way into the log of its run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cloche.history.notes import AttemptQueued, StepLogged
from cloche.steps.output import SCOPE, Scope

if TYPE_CHECKING:
    from cloche.history import RunKey
    from cloche.history.effects import StartStep
    from cloche.run.inputs import Inputs
    from cloche.run.ports import RunServices

SHOWN_AFTER_S = 0.5  # how long a line of a step that goes on waits for others: each time is a commit


class StepLines:
    """Of one attempt, which the task that makes this one performs. They are recorded with its end, or while it goes on."""

    __slots__ = ("_inputs", "_scope", "_services", "_soon", "_start")

    def __init__(self, key: RunKey, start: StartStep, inputs: Inputs, services: RunServices) -> None:
        self._start = start
        self._inputs = inputs
        self._services = services
        self._soon: asyncio.TimerHandle | None = None
        self._scope = Scope(key.tenant, key.run, start.path, start.attempt, self._on_line)
        SCOPE.set(self._scope)

    def end(self) -> None:
        """What there is goes before the end of the attempt, in its commit."""
        self._scope.close()
        if self._soon is not None:
            self._soon.cancel()
        self._tell()

    def _on_line(self) -> None:
        self._services.tasks.on_loop(self._tell_soon)

    def _tell_soon(self) -> None:
        if self._soon is None and self._scope.lines:
            self._soon = asyncio.get_running_loop().call_later(SHOWN_AFTER_S, self._tell)

    def _tell(self) -> None:
        self._soon = None
        scope, now, call = self._scope, self._services.world.now, self._start.call
        if scope.queued_ms:
            self._inputs.add(AttemptQueued(now(), call, scope.queued_ms))
            scope.queued_ms = 0
        if scope.lines or scope.dropped:
            lines, dropped = scope.take()
            self._inputs.add(StepLogged(now(), call, self._start.attempt, lines, dropped))
