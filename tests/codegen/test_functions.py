"""Python functions under glass: found in their source, checked, frozen, stored. How they run is tested with the engines."""

from __future__ import annotations

import json
import linecache
import math
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import codegen.functions_for_tests as written
import pytest
from codegen.functions_for_tests import LIMIT, client
from codegen.steps_for_tests import free

from cloche_codegen import Graph, GraphError, Workflow, create_workflow, load_workflow
from cloche_codegen.conditions.functions.reading import BrokenFunction, context_use, opened
from cloche_codegen.conditions.functions.refusals import NotUnderGlass
from cloche_codegen.conditions.functions.source import Place
from cloche_codegen.conditions.functions.take import taken
from cloche_codegen.conditions.functions.taken import Taken
from cloche_codegen.conditions.functions.text import placed


class Data(dict[str, Any]):
    __getattr__ = dict.__getitem__


def run(found: Taken, *arguments: Any) -> Any:
    """What the source alone gives: nothing of the file it is from is at hand."""
    space: dict[str, Any] = {}
    exec(compile(found.source, "<inside>", "exec"), space)
    return space[found.name](*arguments)


def refusal(function: Any, **options: Any) -> NotUnderGlass:
    with pytest.raises(NotUnderGlass) as caught:
        taken(function, **options)
    return caught.value


# ---- found in its source -------------------------------------------------------------------------------------------------


def test_lambdas_on_one_line_are_told_apart() -> None:
    assert [taken(one).source for one in written.ON_ONE_LINE] == [
        "function = lambda data: data.n > 1\n",
        "function = lambda data: data.n > 2\n",
        "function = lambda data: (lambda inner: inner)(data.n > 3)\n",
    ]


def test_a_lambda_over_several_lines_keeps_them_and_its_comments() -> None:
    found = taken(written.OVER_LINES[0])
    assert found.source == (
        "LIMIT = 80\nfunction = (lambda data: (\n        data.score  # what counts\n        > LIMIT\n    ))\n"
    )
    first = written.OVER_LINES[0].__code__.co_firstlineno
    assert found.lines == (None, *((written.__file__, first + index) for index in range(4)))


def test_a_closure_takes_the_value_it_was_made_with() -> None:
    assert taken(written.above(7)).source == "bound = 7\nfunction = lambda data: data.score > bound\n"


def test_a_decorated_function_is_what_the_decorator_made_of_it() -> None:
    found = taken(written.is_small)
    assert found.name == "turned"
    assert "@" not in found.source
    assert "Order" not in found.source
    assert run(found, Data(score=90)) is False
    assert run(found, Data(score=9)) is True


def test_texts_of_several_lines_stay_as_they_are() -> None:
    assert 'text = """in\n quotes"""' in taken(written.is_small).source
    assert taken(written.quoting()).source == 'def quotes(data):\n    return """a\n        b\n""" + data\n'


def test_behind_a_cache_is_the_plain_function() -> None:
    assert taken(written.remembered).source == "def remembered(data):\n    return data\n"


def test_a_default_is_frozen() -> None:
    made = [lambda data, bound=bound: data > bound for bound in (1, 2)]
    assert [taken(one).source for one in made] == [
        "function = lambda data, bound=1: data > bound\n",
        "function = lambda data, bound=2: data > bound\n",
    ]


def cell_of_a_notebook(text: str, name: str) -> dict[str, Any]:
    """What a notebook and the newer REPLs do: the text is known to linecache alone."""
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    space: dict[str, Any] = {}
    exec(compile(text, name, "exec"), space)
    return space


def test_a_notebook_cell_is_a_source() -> None:
    space = cell_of_a_notebook("limit = 3\ncheck = lambda data: data.n > limit\n", "<ipython-input-1-abc>")
    assert taken(space["check"]).source == "limit = 3\nfunction = lambda data: data.n > limit\n"


def test_a_cell_may_await_at_its_top_level() -> None:
    name, text = "<cell>", "check = lambda data: data.n\nawait something()\n"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    code = compile(text, name, "exec", 0x2000)
    (inner,) = (one for one in code.co_consts if isinstance(one, types.CodeType))
    assert taken(types.FunctionType(inner, {})).source == "function = lambda data: data.n\n"


