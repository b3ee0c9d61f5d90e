"""The private calls of wasmtime-py do what the public ones do: a new version that changes them is seen here."""

from __future__ import annotations

import ctypes
import re
from importlib.metadata import version
from pathlib import Path

import pytest
import wasmtime

from cloche.sandbox.engine import engine
from cloche.sandbox.wasmtime_calls import (
    bind,
    copied,
    deserialized,
    epochs,
    memory_address,
    memory_bytes,
    same_in_memory,
    serialized,
)

MODULE = """(module
  (memory (export "memory") 1 8)
  (global (export "global") i32 (i32.const 7))
  (data (i32.const 16) "under glass")
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "wide") (param i32) (result i64) (i64.sub (i64.const 0) (i64.extend_i32_u (local.get 0))))
  (func (export "trap") (param i32) (result i32) unreachable)
  (func (export "spin") (param i32) (result i32) (loop (br 0)) i32.const 0))"""


@pytest.fixture
def cell() -> tuple[wasmtime.Store, wasmtime.Instance]:
    store = wasmtime.Store(engine().wasm)
    store.set_fuel(100_000)
    store.set_epoch_deadline(1_000_000)
    return store, wasmtime.Instance(store, wasmtime.Module(engine().wasm, MODULE), [])


def test_memory_is_where_the_public_call_says(cell: tuple[wasmtime.Store, wasmtime.Instance]) -> None:
    store, instance = cell
    memory = instance.exports(store)["memory"]
    assert isinstance(memory, wasmtime.Memory)
    assert memory_bytes(store, instance) == memory.data_len(store) == 65536
    assert (
        ctypes.string_at(memory_address(store, instance) + 16, 11)
        == bytes(memory.read(store, 16, 27))
        == b"under glass"
    )


def test_memory_stays_where_it_is_when_it_grows(cell: tuple[wasmtime.Store, wasmtime.Instance]) -> None:
    store, instance = cell
    before = memory_address(store, instance)
    assert bind(store, instance, b"grow")(7) == 1
    assert (memory_address(store, instance), memory_bytes(store, instance)) == (before, 8 * 65536)
    assert bind(store, instance, b"grow")(1) & 0xFFFFFFFF == 0xFFFFFFFF  # refused


@pytest.mark.parametrize("argument", [0, 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_call_gives_what_the_public_one_gives(cell: tuple[wasmtime.Store, wasmtime.Instance], argument: int) -> None:
    store, instance = cell
    wide = instance.exports(store)["wide"]
    assert isinstance(wide, wasmtime.Func)
    assert bind(store, instance, b"wide")(argument) == wide(store, argument) == -argument


@pytest.mark.parametrize("name", ["trap", "spin"])
def test_a_trap_is_the_same_trap_and_the_next_call_works(
    cell: tuple[wasmtime.Store, wasmtime.Instance], name: str
) -> None:
    store, instance = cell
    public = instance.exports(store)[name]
    assert isinstance(public, wasmtime.Func)
    with pytest.raises(wasmtime.Trap) as expected:
        public(store, 0)
    private = bind(store, instance, name.encode())
    for _ in range(3):
        store.set_fuel(100_000)
        with pytest.raises(wasmtime.Trap) as raised:
            private(0)
        assert (raised.value.trap_code, raised.value.message) == (expected.value.trap_code, expected.value.message)
    store.set_fuel(100_000)
    assert bind(store, instance, b"wide")(1) == -1


def test_an_epoch_that_goes_by_stops_what_spins() -> None:
    config = wasmtime.Config()
    config.epoch_interruption = True
    own = wasmtime.Engine(config)
    store = wasmtime.Store(own)
    spin = bind(store, wasmtime.Instance(store, wasmtime.Module(own, MODULE), []), b"wide")
    store.set_epoch_deadline(2)
    epochs(own)()
    assert spin(1) == -1
    epochs(own)()
    with pytest.raises(wasmtime.Trap) as raised:
        spin(1)
    assert raised.value.trap_code is wasmtime.TrapCode.INTERRUPT


def test_a_module_is_serialized_and_comes_back() -> None:
    own = wasmtime.Engine()
    module = wasmtime.Module(own, MODULE)
    with serialized(module) as view:
        artefact = copied(view)
    assert artefact == bytes(module.serialize())
    for prefix in (b"", b"x", bytes(33)):
        again = deserialized(own, prefix + artefact, len(prefix))
        assert [export.name for export in again.exports] == [export.name for export in module.exports]


@pytest.mark.parametrize("artefact", [b"", b"no module", bytes(4096)])
def test_what_is_no_artefact_is_refused(artefact: bytes) -> None:
    with pytest.raises(wasmtime.WasmtimeError):
        deserialized(wasmtime.Engine(), artefact)


def test_bytes_are_compared_in_memory() -> None:
    assert same_in_memory(b"abcx", b"abcy", 3)
    assert not same_in_memory(b"abcx", b"abcy", 4)
    assert not same_in_memory(b"abc", b"abc", 4)


@pytest.mark.parametrize("name", [b"nothing", b"memory", b"global"])
def test_what_is_no_function_is_not_bound(cell: tuple[wasmtime.Store, wasmtime.Instance], name: bytes) -> None:
    with pytest.raises(LookupError, match=f"the guest does not export {name.decode()}"):
        bind(*cell, name)


def test_the_library_that_is_bundled_is_of_the_release_that_is_required() -> None:
    """The wheel of 50.0.1 carries the native library 50.0.0: both are looked at, so that a change is noticed."""
    package = tuple(map(int, version("wasmtime").split(".")))
    assert (50, 0, 1) <= package < (51,)
    libraries = [
        *Path(wasmtime.__file__).parent.glob("*/_libwasmtime.*"),
        *Path(wasmtime.__file__).parent.glob("*/_wasmtime.dll"),
    ]
    assert len(libraries) == 1
    named = {
        tuple(map(int, found))
        for found in re.findall(rb"_(\d+)_(\d+)_(\d+)\b", libraries[0].read_bytes())
        if found[0] == b"50"
    }
    assert named <= {(50, 0, 0), (50, 0, 1), (50, 0, 2)}
    assert named
