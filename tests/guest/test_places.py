"""Failures have a place, errors have a stack that says what they are, and no rejection is lost."""

from __future__ import annotations

from typing import Any

import pytest
from guest.cells import FAIL, LOG, NOW, SEED, Cell, pack, run, sequence, workflow

ERROR_LEVEL = 4


def failure_of(source: str, *events: Any) -> Any:
    """The failure with which the run ends, its trace included."""
    output = Cell(source).give(pack([0, NOW, SEED, None, {}]), *map(pack, events))
    *_, last = [command for command in sequence(output) if command is not None]
    assert last[0] == FAIL
    return last[1]


def test_a_failure_says_line_function_and_column_outermost_first() -> None:
    source = "const inner = () => { throw new TypeError('x') };\nexport default function outer() {\n  inner();\n}"

    assert failure_of(source)["trace"] == [[3, "outer", 3], [1, "inner", 33]]


def test_it_says_so_behind_an_await() -> None:
    source = "const step = cloche.step;\nexport default async () => {\n  await step('a')();\n  null.x;\n}"

    assert failure_of(source, [1, NOW, 1, None])["trace"][-1][0] == 4


def test_what_is_thrown_and_is_no_error_has_no_place() -> None:
    assert "trace" not in failure_of(workflow("throw 5"))


@pytest.mark.parametrize(
    "spoil",
    [
        "e.stack = 'at evil (workflow.js:99:99)\\n'",
        "Object.defineProperty(Error.prototype, 'stack', { get() { throw 1 } })",
        "Object.defineProperty(e, 'stack', { value: 5 })",
    ],
)
def test_the_place_is_the_engine_s_whatever_code_says(spoil: str) -> None:
    assert failure_of(workflow(f"const e = new Error('x'); {spoil}; throw e"))["trace"] == [[3, "workflow", 15]]


def test_names_of_functions_are_cut_and_mended() -> None:
    name = "a" * 199 + "é(workflow.js:1:1)\\ud800"
    trace = failure_of(workflow(f"const f = {{ ['{name}']() {{ throw new Error('x') }} }}; f['{name}']()"))["trace"]

    assert (trace[-1][0], trace[-1][1]) == (3, "a" * 199)


def test_a_trace_is_bounded() -> None:
    deep = "Error.stackTraceLimit = 1000; const f = (n) => { if (n) return f(n - 1) + 1; throw new Error('x') }; f(100)"

    assert len(failure_of(workflow(deep))["trace"]) == 16


def test_a_stack_begins_with_name_and_message() -> None:
    body = """class Own extends RangeError { name = "Own" } const all = [new Error("boom"), new TypeError(), new Own("m")];
        return all.map((error) => error.stack.split("\\n")[0])"""

    assert run(body) == ["Error: boom", "TypeError", "Own: m"]


def test_anything_may_be_put_in_the_place_of_a_stack() -> None:
    body = """const e = new Error("a"), seen = [];
        for (const value of [undefined, 5, "text", null]) { e.stack = value; seen.push(e.stack === value) }
        Error.prototype.stack = 2; Object.freeze(new Error("f"))["stack"] = 3;
        return [seen, Object.keys(e), new Error("b").stack.split("\\n")[0]]"""

    assert run(body) == [[True] * 4, [], "Error: b"]


def test_an_unhandled_rejection_is_a_log_line_and_says_where() -> None:
    (logged, _) = Cell(workflow("(async () => { throw new TypeError('lost') })(); return 1")).start()

    said = "a promise was rejected, and nobody has handled it: TypeError: lost (workflow.js:3:26)"
    assert logged == [LOG, ERROR_LEVEL, said]


@pytest.mark.parametrize(
    "body",
    [
        "const p = Promise.reject(new Error('x')); try { await p } catch {}",
        "await Promise.allSettled([Promise.reject(1), Promise.reject(2)])",
        "const p = (async () => { throw 1 })(); await null; p.catch(() => 1); await null",
        "await cloche.parallel([['a', async () => { throw 1 }], ['b', async () => 1]], { settle: true })",
    ],
)
def test_what_is_handled_within_its_event_is_not_told(body: str) -> None:
    assert Cell(workflow(f"{body}; return 1")).start() == [[7, 1]]


def test_each_is_told_once_in_its_event_in_order() -> None:
    cell = Cell(workflow("Promise.reject('a'); Promise.reject('b'); await step('s')(); Promise.reject('c'); return 1"))

    assert [command[2] for command in cell.start()[1:]] == [
        f"a promise was rejected, and nobody has handled it: {x}" for x in "ab"
    ]
    assert [command[0] for command in cell.complete(1)] == [LOG, 7]


def test_one_of_loading_is_told_with_the_first_event() -> None:
    cell = Cell("Promise.reject(new Error('early')); export default () => new Promise(() => {})")

    assert [command[2] for command in cell.start()] == [
        "a promise was rejected, and nobody has handled it: Error: early (workflow.js:1:20)"
    ]


def test_reasons_that_cannot_be_shown_do_not_break_the_run() -> None:
    body = """Promise.reject({ get x() { throw 1 } }); Promise.reject(Symbol("s")); Promise.reject(undefined);
        Promise.reject({ toJSON() { Promise.reject(2); return 1 } }); await step("s")(); return 1"""

    commands = Cell(workflow(body)).start()
    assert [command[0] for command in commands] == [0, 4, 4, 4, 4, 4]


def test_rejections_leave_nothing_behind() -> None:
    """In any batching, and when they are told the memory is free again."""
    source = workflow("for (let i = 0; i < 40; i++) { Promise.reject(new Error('x')); await step('s')() } return 1")
    events = [pack([0, NOW, SEED, None, {}]), *(pack([1, NOW, call, None]) for call in range(1, 30))]
    one, many = Cell(source), Cell(source)

    assert one.give(*events) == b"".join(many.give(event) for event in events)
    assert one.state() == many.state()