def test_a_function_without_source_is_refused() -> None:
    space: dict[str, Any] = {}
    exec("def check(data): return data", space)
    assert str(refusal(space["check"])) == (
        "its source cannot be found: check (<string>, line 1); the source '<string>' cannot be read: write the function in a "
        "file, not in a text given to exec"
    )


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Callable[[str], dict[str, Any]]]:
    path = tmp_path / "author.py"

    def make(text: str) -> dict[str, Any]:
        path.write_text(text)
        space: dict[str, Any] = {"__file__": str(path), "__name__": "author"}
        exec(compile(text, str(path), "exec"), space)
        return space

    yield make
    linecache.checkcache()


def test_a_file_that_was_changed_since_is_noticed(module: Any) -> None:
    space = module("check = lambda data: data > 1\n")
    Path(space["__file__"]).write_text("check = lambda data: data > 2\n")
    error = refusal(space["check"])
    assert error.advice.startswith("what is written there now is not the code that runs: the file was changed")
    assert error.place == Place(space["__file__"], 1)


def test_a_change_elsewhere_that_moves_nothing_does_no_harm(module: Any) -> None:
    space = module("check = lambda data: data > 1\nother = 1\n")
    Path(space["__file__"]).write_text("check = lambda data: data > 1\nother = 2\n")
    assert taken(space["check"]).source == "function = lambda data: data > 1\n"


def test_columns_behind_letters_beyond_ascii_are_found(module: Any) -> None:
    space = module("größe, checks = 'ääää', (lambda data: data == 'ö', lambda data: data == 'ü' and größe)\n")
    assert taken(space["checks"][1]).source == "größe = 'ääää'\nfunction = lambda data: data == 'ü' and größe\n"


# ---- what it takes with it -----------------------------------------------------------------------------------------------


def test_data_modules_and_functions_come_along() -> None:
    found = taken(written.captures_everything)
    assert run(found, {"a": 1}) == [True, [1, 3], 3, 2026, "9.90", True, 2, 2, True, '{"a": 1}']
    assert found.source.startswith(
        "from math import floor\nfrom statistics import mean as average\nimport datetime as _datetime\n"
        "import decimal as _decimal\nimport math\nRATES = {'de': [0.19, 1e999], 'at': (0.2,), 'none': set(), 'some': {1, 3}, "
    )


def test_functions_that_call_each_other_come_along_once() -> None:
    found = taken(lambda data: written_is_odd(data) and factorial(data) > 5)
    assert [run(found, 3), run(found, 4)] == [True, False]
    assert found.source.count("def factorial") == 1


written_is_odd, factorial = written.is_odd, written.factorial


def test_a_helper_is_called_what_its_caller_calls_it() -> None:
    assert "def written_is_odd(n):" in taken(lambda data: written_is_odd(data)).source


def test_what_is_frozen_is_the_value_of_this_moment() -> None:
    wanted = [1]
    check = lambda data: data in wanted  # noqa: E731
    found = taken(check)
    wanted.append(2)
    assert [run(found, 1), run(found, 2)] == [True, False]


def test_the_same_function_gives_the_same_source() -> None:
    assert taken(written.captures_everything).source == taken(written.captures_everything).source


