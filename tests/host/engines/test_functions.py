"""Python functions of a graph: on copies, fenced in, with typed failures. DirectEngine and the prelude of the Python guest,
which runs emitted code, answer alike; only the texts of failures may differ.
"""

from __future__ import annotations

import collections
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from guest_python.loop_cells import LoopCell
from guest_python.test_twins import as_javascript
from host.engines.twins import NOW, commands_of, engines, event, opened, started

from cloche import create_step
from cloche.engines import Code
from cloche.engines.direct.encoding import Data
from cloche_codegen import Workflow, create_workflow, path


def new() -> Workflow:
    return create_workflow(id="w")


def step(id: str) -> Any:
    return create_step(id=id, execute=lambda data: data)


def cell_of(workflow: Workflow) -> Any:
    workflow.commit()
    return opened(engines()[1], Code("w", engines()[0].guest()[0], "", {}, workflow.graph.to_json()))


def said(workflow: Workflow, value: Any = None, *events: list[Any], **given: Any) -> list[list[Any]]:
    told = [started(value, **given), *(event(kind, NOW, *items) for kind, *items in events)]
    direct = cell_of(workflow)
    inside = LoopCell(workflow.source("python").code)
    for one in told:
        output = direct.turn([one])
        assert without_texts(commands_of(as_javascript(inside.turn([one])))) == without_texts(commands_of(output))
    return commands_of(output)


def without_texts(value: Any) -> Any:
    if isinstance(value, list):
        return [without_texts(one) for one in value]
    if isinstance(value, dict) and {"name", "message"} <= set(value):
        return {key: without_texts(one) for key, one in value.items() if key not in ("message", "trace")}
    return {key: without_texts(one) for key, one in value.items()} if isinstance(value, dict) else value


def result(workflow: Workflow, value: Any = None, **given: Any) -> Any:
    *_, [kind, outcome] = said(workflow, value, **given)
    assert kind == 7, outcome
    return outcome


def failure(workflow: Workflow, value: Any = None) -> Any:
    *_, [kind, outcome] = said(workflow, value)
    assert kind == 8
    return outcome


def test_a_branch_asks_python_what_is_true() -> None:
    arms = [
        (lambda data: data.items, step("a")),
        (lambda data: data["none"] or 0.0, step("b")),
        (lambda data: [], step("c")),
    ]
    commands = said(new().branch(arms), {"items": [1], "none": {}})
    assert [command[3] for command in commands] == ["a"]


def test_a_map_gives_what_crosses() -> None:
    made = new().map(lambda data: {"t": (data.a, {2, 1}), "d": timedelta(seconds=1) and Decimal("1.5"), "n": None})
    assert result(made, {"a": "x"}) == {"t": ["x", [1, 2]], "d": "1.5", "n": None}


def test_a_function_works_on_copies() -> None:
    def changes(data: Any) -> Any:
        data.items.append(1)
        data["more"] = data.pop("items")
        return data

    made = new().map(changes).map({"now": {"fn": lambda data: data}, "then": {"init_data": True}})
    assert result(made, {"items": []}) == {"now": {"more": [1]}, "then": {"items": []}}


def test_keys_that_are_named_as_methods_are_keys() -> None:
    data = {"get": 1, "items": {"keys": [2]}, "values": {"get": 3}}
    assert result(new().map(path("inputData.values.get")), data) == 3
    assert result(new().map(lambda data: [data.get, data.items.keys, data]), data) == [1, [2], data]


def test_a_function_may_look_at_its_context() -> None:
    def looks(data: Any, ctx: Any) -> Any:
        known = [ctx.input_data == data, ctx.get_init_data()["n"], ctx.state.s, ctx.request_context["c"]]
        return [*known, ctx.steps["one"], ctx.get_step_result("one"), ctx.get_step_result("never"), sorted(ctx.steps)]

    made = new().map({"n": {"value": 1}}, id="one").choose([(lambda data: False, step("never"))]).map(looks)
    assert result(made, {"n": 5}, state={"s": 2}, context={"c": 3}) == [
        True, 5, 2, 3, {"n": 1}, {"n": 1}, None, ["choose_1", "one"],
    ]  # fmt: skip


