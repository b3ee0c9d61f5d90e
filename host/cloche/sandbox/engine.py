"""The one wasmtime engine of a process, and the clock that stops guests which run too long."""

from __future__ import annotations

import platform
import threading
import time
from functools import cache
from hashlib import blake2b
from importlib.metadata import version

import wasmtime

from cloche.sandbox.switch_interval import switch_interval
from cloche.sandbox.wasmtime_calls import epochs

TICK_MS = 4
NATIVE_STACK_BYTES = (2 << 20) - (64 << 10)  # wasmtime keeps it below its 2 MiB for async stacks
_SETTINGS = f"fuel,epoch,nan,stack={NATIVE_STACK_BYTES}"  # what changes the code that is generated


class GlassEngine:
    """A wasmtime engine with everything off that a guest does not need (source: wasmtime's security advisories).

    `target`: the triple of the machines that it compiles for, without what only newer processors have; else it is this one.
    """

    def __init__(self, target: str | None = None) -> None:
        config = wasmtime.Config()
        if target is not None:
            config.target = target
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
        self._pass_epoch = epochs(self.wasm)
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ticker: threading.Thread | None = None
        self._running = 0
        self._since = 0.0  # when epochs began to go by, and how many have gone by from then on
        self._gone = 0

    def watch(self, wasm_store: wasmtime.Store, wall_ms: int) -> GlassEngine:
        """`with` this, what runs in `wasm_store` is stopped `wall_ms` from now, or up to a tick later; never before.

        Cheap: the ticker sleeps on when a turn is shorter than a tick.
        """
        with self._lock:
            if not self._wake.is_set():
                self._begin()
            self._running += 1
            wasm_store.set_epoch_deadline(-(-wall_ms // TICK_MS) + 1 + self._late())
        return self

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._running -= 1

    def start(self) -> None:
        """Start the clock's thread now: for a process that can start none later."""
        with self._lock:
            self._begin()

    def _begin(self) -> None:
        self._since, self._gone = time.monotonic(), 0
        if self._ticker is None:
            self._ticker = threading.Thread(target=self._tick, name="cloche-epochs", daemon=True)
            self._ticker.start()
        self._wake.set()

    def _late(self) -> int:
        """How many epochs should have gone by and have not: under load the ticker is late, and makes up for it at once."""
        return int((time.monotonic() - self._since) * 1000 / TICK_MS) - self._gone

    def _tick(self) -> None:
        while True:
            if not self._wake.is_set():
                switch_interval.restore()
                self._wake.wait()
            time.sleep(max(0.0, self._since + (self._gone + 1) * TICK_MS / 1000 - time.monotonic()))
            with self._lock:
                if self._running == 0:
                    self._wake.clear()
                    continue
                for _ in range(self._late()):
                    self._pass_epoch()
                    self._gone += 1
            switch_interval.shorten()


@cache
def engine() -> GlassEngine:
    """Compiled guests and images belong to one engine, so there is one for the process."""
    return GlassEngine()


def artefact_name(digest: str) -> str:
    """All that an artefact depends on: what is compiled, by what, with which settings, for which kind of machine."""
    parts = (digest, version("wasmtime"), _SETTINGS, platform.machine(), platform.system())
    return blake2b("\0".join(parts).encode(), digest_size=20).hexdigest()
