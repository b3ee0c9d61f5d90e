"""The price of the limits: the same guest compiled with fuel and epochs, with one of them, and with none.

The product always has both. This is the only place besides `cloche.sandbox` that knows wasmtime.
"""

from __future__ import annotations

import ctypes
import statistics
from collections.abc import Iterator

import wasmtime

import cloche_guest
from benchmarks import histories as h
from benchmarks.figures import Figure, Scale, once_us

REPEATS = 7


def metering(scale: Scale) -> Iterator[Figure]:
    """Replay of one history without limits, and what they add."""
    size = scale.sizes(100, 10_000)[-1]
    events = h.events(size)
    guests = {(fuel, epochs): _Guest(fuel=fuel, epochs=epochs) for fuel, epochs in ((0, 0), (0, 1), (1, 0), (1, 1))}
    times: dict[tuple[int, int], list[float]] = {limits: [] for limits in guests}
    for _ in range(REPEATS):  # in turns, so that a noisy minute meets all alike
        for limits, guest in guests.items():
            times[limits].append(guest.replay_us(events) / len(events))
    each = {limits: statistics.median(values) for limits, values in times.items()}
    for limits, name in {(0, 1): "epochs", (1, 0): "fuel", (1, 1): "fuel and epochs"}.items():
        yield Figure(f"replay with {name}, {size:,}", each[limits], "µs/event", "without limits", each[0, 0])


class _Guest:
    """The JavaScript guest with the sequential workflow, its limits chosen."""

    def __init__(self, *, fuel: int, epochs: int) -> None:
        config = wasmtime.Config()
        config.consume_fuel = bool(fuel)
        config.epoch_interruption = bool(epochs)
        config.cranelift_nan_canonicalization = True
        config.max_wasm_stack = (2 << 20) - (64 << 10)
        self._fuel, self._epochs = fuel, epochs
        self._engine = wasmtime.Engine(config)
        self._module = wasmtime.Module(self._engine, cloche_guest.ensure_guest().wasm)
        self._layout = h.base().layout

    def replay_us(self, events: list[bytes]) -> float:
        """All events in one turn of a new instance."""
        wasm_store = wasmtime.Store(self._engine)
        if self._fuel:
            wasm_store.set_fuel(1 << 62)
        if self._epochs:
            wasm_store.set_epoch_deadline(1 << 40)
        exports = wasmtime.Instance(wasm_store, self._module, []).exports(wasm_store)
        memory, load, turn = exports["memory"], exports["load"], exports["turn"]
        assert isinstance(memory, wasmtime.Memory)
        assert isinstance(load, wasmtime.Func)
        assert isinstance(turn, wasmtime.Func)
        address = ctypes.addressof(memory.data_ptr(wasm_store).contents) + self._layout.input_at

        def give(data: bytes) -> int:
            ctypes.memmove(address, data, len(data))
            return len(data)

        if load(wasm_store, give(h.SEQUENTIAL.encode())) != 0:
            raise AssertionError("the workflow did not load")
        size = give(b"".join(events))
        answers: list[int] = []
        time = once_us(lambda: answers.append(turn(wasm_store, size)))
        if answers[0] >> 32 != size:
            raise AssertionError("the guest did not take the whole history")
        return time
