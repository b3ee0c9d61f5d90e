"""The guest boundary in numbers: faults, limits and layout of `guest/ABI.md`, and what may go wrong here.

The errors of this package, cut by who can act:

    GuestError
    ├── GuestMissing     nothing is built and nothing to build it from: install a release, or work from a checkout
    ├── BuildFailed      a tool, a download or a check of the build failed; its output is in the message
    └── MalformedModule  bytes that are no guest: not WebAssembly, imports, exports or layout other than agreed
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

ABI_VERSION: Final = 2
EXPORTS: Final = ("memory", "layout", "load", "turn")
CHECK: Final = "check"  # what a guest may export besides: the host's own use, never a cell's

EVENT_OUTPUT_BYTES_MAX: Final = 6 << 20
EVENT_COMMANDS_MAX: Final = 100_000
OUTPUT_WAITING_BYTES_MAX: Final = 2 << 20
DEPTH_MAX: Final = 64


class Fault(IntEnum):
    """Negative answers of `turn` and `load`. The cell is dropped."""

    INPUT = -1
    OUTPUT = -2
    MEMORY = -3
    NOT_LOADED = -4
    SOURCE = -5
    COMMANDS = -6
    CALL = -7
    BROKEN = -8


class GuestError(Exception):
    """Base of everything this package raises."""


class GuestMissing(GuestError):
    """There is no built guest, and no source tree to build one from."""


class BuildFailed(GuestError):
    """The guest could not be built."""


class MalformedModule(GuestError):
    """A module is not the guest it should be."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a guest keeps its windows and its state, in bytes. Constant for a guest."""

    version: int
    input_address: int
    input_bytes: int
    output_address: int
    output_bytes: int
    state_address: int
    event_output_bytes_max: int


LAYOUT_BYTES: Final = 28


def parse_layout(data: bytes) -> Layout:
    """The layout from the seven little-endian words at the address that the export `layout` gives.

    Raises:
        MalformedModule: it has another size, speaks another ABI, or its windows overlap state.
    """
    if len(data) != LAYOUT_BYTES:
        raise MalformedModule(f"a layout has {LAYOUT_BYTES} bytes, not {len(data)}")
    layout = Layout(*struct.unpack("<7I", data))
    if layout.version != ABI_VERSION:
        raise MalformedModule(f"the guest speaks ABI {layout.version}; this package speaks {ABI_VERSION}")
    windows_end = layout.output_address + layout.output_bytes
    if not (
        layout.input_address + layout.input_bytes < layout.output_address
        and (windows_end <= layout.state_address or layout.state_address <= layout.input_address)
    ):
        raise MalformedModule("the guest's windows overlap each other or its state")
    return layout
