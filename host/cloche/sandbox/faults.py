"""Why a guest was stopped, as cloche's errors: wasmtime's traps and the guest's own fault codes (`guest/ABI.md`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

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
_TRAPS: dict[wasmtime.TrapCode, tuple[type[GuestFault], str]] = {
    wasmtime.TrapCode.OUT_OF_FUEL: (
        FuelExhausted,
        "it computed longer than one event may take: is there an endless loop? Put heavy work into a step",
    ),
    wasmtime.TrapCode.INTERRUPT: (TimeExhausted, "it ran longer than the wall time of one event"),
    wasmtime.TrapCode.STACK_OVERFLOW: (StackExhausted, "its calls were nested deeper than the stack"),
}


@contextmanager
def translated(when: str) -> Iterator[None]:
    try:
        yield
    except wasmtime.Trap as trap:
        code = trap.trap_code
        kind: type[GuestFault]
        kind, why = (GuestTrapped, f"it trapped ({code.name.lower() if code else 'unknown'})")
        if code in _TRAPS:
            kind, why = _TRAPS[code]
        raise kind(f"the workflow was stopped {when}: {why}") from trap


def raise_fault(code: int, when: str) -> NoReturn:
    kind, why = _CODES.get(code, (GuestTrapped, f"unknown fault {code}"))
    raise kind(f"the workflow was stopped {when}: {why}")
