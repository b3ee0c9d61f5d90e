"""The child runs that a run waits for, and what they wait for themselves, as the store has them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cloche.history import RunMachine
from cloche.history.ids import child_key
from cloche.history.notes import unpack_created
from cloche.history.resting import waits_for_children
from cloche.run.selection import id_path
from cloche.status import FINAL, RESTING, RunStatus
from cloche.store import first_record, read_through
from cloche.store.histories import newest
from cloche.text import sentence_of, shown

if TYPE_CHECKING:
    from cloche.history import Record, RunKey
    from cloche.store import RunRow, Store


@dataclass(slots=True)
class ChildWait:
    """A child that a run waits for, as it stands. `path` is the call that waits; `suspended` are id paths of the child's steps,
    `blocked` is as in a result, `waiting_for` what the child waits for itself.
    """

    path: str
    run_id: str
    workflow_id: str
    status: RunStatus
    suspended: list[list[str]] = field(default_factory=list)
    blocked: dict[str, str] | None = None
    waiting_for: list[ChildWait] = field(default_factory=list)
    needs_somebody: bool = False  # it goes on when somebody outside acts, and not before

    def __str__(self) -> str:
        """`child r1 › 1, which is suspended at ask`"""
        said = f"child {shown(self.run_id)}, which "
        if self.waiting_for:
            return f"{said}waits for {told(self.waiting_for)}"
        if self.blocked is not None:
            return f"{said}is blocked: {sentence_of(self.blocked['message'])} To do: {sentence_of(self.blocked['what_to_do'])}"
        if self.suspended:
            return f"{said}is suspended at {', '.join('/'.join(ids) for ids in self.suspended)}"
        return f"{said}is {self.status}"


def told(waits: Sequence[ChildWait]) -> str:
    """What is waited for, for people: `child r1 › 1, which is suspended at ask`."""
    return " and ".join(map(str, waits))


async def child_waits(store: Store, machine: RunMachine) -> list[ChildWait]:
    """The children that the run of `machine` waits for, in the order of their calls, those that are not there yet too."""
    found, calls = [], machine.open.children()
    derived_ids = not calls or unpack_created(await first_record(store, machine.key)).derived_ids
    for call in calls:
        start, path = machine.open.start_of_child(call), machine.open[call].path
        key = child_key(machine.key, start.child, derived_ids=derived_ids)
        row = await store.run(await newest(store, key))
        if row is None:
            found.append(ChildWait(path, key.run, start.workflow, RunStatus.PENDING))
        elif row.status not in FINAL:
            found.append(await _wait_for(store, path, row))
    return found


def needs_somebody(machine: RunMachine, waits: Sequence[ChildWait]) -> bool:
    """Whether a run that waits for children goes on only when somebody outside acts, as one that is suspended."""
    is_one = waits_for_children(machine) and machine.open.next_due is None
    return is_one and len(waits) == machine.open.child_runs and all(one.needs_somebody for one in waits)


class WaitingRun:
    """A run that somebody waits for, looked at again and again: its own log is read once for each of its heads."""

    def __init__(self, store: Store, key: RunKey) -> None:
        self.key = key
        self._store = store
        self._machine = RunMachine(key)

    async def needs_somebody(self, row: RunRow) -> bool:
        """Whether it rests, and waits for children that go on only when somebody outside acts."""
        if row.status != RunStatus.WAITING or row.owner is not None:
            return False
        if row.head_seq != self._machine.head_seq:
            self._machine = await _machine_of(self._store, row.key)
        machine = self._machine
        return waits_for_children(machine) and needs_somebody(machine, await child_waits(self._store, machine))


async def _machine_of(store: Store, key: RunKey) -> RunMachine:
    machine = RunMachine(key)

    def take(page: list[Record]) -> None:
        for record in page:
            machine.absorb(record)

    await read_through(store, key, take)
    return machine


async def _wait_for(store: Store, path: str, row: RunRow) -> ChildWait:
    one = ChildWait(path, row.key.run, row.workflow, row.status, needs_somebody=row.status in RESTING)
    if row.problem is not None:
        one.blocked = json.loads(row.problem)
    if row.status in (RunStatus.SUSPENDED, RunStatus.WAITING):
        machine = await _machine_of(store, row.key)
        one.suspended = suspended_in(machine)
        one.waiting_for = await child_waits(store, machine)
        one.needs_somebody |= needs_somebody(machine, one.waiting_for)
    return one


def suspended_in(machine: RunMachine) -> list[list[str]]:
    """The steps of a run that are suspended, as id paths, each once."""
    return [list(ids) for ids in dict.fromkeys(tuple(id_path(one.path)) for one in machine.open.suspensions())]
