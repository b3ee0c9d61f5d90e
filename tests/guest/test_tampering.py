"""Workflow code may break itself; it cannot break what stands between it and the host."""

from __future__ import annotations

import pytest
from guest.cells import NOW, Cell, run, workflow

VANDAL = """
Promise.prototype.then = function () { throw new Error("then") };
Promise.resolve = Promise.all = Promise.reject = () => { throw new Error("promise") };
Object.defineProperty(Promise, Symbol.species, { get() { throw new Error("species") } });
Symbol.for = () => { throw new Error("for") };
Object.prototype.toJSON = () => "json";
Object.defineProperty(Object.prototype, "name", { set() { throw new Error("setter") }, get() { return "inherited" } });
for (const key of ["0", "1", "2"])
  Object.defineProperty(Array.prototype, key, { set() { throw new Error("index") }, configurable: true });
for (const name of ["Error", "TypeError", "Date", "BigInt", "Array", "Object", "Uint8Array", "String", "JSON", "Map"])
  globalThis[name] = class { constructor() { throw new Error(name) } };
Array.prototype.push = Array.prototype.map = Array.prototype[Symbol.iterator] = () => { throw new Error("array") };
Function.prototype.call = Function.prototype.apply = Function.prototype.bind = () => { throw new Error("function") };
"""
PREFIX = """const step = globalThis[Symbol.for("WORKFLOW_USE_STEP")]; const E = Error, D = Date, U = Uint8Array, T = TypeError;
Date.prototype.getTime = () => NaN; Date.prototype.valueOf = () => NaN;
Object.defineProperty(Date.prototype, Symbol.toPrimitive, { value: () => NaN });
BigInt.prototype.toString = () => "zz"; Error.prototype.toString = () => { throw 1 };
"""


def vandal(body: str) -> Cell:
    return Cell(PREFIX + VANDAL + "export default async (input) => {" + body + "}")


def test_steps_go_on_after_every_primordial_was_overwritten() -> None:
    cell = vandal("const r = await step('a')({ list: [1, 2], when: new D(0), big: 2n ** 70n }); return [r, new U([1])]")

    ((_, call, path, name, arguments),) = cell.start({"x": [1, 2, 3]})
    assert (call, path, name) == (1, "a", "a")
    assert arguments[0]["big"] == 2**70
    assert arguments[0]["list"] == [1, 2]
    assert arguments[0]["when"].timestamp() == 0
    value = {"list": [1, 2, 3], "name": "own", "big": 2**70, "bytes": b"x"}
    assert cell.complete(1, value) == [[7, [value, b"\1"]]]


def test_failures_come_and_go_after_every_primordial_was_overwritten() -> None:
    cell = vandal("try { await step('a')() } catch (e) { throw new E('again', { cause: e }) }")
    cell.start()

    cause = {"name": "X", "message": "m", "data": [1]}
    assert cell.turn([2, NOW, 1, cause]) == [[8, {"name": "Error", "message": "again", "cause": cause}]]


def test_refusals_name_the_place_after_every_primordial_was_overwritten() -> None:
    (command,) = vandal("return { f() {} }").start()

    assert command[1]["message"] == "result.f is a function"


def test_logging_goes_on_after_every_primordial_was_overwritten() -> None:
    assert vandal("console.log('a', 1, 2n, null, { a: 1 }); return 1").start()[-1] == [7, 1]


def test_what_await_looks_at_cannot_be_changed() -> None:
    body = "Object.defineProperty(Promise.prototype, 'constructor', { get() { throw new Error('mine') } }); await step('a')()"
    (failed,) = Cell(workflow(body)).start()

    assert (failed[0], failed[1]["name"]) == (8, "TypeError")


@pytest.mark.parametrize(
    "attempt",
    [
        "cloche.step = 1",
        "globalThis.cloche = 1",
        "delete globalThis.cloche",
        "cloche.extra = 1",
        "cloche.sleep.x = 1",
        "Object.setPrototypeOf(cloche, {})",
        "Object.defineProperty(cloche, 'step', { value: 1 })",
        "globalThis[Symbol.for('WORKFLOW_USE_STEP')] = 1",
        "delete globalThis[Symbol.for('WORKFLOW_USE_STEP')]",
    ],
)
def test_what_the_guest_offers_is_frozen(attempt: str) -> None:
    assert run(f"try {{ {attempt} }} catch (e) {{ return e.name }} return 'changed'") == "TypeError"


def test_every_member_of_the_namespace_is_frozen() -> None:
    assert (
        run(
            "return Object.getOwnPropertyNames(cloche).every((k) => Object.isFrozen(cloche[k])) && Object.isFrozen(cloche)"
        )
        is True
    )


def test_what_only_the_prelude_needs_is_gone() -> None:
    names = run("return Object.getOwnPropertyNames(cloche)")

    assert not {
        "listen",
        "openCalls",
        "drop",
        "mark",
        "bigints",
        "instants",
        "log",
        "random",
        "getRandomValues",
        "randomUUID",
        "own",
        "hasStarted",
        "traces",
        "unhandled",
        "encodeText",
        "decodeText",
    } & set(names)
    assert {"step", "sleep", "sleepUntil", "hook", "child", "abandon", "entered", "left"} <= set(names)


def test_the_step_function_and_its_namespace_member_are_one() -> None:
    assert run("return cloche.step === step") is True


def test_no_realm_is_reachable_through_functions_of_the_prelude() -> None:
    assert run("""try { return typeof console.log.caller } catch (e) { return e.name }""") in ("undefined", "TypeError")
    assert run("return [cloche.sleep.constructor('return typeof process')(), (0, eval)('typeof require')]") == [
        "undefined",
        "undefined",
    ]


def test_a_stack_formatter_of_the_workflow_cannot_write_into_a_command() -> None:
    body = """Error.prepareStackTrace = () => { try { step('inner')() } catch (e) {} return '' };
        try { await step('outer')(() => 1) } catch {} return 1"""

    commands = Cell(workflow(body)).start()

    assert commands[-1][0] in (0, 7)
    assert all(command[0] != 0 or command[3] == "inner" for command in commands)
