"""Where a guest keeps its windows and its state (`guest/ABI.md`): constant for a guest, read once."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from cloche.sandbox.wasmtime_calls import bytes_address


@dataclass(frozen=True, slots=True)
class Layout:
    """All in bytes, as the guest gives them."""

    input_at: int
    input_bytes: int
    output_at: int
    output_bytes: int
    state_at: int
    event_output_bytes_max: int

    @property
    def windows_end(self) -> int:
        return self.output_at + self.output_bytes

    def is_within(self, size: int) -> bool:
        """Whether windows and state are in a memory of `size`, apart from each other, room for a length before them."""
        apart = self.windows_end <= self.state_at or self.state_at <= self.input_at
        ordered = self.input_at >= 4 and self.input_at + self.input_bytes <= self.output_at
        claims = self.event_output_bytes_max <= self.output_bytes
        return claims and ordered and apart and max(self.windows_end, self.state_at) <= size

    def state_spans(self, size: int) -> list[tuple[int, int]]:
        """What is state in a memory of `size`: from the state address on, without windows that lie above it."""
        if self.windows_end <= self.state_at:
            return [(self.state_at, size)]
        return [(self.state_at, self.input_at), (self.windows_end, size)]

    def state_bytes(self, size: int) -> int:
        """How much of a memory of `size` is state."""
        return sum(stop - start for start, stop in self.state_spans(size))

    def memory_bytes(self, state_bytes: int) -> int:
        """The size of a memory with that much state."""
        windows = 0 if self.windows_end <= self.state_at else self.windows_end - self.input_at
        return self.state_at + state_bytes + windows

    def pieces(self, offset: int, data: bytes) -> list[tuple[int, bytes]]:
        """`data`, which begins at `offset` of the state, by where in the memory it lies."""
        at = self.state_at + offset
        if self.windows_end <= self.state_at or at + len(data) <= self.input_at:
            return [(at, data)]
        shift, below = self.windows_end - self.input_at, max(self.input_at - at, 0)
        above = (max(at, self.input_at) + shift, data[below:])
        return [(at, data[:below]), above] if below else [above]


def copy_state(address: int, size: int, layout: Layout) -> bytes:
    """The state in the memory of `size` bytes at `address`, its spans joined.

    It is copied once, without the interpreter's lock: 36 MB that a thread copies with it are a pause of everybody's.
    """
    spans = layout.state_spans(size)
    state = bytes(sum(stop - start for start, stop in spans))  # untouched yet, and nobody else has it
    at = bytes_address(state)
    for start, stop in spans:
        ctypes.memmove(at, address + start, stop - start)
        at += stop - start
    return state


def write_state(address: int, offset: int, data: bytes, layout: Layout) -> None:
    """Put `data` at `offset` of the state in the memory at `address`, which is large enough."""
    for at, piece in layout.pieces(offset, data):
        ctypes.memmove(address + at, piece, len(piece))


def read_state(address: int, offset: int, size: int, layout: Layout) -> bytes:
    """`size` bytes from `offset` of the state in the memory at `address`."""
    return b"".join(ctypes.string_at(address + at, len(piece)) for at, piece in layout.pieces(offset, bytes(size)))
