"""Modules that are no guests, or guests that lie: whatever they answer, the host stays whole and says what was wrong."""

from __future__ import annotations

import struct
from hashlib import blake2b
from pathlib import Path
from typing import Any

import cbor2
import pytest
import wasmtime
from hostile.platform import Mode, attacked

from cloche.errors import GuestFault, LoadFailed, MalformedOutput, MemoryExhausted, OutputTooLarge, TimeExhausted
from cloche.history import Kind
from cloche.sandbox import BaseImage, Cell, Limits, base_image, load_image

WINDOW = 65536
LIMITS = Limits(fuel_per_event=1_000_000, memory_bytes=1 << 20)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOCHE_CACHE", str(tmp_path / "cache"))


def layout(
    version: int = 1,
    input_at: int = 65536,
    input_bytes: int = WINDOW,
    output_at: int = 2 * 65536,
    output_bytes: int = WINDOW,
    state_at: int = 3 * 65536,
) -> bytes:
    return struct.pack("<7I", version, input_at, input_bytes, output_at, output_bytes, state_at, 1024)


def text(data: bytes) -> str:
    return "".join(f"\\{byte:02x}" for byte in data)


def guest(
    turn: str = "(i64.const 0)",
    *,
    load: str = "(i32.const 0)",
    output: bytes = b"",
    at: bytes | None = None,
    more: str = "",
    signature: str = "(param i32) (result i64)",
    memory: str = '(memory (export "memory") 4)',
    place: str = "(i32.const 16)",
) -> tuple[str, bytes]:
    """A module that exports what a guest does: `turn` and `load` are its answers, `output` stands in its window."""
    wat = f"""(module {memory}
      (data (i32.const 16) "{text(at or layout())}")
      (data (i32.const 131068) "{text(struct.pack("<I", len(output)) + output)}")
      (func (export "layout") (result i32) {place})
      (func (export "load") (param i32) (result i32) {load})
      (func (export "turn") {signature} {turn})
      {more})"""
    wasm = bytes(wasmtime.wat2wasm(wat))
    return blake2b(wasm, digest_size=32).hexdigest(), wasm


def answering(output: bytes) -> tuple[str, bytes]:
    """A guest that takes everything and answers with `output`."""
    turn = f"(i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.const {len(output)}))"
    return guest(turn, output=output)


def cell_of(made: tuple[str, bytes]) -> Cell:
    return Cell(load_image(base_image(*made), "", LIMITS), LIMITS)


def test_a_module_that_has_the_form_of_a_guest_is_one() -> None:
    assert cell_of(answering(b"\xf6")).turn([b"\x80"]) == b"\xf6"


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (("0" * 64, b"no module at all"), "is not a module that cloche runs"),
        (("1" * 64, b""), "is not a module that cloche runs"),
        (
            guest(more="", memory='(import "env" "now" (func)) (memory (export "memory") 4)'),
            "imports 1 things: a guest imports nothing",
        ),
        (guest(memory="(memory 4)"), "exports memory as nothing, and it must be a memory"),
        (
            guest(memory='(memory 4) (global (export "memory") i32 (i32.const 0))'),
            "exports memory as something else, and it must be a memory",
        ),
        (
            guest("", signature="(param i32)"),
            r"exports turn as \(i32\) -> nothing, and it must be \(i32\) -> i64",
        ),
        (
            guest("(i64.const 0)", signature="(param i64 f32) (result i64)"),
            r"exports turn as \(i64, f32\) -> i64, and it must be \(i32\) -> i64",
        ),
        (guest(at=layout(version=7)), "speaks ABI 7, and this cloche speaks 1"),
        (guest(at=bytes(28)), "speaks ABI 0, and this cloche speaks 1"),
        (guest(place="(i32.const -4)"), "has no layout in its memory"),
        (guest(place="(i32.const 262130)"), "has no layout in its memory"),
        (guest(at=layout(input_at=0xFFFFFFF0)), "has windows that are not in its memory"),
        (guest(at=layout(output_bytes=0xFFFFFFFF)), "has windows that are not in its memory"),
        (guest(at=layout(state_at=0x7FFFFFFF)), "has windows that are not in its memory"),
        (guest(at=layout(output_at=0)), "has windows that are not in its memory"),
        (guest(memory='(memory (export "memory") 4) (memory 1)'), "is not a module that cloche runs"),
        (guest(memory='(memory (export "memory") i64 4)'), "is not a module that cloche runs"),
        (guest(memory='(memory (export "memory") 4 4 shared)'), "is not a module that cloche runs"),
        (guest(place="(loop (br 0)) (i32.const 16)"), "stopped when it was asked for its layout"),
        (guest(more="(func $s (loop (br 0))) (start $s)"), "stopped while it was instantiated"),
        (guest(more="(func $s unreachable) (start $s)"), "stopped while it was instantiated: it trapped"),
    ],
)
def test_what_is_no_guest_is_refused(made: tuple[str, bytes], message: str) -> None:
    with pytest.raises(GuestFault, match=message):
        BaseImage(*made)


