"""Everything the prelude stands on, overwritten: one thing at a time, by the prelude's own list, and all of it at once.

Generated code is led to its end in a guest that is as it was and in one that workflow code has spoilt at its first line. Both
must ask for the same, byte for byte: what the helpers use was taken before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from guest.cells import NOW, SEED, Cell, pack, sequence, unplaced

from cloche_guest.artifacts import SOURCES

GOLDEN = Path(__file__).parents[1] / "codegen" / "golden"
CASES = sorted(file.parent.name for file in GOLDEN.glob("*/source.js"))
# Left alone: what values answer for themselves when code compares or shows them (the tenant's own, and its own loss), and in
# "hostile" the `concat` that QuickJS calls for a template in the workflow's code.
SPEAKS = "(key) => key === 'toString' || key === 'valueOf' || key === 'name' || key === 'message'"
ROUNDS = 40

TAKES = (
    "const { defineProperty, ownKeys, getOwnPropertyDescriptor, getPrototypeOf } = Reflect, "
    'own = Symbol.for("WORKFLOW_USE_STEP");'
)
THROWS = "function () { throw 'spoilt'; }"
ALL = f"""{TAKES}
const objects = [globalThis, (async () => {{}}).constructor, (function* () {{}}).constructor,
  (async function* () {{}}).constructor,
  [][Symbol.iterator](), new Map()[Symbol.iterator](), new Set()[Symbol.iterator](), ""[Symbol.iterator](), "".matchAll(/x/g)];
