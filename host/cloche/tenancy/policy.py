"""`Policy`: every bound on what a tenant's code may take, each with its unit, its default and the reason for it.

The defaults are wide: a workflow that is no attack does not meet them. They hold for workflows that the host has registered;
code that a tenant has deployed runs under `Policy.strict()`. `Cloche(policy=…)` sets another one for both, `policies=` for one
tenant. A run is pinned to the policy it began with. Where each is enforced, and which
test runs into it, is in `SECURITY.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Final, TypeAlias

from pydantic import Field
from pydantic.fields import FieldInfo

from cloche.history.bounds import Bounds
from cloche.history.limits import Limits
from cloche.tenancy.strict_model import StrictModel

Count: TypeAlias = Annotated[int, Field(ge=1, le=1 << 62, strict=True)]
_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30


class Grant(StrictModel):
    """Leave to call one step of the host.

    Attributes:
        step: its id.
        arguments: what its input must be, as JSON data: a mapping of field to the values it may have; fields that are not
            named may be anything. None: any input.
    """

    step: str
    arguments: dict[str, tuple[Any, ...]] | None = None

    def allows(self, value: Any) -> bool:
        """Whether the step may be called with `value`, a value of the message grammar."""
        if self.arguments is None:
            return True
        if not isinstance(value, dict):
            return False
        return all(
            name in value and any(_same(value[name], one) for one in allowed)
            for name, allowed in self.arguments.items()
        )


class LimitBound(StrictModel):
    """A tenant's part of a limit that holds over all workers.

    Attributes:
        limit: the name of the limit, as a step or workflow has it.
        most: how many the tenant may have at once, or begin in the limit's window.
    """

    limit: str
    most: Count


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)  # True is not 1


@dataclass(frozen=True, slots=True)
class Limit:
    """What is to be said of a field of `Policy`.

    Attributes:
        name: the field.
        default: its value where nothing else is said.
        counts: its unit, and what of.
        why: the reason for it.
        strict: its value in `Policy.strict()`.
        why_strict: the reason for that; empty where it is the default.
    """

    name: str
    default: Any
    counts: str
    why: str
    strict: Any
    why_strict: str


def _parts(field: FieldInfo) -> tuple[str, str]:
    """Each description is written so: 'unit, and what of: reason'."""
    counts, _, why = (field.description or "").partition(": ")
    return counts, why


class Policy(StrictModel):
    """Bounds of one tenant. Frozen; `policy.model_copy(update={…})` makes another.

    A run that goes beyond a bound ends with `LimitExceeded` (or the fault of its cell: `FuelExhausted`, `TimeExhausted`,
    `MemoryExhausted`); a call that is not allowed fails with it, and the workflow may catch that. The failure's data says
    {limit, value, asked}.

    Faults of a cell say {limit, value}: code is stopped at its bound of fuel, time or memory, and how much more it would have
    taken is not known. The time that went by is measured, and not recorded: it would be another one in each life of the run.
    Three bounds are no field, for they are the same for everybody: `event_commands` (the guest's own bound on commands, whose
    fault says `asked` too: 100,001, the first one too many), `event_output_bytes` (6 MiB) and `native_stack_bytes`.
    """

    # ---- computing ----
    fuel_per_event: Count = Field(
        default=2_000_000_000,
        description="wasm instructions for one delivered event: ends loops, the same everywhere; this is about 0.15 s.",
    )
    fuel_per_load: Count = Field(
        default=20_000_000_000,
        description="wasm instructions for evaluating a workflow's code: bundles are large; this is about 1.5 s.",
    )
    fuel_per_run: Count = Field(
        default=10**13,
        description="wasm instructions of a whole run: ends what computes a little at each event; this is about 12 minutes.",
    )
    wall_ms_per_event: Count = Field(
        default=10_000,
        description="milliseconds for one delivered event: ends what burns time and no fuel; depends on the machine.",
    )
    memory_bytes: Count = Field(
        default=128 * _MIB,
        le=1 << 32,
        description="bytes of a cell's linear memory, with 17 MiB of stack and windows: it is the host's memory.",
    )

    # ---- code ----
    source_bytes: Count = Field(
        default=4 * _MIB, description="bytes of a workflow's source: it is parsed, kept and evaluated."
    )
    image_bytes: Count = Field(
        default=32 * _MIB,
        description="bytes that evaluating the source may change in the guest: each cell copies them.",
    )
    checkpoint_bytes: Count = Field(
        default=16 * _MIB,
        description="bytes of a stored checkpoint: a larger one is not kept, and the run is replayed in full.",
    )

    # ---- the log ----
    events_per_run: Count = Field(
        default=10_000_000, description="records of a run's log: ends endless runs; a step has three or four."
    )
    log_bytes_per_run: Count = Field(
        default=1 * _GIB, description="bytes of a run's log: disk, and time to read it again."
    )
    log_bytes_per_second: Count = Field(
        default=256 * _MIB,
        description="bytes that the tenant's runs add in a second, over all workers, more waits: the disk is everybody's.",
    )
    commands_per_event: Count = Field(
        default=100_000,
        le=100_000,
        description="commands for one delivered event: each costs the host 70 times what it costs the guest.",
    )
    console_bytes: Count = Field(
        default=1 * _MIB, description="bytes of log lines for one delivered event: the log is no dump."
    )
    run_lifetime_s: Count = Field(
        default=3_155_760_000,
        description="seconds from a run's start: it ends when it moves after that; this is 100 years.",
    )
    cancel_s: Count = Field(
        default=10,
        description="seconds that steps may go on in a run that is canceled: then they are left behind, and it ends.",
    )
    clean_up_s: Count = Field(
        default=60,
        description="seconds in which a native workflow that is canceled may clean up: else whoever cancels waits for ever.",
    )

    # ---- values ----
    payload_bytes: Count = Field(
        default=8 * _MIB - _KIB,
        le=8 * _MIB - _KIB,
        description="bytes of one message in either direction: what the windows take.",
    )
    value_depth: int = Field(
        default=64,
        ge=1,
        le=64,
        strict=True,
        description="containers within each other in what a guest writes: whoever walks them nests as deep.",
    )
    value_items: Count = Field(
        default=1_000_000, description="items in one message that a guest writes: each becomes an object."
    )
    label_bytes: Count = Field(
        default=1 * _KIB, description="bytes of a resume label: it is compared, stored and shown."
    )
    id_bytes: Count = Field(
        default=4 * _KIB, description="bytes of a name or path that a guest writes: it is indexed and shown."
    )

    # ---- what is open ----
    pending_steps: Count = Field(
        default=100_000, description="steps of a run that are asked for and not done: each is a task."
    )
    timers: Count = Field(
        default=100_000, description="timers of a run that are set: each is kept in memory until it fires."
    )
    hooks: Count = Field(default=10_000, description="events that a run waits for: each is looked up when one arrives.")
    children: Count = Field(
        default=10_000, description="runs that one run starts: each has a log and a cell of its own."
    )
    child_depth: int = Field(
        default=16, ge=0, le=1_000, strict=True, description="runs that are started by each other: ends recursion."
    )

    descendants: Count = Field(
        default=1_000_000,
        description="runs below one that somebody started, children and theirs and so on: ends fork bombs.",
    )

    # ---- the tenant ----
    step_starts_per_second: Count = Field(
        default=100_000,
        description="tries at steps that the tenant's runs begin in a second, repeated ones too, over all workers, others wait:"
        " they are the host's work.",
    )
    starts_per_second: Count = Field(
        default=100_000,
        description="runs of the tenant that begin or queue in a second, over all workers, children too; others wait: each is "
        "a log, and commits.",
    )
    deploys_per_second: Count = Field(
        default=1_000,
        description="deploys of the tenant in a second, over all workers, others wait: each is read and loaded.",
    )
    calls_per_second: Count = Field(
        default=100_000,
        description="calls of the tenant's handles in a second, over all workers, others wait: each asks the store.",
    )
    tenant_memory_bytes: Count = Field(
        default=1 * _GIB,
        description="bytes of the tenant's cells that a worker keeps between their turns, others are rebuilt: it is the "
        "host's memory.",
    )
    concurrent_runs: Count = Field(
        default=100_000,
        description="runs of the tenant that are at work, in all workers, children too: others queue, and cost a row.",
    )
    queued_runs: Count = Field(
        default=1_000_000,
        description="runs of the tenant that wait to be driven: more are not taken, for the store is everybody's.",
    )

    stored_bytes: Count = Field(
        default=1 << 50,
        description="bytes of the tenant in the store, logs, code and checkpoints, over all workers: starts and deploys beyond "
        "are refused, and open runs wait until there is room.",
    )
    open_runs: Count = Field(
        default=100_000_000,
        description="runs of the tenant that have not ended, over all workers, children too: each is looked at when something "
        "comes for it.",
    )
    blocked_runs: Count = Field(
        default=10_000_000,
        description="runs of the tenant that are blocked: nothing more starts until somebody has looked at them.",
    )

    waiting_events: Count = Field(
        default=10_000,
        description="events that wait until a run waits for them: who sends them need not know that nobody does.",
    )
    waiting_event_bytes: Count = Field(
        default=64 * _MIB,
        description="bytes of the events that wait for a run: they lie in the store until they are taken.",
    )
    tenant_waiting_events: Count = Field(
        default=1_000_000, description="events that wait for all runs of the tenant: the store is everybody's."
    )
    tenant_waiting_event_bytes: Count = Field(
        default=1 * _GIB,
        description="bytes of the events that wait for all runs of the tenant: the disk is everybody's.",
    )

    schedules: Count = Field(
        default=10_000,
        description="schedules of the tenant that will begin a run yet: each is a row that workers look at.",
    )
    schedule_every_s: Count = Field(
        default=1,
        description="seconds from one instant of a schedule to the next, at least: each begins a run, for as long as nobody "
        "stops it.",
    )

    limit_bounds: tuple[LimitBound, ...] = Field(
        default=(),
        description="parts of the limits of steps and workflows that the tenant may have at most: one tenant does not take all "
        "of what everybody shares.",
    )

    # ---- rights ----
    steps: tuple[Grant, ...] | None = Field(
        default=None,
        description="the steps that may be called, None for those registered: steps run with the host's rights.",
    )
    host_closures: bool = Field(
        default=False,
        strict=True,
        description="whether workflows of mode 'host-closures' may start: their functions run on the host, unbounded.",
    )
    child_workflows: tuple[str, ...] | None = Field(
        default=None,
        description="workflows that may be started as children, None for all: the app's own are among them.",
    )

    @classmethod
    def strict(cls, *, steps: Iterable[Grant] = (), child_workflows: Iterable[str] = ()) -> Policy:
        """What a platform should give strangers: what deployed code runs under where nobody has said another one.

        Such a run may call `steps` and start `child_workflows`, and none else. `STRICT` has the reason for each number.
        """
        values = {name: value for name, (value, _) in STRICT.items()}
        return cls.model_validate({**values, "steps": tuple(steps), "child_workflows": tuple(child_workflows)})

    @classmethod
    def described(cls) -> list[Limit]:
        """Every field, in the order above."""
        return [
            Limit(name, field.default, *_parts(field), *STRICT.get(name, (field.default, "")))
            for name, field in cls.model_fields.items()
        ]

    def differences(self) -> dict[str, Any]:
        """The fields that are not as by default, as JSON data."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def pinned(self) -> dict[str, Any]:
        """What a run's first record says of it: what differs from the defaults, which never change for a released field."""
        return {name: value for name, value in self.differences().items() if name not in (*CELL, *TENANT)}

    @classmethod
    def of(cls, limits: Mapping[str, Any], pinned: Mapping[str, Any]) -> Policy:
        """The policy of a run, from what its first record says: what bounds its cell, and what differs from the defaults."""
        return cls.model_validate({**pinned, **{name: limits[name] for name in CELL if name in limits}})

    def limits(self) -> Limits:
        """What bounds a cell."""
        return Limits(**{name: getattr(self, name) for name in CELL})

    def within(self, limits: Limits) -> Policy:
        """The same, with no bound of a cell above that of `limits`."""
        return self.model_copy(update={name: min(getattr(self, name), getattr(limits, name)) for name in CELL})

    @cached_property
    def bounds(self) -> Bounds:
        """What bounds a run's machine."""
        names = Bounds.__dataclass_fields__.keys() & type(self).model_fields.keys()
        return Bounds(**{name: getattr(self, name) for name in names})

    def wider_than(self, other: Policy) -> str | None:
        """The first field in which this allows what `other` does not."""
        for name in type(self).model_fields:
            if name in TENANT:
                continue
            mine, others = getattr(self, name), getattr(other, name)
            if isinstance(mine, int) and mine > others:
                return name
            if isinstance(others, tuple) and (mine is None or any(one not in others for one in mine)):
                return name
        return None

    def grants(self, step: str, arguments: list[Any]) -> bool:
        """Whether a run may call this step with these arguments."""
        if self.steps is None:
            return True
        value = arguments[0] if arguments else None
        return any(grant.step == step and grant.allows(value) for grant in self.steps)


