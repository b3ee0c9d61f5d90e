"""JavaScript that means harm, or is only wrong: its run ends with an error that says so, and the neighbour's goes on."""

from __future__ import annotations

import pytest
from hostile.platform import Mode, Submitted, attacked, echo, javascript
from support.apps import in_loop

from cloche import Cloche, Limits, create_workflow
from cloche.engines import SandboxEngine
from cloche.history import Kind

FUEL, MEMORY, OUTPUT = "FuelExhausted", "MemoryExhausted", "OutputTooLarge"

ENDLESS = {
    "loop": "for (;;) {}",
    "loop behind a step": "await step('echo')(1); for (;;) {}",
    "loop in try": "try { for (;;) {} } finally { return 1; }",
    "loop that catches everything": "for (;;) { try { for (;;) { throw 1; } } catch {} }",
    "labelled continue": "outer: for (;;) { for (;;) continue outer; }",
    "microtasks": "const spin = () => Promise.resolve().then(spin); await spin();",
    "microtasks nobody waits for": "const spin = () => Promise.resolve().then(spin); spin(); return 1;",
    "async recursion": "const spin = async () => { await null; return spin(); }; await spin();",
    "thenable that gives itself": "const t = { then(done) { done(t); } }; await t;",
    "races": "for (;;) await Promise.race([1, new Promise(() => {})]);",
    "regex": "/(a+)+$/.test('a'.repeat(60) + '!');",
    "regex with back references": r"/^(?:(.*)\1+)+$/.test('ab'.repeat(60) + 'x');",
    "regex that looks behind": "/(?<=(a+)+b)c/.test('a'.repeat(40) + 'c'); for (;;) /(?<=(a|a)*b)$/.exec('a'.repeat(40));",
    "regex in split": "'a'.repeat(60).split(/(?:(a+)+)+!/);",
    "sort comparator": "[3, 2, 1].sort(() => { for (;;) {} });",
    "sort with chance": "for (;;) Array.from({ length: 9999 }).sort(() => Math.random() - 0.5);",
    "getter": "({ get x() { for (;;) {} } }).x;",
    "getter among arguments": "await step('echo')({ get x() { for (;;) {} } });",
    "getter in the result": "return { get x() { for (;;) {} } };",
    "setter": "({ set x(v) { for (;;) {} } }).x = 1;",
    "proxy trap": "new Proxy({}, { get() { for (;;) {} } }).x;",
    "proxy that has no end of keys": "for (const k in new Proxy({}, { ownKeys: () => { for (;;) {} } })) ;",
    "prototype that is a proxy": "'x' in Object.create(new Proxy({}, { has() { for (;;) {} } }));",
    "toJSON": "JSON.stringify({ toJSON() { for (;;) {} } });",
    "toJSON in a log line": "console.log({ toJSON() { for (;;) {} } });",
    "replacer": "JSON.stringify({ a: 1 }, () => { for (;;) {} });",
    "reviver": "JSON.parse('[1]', () => { for (;;) {} });",
    "JSON that doubles": "let x = {}; for (let i = 0; i < 40; i++) x = { a: x, b: x }; return JSON.stringify(x);",
    "generator": "function* g() { for (;;) yield 1; } for (const x of g()) ;",
    "generator that is spread": "function* g() { for (;;) yield; } Math.max(...function* () { for (;;) yield* []; }());",
    "async generator": "async function* g() { for (;;) yield 1; } for await (const x of g()) ;",
    "iterator without end": "for (const x of { [Symbol.iterator]: () => ({ next: () => ({ done: false }) }) }) ;",
    "Promise.all of no end": "await Promise.all(function* () { for (;;) yield* [[]].flat(); }());",
    "toString": "`${{ toString() { for (;;) {} } }}`;",
    "toPrimitive": "+{ [Symbol.toPrimitive]() { for (;;) {} } };",
    "valueOf": "({ valueOf() { for (;;) {} } }) < 1;",
    "instanceof": "({}) instanceof { [Symbol.hasInstance]() { for (;;) {} } };",
    "species": "class A extends Array { static get [Symbol.species]() { for (;;) {} } } new A(1).map(x => x);",
    "text of a thrown value": "throw { toString() { for (;;) {} } };",
    "message of an error": "throw Object.defineProperty(new Error(), 'message', { get() { for (;;) {} } });",
    "stack formatter": "Error.prepareStackTrace = () => { for (;;) {} }; new Error().stack; for (;;) {}",
    "replace with a function": "'a'.replace(/a/g, () => { for (;;) {} });",
    "concat of spreadables": "for (;;) [].concat({ length: 1e5, [Symbol.isConcatSpreadable]: true });",
    "holes": "const a = []; a.length = 2 ** 32 - 1; a.forEach(() => {}); a.reverse();",
    "indexOf in holes": "const a = []; a.length = 2 ** 32 - 1; for (;;) a.indexOf(1);",
    "array-like without end": "Array.prototype.fill.call({ length: 2 ** 53 - 1 }, 0);",
    "Array.from of a length": "Array.from({ length: 2 ** 31 }, () => 0);",
    "destructuring": "const [...x] = { *[Symbol.iterator]() { for (;;) yield* ''; } };",
    "tagged template": "String.raw({ raw: { length: 2 ** 53 - 1 } });",
    "eval": "(0, eval)('for (;;) {}');",
    "Function": "new Function('for (;;) {}')();",
    "class field": "new (class { x = (() => { for (;;) {} })(); })();",
    "BigInt power": "let x = 3n; for (;;) x *= x;",
    "BigInt as text": "(3n ** 300000n).toString(); for (;;) (7n ** 200000n).toString();",
    "dates": "for (;;) new Date('2020-01-01T00:00:00Z').toLocaleString();",
    "typed array sort": "new Uint8Array(9999).sort(() => { for (;;) {} });",
    "catch that throws": "const f = () => { try { f(); } catch { f(); } }; f();",
    "finally that goes round": "for (;;) { try { continue; } finally { continue; } }",
    "unhandled rejections": "for (;;) Promise.reject(new Error('x'));",
    "await of what never settles, in parallel": "for (;;) { (async () => { await new Promise(() => {}); })(); }",
}  # fmt: skip


