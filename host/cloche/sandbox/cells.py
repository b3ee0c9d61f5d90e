"""A cell: a live instance of an image. Events in, commands out, and nothing else."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import blake2b
from importlib.metadata import version

from cloche.errors import (
    CellBusy,
    FuelExhausted,
    GuestFault,
    HeavyTurn,
    InvalidInput,
    MemoryExhausted,
    OutputTooLarge,
    TimeExhausted,
)
from cloche.history.limits import Limits
from cloche.sandbox.engine import engine
from cloche.sandbox.faults import raise_fault, translated
from cloche.sandbox.images import Image
from cloche.sandbox.layout import copy_state, read_state, write_state
from cloche.sandbox.mapped_images import MappedImage, MappedImages
from cloche.sandbox.saved import save, unpack, xor
from cloche.sandbox.wasmtime_calls import bind, grow, memory_address, memory_size

RESIDENT_BYTES = 64 << 10  # what a first turn dirties, and wasmtime's own; 0.16 MB in all for a small workflow
LIGHT_FUEL = 50_000_000  # about 4 ms: the JavaScript guest burns 11 to 14 fuel in a nanosecond
LIGHT_MS = 20
LIGHT_CELL_BYTES = 8 << 20  # that a cell has grown by: the kernel takes up to 10 µs for a page that is touched first
_WHEN = "in a turn"
_crossings: dict[str, int] = {}  # by guest
mapped_images = MappedImages()


@cache
def meter() -> str:
    """What counts fuel here: another wasmtime may compile the same guest to other instructions."""
    return f"wasmtime {version('wasmtime')}"


class Cell:
    """Made from an image in about 0.2 ms; used by one thread at a time. After a fault it is dead.

    `fuel_used` adds up over its life: of its events, however they were batched. What a crossing itself burns is taken off.
    """

    __slots__ = (
        "_address",
        "_copied",
        "_image",
        "_instance",
        "_is_narrow",
        "_layout",
        "_limits",
        "_memory_bytes",
        "_turn",
        "_wasm_store",
        "fuel_used",
    )

    def __init__(self, image: Image, limits: Limits) -> None:
        self._limits = limits
        self._image = image
        self._layout = image.base.layout
        mapped = mapped_images.find(image)
        self._instantiate()
        if mapped is None or not self._is_put(mapped):
            self._copied = sum(len(data) for _, data in image.pages)
            for at, data in image.pages:
                write_state(self._address, at, data, self._layout)
        self._turn = bind(self._wasm_store, self._instance, b"turn")
        self.fuel_used = 0
        self._is_narrow = False

    def _instantiate(self) -> None:
        self._wasm_store, self._instance = self._image.base.instantiate(self._limits)
        self._address = memory_address(self._wasm_store, self._instance)
        self._memory_bytes = memory_size(self._wasm_store, self._instance)
        self._grow(self._image.memory_bytes)

    def _is_put(self, mapped: MappedImage) -> bool:
        """Whether its memory is the mapped image now; else it is a new one, as the guest has it."""
        try:
            mapped.put(self._address)
        except OSError:  # there are as many mappings as this process may have
            self._instantiate()
            return False
        self._copied = sum(len(data) for _, data in mapped.edges)
        return True

    def turn(self, events: Sequence[bytes], *, light: bool = False) -> bytes:
        """Deliver packed events in order; the commands of each, closed by `f6`, come back as the guest wrote them.

        Raises:
            HeavyTurn: it was to be `light`, and took more than about 5 ms, or grew by much. The cell must be dropped.
            CellBusy: it was to be `light`, and the cell has grown by so much that no turn of it is.
            GuestFault: it was stopped, and must be dropped.
            InvalidInput: an event is larger than the input window (8 MiB).
        """
        if not events:
            return b""
        if len(events) == 1 and len(events[0]) <= self._layout.input_bytes:
            return self._pass(events[0], 1, light)
        outputs = []
        for portion, count in self._portions(events):
            outputs.append(self._pass(portion, count, light))
        return b"".join(outputs)

    def _portions(self, events: Sequence[bytes]) -> list[tuple[bytes, int]]:
        """`events` joined so that each portion fits the window."""
        portions: list[tuple[bytes, int]] = []
        taken: list[bytes] = []
        size = 0
        for event in events:
            if len(event) > self._layout.input_bytes:
                raise InvalidInput(
                    f"an event has {len(event)} bytes, and {self._layout.input_bytes} can enter the glass: "
                    "return a reference to large data instead",
                    path="",
                )
            if size + len(event) > self._layout.input_bytes:
                portions.append((b"".join(taken), len(taken)))
                taken, size = [], 0
            taken.append(event)
            size += len(event)
        portions.append((b"".join(taken), len(taken)))
        return portions

    def _pass(self, data: bytes, count: int, light: bool) -> bytes:
        """One portion through the glass, again for what the guest left when its output window filled up."""
        limits, is_asked_light = self._limits, light
        if light is not self._is_narrow:
            self._bound_memory(light)
        fuel = min(limits.fuel_per_event * count, 1 << 62)
        wall_ms = limits.wall_ms_per_event * count
        light = light and fuel > LIGHT_FUEL and wall_ms > LIGHT_MS
        if light:
            fuel, wall_ms = LIGHT_FUEL, LIGHT_MS
        self._wasm_store.set_fuel(fuel)
        try:
            with translated(_WHEN, limits), engine().watch(self._wasm_store, wall_ms):
                output, passes = self._cross(data, count)
        except (FuelExhausted, TimeExhausted, MemoryExhausted) as fault:
            if light or (is_asked_light and isinstance(fault, MemoryExhausted)):
                raise HeavyTurn from fault
            raise
        finally:
            self.fuel_used += fuel - self._wasm_store.get_fuel()
        self.fuel_used -= passes * self._fuel_of_crossing()
        return output

    def _bound_memory(self, light: bool) -> None:
        """A light turn may not grow the memory by much: nothing stops a guest that fills 60 MiB at a stroke, for 190 ms."""
        limits = self._limits
        most = limits.memory_bytes
        if light:
            most = min(most, self._image.base.memory_bytes + LIGHT_CELL_BYTES)
            if self._memory_bytes() > most:
                raise CellBusy
        self._wasm_store.set_limits(memory_size=most, instances=1, memories=1, tables=1)
        self._is_narrow = light

    def _fuel_of_crossing(self) -> int:
        """What a crossing itself burns, without events: the same at any time for any code of a guest. Measured once."""
        guest = self._image.base.digest
        known = _crossings.get(guest)
        if known is None:
            self._wasm_store.set_fuel(self._limits.fuel_per_event)
            with translated(_WHEN, self._limits), engine().watch(self._wasm_store, self._limits.wall_ms_per_event):
                self._turn(0)
            known = _crossings[guest] = self._limits.fuel_per_event - self._wasm_store.get_fuel()
        return known

    def _cross(self, data: bytes, count: int) -> tuple[bytes, int]:
        layout, output, passes = self._layout, b"", 1
        most = count * (layout.event_output_bytes_max + 1)  # with the mark that closes each
        while True:
            ctypes.memmove(self._address + layout.input_at, data, len(data))
            result = self._turn(len(data))
            if result < 0:
                raise_fault(result, _WHEN, self._limits)
            consumed, produced = result >> 32, result & 0xFFFFFFFF
            if produced > layout.output_bytes or consumed > len(data) or (consumed == 0 and data):
                raise GuestFault("the guest said that it took or gave more than there is")
            part = ctypes.string_at(self._address + layout.output_at, produced)
            output = output + part if output else part
            if len(output) > most:
                raise OutputTooLarge(
                    f"the workflow was stopped {_WHEN}: its guest wrote more than {count} events may ask for",
                    limit="event_output_bytes",
                    value=layout.event_output_bytes_max,
                )
            if consumed == len(data):
                return output, passes
            data = data[consumed:]
            passes += 1

    @property
    def resident_bytes(self) -> int:
        """About what the cell takes of the process's memory: pages of its image, what it has grown by, the rest as measured."""
        image = self._image
        grown = self._memory_bytes() - image.memory_bytes
        return self._copied + grown + RESIDENT_BYTES

    def freeze(self) -> Callable[[], tuple[str, bytes]]:
        """What packs the cell as it is now, later and in any thread: its state hash, and bytes for `thaw`.

        Costs a copy of its state.
        """
        state, fuel_used = self.state(), self.fuel_used
        return lambda: (_hash(state), save(self._image, state, fuel_used))

    @classmethod
    def thaw(cls, image: Image, limits: Limits, saved: bytes) -> Cell:
        """The cell that was frozen into `saved`, which the caller has authenticated.

        Raises:
            CheckpointRejected: it is of another image, or larger than the limits.
        """
        runs, state_bytes, fuel_used = unpack(image, saved, limits.memory_bytes)
        cell = cls(image, limits)
        cell._grow(cell._layout.memory_bytes(state_bytes))
        for at, difference in runs:
            before = read_state(cell._address, at, len(difference), cell._layout)
            write_state(cell._address, at, xor(before, difference), cell._layout)
        cell.fuel_used = fuel_used
        return cell

    def state(self) -> bytes:
        """A copy of everything that is state: equal bytes mean an equal future."""
        size = self._memory_bytes()
        return copy_state(self._address, size, self._layout)

    def state_hash(self) -> str:
        """BLAKE2b-256 of the state in hex: equal hashes prove that two cells are the same, however each was made."""
        return _hash(self.state())

    def _grow(self, size: int) -> None:
        if size > self._memory_bytes():
            grow(self._wasm_store, self._instance, size)


def _hash(state: bytes) -> str:
    return blake2b(state, digest_size=32).hexdigest()