def test_a_guest_that_needs_more_memory_than_allowed_is_refused() -> None:
    base = base_image(*guest(memory='(memory (export "memory") 40)'))
    with pytest.raises(MemoryExhausted, match="does not fit into 1048576 bytes"):
        base.instantiate(LIMITS)


@pytest.mark.parametrize(
    ("turn", "message"),
    [
        ("(i64.const 0)", "took or gave more than there is"),  # takes nothing, for ever
        ("(i64.const 0x0000000200000000)", "took or gave more than there is"),  # more than was given
        ("(i64.const 0x0000000100010001)", "took or gave more than there is"),  # beyond its window
        ("(i64.const 0x00000001ffffffff)", "took or gave more than there is"),
        ("(i64.const 0x7fffffff00000000)", "took or gave more than there is"),
        ("(i64.const -1)", "refused its input as malformed"),
        ("(i64.const -99)", "unknown fault -99"),
        ("(i64.const -9223372036854775808)", "unknown fault"),
        ("unreachable", r"it trapped \(unreachable\)"),
        ("(i64.load (i32.const -8))", r"it trapped \(memory_out_of_bounds\)"),
        ("(i64.div_u (i64.const 1) (i64.const 0))", r"it trapped \(integer_division_by_zero\)"),
        ("(loop (br 0)) (i64.const 0)", "is there an endless loop"),
        ("(local $i i32) (loop (call $down) (br 0)) (i64.const 0)", "nested deeper than the stack"),
    ],
)
def test_a_turn_that_goes_wrong_stops_the_cell(turn: str, message: str) -> None:
    made = guest(turn, more="(func $down (call $down))")
    with pytest.raises(GuestFault, match=message):
        cell_of(made).turn([b"\x80"])
    assert cell_of(answering(b"\xf6")).turn([b"\x80"]) == b"\xf6"


def test_a_guest_that_takes_its_input_byte_by_byte_is_stopped_by_its_fuel() -> None:
    count = "(loop (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 9999))))"
    slow = guest(f"{count} (i64.const 0x0000000100000000)", signature="(param i32) (result i64) (local $i i32)")
    with pytest.raises(GuestFault, match="is there an endless loop"):
        cell_of(slow).turn([b"\x80" * 60_000])


def test_memory_that_the_guest_grows_is_bounded() -> None:
    grow = "(i64.or (i64.const 0x0000000100000000) (i64.extend_i32_u (memory.grow (i32.const 12))))"
    cell = cell_of(guest(grow))
    assert len(cell.turn([b"\x80"])) == 4  # it says the size it had, and has grown to the limit
    with pytest.raises(GuestFault):
        cell.turn([b"\x80"])  # refused: memory.grow gives -1, which is no length


def failure(**fields: Any) -> bytes:
    return cbor2.dumps(fields, canonical=True)


@pytest.mark.parametrize(
    ("output", "error", "message"),
    [
        (failure(name="E", message="m"), LoadFailed, "could not be loaded: E: m"),
        (b"", MalformedOutput, "the message ends in the middle"),
        (b"\x01", MalformedOutput, "did not say in the grammar"),
        (b"\x80\x80", MalformedOutput, "did not say in the grammar"),
        (b"\x9f\xff", MalformedOutput, "indefinite"),
        (b"\xa1\x64name", MalformedOutput, "the message ends in the middle"),
        (b"\x81" * 100 + b"\x00", MalformedOutput, "nested deeper than 64"),
    ],
)
def test_code_that_does_not_load_is_explained_by_the_guest(
    output: bytes, error: type[GuestFault], message: str
) -> None:
    with pytest.raises(error, match=message):
        cell_of(guest(load="(i32.const -5)", output=output))


def command(*items: Any) -> bytes:
    return cbor2.dumps(list(items), canonical=True)


COMPLETE = command(7, None)


