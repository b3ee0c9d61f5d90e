"""What the children of a run are called: by the numbers of their calls, or by the ids that their author gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.history import CallId, RunKey
from cloche.history.ids import CHILD, Child, child_key, derived_key
from cloche.history.notes import unpack_created
from cloche.store import first_record
from cloche.text import shown

if TYPE_CHECKING:
    from cloche.history.effects import StartRun
    from cloche.run.live_run import LiveRun
    from cloche.store import Store


class ChildIds:
    """Of one driver's run. `named` are the ids that authors have given, by the calls."""

    def __init__(self, run: LiveRun) -> None:
        self._run = run
        self.named: dict[CallId, str] = {}

    def know(self, start: StartRun) -> None:
        if isinstance(start.child, str):
            self.named[start.call] = start.child

    def key(self, call: CallId) -> RunKey:
        child = self.named.get(call, call)
        return child_key(self._run.key, child, derived_ids=self._run.limits.derived_ids)

    def key_to_begin(self, start: StartRun) -> RunKey:
        """
        Raises:
            UsageError: ids of children of children are longer together than an id may be.
        """
        return derived_key(self._run.key, CHILD, start.child) if start.call in self.named else self.key(start.call)

    def call_of(self, child: Child) -> CallId | None:
        """The call that waits for this child, the first of several that have given its id; None: none does."""
        open = self._run.machine.open
        if isinstance(child, int):
            return CallId(child) if child in open else None
        if (found := self._first_of(child)) is None:  # the run may be here since just now, and follow none of them yet
            for call in open.children():
                self.know(open.start_of_child(call))
            found = self._first_of(child)
        return found

    def _first_of(self, id: str) -> CallId | None:
        calls = (call for call, one in self.named.items() if one == id and call in self._run.machine.open)
        return min(calls, default=None)

    def is_given_twice(self, call: CallId) -> bool:
        """Whether an earlier call that is open has given the same id, so that the child is that one's."""
        first = self.call_of(self.named.get(call, call))
        return first is not None and first < call

    def conflict(self, call: CallId) -> str:
        """What is said where the run of this call's id is that of another call."""
        key, id = self.key(call), self.named.get(call)
        return f"run {shown(key.run)} is there, and this call has not begun it" if id is None else given_twice(key, id)


async def was_begun_by(store: Store, child: RunKey, parent: RunKey, call: CallId) -> bool:
    """Whether that run is there, and this call has begun it."""
    first = await first_record(store, child)
    return first is not None and dict(unpack_created(first).parent) == {"run": parent.run, "call": call}


def given_twice(child: RunKey, id: str) -> str:
    return (
        f"the run has a child of the id '{id}' already, {shown(child.run)}: give each child of a run an id of its own"
    )
