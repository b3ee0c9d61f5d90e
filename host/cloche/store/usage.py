"""What runs use, in the units that are stored."""

from __future__ import annotations

from dataclasses import dataclass
from operator import add

from cloche.history.ids import TenantId


@dataclass(frozen=True, slots=True)
class Usage:
    """Amounts that only grow; of a run, of one append to it, or of a tenant.

    fuel: of the turns whose records are in the log, as wasmtime counts: about one for a wasm instruction. The same history
        has the same in any batches (in the Python guest but for a thousandth), and nothing counts twice, whatever crashed.
    overhead_fuel: what was burnt beside that: rebuilding, turns that were stopped, turns whose commit failed.
    turns: crossings of the glass that `fuel` is of.
    wall_us: microseconds of the host: in those turns and in what is overhead, stopped turns too, and in making records of what
        came back.
    memory_kib_ms: KiB of the run's cell × milliseconds between its commits, while a worker drives the run.
    events: those in the log that the guest was given, or was canceled by.
    steps: calls of steps.
    log_bytes: of records, their large bodies at full size, however often they are shared.
    """

    fuel: int = 0
    overhead_fuel: int = 0
    turns: int = 0
    wall_us: int = 0
    memory_kib_ms: int = 0
    events: int = 0
    steps: int = 0
    log_bytes: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*map(add, self.amounts, other.amounts))

    @property
    def amounts(self) -> tuple[int, ...]:
        """In the order of the fields; `dataclasses.astuple` copies and takes 20 µs."""
        return (
            self.fuel,
            self.overhead_fuel,
            self.turns,
            self.wall_us,
            self.memory_kib_ms,
            self.events,
            self.steps,
            self.log_bytes,
        )


NOTHING = Usage()


@dataclass(frozen=True, slots=True)
class TenantUsage:
    """What all runs of a tenant have used, the deleted ones too; how many they were."""

    tenant: TenantId
    runs: int
    usage: Usage


@dataclass(frozen=True, slots=True)
class Metered:
    """What an append adds to its run. `meter` names what counted the fuel; None: a replay cannot be held against it."""

    usage: Usage
    meter: str | None
