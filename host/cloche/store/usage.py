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
    attempts: tries at steps that began, whatever became of them: repeated and stopped ones too.
    loop_us: microseconds of the event loop's thread, which all tenants share, for whatever the tenant asked: calls, beginning
        runs, commits, light turns (which are in `wall_us` too). It is billed to the run of the tenant that commits next.
    """

    fuel: int = 0
    overhead_fuel: int = 0
    turns: int = 0
    wall_us: int = 0
    memory_kib_ms: int = 0
    events: int = 0
    steps: int = 0
    log_bytes: int = 0
    attempts: int = 0
    loop_us: int = 0

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
            self.attempts,
            self.loop_us,
        )


NOTHING = Usage()


@dataclass(frozen=True, slots=True)
class TenantUsage:
    """What all runs of a tenant have used, the deleted ones too; how many they were."""

    tenant: TenantId
    runs: int
    usage: Usage


@dataclass(frozen=True, slots=True)
class Stored:
    """What lies in the store of a tenant now.

    open_runs: those that have not ended, blocked ones too.
    log_bytes: of the runs that are kept, as `Usage` counts them.
    code_bytes: of what it has deployed, and of what its runs began with; what was withdrawn too, until it is collected.
    checkpoint_bytes: of the checkpoints of its runs.
    """

    runs: int = 0
    open_runs: int = 0
    blocked_runs: int = 0
    log_bytes: int = 0
    code_bytes: int = 0
    checkpoint_bytes: int = 0

    @property
    def size(self) -> int:
        """All bytes."""
        return self.log_bytes + self.code_bytes + self.checkpoint_bytes


@dataclass(frozen=True, slots=True)
class Metered:
    """What an append adds to its run. `meter` names what counted the fuel; None: a replay cannot be held against it."""

    usage: Usage
    meter: str | None
