"""Python functions that are simple enough are JavaScript too: CPython, the JavaScript guest and, where it is built, the Python
guest give the same values and raise the same types, on expressions and inputs drawn by chance.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from guest.cells import COMPLETE, FAIL, Cell, python_module
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from oracle.functions import compiled
from support.guests import needs_python

from cloche.engines.direct.encoding import Data
from cloche.history.values import plain
from cloche_codegen import GraphError, Workflow, code, create_workflow
from cloche_codegen.conditions.functions.subset import expression_of
from cloche_codegen.graph import FunctionText
from cloche_codegen.languages import Language

pytestmark = pytest.mark.filterwarnings("ignore::SyntaxWarning")  # of `None[None]` and the like
MOMENTS = [datetime(2026, 1, day, 12, tzinfo=UTC) for day in (1, 2)]
keys = st.sampled_from(["a", "b", "name", "__proto__", "10", "ä😀"])
numbers = st.one_of(
    st.integers(-5, 5),
    st.sampled_from([0.5, -1.5, 2.25, 1e300, -1e-9, 2**53 - 1, -(2**53) + 1, 2**53, 2**64, -(2**100), 10**400]),
)
texts = st.sampled_from(["", "a", "b", "ab", "ä😀z", "\uffff", "😀", "name"])
scalars = st.none() | st.booleans() | numbers | texts | st.sampled_from(MOMENTS) | st.sampled_from([b"", b"ab"])
data = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)
inputs = st.fixed_dictionaries({}, optional=dict.fromkeys(("a", "b", "name", "10"), data)) | data
literals = st.one_of(
    st.none(), st.booleans(), st.integers(-4, 4), st.sampled_from([0.5, -2.5, 2**53 + 1, 1e16]),
    st.sampled_from(["", "a", "ab", "ä😀z", "name", "10", "__proto__"]),
).map(repr)  # fmt: skip
leaves = (
    st.sampled_from(["data", "data.a", "data.b", "data.name", 'data["a"]', 'data["10"]', "data[0]", "data[-1]"])
    | literals
)


def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def two(text: str) -> st.SearchStrategy[str]:
        return st.tuples(inner, inner).map(lambda parts: text.format(*parts))

    members = st.lists(literals, min_size=1, max_size=3).map(", ".join)
    compared = st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "in", "not in"])
    return st.one_of(
        st.sampled_from(["({0} and {1})", "({0} or {1})", "[{0}, {1}]", '{{"k": {0}, "l": {1}}}', "{0}[{1}]"]).flatmap(
            two
        ),
        st.sampled_from(["+", "-", "*", "/", "//", "%"]).flatmap(lambda sign: two("({0} " + sign + " {1})")),
        compared.flatmap(lambda sign: two("({0} " + sign + " {1})")),
        st.tuples(inner, compared, inner, compared, inner).map(lambda parts: "({} {} {} {} {})".format(*parts)),
        st.tuples(inner, st.sampled_from(["in ({},)", "not in ({},)", "in {{{}}}", "in [{}]"]), members).map(
            lambda parts: f"({parts[0]} {parts[1].format(parts[2])})"
        ),
        st.sampled_from(
            ["(not {0})", "(-{0})", "(+{0})", "len({0})", "{0}.a", "({0} is None)", "({0} is not None)"]
        ).flatmap(two),
        st.tuples(inner, inner, inner).map(lambda parts: "({} if {} else {})".format(*parts)),
    )


expressions = st.recursive(leaves, larger, max_leaves=6)


def function_of(text: str) -> FunctionText | None:
    source = f"function = lambda data: {text}\n"
    made = expression_of(source, "function", 1)
    return None if made is None else FunctionText(name="function", source=source, expression=made)


def seen(value: Any) -> Any:
    """What crossed, as a function sees it."""
    if isinstance(value, dict):
        return Data({key: seen(item) for key, item in value.items()})
    return [seen(item) for item in value] if isinstance(value, list) else value


def in_cpython(function: FunctionText, value: Any) -> tuple[str, Any]:
    try:
        made = compiled(function.source, function.name)(seen(plain(value)))
    except Exception as error:
        return "raises", type(error).__name__
    assume(not _holds_duration(made))  # a difference of dates, which JavaScript has not
    return "gives", plain(made)


def _holds_duration(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(_holds_duration, value.values() if type(value) is dict else value))
    return isinstance(value, timedelta)


def under_glass(workflow: Workflow, language: Language, value: Any) -> tuple[str, Any]:
    guest = python_module() if language == "python" else None
    *_, (kind, outcome) = Cell(workflow.source(language).code, guest=guest).start(value)
    assert kind in (COMPLETE, FAIL)
    return ("gives", outcome) if kind == COMPLETE else ("raises", outcome["name"])


def alike(one: Any, other: Any) -> bool:
    """Equal; a float may have been rounded where an int of the same value was not."""
    if isinstance(one, float) or isinstance(other, float):
        return one == other or math.isclose(one, other, rel_tol=1e-12) or (one != one and other != other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(type(one) is type(other) and one == other)


def check(text: str, value: Any, languages: tuple[Language, ...]) -> None:
    function = function_of(text)
    assert function is not None
    expected = in_cpython(function, value)
    workflow = create_workflow(id="w").map(function).commit()
    for language in languages:
        found = under_glass(workflow, language, value)
        assert found[0] == expected[0], (language, found, expected)
        assert alike(found[1], expected[1]), (language, found, expected)


QUIET = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))


@QUIET
@given(expressions, inputs)
@example("data.a / data.b", {"a": 2**70 + 1, "b": 3})
@example("(data.a // data.b, data.a % data.b) if False else [data.a // data.b, data.a % data.b]", {"a": -7, "b": 2})
@example('"ab" * (4 / 2)', None)
@example("data[4 / 4]", [1, 2])
@example("data.a < data.b", {"a": "😀", "b": "\uffff"})
@example("len(data)", "ä😀z")
@example("data[-2]", "ä😀z")
@example("1 < data.a < 3", {"a": 2})
@example("data.a == data.b", {"a": [1, {"x": True}], "b": [1.0, {"x": 1}]})
@example("data.a or []", {"a": {}})
@example("data.a in data.b", {"a": [], "b": {}})
@example("data in {1, 'a'}", [])
@example("-data.a", {"a": 0})
@example("data.a * data.b", {"a": 2**52, "b": 5})
@example("data.a + 0.5", {"a": 10**400})
@example("data.a // data.b", {"a": 2**53, "b": 0})
@example("data.a % data.b", {"a": 2**53, "b": False})
def test_an_expression_means_in_javascript_what_it_means_in_python(text: str, value: Any) -> None:
    assume(function_of(text) is not None)
    check(text, value, ("javascript",))


@settings(QUIET, max_examples=60)
@given(expressions, inputs)
def test_it_means_the_same_in_the_python_guest(text: str, value: Any) -> None:
    needs_python()
    assume(function_of(text) is not None)
    check(text, value, ("javascript", "python"))


def test_conditions_contexts_and_captures_are_made_into_javascript() -> None:
    limit, kinds = 80, ("a", "b")
    step = {"n": {"value": 5}}
    made = (
        create_workflow(id="w", guest="javascript")
        .map(step, id="one")
        .map(
            lambda data, ctx: {
                "big": ctx.init_data.score > limit,
                "kind": ctx.init_data["kind"] in kinds,
                "one": ctx.steps["one"] == data,
                "none": ctx.get_step_result("one") is None,
                "state": ctx.state.s,
            }
        )
        .commit()
    )
    cell = Cell(made.source().code)
    *_, (kind, outcome) = cell.start({"score": 81, "kind": "c"}, given={"state": {"s": 1}})
    assert (kind, outcome) == (COMPLETE, {"big": True, "kind": False, "one": True, "none": False, "state": 1})


def test_code_strings_and_simple_functions_may_stand_together() -> None:
    made = create_workflow(id="w").map(code("inputData + 1")).map(lambda data: data + 1).commit()
    assert made.language == "javascript"
    *_, (_, outcome) = Cell(made.source().code).start(1)
    assert outcome == 3
    with pytest.raises(GraphError, match="function_in_javascript"):
        create_workflow(id="w").map(code("inputData")).map(lambda data: str(data)).commit()
    with pytest.raises(GraphError, match="function_in_javascript"):
        create_workflow(id="w", guest="javascript").map(lambda data: str(data)).commit()


def test_what_is_emitted_can_be_read() -> None:
    made = create_workflow(id="w", guest="javascript").map(lambda data: data.n > 80 and data["k"] != 1, id="m").commit()
    assert (
        'const f_m = (data) => python.and(python.gt(python.attribute(data, "n"), 80), '
        '() => python.ne(python.item(data, "k"), 1));\n'
    ) in made.source().code
    assert 'map("m", input, () => python.applied(f_m(input)))' in made.source().code