# What `Policy.strict()` says otherwise than the defaults, and why. A run of a stranger is small, and there are many of them.
STRICT: Final[Mapping[str, tuple[Any, str]]] = {
    "fuel_per_load": (5_000_000_000, "a bundle of 1 MiB with 7,000 names at its top level takes half of it."),
    "fuel_per_run": (10**12, "about a minute of computing: a workflow asks for work, and does little itself."),
    "wall_ms_per_event": (
        5_000,
        "fuel ends a turn after a fraction of a second; this is for a machine that is overloaded.",
    ),
    "memory_bytes": (
        96 * _MIB,
        "what the Python guest needs with 16 MiB of data: a hundred such runs fit into a machine.",
    ),
    "source_bytes": (1 * _MIB, "a large bundle; to read more takes seconds of a core."),
    "image_bytes": (16 * _MIB, "modules and tables of a large bundle: each cell copies what it changes."),
    "checkpoint_bytes": (4 * _MIB, "compressed, it is the memory of a run with 16 MiB of data."),
    "events_per_run": (100_000, "25,000 steps: a minute to read again, if everything else is lost."),
    "log_bytes_per_run": (50 * _MIB, "the disk is everybody's: twenty such runs are a gigabyte."),
    "log_bytes_per_second": (8 * _MIB, "a tenth of what a disk takes that is flushed at each commit."),
    "commands_per_event": (1_000, "the host takes some 30 ms for so many: a neighbour does not see it."),
    "console_bytes": (64 * _KIB, "a thousand lines for one event: more is nobody's to read."),
    "run_lifetime_s": (366 * 86_400, "a year: whoever runs strangers' code changes guests and prices more often."),
    "clean_up_s": (30, "the operator who cancels waits for it."),
    "payload_bytes": (1 * _MIB, "reading it takes 10 ms: large data is passed by reference."),
    "value_items": (100_000, "each becomes an object of some 60 bytes on the host."),
    "label_bytes": (256, "a name is 200 characters at most, and this is one."),
    "id_bytes": (1 * _KIB, "a path through workflows in workflows, five deep."),
    "pending_steps": (1_000, "each is a task on the host, of some KiB."),
    "timers": (1_000, "each is kept in memory until it fires."),
    "hooks": (1_000, "each is a row of the store, and looked up when an event comes."),
    "children": (100, "a fan-out of a hundred: each has a log, and a cell while it is at work."),
    "descendants": (
        1_000,
        "a hundred children with ten each: four generations of a hundred would be a hundred million.",
    ),
    "child_depth": (4, "a workflow that calls one that calls one is three deep."),
    "step_starts_per_second": (100, "what a step costs is the host's; a hundred a second is a busy tenant."),
    "starts_per_second": (100, "each is commits, and a cell: a hundred a second is a busy tenant."),
    "deploys_per_second": (10, "a process reads each, for up to seconds of a core: nobody deploys faster by hand."),
    "calls_per_second": (1_000, "a call takes a millisecond of the event loop, which all tenants share."),
    "tenant_memory_bytes": (128 * _MIB, "half of what a worker keeps: eight hundred cells of small workflows."),
    "concurrent_runs": (100, "with the cells of all of them in memory this is 10 GiB at most, and 50 MB as a rule."),
    "queued_runs": (10_000, "some KiB each in the store, and minutes to work off."),
    "stored_bytes": (1 * _GIB, "twenty of the longest logs: the disk is everybody's."),
    "open_runs": (20_000, "as many as may be at work and queue, and as many that wait for somebody."),
    "blocked_runs": (1_000, "each is tried again by each worker that joins; nobody mends so many one by one."),
    "waiting_events": (1_000, "nobody sends more to one run before it looks."),
    "waiting_event_bytes": (8 * _MIB, "eight of the largest."),
    "tenant_waiting_events": (10_000, "ten for each of a thousand runs."),
    "tenant_waiting_event_bytes": (64 * _MIB, "the disk is everybody's."),
    "schedules": (100, "a nightly job for each of a hundred things; nobody keeps more in mind."),
    "schedule_every_s": (60, "cron comes once a minute at most."),
    "steps": ((), "a step runs with the host's rights: each is granted by name, or it is not called."),
    "child_workflows": ((), "the app's own workflows would be among them, with all their rights."),
}

# Of the tenant as a whole, as it is in force today: no run is pinned to them.
TENANT = (
    "starts_per_second",
    "deploys_per_second",
    "calls_per_second",
    "tenant_memory_bytes",
    "schedules",
    "schedule_every_s",
    "stored_bytes",
    "open_runs",
    "blocked_runs",
)
CELL = ("fuel_per_event", "fuel_per_load", "wall_ms_per_event", "memory_bytes", "image_bytes")
