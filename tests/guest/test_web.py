"""What the web gives to every program, and no clock, network or memory of others: encodings, events, cancellation, copies."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from typing import Any

import pytest
from guest.cells import Cell, run, workflow

BYTES = [
    b"", b"abc", "é€😀".encode(), b"\xff", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\x80", b"a\xe2\x82b",
    b"\xf4\x90\x80\x80", b"\xef\xbb\xbfx", b"\xef\xbb\xbf\xef\xbb\xbfx", b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\x80\x80",
    b"\xf8\x88\x80\x80\x80", b"\xe2\x28\xa1", bytes(range(256)),
]  # fmt: skip
DECODE = """const out = [];
for (const bytes of input.map((list) => new Uint8Array(list)))
  for (const options of [{}, { ignoreBOM: true }, { fatal: true }])
    for (const label of ["utf-8", "UTF-16LE", "utf-16be"])
      for (let cut = 0; cut <= Math.min(bytes.length, 4); cut++) {
        const decoder = new TextDecoder(label, options);
        try {
          const text = decoder.decode(bytes.subarray(0, cut), { stream: true }) + "|" + decoder.decode(bytes.subarray(cut));
          out.push([...text].map((c) => c.codePointAt(0).toString(16)).join());
        } catch (e) { out.push(e.name) }
      }
return out;"""


@cache
def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("Node.js is the judge, and is not on the path")
    return found


def judged(body: str, given: Any) -> Any:
    """What Node.js answers to the same code."""
    script = f"const input = {json.dumps(given)}; process.stdout.write(JSON.stringify((() => {{ {body} }})()))"
    done = subprocess.run([node(), "-"], input=script, capture_output=True, check=True, text=True)
    return json.loads(done.stdout)


def test_bytes_are_decoded_as_node_decodes_them() -> None:
    """But for one cut in UTF-16 (Node 20 loses what an odd byte begins), so those are cut at even places only."""
    given = [list(data) for data in BYTES]
    ours, theirs = run(DECODE, given), judged(DECODE, given)

    differing = [i for i, (one, other) in enumerate(zip(ours, theirs, strict=True)) if one != other]
    assert differing == []


ENCODE = """const out = []; const encoder = new TextEncoder();
for (const text of ["", "abc", "é€😀", "\\ud800", "a\\udc00b", "\\ud83d\\ude00\\ud83d"])
  for (let room = 0; room < 9; room++) {
    const into = new Uint8Array(room);
    out.push([[...encoder.encode(text)], encoder.encodeInto(text, into), [...into]]);
  }
return out;"""


def test_texts_are_encoded_as_node_encodes_them() -> None:
    assert run(ENCODE) == judged(ENCODE, None)


@pytest.mark.parametrize("label", ["utf8", " UTF-8 ", "unicode-1-1-utf-8", "ucs-2", "utf-16"])
def test_labels_of_encodings(label: str) -> None:
    body = "return new TextDecoder(input).encoding"

    assert run(body, label) == judged(body, label)


def test_an_encoding_that_is_not_there_is_refused() -> None:
    assert run("try { new TextDecoder('shift_jis') } catch (e) { return [e.name, e.message] }") == [
        "RangeError", "there is no encoding 'shift_jis' here, only utf-8 and utf-16",
    ]  # fmt: skip


CLONES = """const shown = (v) => {
  if (typeof v === "bigint") return "big " + v;
  if (v === undefined) return "undefined";
  if (typeof v !== "object" || v === null) return Object.is(v, -0) ? "-0" : v;
  const kind = Object.prototype.toString.call(v);
  if (v instanceof Map) return [kind, [...v].map(([k, x]) => [shown(k), shown(x)])];
  if (v instanceof Set) return [kind, [...v].map(shown)];
  if (v instanceof Date) return [kind, v.getTime()];
  if (v instanceof RegExp) return [kind, String(v), v.lastIndex];
  if (v instanceof Error) return [kind, Object.getPrototypeOf(v).constructor.name, v.name, v.message, shown(v.cause)];
  if (v instanceof ArrayBuffer) return [kind, [...new Uint8Array(v)]];
  if (ArrayBuffer.isView(v)) return [kind, v.byteOffset, v.byteLength, [...new Uint8Array(v.buffer)]];
  if (v instanceof Number || v instanceof String || v instanceof Boolean) return [kind, v.valueOf()];
  return [kind, Object.getPrototypeOf(v) === Object.prototype, Object.keys(v).map((k) => [k, shown(v[k])])];
};
const buffer = new Uint8Array([1, 2, 3, 4]).buffer;
class Point { x = 1; get y() { return 2 } }
const regexp = /x/g; regexp.lastIndex = 3;
const sparse = [1, , 3]; sparse.extra = 1;
const values = {
  scalars: [1, -0, NaN, "x", null, undefined, true, 5n], date: new Date(5), invalid: new Date(NaN), regexp, buffer, sparse,
  views: [new Uint16Array(buffer, 2, 1), new DataView(buffer, 1), new Float32Array([1.5])], point: new Point(),
  map: new Map([[{ a: 1 }, new Set([1, [2]])]]), boxed: [new Number(5), new String("s"), new Boolean(false)],
  errors: [new RangeError("r", { cause: { a: 1 } }), Object.assign(new Error("e"), { name: "Own", extra: 1 })],
  bare: Object.assign(Object.create(null), { a: 1 }), getter: { get a() { return [1] } }, nested: { a: [{ b: [{}] }] },
};
const out = Object.entries(values).map(([name, value]) => [name, shown(structuredClone(value))]);
const cycle = { list: [] }; cycle.list.push(cycle, buffer, buffer);
const copy = structuredClone(cycle);
out.push([copy.list[0] === copy, copy.list[1] === copy.list[2], copy.list[1] !== buffer]);
for (const bad of [() => 1, Symbol("s"), new WeakMap(), Promise.resolve(), { deep: [() => 1] }])
  try { structuredClone(bad); out.push("cloned") } catch (e) { out.push([e.name, e.code]) }
