"""What a run waits for while its child runs are left to themselves: its records do not say whether they rest."""

from __future__ import annotations

from cloche.history.ids import Child, TimeMs
from cloche.history.lifecycles import RunPhase
from cloche.history.machine import RunMachine
from cloche.status import RunStatus


def waits_for_children(machine: RunMachine) -> bool:
    """Whether nothing is at work but child runs: once all of them are there, each tells it of its end by itself."""
    return machine.phase is RunPhase.RUNNING and 0 < machine.open.child_runs == machine.open.active


def waits_for_child(machine: RunMachine, child: Child) -> bool:
    """Whether this child is under way, as far as the run knows."""
    if isinstance(child, int):
        return child in machine.open
    return any(machine.open.start_of_child(call).child == child for call in machine.open.children())


def waits_for_others(machine: RunMachine) -> bool:
    """Whether nothing is at work but child runs, and steps that wait for permits: each tells it by itself when it goes on."""
    open = machine.open
    return machine.phase is RunPhase.RUNNING and 0 < open.child_runs + open.permits.queued == open.active


def row_at_rest(machine: RunMachine) -> tuple[RunStatus, TimeMs | None]:
    """What the row of the run says while no worker has it: status, and when something is due."""
    if waits_for_others(machine):
        return RunStatus.WAITING, machine.open.wake_at
    return machine.status, machine.wake_at
