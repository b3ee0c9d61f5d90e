"""Recursion of any kind ends in an error that JavaScript can catch, before wasmtime's stack or the guest's own is used up."""

from __future__ import annotations

import pytest
from guest.cells import Cell, run, workflow

DEEP = {
    "a function": "const f = () => f() + 1; f()",
    "a function of many arguments": "const f = (a, b, c, d, e, g) => f(b, c, d, e, g, a) + 1; f(1, 2, 3, 4, 5, 6)",
    "a function that spreads": "const f = (...a) => f(...a) + 1; f(1, 2, 3)",
    "Reflect.apply": "const f = () => Reflect.apply(f, null, [1]) + 1; f()",
    "bound functions": "let f = () => 1; for (let i = 0; i < 3000; i++) f = f.bind(null); f()",
    "a method": "class A { m() { return this.m() + 1 } } new A().m()",
    "a constructor": "class A { constructor() { new A() } } new A()",
    "a derived constructor": "class A { constructor() { new B() } } class B extends A {} new B()",
    "toString": "const o = { toString() { return '' + o } }; '' + o",
    "valueOf": "const o = { valueOf() { return +o } }; +o",
    "a getter": "const o = { get a() { return o.a } }; o.a",
    "a setter": "const o = { set a(v) { o.a = v } }; o.a = 1",
    "sort": "const f = () => [2, 1].sort(f); f()",
    "map": "const f = () => [1].map(f); f()",
    "reduce": "const f = () => [1, 2].reduce(f); f()",
    "Array.from": "const f = () => Array.from([1], f); f()",
    "typed array sort": "const f = () => new Float64Array(3).sort(() => f()); f()",
    "flat": "let a = []; for (let i = 0; i < 50000; i++) a = [a]; a.flat(Infinity)",
    "join": "let a = []; for (let i = 0; i < 50000; i++) a = [a]; String(a)",
    "replace": "const f = () => 'a'.replace(/a/, f); f()",
    "JSON.parse lists": "JSON.parse('['.repeat(100000))",
    "JSON.parse maps": "JSON.parse('{\"a\":'.repeat(100000))",
    "JSON.stringify": "let a = []; for (let i = 0; i < 50000; i++) a = [a]; JSON.stringify(a)",
    "toJSON": "const o = { toJSON() { return JSON.stringify(o) } }; JSON.stringify(o)",
    "a reviver": "const f = () => JSON.parse('[1]', f); f()",
    "a proxy trap": "const p = new Proxy({}, { get(t, k, r) { return r[k] } }); p.x",
    "proxies of proxies": "let p = {}; for (let i = 0; i < 50000; i++) p = new Proxy(p, {}); p.x",
    "proxies asked for a key": "let p = {}; for (let i = 0; i < 50000; i++) p = new Proxy(p, {}); 'x' in p",
    "proxies asked for keys": "let p = {}; for (let i = 0; i < 50000; i++) p = new Proxy(p, {}); Object.keys(p)",
    "proxies assigned to": "let p = {}; for (let i = 0; i < 50000; i++) p = new Proxy(p, {}); p.x = 1",
    "proxies asked for a prototype": "let p = {}; for (let i = 0; i < 50000; i++) p = new Proxy(p, {}); p instanceof Map",
    "proxies called": "let p = () => 1; for (let i = 0; i < 50000; i++) p = new Proxy(p, {}); p()",
    "proxies constructed": "let p = class {}; for (let i = 0; i < 50000; i++) p = new Proxy(p, {}); new p()",
    "generators": "function* g() { yield* g() } [...g()]",
    "spread generators": "function* g() { [...g()] } [...g()]",
    "iterator helpers": "let it = [1].values(); for (let i = 0; i < 50000; i++) it = it.map((x) => x); it.next()",
    "iterators dropped": "let it = [1].values(); for (let i = 0; i < 50000; i++) it = it.drop(0); it.next()",
    "iterators joined": "let it = [1]; for (let i = 0; i < 50000; i++) it = Iterator.concat(it); it.next()",
    "an async function": "const f = async () => { await f() }; await f()",
    "eval": "globalThis.f = () => (0, eval)('f()'); f()",
    "new Function": "globalThis.f = () => new Function('return f()')(); f()",
    "a regular expression": "new RegExp('(?:'.repeat(50000) + ')'.repeat(50000))",
    "a lookahead": "new RegExp('(?='.repeat(50000) + ')'.repeat(50000))",
    "a character class": "new RegExp('['.repeat(50000) + ']'.repeat(50000), 'v')",
    "instanceof": "const o = { [Symbol.hasInstance](v) { return v instanceof o } }; 1 instanceof o",
    "toPrimitive": "const o = { [Symbol.toPrimitive]() { return o < 1 } }; o < 1",
    "a stack formatter": "Error.prepareStackTrace = () => new Error('x').stack; const f = () => f(); f()",
    "source: parentheses": "eval('('.repeat(50000))",
    "source: lists": "eval('['.repeat(50000))",
    "source: maps": "eval('(' + '{a:'.repeat(50000))",
    "source: blocks": "eval('{'.repeat(50000))",
    "source: calls": "eval('x('.repeat(50000))",
    "source: arrows": "eval('()=>{'.repeat(50000))",
    "source: functions": "eval('function f(){'.repeat(50000))",
    "source: unary operators": "eval('!'.repeat(50000) + '1')",
    "source: powers": "eval('1**'.repeat(50000) + '1')",
    "source: conditions": "eval('1?'.repeat(50000))",
    "source: new": "eval('new '.repeat(50000) + 'Object')",
    "source: assignments": "eval('x='.repeat(50000) + '1')",
    "source: templates": "eval('`${'.repeat(50000))",
    "source: patterns": "eval('(' + '['.repeat(50000) + 'a' + ']'.repeat(50000) + '=[])')",
    "source: defaults": "eval('(' + '(a='.repeat(50000))",
    "source: classes": "eval('class A extends '.repeat(50000))",
    "source: class fields": "eval('(class { f='.repeat(50000))",
    "source: getters": "eval('({get a(){return '.repeat(50000))",
    "source: if": "eval('if(1)'.repeat(50000) + ';')",
    "source: loops": "eval('for(;0;)'.repeat(50000) + ';')",
    "source: try": "eval('try{'.repeat(50000))",
    "source: await": "eval('async function f(){' + 'await '.repeat(50000) + '1}')",
    "source: yield": "eval('function* f(){' + 'yield '.repeat(50000) + '1}')",
}