@pytest.mark.parametrize("body", ENDLESS.values(), ids=ENDLESS)
def test_what_computes_for_ever_is_stopped(mode: Mode, body: str) -> None:
    outcome = attacked(mode, javascript(body))
    assert (outcome.status, outcome.kind) == ("failed", Kind.RUN_STOPPED)
    assert outcome.name in (FUEL, MEMORY)
    assert "longer than one event may take: is there an endless loop" in outcome.message or outcome.name == MEMORY


BOMBS = {
    "texts": ("const all = []; for (;;) all.push('x'.repeat(1 << 20) + all.length);", MEMORY),
    "objects": ("const all = []; for (;;) all.push({ all: [all.length] });", MEMORY),
    "one array": ("const all = []; for (;;) all.push(all.length);", MEMORY),
    "buffer": ("return new Uint8Array(1 << 30);", MEMORY),
    "buffer that grows": ("const b = new ArrayBuffer(1, { maxByteLength: 1 << 30 }); b.resize(1 << 30); return 1;", MEMORY),
    "map": ("const m = new Map(); for (let i = 0; ; i++) m.set(i, {});", MEMORY),
    "symbols": ("const all = []; for (;;) all.push(Symbol('x'.repeat(999)));", MEMORY),
    "promises": ("const all = []; for (;;) all.push(new Promise(() => {}));", FUEL),
    "microtasks": ("for (;;) Promise.resolve().then(() => {});", MEMORY),
    "closures": ("let f = () => 1; for (;;) { const g = f; f = () => g; }", MEMORY),
    "sparse properties": ("const o = {}; for (let i = 0; ; i++) o['k' + i] = i;", MEMORY),
    "proxies": ("let p = {}; for (;;) p = new Proxy(p, {});", MEMORY),
    "numbers": ("let n = 1n; for (;;) n = n << 1000000n | 1n;", "RangeError"),
    "power tower": ("return 2n ** 2n ** 40n;", "RangeError"),
    "doubled text": ("let all = 'x'; for (;;) all += all;", "InternalError"),
    "padded text": ("return 'x'.padEnd(2 ** 30);", "RangeError"),
    "repeated text": ("return 'x'.repeat(2 ** 31);", "RangeError"),
    "array of a length": ("return new Array(2 ** 32);", "RangeError"),
    "array filled": ("return new Array(2 ** 32 - 1).fill(0);", MEMORY),
    "text of holes": ("const a = []; a.length = 2 ** 32 - 1; return a.join('xxxxxxxx');", FUEL),
    "regex": ("return new RegExp('('.repeat(100000) + ')'.repeat(100000)).test('a');", "SyntaxError"),
    "source": ("return new Function('return [' + '1,'.repeat(3e6) + ']')();", FUEL),
    "result": ("return 'x'.repeat(7 << 20);", OUTPUT),
    "result that doubles": ("let x = ['xxxxxxxxxxxxxxxx']; for (let i = 0; i < 40; i++) x = [x, x]; return x;", OUTPUT),
    "holes in the result": ("const a = []; a.length = 4_000_000_000; return a;", FUEL),
    "log lines": ("for (let i = 0; i < 100001; i++) console.log(i);", OUTPUT),
    "long log lines": ("for (;;) console.log('x'.repeat(10000));", OUTPUT),
    "calls": ("for (let i = 0; i < 100001; i++) step('echo')(i);", MEMORY),
    "calls that are caught": ("try { for (;;) step('echo')('x'.repeat(1 << 20)); } catch { return 1; }", OUTPUT),
    "timers": ("for (let i = 0; i < 100001; i++) cloche.sleep('s' + i, 1e9);", MEMORY),
    "a name": ("await step('x'.repeat(7 << 20))();", OUTPUT),
}  # fmt: skip