@pytest.mark.parametrize(
    ("function", "reason", "shown"),
    [
        (written.mistaken, "it uses client, which is an object of the host: a Client of codegen.functions_for_tests",
         "        return client.knows(data)\n               ^^^^^^"),
        (lambda data: open(data), "it uses open, which reads files", None),  # noqa: SIM115
        (lambda data: linecache.getlines(data), "it uses linecache, which is the module linecache", None),
        (lambda data: unheard_of(data), "it uses unheard_of, which is not defined", None),  # type: ignore[name-defined] # noqa: F821
        (lambda data: id(data), "it uses id, which differs from process to process", None),
        (lambda data, c=client: c, "its default is an object of the host: a Client of codegen.functions_for_tests", None),
        (written.generates, "it is a generator", "    def generates(data: Any) -> Any:\n    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^"),
        (written.waits, "it is async", None),
        (written.changes, "it declares global LIMIT", "        global LIMIT\n        ^^^^^^^^^^^^"),
        (written.counting(), "it changes count of the function around it", None),
        (written.fetches, "it imports subprocess, which is not inside the Python guest", None),
        (lambda: 1, "it takes no arguments", None),
        (lambda a, b, c: 1, "it takes 3 arguments", None),
        (lambda data, *, key: 1, "it needs arguments by keyword", None),
        (client.knows, "it is the method Client.knows, which needs its object", ""),
        (client, "it is an object of the host: a Client of codegen.functions_for_tests, not a function written in Python", ""),
        (len, "it is the function len of builtins, not a function written in Python", ""),
        (math.floor, "it is the function floor of math, not a function written in Python", ""),
    ],
)  # fmt: skip
def test_what_cannot_go_is_refused_and_underlined(function: Any, reason: str, shown: str | None) -> None:
    error = refusal(function)
    assert error.reason == reason
    assert error.advice
    if shown is None:
        line, marks = error.shown.split("\n")
        assert set(marks) == {" ", "^"}
        assert len(marks) <= len(line)
    else:
        assert error.shown == shown


def test_two_things_of_one_name_are_refused() -> None:
    shared = types.FunctionType(written.above.__code__, {"LIMIT": 1})
    assert taken(shared)
    first, second = written.above(1), written.above(2)
    assert refusal(lambda data: first(data) or second(data)).reason == "it uses two different things named bound"


def test_a_large_capture_is_refused() -> None:
    words = ["word"] * 50_000
    assert refusal(lambda data: data in words).reason.startswith(
        "it uses words, data of 400,000 characters; at most 262,144"
    )


def test_data_in_a_circle_is_refused() -> None:
    round: list[Any] = []
    round.append(round)
    assert refusal(lambda data: round).reason == "it uses round, which is data nested too deep, or in a circle"


# ---- in a graph ----------------------------------------------------------------------------------------------------------


def workflow() -> Workflow:
    return (
        create_workflow(id="w")
        .then(free("a"))
        .branch([(lambda data: data.score > LIMIT, free("b")), (written.is_small, free("c"))])
        .dountil(free("d"), lambda data, ctx: ctx.iteration_count > 3 or data["done"])
        .foreach(free("e"), concurrency=lambda data: len(data))
        .map({"n": {"fn": lambda data, ctx: ctx.steps["a"]}, "whole": lambda data: data})
        .sleep(lambda data, ctx: ctx.init_data.wait)
        .sleep_until(written.above)
        .wait_for_event("go", timeout=lambda data: 5)
        .commit()
    )


def test_functions_are_stored_and_loaded() -> None:
    graph = workflow().graph
    text = graph.to_json()
    loaded = load_workflow(text, workflow().steps)
    assert loaded.graph == graph
    assert loaded.graph.to_json() == text
    first = json.loads(text)["nodes"][1]["arms"][0]["condition"]
    assert first == {
        "type": "function",
        "name": "function",
        "source": "LIMIT = 80\nfunction = lambda data: data.score > LIMIT\n",
        "parameters": 1,
        "expression": ["compare", ["attribute", ["data"], "score"], [[">", ["literal", 80]]]],
    }
    assert "expression" not in json.loads(text)["nodes"][1]["arms"][1]["condition"]


def test_a_null_in_an_expression_is_stored() -> None:
    made = create_workflow(id="w").branch([(lambda data: data.x is None, free("a"))]).commit().graph
    assert Graph.from_json(made.to_json()) == made


def test_pictures_show_the_function() -> None:
    assert "data.score > LIMIT" in workflow().to_text()
    assert "turned(…)" in workflow().to_mermaid()


