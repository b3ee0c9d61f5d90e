"""A live guest for tests, through wasmtime's public calls: small and plain rather than fast."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import Any

import cbor2
import pytest
import wasmtime

from cloche_guest import Layout, ensure_guest, find_guest, parse_layout

STEP, TIMER, HOOK, CHILD, LOG, ENTERED, LEFT, COMPLETE, FAIL, ABANDON = range(10)
NATIVE_STACK_BYTES = (2 << 20) - (64 << 10)  # what the host uses
MEMORY_BYTES_MAX = 256 << 20
FUEL = 1 << 50
SEED = bytes(range(16))
NOW = 1_700_000_000_000


class GuestStopped(Exception):
    """The guest answered with a fault."""

    def __init__(self, code: int, failure: Any = None) -> None:
        super().__init__(code, failure)
        self.code = code
        self.failure = failure


@cache
def engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    config.cranelift_nan_canonicalization = True
    config.consume_fuel = True
    config.max_wasm_stack = NATIVE_STACK_BYTES
    config.wasm_threads = False
    config.wasm_multi_memory = False
    config.wasm_relaxed_simd = False
    config.wasm_gc = False
    return wasmtime.Engine(config)


@cache
def module() -> wasmtime.Module:
    return wasmtime.Module(engine(), ensure_guest().wasm)


@cache
def python_module() -> wasmtime.Module:
    """The Python guest, which is tested where it is built: `make guest-python`. Compiled once for a machine."""
    built = find_guest("python")
    if built is None:
        pytest.skip("the Python guest is not built: make guest-python")
    kept = built.path.with_suffix(f".{version('wasmtime')}.tests")
    if not kept.exists():
        part = kept.with_suffix(f".{os.getpid()}")
        part.write_bytes(wasmtime.Module(engine(), built.wasm).serialize())
        part.rename(kept)
    return wasmtime.Module.deserialize_file(engine(), str(kept))


@cache
def _instance_pre(guest: wasmtime.Module) -> wasmtime.InstancePre:
    return wasmtime.Linker(engine()).instantiate_pre(guest)


class Cell:
    """`turn` takes packed events and gives the commands of each; `pass_` is the bare crossing."""

    def __init__(
        self,
        source: str | None = None,
        *,
        memory_bytes_max: int = MEMORY_BYTES_MAX,
        guest: wasmtime.Module | None = None,
        keeps_traces: bool = False,
    ) -> None:
        self.keeps_traces = keeps_traces
        self.store = wasmtime.Store(engine())
        self.store.set_limits(memory_size=memory_bytes_max)
        self.store.set_fuel(FUEL)
        exports: Any = _instance_pre(guest or module()).instantiate(self.store).exports(self.store)
        self.memory: wasmtime.Memory = exports["memory"]
        self._load, self._turn, layout = exports["load"], exports["turn"], exports["layout"]
        at = layout(self.store)
        self.layout: Layout = parse_layout(self._read(at, at + 28))
        if source is not None:
            self.load(source)

    def load(self, source: str | bytes) -> None:
        data = source.encode() if isinstance(source, str) else source
        self.memory.write(self.store, data, self.layout.input_address)
        code = self._load(self.store, len(data))
        if code:
            raise GuestStopped(code, self._failure() if code in (-5, -8) else None)

    def pass_(self, data: bytes) -> tuple[int, bytes]:
        """One crossing: how many bytes of events were consumed, and the output."""
        self.memory.write(self.store, data, self.layout.input_address)
        answer = self._turn(self.store, len(data))
        if answer < 0:
            raise GuestStopped(answer, self._failure() if answer == -8 else None)
        at = self.layout.output_address
        return answer >> 32, self._read(at, at + (answer & 0xFFFFFFFF))

    def give(self, *events: bytes) -> bytes:
        """All of `events` as one batch, in as many crossings as the guest wants."""
        data, output = b"".join(events), b""
        while data:
            consumed, part = self.pass_(data)
            data, output = data[consumed:], output + part
        return output

    def turn(self, *events: Any) -> list[Any]:
        """The commands of `events`, each given as its items, without the marks that close events.

        Where a failure was thrown (`test_places.py`) is left out unless the cell `keeps_traces`, for it is another place after
        each change of a test's text.
        """
        commands = sequence(self.give(*map(pack, events)))
        return [command for command in commands if command is not None] if self.keeps_traces else unplaced(commands)

    def start(self, given_input: Any = None, *, now: int = NOW, given: Any = None, seed: bytes = SEED) -> list[Any]:
        return self.turn([0, now, seed, given_input, given or {}])

    def complete(self, call: int, value: Any = None, *, now: int = NOW) -> list[Any]:
        return self.turn([1, now, call, value])

    def state(self) -> bytes:
        """Without windows that lie above the state address."""
        layout, size = self.layout, self.memory.data_len(self.store)
        if layout.input_address < layout.state_address:
            return self._read(layout.state_address, size)
        end = layout.output_address + layout.output_bytes
        return self._read(layout.state_address, layout.input_address) + self._read(end, size)

    def restore(self, state: bytes) -> None:
        size = self.layout.state_address + len(state)
        if (short := size - self.memory.data_len(self.store)) > 0:
            self.memory.grow(self.store, short >> 16)
        self.memory.write(self.store, state, self.layout.state_address)

    def fuel_used(self) -> int:
        return FUEL - self.store.get_fuel()

    def _failure(self) -> Any:
        at = self.layout.output_address
        size = int.from_bytes(self._read(at - 4, at), "little")
        return cbor2.loads(self._read(at, at + size))

    def _read(self, start: int, stop: int) -> bytes:
        return bytes(self.memory.read(self.store, start, stop))


def pack(item: Any) -> bytes:
    """An event in the form of the boundary; bytes are taken as packed already (an event itself is never bytes)."""
    return item if isinstance(item, bytes) else cbor2.dumps(_sorted(item))


def _sorted(value: Any) -> Any:
    """Keys in the order of the boundary. The rest cbor2 writes as it should: shortest integers, floats with 64 bits."""
    if isinstance(value, dict):
        return {k: _sorted(value[k]) for k in sorted(value, key=lambda k: (len(k.encode()), k.encode()))}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def sequence(data: bytes) -> list[Any]:
    """The items of a CBOR sequence."""
    stream, items = io.BytesIO(data), []
    decoder = cbor2.CBORDecoder(stream)
    while stream.tell() < len(data):
        items.append(decoder.decode())
    return items


def workflow(body: str) -> str:
    """A module whose workflow has this body; `input`, `given`, `step` and `cloche` are at hand."""
    return f"""const step = globalThis[Symbol.for("WORKFLOW_USE_STEP")];
export default async function workflow(input, given) {{
{body}
}}"""


def run(body: str, given_input: Any = None) -> Any:
    """The result of a workflow that asks for nothing; its failure raises `WorkflowFailed`."""
    *_, last = Cell(workflow(body)).start(given_input)
    if last[0] == FAIL:
        raise WorkflowFailed(last[1])
    assert last[0] == COMPLETE
    return last[1]


class WorkflowFailed(Exception):
    def __init__(self, failure: Any) -> None:
        super().__init__(failure)
        self.failure = failure


def unplaced(commands: list[Any]) -> list[Any]:
    for command in commands:
        if command and command[0] == FAIL:
            command[1].pop("trace", None)
    return [command for command in commands if command is not None]


def echo_loop(count: int) -> str:
    return workflow(f"let t = 0; for (let i = 0; i < {count}; i++) t += await step('inc')(i); return t;")


def echo_history(count: int) -> Iterable[bytes]:
    yield pack([0, NOW, SEED, None, {}])
    for call in range(1, count + 1):
        yield pack([1, NOW + call, call, call])


def at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