def test_a_loop_counts_and_sees_what_its_body_gave() -> None:
    made = new().dountil(step("a"), lambda data, ctx: ctx.iteration_count == 2 and ctx.steps["a"] == data == {"n": 1})
    first, second = [1, 1, {"n": 0}], [1, 2, {"n": 1}]
    assert said(made, {}, first)[0][2] == "a[2]"
    assert said(made, {}, first, second) == [[7, {"n": 1}]]


def test_durations_instants_widths_and_timeouts_are_computed() -> None:
    assert said(new().sleep(lambda data: data / 2), 3)[0][3] == NOW + 1500
    assert said(new().sleep(lambda data: timedelta(days=data)), 3)[0][3] == NOW + 259_200_000
    assert said(new().sleep_until(lambda data: datetime(2030, 1, 1, tzinfo=UTC)))[0][3] == 1_893_456_000_000
    assert said(new().sleep_until(lambda data: data), datetime(2030, 1, 1, tzinfo=UTC))[0][3] == 1_893_456_000_000
    commands = said(new().foreach(step("a"), concurrency=lambda data: len(data) - 1), [1, 2, 3])
    assert [command[2] for command in commands if command[0] == 0] == ["a[0]", "a[1]"]
    assert said(new().wait_for_event("e", timeout=lambda data: data.s), {"s": 2})[1][3] == NOW + 2000


@pytest.mark.parametrize(
    ("check", "name", "message"),
    [
        (lambda data: data["x"], "KeyError", "'x'"),
        (lambda data: data.x, "AttributeError", "'Data' object has no attribute 'x'"),
        (lambda data: 1 / 0, "ZeroDivisionError", "division by zero"),
        (lambda data: data < 1, "TypeError", "'<' not supported between instances of 'Data' and 'int'"),
        (lambda data: [][1], "IndexError", "list index out of range"),
    ],
)
def test_what_a_function_raises_is_a_failure_with_its_type(check: Any, name: str, message: str) -> None:
    error = failure(new().branch([(check, step("a"))]), {})
    assert error["name"] == "ConditionError"
    for one in (error["cause"], failure(new().map(check), {})):
        assert (one["name"], one["message"]) == (name, message)


def test_what_cannot_cross_is_a_type_error() -> None:
    assert failure(new().map(lambda data: {"f": [len]}))["name"] == "TypeError"
    assert failure(new().map(lambda data: {1: 2}))["name"] == "TypeError"


def test_endless_recursion_is_a_failure() -> None:
    assert failure(new().map(endless))["name"] == "RecursionError"


def endless(data: Any) -> Any:
    return endless(data)


def test_modules_of_the_guest_are_there_and_what_was_not_checked_is_not() -> None:
    made = new().map(lambda data: collections.Counter(data).most_common(1))
    assert result(made, ["a", "b", "a"]) == [["a", 2]]
    stored = made.graph.to_json().replace("collections.Counter(data).most_common(1)", "open('/etc/passwd').read()")
    cell = opened(engines()[1], Code("w", engines()[0].guest()[0], "", {}, stored))
    assert commands_of(cell.turn([started()]))[-1][1] == {
        "name": "OutsideError",
        "message": "builtins.open is outside of a workflow: make it a step",
    }


def test_a_mapping_has_attributes_and_is_a_dict() -> None:
    data: Any = Data(a=1, items=2, __class__=3)
    assert (data.a, data.items, type(data)) == (1, 2, Data)
    assert list(Data(a=1).items()) == [("a", 1)]
    data.b = 4
    del data.a
    assert data == {"items": 2, "__class__": 3, "b": 4}
    with pytest.raises(AttributeError):
        del data.nothing
    with pytest.raises(AttributeError):
        data.nothing  # noqa: B018
