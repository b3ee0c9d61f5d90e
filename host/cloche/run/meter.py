"""What a run uses, counted between two of its commits and stored with them: what was not written was not used.

The fuel of a turn is counted once, with the commit that makes the turn durable, so that a replay of the log burns as much. All
else that is burnt (rebuilding, turns that were stopped, turns whose commit failed) is overhead, counted beside it. The time is
the host's: in all of these turns, and in making records of what came back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from cloche.history import Kind, Record, TenantId
from cloche.history.messages import EVENTS
from cloche.store import Metered, Usage

if TYPE_CHECKING:
    from cloche.engines import Cell, Code
    from cloche.run.lanes import Lanes

LOOK_S = 0.1  # asking a cell for its size costs 5 µs


class Tally:
    """What records alone say of a run's usage. `delivered` are the events that its guest was given."""

    __slots__ = ("_attempts", "_canceled", "_log_bytes", "_steps", "delivered")

    def __init__(self) -> None:
        self.delivered = self._canceled = self._steps = self._attempts = self._log_bytes = 0

    @classmethod
    def of(cls, records: Iterable[Record]) -> Tally:
        tally = cls()
        for record in records:
            tally.add(record)
        return tally

    def add(self, record: Record) -> None:
        self.add_all((record,))

    def add_all(self, records: Iterable[Record]) -> None:
        delivered = steps = attempts = canceled = size = 0
        for record in records:  # as many as a turn's commands, on the loop
            kind = record.kind
            if kind in EVENTS:
                delivered += 1
            elif kind is Kind.STEP_CALLED:
                steps += 1
            elif kind is Kind.ATTEMPT_STARTED:
                attempts += 1
            elif kind is Kind.CANCEL_REQUESTED:
                canceled += 1
            size += len(record.packed)
            if record.payload is not None:
                size += record.payload.size
        self.delivered += delivered
        self._steps += steps
        self._attempts += attempts
        self._canceled += canceled
        self._log_bytes += size

    def usage(self) -> Usage:
        events = self.delivered + self._canceled
        return Usage(events=events, steps=self._steps, log_bytes=self._log_bytes, attempts=self._attempts)


class Meter:
    """Of one run while it is driven. `clock` gives monotonic seconds, `name` what counts the fuel."""

    __slots__ = (
        "_clock",
        "_delivered",
        "_fuel",
        "_looked",
        "_name",
        "_overhead",
        "_sent",
        "_since",
        "_turns",
        "loop_ns",
        "wall_ns",
    )

    def __init__(self, clock: Callable[[], float], name: str | None) -> None:
        self._clock = clock
        self._name = name
        self._since = self._looked = clock()
        self._fuel = self._turns = self._delivered = self._overhead = 0
        self.wall_ns = 0  # not stored yet,
        self.loop_ns = 0  # nor this: of the event loop, for whatever the tenant asked
        self._sent = Usage()

    async def cross(self, lanes: Lanes, tenant: TenantId, code: Code, cell: Cell, events: Sequence[bytes]) -> bytes:
        """One crossing; raises as `Lanes.turn`. What a crossing burns that ends in a fault is overhead."""
        before = cell.fuel_used
        try:
            output = await lanes.turn(tenant, code, cell, events, self)
        except BaseException:
            self._overhead += cell.fuel_used - before
            raise
        self._fuel += cell.fuel_used - before
        self._turns += 1
        self._delivered += len(events)
        return output

    def burn(self, fuel: int, wall_ns: int = 0) -> None:
        """So much was burnt for nothing new, and took the host so long."""
        self._overhead += fuel
        self.wall_ns += wall_ns

    def waste(self) -> None:
        """Nothing comes of what was counted since the last commit."""
        self._overhead += self._fuel
        self._fuel = self._turns = self._delivered = 0

    def amounts(self, records: Iterable[Record], cell: Cell | None, *, comes_to_rest: bool) -> Metered:
        """What is stored with `records`. Memory is looked at a few times a second, and when the run comes to rest."""
        tally = Tally()
        tally.add_all(records)
        self._looked, memory = self._since, 0
        if (now := self._clock()) - self._since >= LOOK_S or comes_to_rest:
            memory = int((now - self._since) * 1000 * (cell.resident_bytes if cell is not None else 0)) >> 10
            self._looked = now
        wall_us = self.wall_ns // 1000
        in_log = tally.usage()
        counted = (in_log.events, in_log.steps, in_log.log_bytes, in_log.attempts)
        used = Usage(self._fuel, self._overhead, self._turns, wall_us, memory, *counted, self.loop_ns // 1000)
        self._sent = used
        # Events that the guest was given after the end of its run are in no record, and no replay gives them.
        return Metered(used, self._name if self._delivered <= tally.delivered else None)

    def committed(self) -> None:
        """What `amounts` gave last is stored."""
        self._since = self._looked
        self._overhead -= self._sent.overhead_fuel
        self.wall_ns -= self._sent.wall_us * 1000
        self.loop_ns -= self._sent.loop_us * 1000
        self._fuel = self._turns = self._delivered = 0
