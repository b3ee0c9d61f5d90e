"""The one wasmtime engine of a process, and the clock that stops guests which run too long."""

from __future__ import annotations

import threading
import time
from functools import cache

import wasmtime

TICK_MS = 10
NATIVE_STACK_BYTES = (2 << 20) - (64 << 10)  # wasmtime keeps it below its 2 MiB for async stacks


class GlassEngine:
    """A wasmtime engine with everything off that a guest does not need (reference: wasmtime's advisories)."""

    def __init__(self) -> None:
        config = wasmtime.Config()
        config.consume_fuel = True
        config.epoch_interruption = True
        config.cranelift_nan_canonicalization = True  # NaN bits differ by machine otherwise
        config.max_wasm_stack = NATIVE_STACK_BYTES
        config.wasm_threads = False
        config.shared_memory = False
        config.wasm_multi_memory = False
        config.wasm_memory64 = False
        config.wasm_relaxed_simd = False
        config.wasm_gc = False
        config.wasm_component_model = False
        config.strategy = "cranelift"
        self.wasm = wasmtime.Engine(config)
        self.linker = wasmtime.Linker(self.wasm)  # empty, and stays so: a guest imports nothing
        self._running = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ticker: threading.Thread | None = None

    def __enter__(self) -> None:
        """While a guest runs, epochs go by. Cheap to enter: the ticker sleeps on when a turn is shorter than a tick."""
        with self._lock:
            self._running += 1
            if self._ticker is None:
                self._ticker = threading.Thread(target=self._tick, name="cloche-epochs", daemon=True)
                self._ticker.start()
        if not self._wake.is_set():
            self._wake.set()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._running -= 1

    def _tick(self) -> None:
        while True:
            self._wake.wait()
            before = time.monotonic()
            time.sleep(TICK_MS / 1000)
            # Under load this thread may be late: the epochs that went by meanwhile are made up for.
            for _ in range(max(1, int((time.monotonic() - before) * 1000 / TICK_MS))):
                self.wasm.increment_epoch()
            with self._lock:
                if self._running == 0:
                    self._wake.clear()


@cache
def engine() -> GlassEngine:
    """Compiled guests and images belong to one engine, so there is one for the process."""
    return GlassEngine()
