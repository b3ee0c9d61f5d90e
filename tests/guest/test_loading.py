"""Loading: a workflow is one ES module, evaluated where nothing has happened yet."""

from __future__ import annotations

from typing import Any

import pytest
from guest.cells import Cell, GuestStopped, workflow


def load_failure(source: str | bytes) -> dict[str, Any]:
    with pytest.raises(GuestStopped) as stopped:
        Cell().load(source)
    assert stopped.value.code == -5
    failure: dict[str, Any] = stopped.value.failure
    return failure


def test_a_syntax_error_names_line_and_column() -> None:
    failure = load_failure("const a = 1;\nconst = 2;\nexport default () => 1;")

    assert failure["name"] == "SyntaxError"
    assert failure["data"] == {"line": 2, "column": 7}


def test_an_error_at_the_top_level_names_where_it_was_thrown() -> None:
    failure = load_failure("\n\nfunction f() {\n  throw new TypeError('boom')\n}\nf();\nexport default () => 1;")

    assert (failure["name"], failure["message"]) == ("TypeError", "boom")
    assert failure["data"]["line"] == 4


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("export const a = 1", "its default export must be a function"),
        ("export default 5", "its default export must be a function"),
        ("import fs from 'node:fs'; export default () => 1", "cannot import 'node:fs'"),
        ("await import('x'); export default () => 1", "cannot import 'x'"),
        ("await new Promise(() => {}); export default () => 1", "waits at its top level"),
        ("throw 5; export default () => 1", "5"),
        (
            "crypto.randomUUID(); export default () => 1",
            "no random bytes before the run starts, for they would be the same",
        ),
        ("crypto.getRandomValues(new Uint8Array(1)); export default () => 1", "no random bytes before the run starts"),
        ("setTimeout(() => 1); export default () => 1", "there is no setTimeout before the run starts"),
        ("setInterval(() => 1); export default () => 1", "there is no setInterval before the run starts"),
        ("import 'node:fs'; export default () => 1", "Node's own modules are not there: bundle for browsers"),
        ("import 'lodash'; export default () => 1", "a bundler makes one of several"),
        (b"export default () => '\xff'", "not UTF-8"),
    ],
)
def test_a_source_that_does_not_load_says_why(source: str | bytes, message: str) -> None:
    assert message in load_failure(source)["message"]


def test_a_source_may_await_what_needs_no_event() -> None:
    assert Cell("const x = await Promise.resolve(2); export default () => x").start() == [[7, 2]]


def test_a_second_load_is_refused() -> None:
    cell = Cell(workflow("return 1"))

    with pytest.raises(GuestStopped) as stopped:
        cell.load(workflow("return 2"))
    assert stopped.value.failure["message"] == "a workflow is loaded already"


def test_log_lines_while_loading_go_nowhere() -> None:
    assert Cell("console.log('early'); export default () => 1").start() == [[7, 1]]


def test_a_source_that_fills_the_window_loads() -> None:
    head = "export default () => 1 //"
    source = head + "x" * ((8 << 20) - len(head))

    assert Cell(source).start() == [[7, 1]]


def test_input_and_what_is_given_arrive_as_the_two_arguments() -> None:
    cell = Cell("export default (input, given) => [input, given.state.n, given.context]")

    assert cell.start({"a": 1}, given={"state": {"n": 5}, "context": {"k": "v"}}) == [[7, [{"a": 1}, 5, {"k": "v"}]]]


def test_loading_changes_few_pages() -> None:
    untouched, cell = Cell().state(), Cell(workflow("return await step('a')(await step('b')(input))"))
    state = cell.state()
    changed = [i for i in range(0, len(state), 4096) if state[i : i + 4096] != untouched[i : i + 4096]]

    assert len(changed) < 60


def test_loading_the_same_source_gives_the_same_state() -> None:
    source = workflow("return { a: Symbol.for('x').description, b: new Map([[{}, 1]]).size }")

    assert Cell(source).state() == Cell(source).state()


def names(count: int) -> str:
    """So many names at the top level, each of which uses the one before."""
    rest = "\n".join(f"var a{i} = (x) => a{i - 1}(x) + b(x);" for i in range(1, count))
    return f"const a0 = (x) => x, b = (x) => x;\n{rest}\nexport {{ a0, a{count - 1} as last }};\nexport default () => a5(1);"


def test_the_fuel_of_loading_grows_with_the_names_and_not_with_their_square() -> None:
    cells = [Cell(names(count)) for count in (1_000, 4_000)]

    assert cells[1].fuel_used() < 5 * cells[0].fuel_used()
    assert cells[1].start() == [[7, 6]]


@pytest.mark.parametrize("count", [3, 31, 32, 33, 34, 70, 200])
def test_of_many_names_each_means_what_is_nearest(count: int) -> None:
    """Around the size from which on they are looked up by their hash: closures, shadowing, blocks, eval, exports."""
    declared = "\n".join(
        f"let v{i} = {i}; function f{i}() {{ return v{i}++ + g{i}() }} var g{i} = () => v{i};" for i in range(count)
    )
    every = ", ".join(f"f{i}()" for i in range(count))
    source = f"""{declared}
      const outer = (v1) => {{
        const inner = () => {{ const v2 = 50; return [v0, v1, v2, eval("v1 + v2 + v0")] }};
        return inner() }};
      function everything() {{ return [{every}] }}
      {{ let v0 = "block"; function inBlock() {{ return v0 }} globalThis.kept = inBlock; }}
      export {{ v0, f1 as renamed }};
      export default () => [everything(), outer("x"), kept(), typeof missing, typeof v2]"""
    (command,) = Cell(source).start()

    changed = [2 * i + 1 for i in range(count)]
    assert command == [7, [changed, [1, "x", 50, "x501"], "block", "undefined", "number"]]


@pytest.mark.parametrize("again", ["let v3 = 1", "const v3 = 1", "function v3() {}", "class v3 {}", "var v3"])
def test_a_name_that_is_declared_twice_among_many_is_an_error(again: str) -> None:
    declared = "\n".join(f"let v{i} = {i};" for i in range(100))

    assert load_failure(f"{declared}\n{again}\nexport default () => 1")["name"] == "SyntaxError"
    assert (
        Cell(f"{declared}\nfunction inner() {{ {again}; return typeof v3 }}\nexport default inner").start()[0][0] == 7
    )