# What costs the guest little, and the host much unless it is careful.
LEVERS = {
    "a path of many places": ("await cloche.step('echo', 'a/'.repeat(100_000))(1);", "MalformedOutput"),
    "a long path": ("await cloche.step('echo', 'a'.repeat(9000))(1);", "MalformedOutput"),
    "a timer at a long path": ("await cloche.sleep('a['.repeat(3000), 1);", "MalformedOutput"),
    "a block at a long path": ("cloche.entered('a/'.repeat(200), 1);", "MalformedOutput"),
    "a name with controls": (r"await step('echo\x1b[2J')(1);", "MalformedOutput"),
    "a name that reads from the right": (r"await step('ec\u202eho')(1);", "MalformedOutput"),
    "a name in pieces": (r"await step('cafe\u0301')(1);", "MalformedOutput"),
    "an event without a name": ("await cloche.hook('h', '');", "MalformedOutput"),
    "an event with a long name": ("await cloche.hook('h', 'x'.repeat(201));", "MalformedOutput"),
    "a patch with a long name": ("return cloche.patched('x'.repeat(201));", "MalformedOutput"),
    "a thousand blocks that are left, each with a call in it": (
        "for (let i = 0; i < 3000; i++) step('echo', 'x[' + i + ']')(i); "
        "for (let i = 0; i < 3000; i++) cloche.left('x[' + i + ']', [0, 1]); throw new Error('over');",
        "Error",
    ),
    "calls that are given up": (
        "const all = []; for (let i = 0; i < 500; i++) all.push(step('echo', 'x')(i)); "
        "all.forEach((p) => cloche.abandon(p)); throw 1;",
        "Error",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "name"), LEVERS.values(), ids=LEVERS)