const is = (x) => (typeof x === "object" && x !== null) || typeof x === "function";
const known = (x) => {{ for (let i = 0; i < objects.length; i++) if (objects[i] === x) return true; return false; }};
const see = (x) => {{ if (is(x) && x !== cloche && x !== cloche.step && !known(x)) objects[objects.length] = x; }};
const places = [], speaks = {SPEAKS};
for (let i = 0; i < objects.length; i++) {{
  const keys = ownKeys(objects[i]);
  for (let k = 0; k < keys.length; k++) {{
    const found = getOwnPropertyDescriptor(objects[i], keys[k]);
    see(found.value); see(found.get); see(found.set);
    if (keys[k] !== own && keys[k] !== "cloche" && !speaks(keys[k])) places[places.length] = [objects[i], keys[k]];
  }}
  see(getPrototypeOf(objects[i]));
}}
const spoil = {THROWS};
for (let i = 0; i < places.length; i++) {{
  const place = places[i];
  try {{ place[0][place[1]] = spoil; }} catch {{}}
  try {{ defineProperty(place[0], place[1], {{ __proto__: null, value: spoil }}); }} catch {{}} // no length
}}
if (places.length < 700) throw "only " + places.length + " places were spoilt";
"""


def test_the_list_of_the_prelude_is_read() -> None:
    some = {
        "Promise",
        "Object.keys",
        "JSON.stringify",
        "Reflect.apply",
        "Map.prototype.get",
        "Date.prototype.toISOString",
    }
    assert some <= set(NAMES)
    assert len(NAMES) > 40


def test_the_prelude_has_no_templates() -> None:
    """To QuickJS they are calls of `String.prototype.concat`, which workflow code may overwrite."""
    for file in SOURCES.prelude:
        code = re.sub(r"//.*|\[[^\]\n]*`[^\]\n]*\]\+\$/", "", file.read_text())  # a class of a pattern may have one
        assert "`" not in code, file.name


@pytest.mark.parametrize("case", [case for case in CASES if case != "hostile"])
def test_generated_code_asks_for_the_same_in_a_guest_where_everything_was_overwritten(case: str) -> None:
    assert lived(case, ALL) == lived(case, "")


@pytest.mark.parametrize("case", CASES)
def test_generated_code_asks_for_the_same_whatever_one_thing_was_overwritten(case: str) -> None:
    expected = lived(case, "")
    for name in NAMES:
        assert lived(case, spoiling(name, f"value: {THROWS}")) == expected, name
        assert lived(case, spoiling(name, f"get: {THROWS}")) == expected, name


@pytest.mark.parametrize(
    "spoil",
    [
        "Promise.prototype.then = Promise.prototype.catch = Promise.prototype.finally = () => 5;",
        "Promise.resolve = Promise.reject = Promise.all = Promise.race = (x) => ({ then() {} });",
        "Symbol.for = () => Symbol();",
        "Array.prototype[Symbol.iterator] = function* () { yield 'mine'; };",
        "Object.defineProperty(Object.prototype, 'get', { value: () => 5 });",
        "for (const k of ['value', 'writable', 'enumerable', 'configurable', 'set', 'status', 'output', 'limit', 'id']) "
        "try { Object.defineProperty(Object.prototype, k, { value: 'mine', writable: true }); } catch {}",
        "for (let i = 0; i < 9; i++) Object.defineProperty(Array.prototype, i, { set() { throw 1 }, get: () => 'mine' });",
        "Object.defineProperty(Array.prototype, 'length', { value: 5 }); Array.prototype.push = () => 7;",
        "Object.prototype.toJSON = String.prototype.toJSON = () => 'mine';",
        "Object.setPrototypeOf(Function.prototype, null);",
        "for (const x of [Object, Array, Promise, Map, Date, RegExp]) { Object.freeze(x); Object.freeze(x.prototype); }",
        "for (const x of Object.getOwnPropertyNames(globalThis)) try { delete globalThis[x]; } catch {}",
        "Error.prepareStackTrace = () => { throw 1 }; Object.defineProperty(Error, 'stackTraceLimit', { get() { throw 1 } });",
        "Object.defineProperty(Promise, Symbol.species, { get() { throw 1 } });",
        "Map.prototype.get = Map.prototype.set = Map.prototype.has = () => 5;",
    ],
)  # fmt: skip
def test_helpers_go_on_behind_what_is_known_to_break_them(spoil: str) -> None:
    for case in CASES:
        assert lived(case, spoil) == lived(case, "")


def lived(case: str, spoil: str) -> bytes:
    """What the golden workflow asks for, all in all, when each of its calls is answered; `spoil` is run before it begins."""
    return _lived(case, spoil) if spoil else _unspoilt(case)


@cache
def _unspoilt(case: str) -> bytes:
    return _lived(case, "")


def _lived(case: str, spoil: str) -> bytes:
    source = (GOLDEN / case / "source.js").read_text()
    begun, name = re.subn(r"export default (async function (\w+))", r"\1", source)
    (found,) = re.findall(r"export default async function (\w+)", source)
    cell = Cell(f"{begun}\nexport default (input, given) => {{ {spoil}\nreturn {found}(input, given); }};\n")
    answer = cell.give(pack([0, NOW, SEED, {"v": 5, "list": [1, 2], "x": 1}, {"state": {"s": 1}, "context": {}}]))
    output = _unplaced(answer)
    for _ in range(ROUNDS):
        events = list(_answers(answer))
        if not events:
            break
        answer = cell.give(*events)
        output += _unplaced(answer)
    assert name == 1
    return output


def _unplaced(answer: bytes) -> bytes:
    """Where a failure was thrown is lost to code that spoils its own traces, and nothing else."""
    return b"".join(pack(command) for command in unplaced(sequence(answer)))


def _answers(output: bytes) -> Iterator[bytes]:
    for command in sequence(output):
        match command:
            case [0, call, *_]:
                yield pack([1, NOW + 1, call, {"v": call, "list": [call], "ok": True}])
            case [1, call, *_]:
                yield pack([4, NOW + 1, call])
            case [2, call, *_]:
                yield pack([5, NOW + 1, call, {"v": call}])


def spoiling(name: str, how: str) -> str:
    """`name` (`JSON.stringify`, `Promise`) with `how` as what is there now."""
    holder, _, key = name.rpartition(".")
    return f"{TAKES} defineProperty({holder or 'globalThis'}, '{key}', {{ configurable: true, {how} }});"


def _names() -> list[str]:
    """What the prelude takes for itself, read from its sources: `const { a, b: c } = X`, `[A, B] = […]`, `X.prototype.y`."""
    found: set[str] = set()
    for file in SOURCES.prelude:
        text = re.sub(r"//.*", "", file.read_text())
        for inside, holder in re.findall(r"const \{([^{}]*)\} = ([A-Z][\w.]*|globalThis);", text):
            keys = [part.split(":")[0].strip() for part in inside.split(",") if part.strip()]
            found.update(key if holder == "globalThis" else f"{holder}.{key}" for key in keys)
        for inside in re.findall(r"const \[[\w\s,]*\] = \[([\w\s,]*)\];", text):
            found.update(part.strip() for part in inside.split(",") if part.strip())
        found.update(re.findall(r"\b[A-Z]\w+\.prototype\.\w+", text))
        found.update(name for name in re.findall(r"\b([A-Z]\w+(?:\.\w+)?)\(", text) if name[0].isupper())
    return sorted(name for name in found if re.match(r"[A-Z]", name) and name.split(".")[0] in GLOBALS)


GLOBALS = {
    "Array", "ArrayBuffer", "BigInt", "Boolean", "Date", "Error", "Function", "JSON", "Map", "Math", "Number", "Object",
    "Promise", "RangeError", "Reflect", "RegExp", "Set", "String", "Symbol", "SyntaxError", "TypeError", "Uint8Array",
}  # fmt: skip
NAMES = _names()