@pytest.mark.parametrize("name", DEEP)
def test_it_ends_in_an_error_that_can_be_caught(name: str) -> None:
    code = DEEP[name]
    cell = Cell(workflow(f"try {{ {code} }} catch (e) {{ return [e.name, e.message] }} return 'no error'"))
    cell.store.set_fuel(20_000_000_000)

    *_, (_, (error, message)) = cell.start()  # a promise for which no stack was left is told of

    assert error in ("RangeError", "SyntaxError")
    assert "stack" in message or name.startswith("source:")  # the parser may complain of what it sees there


def test_functions_can_nest_a_thousand_deep() -> None:
    assert run("const f = (n) => n ? f(n - 1) + 1 : 0; return f(1000)") == 1000


def test_data_can_nest_a_thousand_deep_in_json() -> None:
    text = "[" * 1000 + "]" * 1000
    assert run("return JSON.stringify(JSON.parse(input))", text) == text


def test_a_workflow_goes_on_after_a_recursion_was_stopped() -> None:
    cell = Cell(
        workflow(
            "const f = () => f(); for (let i = 0; i < 3; i++) { try { f() } catch {} await step('s')(i) } return 'on'"
        )
    )
    cell.start()
    cell.complete(1)
    cell.complete(2)

    assert cell.complete(3) == [[7, "on"]]


@pytest.mark.parametrize(
    "code",
    [
        "let o = null; for (let i = 0; i < 300_000; i++) o = { o }; o = null",
        "let p = Promise.resolve(); for (let i = 0; i < 100_000; i++) p = p.then((x) => x); await p",
        "let f = () => 0; for (let i = 0; i < 200_000; i++) { const g = f; f = () => g } f = null",
        "let s = 'a'.repeat(300); for (let i = 0; i < 20_000; i++) s = s + 'b'.repeat(300) + i; s.charCodeAt(5)",
        "let s = 'a'.repeat(300); for (let i = 0; i < 3_000; i++) s = 'b'.repeat(300) + i + s; s.charCodeAt(5)",
        "let p = {}; for (let i = 0; i < 100_000; i++) p = Object.create(p); p.x",
    ],
)
def test_long_chains_are_walked_and_freed_without_recursion(code: str) -> None:
    assert run(f"{code}; return 'fine'") == "fine"


def test_a_value_can_be_passed_from_near_the_end_of_the_stack() -> None:
    body = """let asked = 0;
        const f = (a) => { try { return f(a) } catch (e) { asked++; step("s")(a); return 1 } };
        let a = []; for (let i = 0; i < 60; i++) a = [a];
        f(a); return asked"""

    commands = Cell(workflow(body)).start()

    assert commands[-1][0] in (7, 8)