def test_little_work_of_the_guest_is_little_work_of_the_host(mode: Mode, body: str, name: str) -> None:
    assert attacked(mode, javascript(body)).end == ("failed", name)


@pytest.mark.parametrize(("body", "name"), BOMBS.values(), ids=BOMBS)
def test_a_bomb_goes_off_under_the_glass(mode: Mode, body: str, name: str) -> None:
    assert attacked(mode, javascript(body), limits=Limits(memory_bytes=64 << 20)).end == ("failed", name)


@pytest.mark.parametrize(
    ("body", "name", "message"),
    [
        ("const deep = (n) => 1 + deep(n + 1); return deep(0);", "RangeError", "call stack"),
        ("const o = { get x() { return this.x; } }; return o.x;", "RangeError", "call stack"),
        ("const p = new Proxy({}, { get: (t, k, r) => r[k] }); return p.x;", "RangeError", "call stack"),
        ("const o = { toString() { return `${this}`; } }; return `${o}`;", "RangeError", "call stack"),
        ("let x = []; for (let i = 0; i < 99; i++) x = [x]; return x;", "TypeError", "nested deeper than 64"),
        ("return eval('['.repeat(99999));", "RangeError", "call stack"),
        ("return new Promise(() => {});", "Deadlock", "nothing outside will ever answer"),
        ("await step('echo')(1); await new Promise(() => {});", "Deadlock", "nothing outside will ever answer"),
        ("await { then() {} };", "Deadlock", "nothing outside will ever answer"),
        ("(async () => { null.x })(); await new Promise(() => {});", "Deadlock", "nobody has handled it: TypeError"),
        ("return { items: [{ cb: () => 1 }] };", "TypeError", "result.items[0].cb is a function"),
        ("return () => 1;", "TypeError", "result is a function"),
        ("await step('echo')(() => 1);", "TypeError", "arguments[0] is a function"),
        ("await step('echo')({ m: new Map() });", "TypeError", "arguments[0].m is a Map"),
        ("const a = []; a.push(a); return a;", "TypeError", "result[0]"),
        ("throw 42;", "Error", "42"),
        ("throw null;", "Error", "null"),
        ("throw { toString() { throw 1; } };", "Error", ""),
        ("return Promise.reject(undefined);", "Error", "undefined"),
        ("throw Object.assign(new Error('no'), { name: 'Refused' });", "Refused", "no"),
        ("throw Object.assign(new Error('no'), { cause: { name: 'E', message: 1 } });", "Error", "no"),
        ("throw { name: 5, message: {} };", "Error", "[object Object]"),
        ("const e = new Error('a'); e.cause = e; throw e;", "Error", "a"),
        ("let e = null; for (let i = 0; i < 999; i++) e = new Error('' + i, { cause: e }); throw e;", "Error", "998"),
        ("throw Object.assign(new Error('a'), { data: { f() {} } });", "Error", "a"),
        ("throw new Proxy(new Error('a'), { get() { throw 1; } });", "Error", ""),
        ("await new (class extends Promise { then() { throw new Error('then') } })(() => {});", "Error", "then"),
    ],
)
def test_a_run_ends_with_what_its_code_did(mode: Mode, body: str, name: str, message: str) -> None:
    outcome = attacked(mode, javascript(body))
    assert outcome.end == ("failed", name)
    assert message.lower() in outcome.message.lower()


@pytest.mark.parametrize("name", ["FuelExhausted", "Canceled", "Deadlock", "Bail", "Suspend", "LeaseLost"])
def test_an_error_that_calls_itself_like_one_of_the_host_s_is_the_workflow_s(mode: Mode, name: str) -> None:
    """What the host records is another kind of record, and tells a limit from a pretence."""
    outcome = attacked(
        mode, javascript(f"throw Object.assign(new Error('mine'), {{ name: '{name}', fault: 'fuel' }});")
    )
    assert (outcome.end, outcome.message, outcome.kind) == (("failed", name), "mine", Kind.RUN_FAILED)


