"""The calls of a run that have asked for permits, and have them or wait for them."""

from __future__ import annotations

from enum import StrEnum

from cloche.history.ids import CallId
from cloche.history.lifecycles import StepPhase

WHOLE_RUN = CallId(0)  # in the place of a call: the run itself, by the limits of its workflow
_PERMITTED = (
    StepPhase.QUEUED,
    StepPhase.RUNNING,
    StepPhase.AWAY,
)  # a call has its permits as long as it is one of these


class PermittedCalls(dict[CallId, None]):
    """By number. `queued` counts those that wait; `freed` are those that have no use for permits any more since a mark."""

    __slots__ = ("freed", "queued")

    def __init__(self) -> None:
        super().__init__()
        self.freed: list[CallId] = []
        self.queued = 0

    def add_run(self) -> None:
        """The run itself has permits, or begins when it has them."""
        self[WHOLE_RUN] = None

    def add(self, call_id: CallId) -> None:
        """It asks: its phase is `QUEUED` since now."""
        if call_id not in self:
            self[call_id] = None
            self.queued += 1

    def follow(self, call_id: CallId, before: StrEnum, phase: StrEnum) -> None:
        """A call has moved."""
        if call_id not in self or before is phase:
            return
        self.queued += (phase is StepPhase.QUEUED) - (before is StepPhase.QUEUED)
        if phase not in _PERMITTED:
            del self[call_id]
            self.freed.append(call_id)

    def restore(self, call_id: CallId, phase: StrEnum) -> None:
        """It has asked once."""
        if phase in _PERMITTED:
            self[call_id] = None
            self.queued += phase is StepPhase.QUEUED

    def end(self) -> None:
        """All calls are closed."""
        self.freed += self
        self.clear()
        self.queued = 0
