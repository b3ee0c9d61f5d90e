"""The console has all of its methods, shows anything, and never fails a run."""

from __future__ import annotations

import pytest
from guest.cells import LOG, NOW, Cell, workflow

METHODS = [
    "assert", "clear", "count", "countReset", "debug", "dir", "dirxml", "error", "group", "groupCollapsed", "groupEnd", "info",
    "log", "table", "time", "timeEnd", "timeLog", "trace", "warn",
]  # fmt: skip


def lines(body: str) -> list[str]:
    *logged, end = Cell(workflow(f"{body}; return 1")).start()
    assert end == [7, 1]
    assert all(command[0] == LOG for command in logged)
    return [command[2] for command in logged]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    "values",
    ["", "undefined", "null", "new Proxy({}, { get() { throw 1 }, ownKeys() { throw 2 } })", "Symbol('s'), 1n, {}"],
)
def test_no_method_fails_a_run(name: str, values: str) -> None:
    lines(f"console.{name}({values})")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ("'%s is %d years, %i, %f', 'Ada', '36.5', 36.9, '1.5'", "Ada is 36.5 years, 36, 1.5"),
        ("'%o and %O', { a: 1 }, [1]", "and".join(['{"a":1} ', " [1]"])),
        ("'%j', { a: 'x' }", '{"a":"x"}'),
        ("'100%', 5", "100% 5"),
        ("'%%s', 5", "%s 5"),
        ("'%s'", "%s"),
        ("'%s %s', 1", "1 %s"),
        ("'%c styled', 'color: red'", " styled"),
        ("'%d', 5n", "5n"),
        ("'%x', 1", "%x 1"),
        ("1, '%s', 2", "1 %s 2"),
    ],
)
def test_formats(values: str, text: str) -> None:
    assert lines(f"console.log({values})") == [text]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("new Map([['a', 1], [{ b: 2 }, 'x']])", 'Map(2){"a" => 1, {"b":2} => "x"}'),
        ("new Set([1, 'x'])", 'Set(2){1, "x"}'),
        ("[1n, undefined, () => 1, Symbol('s')]", "[1n,null,[Function],Symbol(s)]"),
        ("{ f: function named() {} }", '{"f":[Function named]}'),
        ("new Error('boom')", "Error: boom"),
        ("new Error('boom', { cause: new TypeError('why') })", "Error: boom [cause: [TypeError: why]]"),
        ("{ e: new RangeError('in') }", '{"e":[RangeError: in]}'),
        ("(() => { const a = [1]; a.push(a); return a })()", "[1,[Circular]]"),
        ("new (class Point { x = 1 })()", 'Point {"x":1}'),
        ("new Uint8Array([1, 2])", "Uint8Array [1,2]"),
        ("new Date(0)", '"1970-01-01T00:00:00.000Z"'),
        ("/x/gi", "/x/gi"),
        ("{ a: 1, b: undefined, c: 'x' }", '{"a":1,"c":"x"}'),
        ("{ toJSON() { return 'told' } }", '"told"'),
        ("Array(1003).fill(0)", "[" + ",".join("0" * 1000) + ", … 3 more]"),
        ("-0", "0"),
    ],
)
def test_values(value: str, text: str) -> None:
    assert lines(f"console.log({value})") == [text]


def test_the_other_methods() -> None:
    body = """console.assert(true, "no"); console.assert(false, "%s", "why"); console.assert(false); console.dir({ a: 1 });
        console.count(); console.count("x"); console.count(); console.countReset(); console.count(); console.timeEnd("none");
        console.group("outer"); console.log("a\\nb"); console.group(); console.log("c"); console.groupEnd(); console.groupEnd();
        console.groupEnd(); console.log("d")"""

    assert lines(body) == [
        "Assertion failed: why", "Assertion failed", '{"a":1}', "default: 1", "x: 1", "default: 2", "default: 1",
        'there is no timer "none"', "outer", "  a\n  b", "    c", "d",
    ]  # fmt: skip


def test_a_table_has_a_line_for_each_row() -> None:
    assert lines("console.table([{ a: 1, b: 'x' }, { a: 22 }, 5])") == [
        '(index) | a  | b   | Values\n0       | 1  | "x" |       \n1       | 22 |     |       \n2       |    |     | 5     '
    ]
    assert lines("console.table([{ a: 1, b: 2 }], ['b'])") == ["(index) | b\n0       | 2"]


def test_clocks_show_the_time_between_events() -> None:
    cell = Cell(
        workflow("console.time('t'); await step('s')(); console.timeLog('t', 1); console.timeEnd('t'); return 1")
    )
    cell.start(now=NOW)

    assert [command[2] for command in cell.complete(1, now=NOW + 250)[:-1]] == ["t: 250ms 1", "t: 250ms"]


def test_a_line_that_a_getter_asks_for_in_the_middle_of_a_value_is_dropped() -> None:
    assert Cell(workflow("return { get a() { console.log('x'); return 1 } }")).start() == [[7, {"a": 1}]]
