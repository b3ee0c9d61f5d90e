"""What of open calls is left to do: of a run that goes on from another, and of one whose timers are due."""

from __future__ import annotations

from cloche.history.calls import OpenCalls
from cloche.history.effects import Effect, StartStep, StartTimer
from cloche.history.ids import TimeMs
from cloche.history.lifecycles import StepPhase, TimerPhase


def left_to_do(calls: OpenCalls, effects: list[Effect]) -> list[Effect]:
    """Of the first effects of a run that goes on from another: of each step the last, and none of a suspended one."""
    last = {one.call: one for one in effects if isinstance(one, StartStep)}
    return [
        one
        for one in effects
        if not isinstance(one, StartStep)
        or (one is last[one.call] and calls[one.call].phase is not StepPhase.SUSPENDED)
    ]


def timers_due(calls: OpenCalls, by: TimeMs) -> list[StartTimer]:
    """The timers that are due by then, in the order of their times."""
    if (next_due := calls.next_due) is None or next_due > by:
        return []
    due = [(one.due, id) for id, one in calls.items() if isinstance(one.phase, TimerPhase) and one.due <= by]
    return [StartTimer(id, time) for time, id in sorted(due)]
