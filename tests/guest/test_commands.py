"""What a workflow asks for, and how answers reach it."""

from __future__ import annotations

import cbor2
import pytest
from guest.cells import NOW, Cell, GuestStopped, pack, workflow

from cloche.history.check import check


def test_a_step_is_asked_for_with_its_path_name_and_arguments() -> None:
    cell = Cell(workflow("return await step('add', 'W/add')(1, { a: [2] });"))

    assert cell.start() == [[0, 1, "W/add", "add", [1, {"a": [2]}]]]
    assert cell.complete(1, 3) == [[7, 3]]


def test_without_a_path_later_calls_of_a_name_are_numbered() -> None:
    cell = Cell(
        workflow(
            "const inc = step('inc'); await Promise.all([inc(), inc(), step('other')(), inc(), step('inc', 'p')()]);"
        )
    )

    assert [command[2] for command in cell.start()] == ["inc", "inc#2", "other", "inc#3", "p"]


def test_a_name_like_a_prototype_property_is_counted_like_any_other() -> None:
    cell = Cell(workflow("for (const name of ['__proto__', 'toString', '__proto__']) step(name)(); await step('z')();"))

    assert [command[2] for command in cell.start()] == ["__proto__", "toString", "__proto__#2", "z"]


def test_a_failed_step_throws_an_error_with_the_four_properties() -> None:
    cell = Cell(
        workflow("""try { await step("a")() } catch (e) {
            return [e instanceof Error, e.name, e.message, e.data, e.cause.name, e.cause instanceof Error, Object.keys(e)] }""")
    )
    cell.start()
    failure = {"name": "Odd", "message": "m", "data": {"x": 1}, "cause": {"name": "Deep", "message": "d"}}

    assert cell.turn([2, NOW, 1, failure]) == [[7, [True, "Odd", "m", {"x": 1}, "Deep", True, []]]]


def test_a_failure_that_is_thrown_on_leaves_as_it_came() -> None:
    cell = Cell(workflow("await step('a')()"))
    cell.start()
    failure = {"name": "Odd", "message": "m", "data": [1], "cause": {"name": "Deep", "message": "d", "data": None}}

    assert cell.turn([2, NOW, 1, failure]) == [[8, failure]]


@pytest.mark.parametrize(
    ("thrown", "failure"),
    [
        ("new TypeError('t')", {"name": "TypeError", "message": "t"}),
        ("Object.assign(new Error('e'), { code: 7, f() {} })", {"name": "Error", "message": "e", "data": {"code": 7}}),
        (
            "new Error('e', { cause: new RangeError('r') })",
            {"name": "Error", "message": "e", "cause": {"name": "RangeError", "message": "r"}},
        ),
        ("new Error('e', { cause: 'text' })", {"name": "Error", "message": "e"}),
        ("'text'", {"name": "Error", "message": "text", "data": "text"}),
        ("{ a: 1 }", {"name": "Error", "message": "[object Object]", "data": {"a": 1}}),
        ("undefined", {"name": "Error", "message": "undefined"}),
        ("null", {"name": "Error", "message": "null", "data": None}),
        ("Symbol('s')", {"name": "Error", "message": "a symbol was thrown"}),
        ("() => 1", {"name": "Error", "message": "() => 1"}),
        ("Object.create(null)", {"name": "Error", "message": "a value without text was thrown", "data": {}}),
        ("Object.assign(new Error('e'), { name: 5 })", {"name": "Error", "message": "e"}),
        (
            "(() => { const e = new Error('e'); e.cause = e; e.self = e; return e })()",
            {"name": "Error", "message": "e"},
        ),
        (
            "{ get a() { throw 1 }, toString() { throw 2 } }",
            {"name": "Error", "message": "a value without text was thrown"},
        ),
    ],
)
def test_a_thrown_value_becomes_a_failure(thrown: str, failure: dict[str, object]) -> None:
    assert Cell(workflow(f"throw ({thrown})")).start() == [[8, failure]]


def test_a_long_chain_of_causes_is_cut_and_not_followed_for_ever() -> None:
    (command,) = Cell(
        workflow("let e = new Error('0'); for (let i = 1; i < 1000; i++) e = new Error(i, { cause: e }); throw e")
    ).start()

    depth, failure = 0, command[1]
    while failure := failure.get("cause"):
        depth += 1
    assert 0 < depth < 64


@pytest.mark.parametrize("length", range(60, 68))
def test_a_chain_whose_deepest_cause_has_lists_is_no_deeper_than_the_host_reads(length: int) -> None:
    """`Cell` decodes what comes out as the host does: what is too deep is malformed there."""
    deepest = "Object.assign(new Error('0'), { bases: ['builtins.ValueError'], notes: ['a note'], errors: [new Error('one')] })"
    (command,) = Cell(
        workflow(f"let e = {deepest}; for (let i = 1; i < {length}; i++) e = new Error(i, {{ cause: e }}); throw e")
    ).start()
    assert check(cbor2.dumps(command, canonical=True)) > 0


def test_a_synchronous_workflow_completes_and_fails_alike() -> None:
    assert Cell("export default (input) => input + 1").start(1) == [[7, 2]]
    assert Cell("export default () => { throw new Error('x') }").start() == [[8, {"name": "Error", "message": "x"}]]


def test_a_thenable_result_is_waited_for() -> None:
    assert Cell("export default () => ({ then(resolve) { resolve(5) } })").start() == [[7, 5]]


def test_an_error_inside_data_crosses_as_its_failure() -> None:
    assert Cell(workflow("return { e: new RangeError('r') }")).start() == [
        [7, {"e": {"name": "RangeError", "message": "r"}}]
    ]


