"""Why a guest was stopped, as cloche's errors: wasmtime's traps and the guest's own fault codes (`guest/ABI.md`).

A fault says which limit was met and its value. What would have been `asked` is known only where a guest counts before it
acts, for commands: all else is stopped at the limit, and how far it would have gone is not known. Time that was measured is not
recorded either: it would be another one each time the run is rebuilt.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import wasmtime

from cloche.errors import (
    FuelExhausted,
    GuestFault,
    GuestTrapped,
    LoadFailed,
    MalformedOutput,
    MemoryExhausted,
    OutputTooLarge,
    StackExhausted,
    TimeExhausted,
)
from cloche.sandbox.engine import NATIVE_STACK_BYTES

if TYPE_CHECKING:
    from cloche.history.limits import Limits

_CODES: dict[int, tuple[type[GuestFault], str]] = {
    -1: (MalformedOutput, "it refused its input as malformed"),
    -2: (OutputTooLarge, "the commands of one event are larger than 6 MiB: pass large data by reference"),
    -3: (MemoryExhausted, "it asked for more memory than its limit: keep large data in steps and pass references"),
    -4: (LoadFailed, "no workflow is loaded in it"),
    -5: (LoadFailed, "its code could not be loaded"),
    -6: (OutputTooLarge, "it asked for more than 100,000 things at one event: work in portions"),
    -7: (MalformedOutput, "it was given the answer to a call that it did not make"),
    -8: (GuestTrapped, "the guest's own code broke: does the workflow change what is not its own?"),
}
LOADING = "while its code was loaded"
_LONG_LOAD = (
    "it computed longer than loading may take: is there an endless loop at its top level? A bundle of thousands of names there "
    "loads much faster inside of a function, and a policy may allow more (fuel_per_load)"
)
_TRAPS: dict[wasmtime.TrapCode, tuple[type[GuestFault], str]] = {
    wasmtime.TrapCode.OUT_OF_FUEL: (
        FuelExhausted,
        "it computed longer than one event may take: is there an endless loop? Put heavy work into a step",
    ),
    wasmtime.TrapCode.INTERRUPT: (TimeExhausted, "it ran longer than the wall time of one event"),
    wasmtime.TrapCode.STACK_OVERFLOW: (StackExhausted, "its calls were nested deeper than the stack"),
}


_OF_LIMITS: dict[type[GuestFault], str] = {
    FuelExhausted: "fuel_per_event",
    TimeExhausted: "wall_ms_per_event",
    MemoryExhausted: "memory_bytes",
}
_OF_ALL: dict[type[GuestFault] | int, dict[str, Any]] = {  # bounds that are the same for all tenants
    -2: {"limit": "event_output_bytes", "value": 6 << 20},
    -6: {"limit": "event_commands", "value": 100_000, "asked": 100_001},
    StackExhausted: {"limit": "native_stack_bytes", "value": NATIVE_STACK_BYTES},
}


@contextmanager
def translated(when: str, limits: Limits) -> Iterator[None]:
    """Wasmtime's traps as a `GuestFault`; `when` is a phrase for its message, as "in a turn"."""
    try:
        yield
    except wasmtime.Trap as trap:
        code = trap.trap_code
        kind: type[GuestFault]
        kind, why = (GuestTrapped, f"it trapped ({code.name.lower() if code else 'unknown'})")
        if code in _TRAPS:
            kind, why = _TRAPS[code]
        facts = facts_of(kind, limits)
        if kind is FuelExhausted and when == LOADING:
            why, facts = _LONG_LOAD, {"limit": "fuel_per_load", "value": limits.fuel_per_load}
        raise kind(f"the workflow was stopped {when}: {why}", **facts) from trap


def raise_fault(code: int, when: str, limits: Limits | None = None) -> NoReturn:
    """Raise what the guest reports by a negative code. `limits`: those of the cell, if it has any."""
    kind, why = _CODES.get(code, (GuestTrapped, f"unknown fault {code}"))
    facts = _OF_ALL.get(code) or (facts_of(kind, limits) if limits else {})
    raise kind(f"the workflow was stopped {when}: {why}", **facts)


def facts_of(kind: type[GuestFault], limits: Limits) -> dict[str, Any]:
    """Which limit a fault of this kind is about, and its value; empty for one that is about none."""
    name = _OF_LIMITS.get(kind)
    return {"limit": name, "value": getattr(limits, name)} if name else _OF_ALL.get(kind, {})