EMPTY = (
    "const { ownKeys, deleteProperty } = Reflect, g = globalThis; for (const k of ownKeys(g)) deleteProperty(g, k); "
)


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ("return await { then(done) { done(1); done(2); throw 3; } };", "1"),
        ("try { throw { name: 'Bail', value: 1 } } catch { return 'caught' }", "caught"),
        ("delete globalThis.Promise; delete globalThis.Object; return await step('echo')(1);", "1"),
        ("Object.freeze(globalThis); Object.freeze(Promise.prototype); return await step('echo')(1);", "1"),
        (EMPTY + "return await step('echo')(1);", "1"),
        ("cloche.abandon(Promise.resolve()); cloche.abandon({ id: 1 }); return await step('echo')(1);", "1"),
        ("const p = step('echo')(1); cloche.abandon(p); return cloche.abandon(p);", "False"),
    ],
)
def test_tricks_that_harm_nobody_are_replayed_alike(mode: Mode, body: str, result: str) -> None:
    assert attacked(mode, javascript(body)).end == ("success", result)


def test_wall_time_is_a_limit_of_its_own(mode: Mode) -> None:
    """For what burns time and hardly any fuel. It depends on the machine, so it is tried three times first."""
    endless = Limits(fuel_per_event=1 << 60, wall_ms_per_event=30, memory_bytes=32 << 20)
    outcome = attacked(mode, javascript("if (input === 1) for (;;) {}"), limits=endless)
    assert outcome.end == ("failed", "TimeExhausted")
    assert "longer than the wall time of one event" in outcome.message


@pytest.mark.parametrize(
    "source",
    [
        "for (;;) {}",
        "const all = []; for (;;) all.push(new Array(100000).fill(1));",
        "class A { static { for (;;) {} } }",
        "export const x = (() => { for (;;) {} })();",
        "const spin = () => Promise.resolve().then(spin); spin();",
        "await (async () => { for (;;) await null; })();",
    ],
)
def test_code_that_does_harm_while_it_loads_ends_its_run(mode: Mode, source: str) -> None:
    outcome = attacked(mode, f"{source}\n{javascript('return 1')}")
    assert outcome.end in [("failed", FUEL), ("failed", MEMORY)]
    assert "while its code was loaded" in outcome.message


def test_code_that_computes_while_it_loads_holds_up_nobody(mode: Mode) -> None:
    outcome = attacked(mode, f"for (;;) {{}}\n{javascript('return 1')}", limits=Limits())  # 0.15 s of computing
    assert outcome.end == ("failed", FUEL)
    assert outcome.neighbour_steps >= 2


@pytest.mark.parametrize(
    "source",
    ["", "}{", "import x from 'fs';", "export default 5;", "await new Promise(() => {});", "throw new Error('no');",
     "await import('x'); export default () => 1", "(" * 99_999, "\ufeff\u202e", "export default () => { # }"],
)  # fmt: skip
def test_what_does_not_load_fails_by_name(mode: Mode, source: str) -> None:
    assert attacked(mode, source).end == ("failed", "LoadFailed")


def test_a_memory_limit_below_the_guest_s_own_memory_ends_the_run(mode: Mode) -> None:
    outcome = attacked(mode, javascript("return 1"), limits=Limits(memory_bytes=1 << 20))
    assert outcome.end == ("failed", MEMORY)


def test_a_step_that_nobody_has_blocks_and_does_not_fail() -> None:
    @in_loop
    async def live() -> None:
        workflow = create_workflow(id="w").then(echo).commit()
        engine = Submitted(SandboxEngine(), javascript("await step('nobody')(1);"))
        async with Cloche(workflows=[workflow], engine=engine) as app:
            result = await (await app.start("w", 1)).result()
            assert (result.status, result.blocked and result.blocked["reason"]) == ("blocked", "missing-step")

    live()