@pytest.mark.parametrize(
    ("asked", "due"),
    [
        ("cloche.sleep('s', 1000, 'v')", NOW + 1000),
        ("cloche.sleep('s', 0.2, 'v')", NOW + 1),
        ("cloche.sleep('s', -5, 'v')", NOW),
        ("cloche.sleep('s', NaN, 'v')", NOW),
        ("cloche.sleep('s', undefined, 'v')", NOW),
        ("cloche.sleep('s', Infinity, 'v')", 8640000000000000),
        (f"cloche.sleepUntil('s', {NOW + 7}, 'v')", NOW + 7),
        (f"cloche.sleepUntil('s', new Date({NOW + 7}), 'v')", NOW + 7),
        ("cloche.sleepUntil('s', new Date(0), 'v')", NOW),
        ("cloche.sleepUntil('s', NaN, 'v')", NOW),
    ],
)
def test_a_timer_is_due_in_whole_milliseconds_and_never_in_the_past(asked: str, due: int) -> None:
    cell = Cell(workflow(f"return await {asked}"))

    assert cell.start() == [[1, 1, "s", due, "v"]]
    assert cell.turn([4, due, 1]) == [[7, "v"]]


def test_sleep_until_refuses_text() -> None:
    (command,) = Cell(workflow("await cloche.sleepUntil('s', '2030-01-01')")).start()

    assert "was given text" in command[1]["message"]


def test_hooks_and_children_are_calls_too() -> None:
    cell = Cell(
        workflow("""return await Promise.all([
            cloche.hook("h", "approval", { ask: 1 }), cloche.child("c", "billing", 5)])""")
    )

    assert cell.start() == [[2, 1, "h", "approval", {"ask": 1}], [3, 2, "c", "billing", 5]]
    assert cell.turn([5, NOW, 1, "yes"]) == []
    assert cell.turn([6, NOW, 2, [0, 6]]) == [[7, ["yes", 6]]]


def test_a_failed_child_throws() -> None:
    cell = Cell(workflow("await cloche.child('c', 'w', null)"))
    cell.start()

    assert cell.turn([6, NOW, 1, [1, {"name": "E", "message": "m"}]]) == [[8, {"name": "E", "message": "m"}]]


def test_what_goes_on_inside_is_reported_in_order() -> None:
    cell = Cell(
        workflow("""cloche.entered("W", { a: 1 }); await step("x")(); cloche.left("W", [0, 2]);
            cloche.left("V", [1, new TypeError("t")]);""")
    )

    assert cell.start() == [[5, "W", {"a": 1}], [0, 1, "x", "x", []]]
    assert cell.complete(1) == [[6, "W", [0, 2]], [6, "V", [1, {"name": "TypeError", "message": "t"}]], [7, None]]


def test_an_abandoned_call_is_named_once_and_its_late_result_is_dropped() -> None:
    cell = Cell(
        workflow("""const slow = step("slow")(); await step("fast")();
            const first = cloche.abandon(slow), again = cloche.abandon(slow), other = cloche.abandon(Promise.resolve());
            await step("more")(); return [first, again, other]""")
    )
    cell.start()

    assert cell.complete(2) == [[9, 1], [0, 3, "more", "more", []]]
    assert cell.complete(1, "late") == []
    assert cell.complete(3) == [[7, [True, False, False]]]


def test_a_suspended_step_stays_pending_and_can_still_complete() -> None:
    cell = Cell(workflow("return await step('a')()"))
    cell.start()

    assert cell.turn([3, NOW, 1, {"reason": "waits"}], [3, NOW, 1, {}]) == []
    assert cell.complete(1, "done") == [[7, "done"]]


def test_after_the_end_events_are_taken_and_answered_with_nothing() -> None:
    cell = Cell(workflow("step('left over')(); cloche.sleep('t', 1); return 1"))
    assert cell.start() == [[0, 1, "left over", "left over", []], [1, 2, "t", NOW + 1, None], [7, 1]]

    output = cell.give(pack([1, NOW, 1, None]), pack([4, NOW, 2]), pack([7, NOW, "reason"]))

    assert output == b"\xf6\xf6\xf6"


def test_nothing_follows_the_result_of_a_run() -> None:
    body = "let n = 0; (async () => { while (++n < 50) { await 0; step('x')(); } })(); return 1"
    commands = Cell(workflow(body)).start()

    assert commands[-1] == [7, 1]


@pytest.mark.parametrize("module", ["step('x')()", "cloche.sleep('s', 1)"])
def test_commands_outside_the_workflow_function_are_refused(module: str) -> None:
    source = f"const step = globalThis[Symbol.for('WORKFLOW_USE_STEP')]; await {module}; export default () => 1"
    with pytest.raises(GuestStopped) as stopped:
        Cell(source)

    assert "belong in the workflow function" in stopped.value.failure["message"]


def test_names_and_paths_are_text() -> None:
    (command,) = Cell(workflow("await step(5)()")).start()

    assert command[1]["message"] == "the path and the name of a call are strings"


def test_console_writes_log_lines_with_their_level() -> None:
    cell = Cell(
        workflow("""console.trace("t"); console.debug("d", 1); console.log("l", { a: [1] }, null, undefined);
            console.info(new TypeError("e"), 5n); console.warn("ü", Symbol("s")); console.error();
            console.log({ get x() { throw 1 } });""")
    )

    assert cell.start()[:-1] == [
        [4, 0, "t"],
        [4, 1, "d 1"],
        [4, 2, 'l {"a":[1]} null undefined'],
        [4, 2, "TypeError: e 5n"],
        [4, 3, "ü Symbol(s)"],
        [4, 4, ""],
        [4, 2, "[a value without text]"],
    ]
