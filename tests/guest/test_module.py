"""What the module is: nothing goes in but events, nothing comes out but commands."""

from __future__ import annotations

import zlib

import wasmtime
from guest import cells

from cloche_guest import ensure_guest, wasm


def test_it_imports_nothing() -> None:
    assert [i.name for i in cells.module().imports] == []


def test_it_exports_what_the_contract_names_and_no_more() -> None:
    assert [e.name for e in cells.module().exports] == ["memory", "layout", "load", "turn", "check"]


def test_it_carries_no_names_and_no_start_function() -> None:
    present = {section.id for section in wasm.read_sections(ensure_guest().wasm)}

    assert not present & {wasm.CUSTOM, wasm.IMPORT, wasm.START}


def test_its_memory_is_one_dense_segment_that_wasmtime_can_map() -> None:
    (data,) = [s.body for s in wasm.read_sections(ensure_guest().wasm) if s.id == wasm.DATA]

    assert data[0] == 1
    assert len(data) < 2 << 20  # 16 MiB is where wasmtime stops mapping copy-on-write


def test_the_layout_puts_state_above_stack_and_windows() -> None:
    layout = cells.Cell().layout

    assert (layout.input_bytes, layout.output_bytes) == (8 << 20, 8 << 20)
    assert layout.state_address % wasm.PAGE_BYTES == 0
    assert layout.state_address >= layout.output_address + layout.output_bytes


def test_a_fresh_cell_has_nothing_below_its_state() -> None:
    store = wasmtime.Store(cells.engine())
    store.set_fuel(1)
    instance = wasmtime.Instance(store, cells.module(), [])
    memory = instance.exports(store)["memory"]
    assert isinstance(memory, wasmtime.Memory)
    state_address = cells.Cell().layout.state_address

    assert not any(memory.read(store, 0, state_address))


def test_it_is_not_larger_than_three_quarters_of_a_megabyte_as_a_wheel_has_it() -> None:
    assert len(zlib.compress(ensure_guest().wasm, 9)) < 750_000