def changed(**fields: Any) -> str:
    data = json.loads(workflow().graph.to_json())
    data["nodes"][1]["arms"][0]["condition"].update(fields)
    return json.dumps(data)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"source": "function = lambda data: data.x\n"},
            "the expression of the Python function does not say what its source",
        ),
        ({"source": "import os\nfunction = lambda data: 1"}, "line 1 is no import, no data and no definition"),
        ({"source": "print(1)\nfunction = lambda data: 1"}, "line 1 is no import, no data and no definition"),
        (
            {"source": "x = open('/etc/passwd')\nfunction = lambda data: 1"},
            "line 1 is no import, no data and no definition",
        ),
        ({"source": "function = 1"}, "its last statement does not define function"),
        ({"source": "function = lambda data: ("}, "this version of Python cannot read it"),
        ({"source": "(" * 10_000}, "this version of Python cannot read it"),
        ({"source": ""}, "it is empty"),
        ({"source": "function = lambda: 1"}, "function does not take 1 arguments"),
        ({"source": "@print\ndef function(data): return 1"}, "its last statement does not define function"),
    ],
)
def test_a_stored_function_that_does_more_or_less_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError, match="bad_function") as caught:
        load_workflow(changed(**fields), workflow().steps)
    assert message in str(caught.value)


def test_a_step_that_does_not_precede_is_refused() -> None:
    made = create_workflow(id="w").branch([(lambda data, ctx: ctx.steps["z"], free("a"))]).then(free("z"))
    with pytest.raises(GraphError, match="step 'z' does not precede this node"):
        made.commit()
    made = create_workflow(id="w").branch([(lambda data, ctx: ctx.get_step_result("zz"), free("a"))])
    with pytest.raises(GraphError, match="no step 'zz' precedes this node"):
        made.commit()


def test_only_a_loop_counts() -> None:
    with pytest.raises(GraphError, match="asks for iteration_count, which only the condition of a loop has"):
        create_workflow(id="w").branch([(lambda data, ctx: ctx.iteration_count, free("a"))]).commit()


def test_what_is_asked_of_the_context_is_found() -> None:
    def use(source: str) -> tuple[list[str], Any]:
        found = context_use(source, "f")
        return sorted(found.names), None if found.steps is None else sorted(found.steps)

    assert use("f = lambda d, c: c.state.x + c.steps['a'] + c.get_step_result('b')") == (["state"], ["a", "b"])
    assert use("f = lambda d, c: c.steps[d]") == ([], None)
    assert use("f = lambda d, c: c.get_init_data()") == (["init_data"], [])
    everything = ["init_data", "input_data", "iteration_count", "request_context", "state"]
    assert use("def f(d, c):\n    return g(c)") == (everything, None)


def test_what_stands_above_a_function_is_only_data() -> None:
    with pytest.raises(BrokenFunction):
        opened("x = [y for y in ()]\nf = lambda d: x", "f", 1)
    assert set(opened("x = {'a': [-1, 1e999]}\nf = lambda d: x", "f", 1).constants) == {"x"}


def test_the_commit_names_the_node_and_underlines() -> None:
    with pytest.raises(GraphError) as caught:
        create_workflow(id="w").branch([(lambda data: client.knows(data), free("a"))]).commit()
    (problem,) = caught.value.problems
    assert (problem.code, problem.path) == ("python_function", "w/branch_1/a")
    assert problem.message.startswith(
        "the condition is a Python function that cannot go under glass: it uses client, which is an object of the host: a "
        f"Client of codegen.functions_for_tests ({__file__}, line "
    )
    assert "^^^^^^\n" in problem.message


# ---- placed in a module --------------------------------------------------------------------------------------------------


def test_a_function_is_placed_under_another_name() -> None:
    simple = taken(written.ON_ONE_LINE[0])
    assert placed(simple.source, simple.name, "f_a") == "f_a = lambda data: data.n > 1\n"
    found = taken(written.is_small)
    text = placed(found.source, found.name, "f_b")
    assert 'text = """in\n quotes"""' in text
    space: dict[str, Any] = {}
    exec(text, space)
    assert sorted(name for name in space if not name.startswith("__")) == ["_f_b", "f_b"]
    assert space["f_b"](Data(score=9)) is True
