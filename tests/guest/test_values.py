"""Values across the glass: the shared vectors, and what cannot cross."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cbor2
import pytest
from guest.cells import Cell, GuestStopped, WorkflowFailed, pack, run, workflow
from hypothesis import given, settings
from hypothesis import strategies as st

VECTORS = Path(__file__).parents[1] / "vectors"
ECHO = "export default async (input) => input"
START = bytes.fromhex("85001b0000018bcfe5680050") + bytes(16)


def rows(name: str) -> list[Any]:
    loaded: list[Any] = json.loads((VECTORS / name).read_text())
    return [pytest.param(row, id=row["name"]) for row in loaded]


def echo(encoded: bytes) -> bytes:
    """What a workflow that gives its input back makes of one encoded value."""
    output = Cell(ECHO).give(START + encoded + b"\xa0")
    assert output[:2] == b"\x82\x07"
    assert output[-1:] == b"\xf6"
    return output[2:-1]


@pytest.mark.parametrize("row", rows("values.json"))
def test_a_value_comes_back_in_its_one_encoding(row: dict[str, Any]) -> None:
    assert echo(bytes.fromhex(row["hex"])).hex() == row.get("from_javascript", row["hex"])


@pytest.mark.parametrize("row", rows("hostile.json"))
def test_a_hostile_encoding_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(GuestStopped) as stopped:
        Cell(ECHO).give(START + bytes.fromhex(row["hex"]) + b"\xa0")

    assert stopped.value.code == -1


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False).filter(lambda x: not x.is_integer())
    | TEXTS
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=20,
)


@given(st.lists(VALUES, max_size=10))
@settings(max_examples=60, deadline=None)
def test_any_value_comes_back_as_it_was(values: list[Any]) -> None:
    encoded = pack(values)

    assert echo(encoded) == encoded


@given(st.binary(max_size=60))
@settings(max_examples=150, deadline=None)
def test_random_bytes_are_an_event_or_a_fault_and_never_a_trap(data: bytes) -> None:
    cell = Cell(ECHO)
    try:
        outcome = cell.pass_(data)[0]
    except GuestStopped as stopped:
        outcome = stopped.code

    assert outcome in (len(data), -1, -7)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("{ items: [1, 2, 3, { cb: () => 1 }] }", "result.items[3].cb is a function"),
        ("class {}", "result is a function"),
        ("Symbol.iterator", "result is a symbol"),
        ("[Symbol('s')]", "result[0] is a symbol"),
        ("{ p: Promise.resolve() }", "result.p is a Promise"),
        ("{ m: new Map() }", "result.m is a Map"),
        ("{ s: new Set() }", "result.s is a Set"),
        ("{ w: new WeakMap() }", "result.w is a WeakMap"),
        ("{ r: /x/ }", "result.r is a RegExp"),
        ("{ p: new Proxy({}, {}) }", "result.p is a Proxy"),
        ("{ f: new Float64Array(1) }", "result.f is a Float64Array"),
        ("{ i: new Int8Array(1) }", "result.i is an Int8Array"),
        ("{ a: (function () { return arguments })() }", "result.a is an Arguments"),
        ("{ n: new Number(1) }", "result.n is a Number"),
        ("{ d: new Date(NaN) }", "result.d is an invalid Date"),
        ("{ d: new Date(8.64e15) }", "result.d is a Date outside of the years 0001 to 9999"),
        ("{ d: new Date('0000-12-31T23:59:59.999Z') }", "result.d is a Date outside of the years 0001 to 9999"),
        ("{ 'a key': { 'x-y': () => 1 } }", 'result["a key"]["x-y"] is a function'),
        ("(() => { const a = []; a.push({ a }); return { a } })()", "result.a[0].a is a cycle"),
        ("(() => { const o = {}; o.self = o; return o })()", "result.self is a cycle"),
        ("(() => { let a = 1; for (let i = 0; i < 65; i++) a = [a]; return a })()", "nested deeper than 64"),
        ("{ '\\ud800': 1, '\\ud801': 2 }", "is there twice: its key has lone surrogates"),
        ("(() => { const b = new Uint8Array(8); b.buffer.transfer(); return { b } })()", "is a detached buffer"),
    ],
)
def test_what_cannot_cross_fails_the_run_and_names_the_place(value: str, why: str) -> None:
    with pytest.raises(WorkflowFailed) as failed:
        run(f"return {value};")

    assert failed.value.failure["name"] == "TypeError"
    assert why in failed.value.failure["message"]


def test_arguments_that_cannot_cross_reject_the_call_and_count_as_not_asked() -> None:
    cell = Cell(
        workflow("""
        let refused;
        try { await step("a")(1, [{ f() {} }]); } catch (error) { refused = error.name + ": " + error.message; }
        return [refused, await step("a")(2)];
        """)
    )

    assert cell.start() == [[0, 1, "a", "a", [2]]]
    assert cell.complete(1, "ok") == [[7, ["TypeError: arguments[1][0].f is a function", "ok"]]]


def test_undefined_is_absent_in_maps_and_null_elsewhere() -> None:
    assert run("return { a: undefined, b: [undefined, , 1], c: null }") == {"b": [None, None, 1], "c": None}
    assert run("return undefined") is None


def test_instances_cross_as_their_own_enumerable_string_keys() -> None:
    body = """
    class Point { #hidden() { return 1 } constructor() { this.x = 1; this[Symbol("s")] = 2 } get y() { return 3 } }
    return Object.defineProperty(new Point(), "z", { value: 4, enumerable: false });
    """
    assert run(body) == {"x": 1}


def test_objects_without_prototype_and_getters_cross() -> None:
    assert run("return Object.assign(Object.create(null), { a: 1 })") == {"a": 1}
    assert run("return { get a() { return 1 } }") == {"a": 1}


def test_a_getter_that_throws_fails_with_its_own_error() -> None:
    with pytest.raises(WorkflowFailed) as failed:
        run("return { get a() { throw new RangeError('mine') } }")

    assert failed.value.failure == {"name": "RangeError", "message": "mine"}


def test_a_getter_cannot_ask_for_a_command_in_the_middle_of_another() -> None:
    cell = Cell(workflow("return { get a() { cloche.entered('inside', 1); return 1 } }"))

    (failed,) = cell.start()

    assert failed[0] == 8
    assert "a getter asked for a command" in failed[1]["message"]


def test_lone_surrogates_become_replacement_characters() -> None:
    assert run(r"return ['a\ud800', '\udfffb', '\ud83d\ude00', { '\udc00k': 1 }]") == [
        "a�",
        "�b",
        "😀",
        {"�k": 1},
    ]


def test_buffers_cross_as_bytes() -> None:
    assert run("return [new Uint8Array([1, 2]), new Uint8Array([1, 2, 3]).subarray(1), new ArrayBuffer(2)]") == [
        b"\1\2",
        b"\2\3",
        b"\0\0",
    ]


def test_what_comes_in_has_the_promised_types() -> None:
    body = """return [typeof input[0], typeof input[1], input[2] instanceof Uint8Array, input[3] instanceof Date,
                      Array.isArray(input[4]), Object.getPrototypeOf(input[5]) === Object.prototype, Object.is(input[6], -0)]"""
    given = [2**53 - 1, 2**53, b"x", cbor2.CBORTag(0, "2026-01-01T00:00:00Z"), [], {"__proto__": {"x": 1}}, -0.0]

    assert run(body, given) == ["number", "bigint", True, True, True, True, True]


def test_dangerous_keys_are_data() -> None:
    body = """const own = Object.keys(input);
    return [own, Object.getPrototypeOf(input) === Object.prototype, input.polluted === undefined, ({}).polluted === undefined,
            input["10"], { ...input }]"""
    given = {"__proto__": {"polluted": 1}, "constructor": 1, "10": "ten", "toString": 2}

    own, plain, unpolluted, clean, ten, copy = run(body, given)

    assert sorted(own) == sorted(given)
    assert (plain, unpolluted, clean, ten) == (True, True, True, "ten")
    assert copy == given


def test_a_wide_object_is_sorted_like_a_narrow_one() -> None:
    body = "const o = {}; for (let i = 500; i--;) o['k' + i] = i; return o"
    output = Cell(workflow(body)).give(pack([0, 0, bytes(16), None, {}]))

    assert output == pack([7, {f"k{i}": i for i in range(500)}]) + b"\xf6"