@pytest.mark.parametrize(
    ("output", "name", "message"),
    [
        (b"", "MalformedOutput", "answered fewer events"),
        (b"\xf6\xf6", "MalformedOutput", "answered more events"),
        (COMPLETE, "MalformedOutput", "without the closing mark"),
        (b"\x00\xf6", "MalformedOutput", "not a command"),
        (b"\x80\xf6", "MalformedOutput", "not a command"),
        (command(99) + b"\xf6", "MalformedOutput", "unknown kind 99"),
        (command(-1) + b"\xf6", "MalformedOutput", "unknown kind -1"),
        (command(0, 1, "p") + b"\xf6", "MalformedOutput", "fields are not in the grammar"),
        (command(0, "1", "p", "n", []) + b"\xf6", "MalformedOutput", "fields are not in the grammar"),
        (command(0, 0, "p", "n", []) + b"\xf6", "MalformedOutput", "used call 0 again"),
        (
            command(0, 1, "a", "echo", []) + command(0, 1, "b", "echo", []) + b"\xf6",
            "MalformedOutput",
            "used call 1 again",
        ),
        (command(9, 5) + b"\xf6", "MalformedOutput", "cannot follow"),
        (COMPLETE + COMPLETE + b"\xf6", "MalformedOutput", "cannot follow"),
        (command(8, {"name": 1}) + b"\xf6", "MalformedOutput", "failed without a name"),
        (command(6, "p", [7]) + b"\xf6", "MalformedOutput", "without an outcome"),
        (command(4, 9, "x") + b"\xf6", "MalformedOutput", "unknown level 9"),
        (b"\x9f\x07\xf6\xff\xf6", "MalformedOutput", "indefinite"),
        (b"\x82\x07\xd8\x1c\x80\xf6", "MalformedOutput", "tag 28"),
        (b"\x82\x07\x5b\xff\xff\xff\xff\xff\xff\xff\xff\xf6", "MalformedOutput", "longer than what is left"),
        (b"\x82\x07\x9b\x00\x00\x00\xff\xff\xff\xff\xff\xf6", "MalformedOutput", "more items"),
        (b"\x82\x07" + b"\x81" * 70 + b"\x00\xf6", "MalformedOutput", "nested deeper"),
        (b"\x82\x07\x62\xff\xfe\xf6", "MalformedOutput", "not UTF-8"),
        (b"\x82\x07\xa2\x61a\x01\x61a\x02\xf6", "MalformedOutput", "sorted or not unique"),
        (b"\x82\x07\xfa\x00\x00\x00\x00\xf6", "MalformedOutput", "not in the grammar"),
        (b"\x82\x07\x18\x01\xf6", "MalformedOutput", "longer than it needs"),
    ],
)
def test_a_guest_that_writes_garbage_ends_its_run_and_no_other(
    mode: Mode, output: bytes, name: str, message: str
) -> None:
    outcome = attacked(mode, "", limits=LIMITS, guest=answering(output))
    assert (outcome.end, outcome.kind) == (("failed", name), Kind.RUN_STOPPED)
    assert message in outcome.message


CRUMBS = "(i64.or (i64.const 0x0000000100000000) (i64.const {produced}))"


def test_a_guest_that_answers_each_crumb_with_a_window_is_stopped_when_it_is_more_than_it_may() -> None:
    """Taken byte by byte, an input of 8 MiB would otherwise be answered with eight million windows."""
    flood = guest(CRUMBS.format(produced=WINDOW), output=b"\xf6" * 60_000)
    with pytest.raises(OutputTooLarge, match="more than 1 events may ask for"):
        cell_of(flood).turn([b"\x80" * 60_000])


def test_a_guest_that_takes_its_input_in_crumbs_has_one_limit_of_time() -> None:
    limits = Limits(fuel_per_event=1 << 40, wall_ms_per_event=50, memory_bytes=1 << 20)
    crumbs = guest(CRUMBS.format(produced=0))
    cell = Cell(load_image(base_image(*crumbs), "", limits), limits)
    with pytest.raises(TimeExhausted):
        cell.turn([b"\x80" * 65_000] * 3)


@pytest.mark.parametrize(
    "turn",
    [
        "(loop (br 0)) (i64.const 0)",
        "(i64.const -1)",
        "unreachable",
        "(i64.const 0x7fffffffffffffff)",
        "(i64.const 0x0000000100010001)",
        "(i64.const 0)",
        "(i64.load (i32.const -8))",
    ],
)
def test_a_module_that_means_harm_ends_its_run_and_no_other(mode: Mode, turn: str) -> None:
    outcome = attacked(mode, "", limits=LIMITS, guest=guest(turn))
    assert (outcome.status, outcome.kind) == ("failed", Kind.RUN_STOPPED)