const moved = structuredClone({ buffer }, { transfer: [buffer] });
out.push([buffer.byteLength, moved.buffer.byteLength]);
return JSON.parse(JSON.stringify(out));"""


def test_values_are_cloned_as_node_clones_them() -> None:
    ours, theirs = run(CLONES), judged(CLONES, None)

    assert [(one, other) for one, other in zip(ours, theirs, strict=True) if one != other] == []


EVENTS = """const out = [];
const target = new EventTarget(), log = (what) => out.push(what);
const twice = (e) => log(["twice", e.type, e.target === target]);
target.addEventListener("a", twice); target.addEventListener("a", twice); target.addEventListener("a", twice, true);
target.addEventListener("a", () => log("once"), { once: true });
target.addEventListener("a", { handleEvent(e) { log(["object", this !== undefined, e instanceof Event]) } });
log(target.dispatchEvent(new Event("a"))); target.removeEventListener("a", twice); log(target.dispatchEvent(new Event("a")));
const stop = new EventTarget(); stop.addEventListener("b", (e) => { e.preventDefault(); e.stopImmediatePropagation() });
stop.addEventListener("b", () => log("never"));
const event = new Event("b", { cancelable: true, bubbles: true });
log([stop.dispatchEvent(event), event.defaultPrevented, event.bubbles, event.cancelable, String(event)]);
log(stop.dispatchEvent(new Event("b")));
class Own extends EventTarget { go() { return this.dispatchEvent(new Event("x")) } }
const own = new Own(); own.addEventListener("x", () => log("own")); own.go();
const controller = new AbortController(); const { signal } = controller;
target.addEventListener("c", () => log("gone"), { signal });
signal.addEventListener("abort", (e) => log(["abort", e.type, signal.aborted])); signal.onabort = () => log("handler");
const any = AbortSignal.any([signal, new AbortController().signal]); any.onabort = () => log(["any",
  any.reason === signal.reason]);
controller.abort(); controller.abort("again"); target.dispatchEvent(new Event("c"));
log([signal.reason.name, signal.reason.message, signal.reason instanceof DOMException, String(signal), String(controller)]);
try { signal.throwIfAborted() } catch (e) { log(e === signal.reason) }
const done = AbortSignal.abort("why"); log([done.aborted, done.reason]);
for (const bad of [() => new AbortSignal(), () => new Event(), () => target.dispatchEvent({}),
  () => target.addEventListener("a", 5)])
  try { bad(); log("no error") } catch (e) { log(e.name) }
log([Object.keys(AbortController.prototype), Object.keys(EventTarget.prototype)]);
return out;"""


def test_events_go_as_in_node() -> None:
    ours, theirs = run(EVENTS), judged(EVENTS, None)

    assert [(one, other) for one, other in zip(ours, theirs, strict=True) if one != other] == []


def test_a_listener_that_throws_is_told_and_stops_nobody() -> None:
    body = """const t = new EventTarget(), seen = []; t.addEventListener("a", () => { throw new Error("mine") });
        t.addEventListener("a", () => seen.push(1)); seen.push(t.dispatchEvent(new Event("a"))); return seen"""
    logged, end = Cell(workflow(body)).start()

    assert logged[:2] == [4, 4]
    assert logged[2].startswith("a listener of 'a' threw: Error: mine")
    assert end == [7, [1, True]]


def test_a_signal_that_times_out_is_a_timer() -> None:
    cell = Cell(
        workflow(
            "const s = AbortSignal.timeout(50); return await new Promise((r) => { s.onabort = () => r(s.reason.name) })"
        )
    )

    (timer,) = cell.start()
    assert timer[2] == "setTimeout"
    assert cell.turn([4, timer[3], 1]) == [[7, "TimeoutError"]]


def test_the_world_s_name_for_itself_is_self() -> None:
    assert run("return self === globalThis") is True
