"""Time, chance and everything ambient: functions of the events, or absent."""

from __future__ import annotations

import re
from typing import Any

import pytest
from guest.cells import NOW, SEED, Cell, pack, run, workflow


@pytest.mark.parametrize(
    "name",
    [
        "setImmediate", "process",
        "require", "Deno", "Bun", "os", "std", "bjson", "navigator", "SharedArrayBuffer", "Atomics", "XMLHttpRequest",
        "WebAssembly", "Worker", "postMessage", "print", "scriptArgs", "gc", "Temporal",
    ],
)  # fmt: skip
def test_nothing_ambient_is_there(name: str) -> None:
    assert run(f"return [typeof globalThis[{name!r}], {name!r} in globalThis]") == ["undefined", False]


def test_fetch_says_where_it_is() -> None:
    said = run("try { fetch('https://example.org') } catch (error) { return [error.name, error.message] }")

    assert said[0] == "Error"
    assert said[1].startswith("fetch is not there in a workflow function")
    assert "fetch in a step" in said[1]


def test_the_globals_are_known_by_name() -> None:
    beyond = run("""const known = new Set(input); const names = Reflect.ownKeys(globalThis).map(String);
        return names.filter((name) => !known.has(name)).sort()""", ECMASCRIPT)  # fmt: skip

    assert beyond == [
        "AbortController", "AbortSignal", "Blob", "CustomEvent", "DOMException", "Event", "EventTarget", "File", "FormData",
        "Headers", "Intl", "Iterator", "ReadableStream", "Request", "Response", "Symbol(Symbol.toStringTag)",
        "Symbol(WORKFLOW_CREATE_HOOK)", "Symbol(WORKFLOW_SET_ATTRIBUTES)", "Symbol(WORKFLOW_SLEEP)",
        "Symbol(WORKFLOW_USE_STEP)", "Symbol(cloche.modules)", "TextDecoder", "TextEncoder", "TransformStream", "URL",
        "URLSearchParams", "WritableStream", "__private_workflows", "atob", "btoa",
        "clearInterval", "clearTimeout", "cloche", "console", "crypto", "fetch", "performance", "queueMicrotask", "self",
        "setInterval", "setTimeout", "structuredClone",
    ]  # fmt: skip


ECMASCRIPT = re.findall(
    r"\w+",
    """AggregateError Array ArrayBuffer AsyncDisposableStack AsyncFunction BigInt BigInt64Array BigUint64Array Boolean
DataView Date DisposableStack Error EvalError Float16Array Float32Array Float64Array Function Infinity Int16Array Int32Array
Int8Array JSON Map Math NaN Number Object Promise Proxy RangeError ReferenceError Reflect RegExp Set String
SuppressedError Symbol SyntaxError TypeError URIError Uint16Array Uint32Array Uint8Array Uint8ClampedArray WeakMap WeakSet
decodeURI decodeURIComponent encodeURI encodeURIComponent escape eval globalThis isFinite isNaN parseFloat parseInt
undefined unescape InternalError WeakRef FinalizationRegistry""",
)


def test_time_is_that_of_the_event() -> None:
    cell = Cell(
        workflow("""const at = () => [Date.now(), new Date().getTime(), new Date().toISOString(), Date().slice(0, 24)];
            const first = at(); await step("s")(); return [first, at()]""")
    )
    cell.start(now=NOW)

    assert cell.complete(1, now=NOW + 61_001) == [
        [
            7,
            [
                [NOW, NOW, "2023-11-14T22:13:20.000Z", "Tue Nov 14 2023 22:13:20"],
                [NOW + 61_001, NOW + 61_001, "2023-11-14T22:14:21.001Z", "Tue Nov 14 2023 22:14:21"],
            ],
        ]
    ]


@pytest.mark.parametrize("now", [0, 1, -1, -62135596800000, 253402300799999, 8640000000000000, -8640000000000000])
def test_any_time_that_a_date_can_hold_can_be_now(now: int) -> None:
    assert Cell("export default () => Date.now()").start(now=now) == [[7, now]]


def test_the_time_zone_is_utc() -> None:
    assert run("""return [new Date(2024, 6, 1).toISOString(), new Date(2024, 6, 1).getTimezoneOffset(),
                  new Date(0).toString(), new Date("2024-01-01T00:00:00").getTime()]""") == [
        "2024-07-01T00:00:00.000Z",
        0,
        "Thu Jan 01 1970 00:00:00 GMT+0000",
        1704067200000,
    ]


RANDOM = workflow("""const bytes = crypto.getRandomValues(new Uint8Array(20));
    return { numbers: Array.from({ length: 50 }, Math.random), uuid: crypto.randomUUID(), bytes,
             words: [...crypto.getRandomValues(new Uint32Array(2))] }""")


def random_of(seed: bytes) -> Any:
    ((_, result),) = Cell(RANDOM).start(seed=seed)
    return result


def test_chance_is_a_function_of_the_seed() -> None:
    first, again, other = random_of(SEED), random_of(SEED), random_of(bytes(16))

    assert first == again
    assert not set(first["numbers"]) & set(other["numbers"])
    assert first["uuid"] != other["uuid"]
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", first["uuid"])
    assert len(set(first["numbers"])) == 50
    assert all(0 <= number < 1 for number in first["numbers"])
    assert len(first["bytes"]) == 20


def test_every_bit_of_the_seed_matters() -> None:
    seeds = {bytes(1 << bit % 8 if i == bit // 8 else 0 for i in range(16)) for bit in range(128)}

    assert len({random_of(seed)["uuid"] for seed in [*seeds, bytes(16)]}) == 129


def test_the_first_random_numbers_never_change() -> None:
    cell = Cell("export default () => [Math.random(), Math.random(), crypto.randomUUID()]")

    assert cell.start(seed=SEED) == [[7, PINNED]]


PINNED = [0.44093024939483727, 0.35902919955129886, "9ddcd6fc-449e-4d3b-9b59-79a30d708abf"]


def test_random_numbers_are_spread_evenly() -> None:
    counts = run(
        "const c = Array(10).fill(0); for (let i = 0; i < 100_000; i++) c[Math.floor(Math.random() * 10)]++; return c"
    )

    assert all(9_500 < count < 10_500 for count in counts)


@pytest.mark.parametrize(
    "argument", ["new Float64Array(2)", "[1]", "", "new Uint8Array(65537)", "new DataView(new ArrayBuffer(2))"]
)
def test_random_values_fill_integer_arrays_only(argument: str) -> None:
    assert run(f"try {{ crypto.getRandomValues({argument}) }} catch (e) {{ return e.name }}") == "TypeError"


def test_a_window_into_a_buffer_is_all_that_is_filled() -> None:
    body = "const b = new Uint8Array(8); crypto.getRandomValues(b.subarray(2, 4)); return [...b.slice(0, 2), ...b.slice(4)]"

    assert run(body) == [0] * 6


def test_order_of_keys_and_stack_texts_do_not_depend_on_where_things_lie() -> None:
    body = """const o = {}; for (const k of ["z", "2", "a", "1", Symbol.for("s").description]) o[k] = 1;
        const text = (() => { try { null.f } catch (e) { return e.stack } })();
        return [Object.keys(o), text, [3, 1, 2].sort().join(), String(new Map([[{}, 1]]).size)]"""

    assert Cell(workflow(body)).give(pack([0, NOW, SEED, None, {}])) == Cell(workflow(body)).give(
        pack([0, NOW, SEED, None, {}])
    )
