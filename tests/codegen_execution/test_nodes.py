"""What each node does in the guest: order, paths, results, failures. Cases are numbered as in the conformance list."""

from __future__ import annotations

from typing import Any

import pytest
from codegen.steps_for_tests import free
from codegen_execution.driving import drive

from cloche_codegen import Workflow, clone_workflow, code, create_workflow, path

inc, dbl, take, boom, nul = (free(id) for id in ("inc", "dbl", "take", "boom", "nul"))


def explode(_: Any) -> Any:
    raise ValueError("boom")


FUNCTIONS = {
    "inc": lambda data: {"v": data["v"] + 1},
    "dbl": lambda data: {"v": data["v"] * 2},
    "take": lambda data: data,
    "boom": explode,
    "nul": lambda _: None,
}


def new() -> Workflow:
    return create_workflow(id="t")


def run(workflow: Workflow, data: Any, **given: Any) -> Any:
    return drive(workflow.commit(), data, FUNCTIONS, **given)


def message(ran: Any) -> str:
    return f"{ran.failure['name']}: {ran.failure['message']}"


def test_steps_run_one_after_the_other() -> None:
    ran = run(new().then(inc).then(dbl), {"v": 1})
    assert ran.result == {"v": 4}
    assert ran.steps == [("inc", {"v": 1}), ("dbl", {"v": 2})]


def test_a_failing_step_ends_the_run() -> None:
    ran = run(new().then(inc).then(boom).then(dbl), {"v": 1})
    assert message(ran) == "ValueError: boom"
    assert ran.paths == ["inc", "boom"]


def test_a_nested_workflow_and_its_clone_c07() -> None:
    inner = create_workflow(id="W").then(inc).then(dbl).commit()
    ran = run(new().then(inner).then(clone_workflow(inner, id="W2")), {"v": 1})
    assert ran.result == {"v": 10}
    assert ran.paths == ["W/inc", "W/dbl", "W2/inc", "W2/dbl"]
    assert ran.told == [
        ("entered", "W", {"v": 1}),
        ("left", "W", [0, {"v": 4}]),
        ("entered", "W2", {"v": 4}),
        ("left", "W2", [0, {"v": 10}]),
    ]


def test_a_nested_failure_is_told_and_goes_on_c07() -> None:
    inner = create_workflow(id="W").then(boom).commit()
    ran = run(new().then(inner).then(inc), {"v": 1})
    assert message(ran) == "ValueError: boom"
    assert ran.told[-1] == ("left", "W", [1, ran.failure])


def test_templates_c10() -> None:
    template = (
        "x=${inputData.v} i=${initData.v} s=${stepResults.inc.v} st=${state.k} rc=${requestContext.u} "
        "o=${stepResults.inc} n=${initData.nul}"
    )
    workflow = new().then(inc).map({"d": {"template": template}})
    ran = run(workflow, {"v": 1, "nul": None}, state={"k": "K"}, context={"u": "bob"})
    assert ran.result == {"d": 'x=2 i=1 s=2 st=K rc=bob o={"v":2} n='}
    assert ran.told == [("entered", "mapping_t_1", {"v": 2}), ("left", "mapping_t_1", [0, ran.result])]


@pytest.mark.parametrize(
    ("workflow", "expected"),
    [
        (new().then(inc).map({"a": {"step": "inc", "path": "nope"}}), {}),
        (new().then(inc).map({"a": {"step": "inc", "path": "v.q.z"}}), "Error: Invalid path v.q.z in step inc"),
        (new().choose([(False, inc)]).map({"a": {"step": "inc", "path": "v"}}), "Error: Invalid path v in step inc"),
        (new().then(nul).map({"a": {"template": "${stepResults.nul}"}}), "Error: Invalid path . in step nul"),
        (new().then(nul).map({"a": path("initData.x.y")}), "Error: Invalid path x.y in initData"),
        (new().map(code("nope.x")), "ReferenceError: nope is not defined"),
        (new().map(code("(async () => 1)()")), 'TypeError: map "mapping_t_1" gave a promise, not a value'),
    ],
)  # fmt: skip
def test_paths_of_maps_c12(workflow: Workflow, expected: Any) -> None:
    ran = run(workflow, {"v": 1})
    assert expected == (ran.result if ran.failure is None else message(ran))


def test_parallel_is_keyed_by_step_c13() -> None:
    ran = run(new().parallel([inc, dbl, nul]).then(take), {"v": 5})
    assert ran.result == {"inc": {"v": 6}, "dbl": {"v": 10}, "nul": None}
    assert ran.steps[:3] == [("inc", {"v": 5}), ("dbl", {"v": 5}), ("nul", {"v": 5})]
    assert ran.in_flight_max == 3


def test_every_arm_ends_before_the_first_failure_in_order_is_told() -> None:
    other = free("other")
    workflow = new().parallel([inc, boom, other, dbl]).commit()
    functions = {**FUNCTIONS, "other": lambda _: [][0]}
    ran = drive(workflow, {"v": 5}, functions)
    assert message(ran) == "ValueError: boom"
    assert ran.paths == ["inc", "boom", "other", "dbl"]


def test_settled_arms_and_their_results() -> None:
    workflow = (
        new()
        .parallel([inc, boom], settle=True, limit=1)
        .map({"all": path("inputData"), "one": {"step": ["boom", "inc"]}})
    )
    ran = run(workflow, {"v": 5})
    assert ran.result == {
        "all": {
            "inc": {"status": "success", "output": {"v": 6}},
            "boom": {"status": "failed", "error": {"name": "ValueError", "message": "boom"}},
        },
        "one": {"v": 6},
    }
    assert ran.in_flight_max == 1


@pytest.mark.parametrize(("v", "expected"), [(10, ["low"]), (50, ["mid"]), (80, ["high"])])
def test_a_three_way_branch_c17(v: int, expected: list[str]) -> None:
    value = path("inputData.v")
    arms = [(value < 33, free("low")), ((value >= 33) & (value < 66), free("mid")), ("inputData.v >= 66", free("high"))]
    ran = drive(new().branch(arms).commit(), {"v": v}, {id: lambda _, id=id: id for id in ("low", "mid", "high")})  # type: ignore[misc]
    assert ran.result == {id: id for id in expected}
    assert ran.paths == expected


def test_no_arm_holds_c19() -> None:
    assert run(new().branch([(False, inc)]).then(take), {"v": 5}).result == {}
    assert run(new().choose([(False, inc)]), {"v": 5}).result == {}


def test_every_true_arm_runs_and_choose_takes_the_first() -> None:
    assert run(new().branch([(True, inc), ("1", dbl)]), {"v": 5}).result == {"inc": {"v": 6}, "dbl": {"v": 10}}
    assert run(new().choose([("0", inc), ("1", dbl), (True, take)]), {"v": 5}).result == {"dbl": {"v": 10}}
    assert run(new().choose([("0", inc)], otherwise=take), {"v": 5}).result == {"take": {"v": 5}}


def test_a_condition_that_raises_fails_the_run_c20_c26() -> None:
    ran = run(new().branch([(True, dbl), ("nope()", inc)]), {"v": 5})
    assert (
        message(ran)
        == 'ConditionError: the condition of "inc" in "branch_1" failed: ReferenceError: nope is not defined'
    )
    assert ran.failure["cause"]["name"] == "ReferenceError"
    assert ran.steps == []
    ran = run(new().dountil(inc, "nope()"), {"v": 5})
    assert (
        message(ran)
        == 'ConditionError: the condition of the loop over "inc" failed: ReferenceError: nope is not defined'
    )
    ran = run(new().branch([("Promise.resolve(false)", inc)]), {"v": 5})
    assert message(ran).endswith("gave a promise; it must be a plain expression")


def test_loops_c22_c24() -> None:
    ran = run(new().dountil(inc, path("inputData.v") >= 12).then(take), {"v": 9})
    assert ran.result == {"v": 12}
    assert ran.steps == [("inc[1]", {"v": 9}), ("inc[2]", {"v": 10}), ("inc[3]", {"v": 11}), ("take", {"v": 12})]
    assert run(new().dountil(inc, path("iterationCount") >= 3), {"v": 0}).result == {"v": 3}
    inner = create_workflow(id="W").then(inc).then(dbl).commit()
    ran = run(new().dowhile(inner, "iterationCount < 2"), {"v": 0})
    assert ran.result == {"v": 6}
    assert ran.paths == ["W[1]/inc", "W[1]/dbl", "W[2]/inc", "W[2]/dbl"]


def test_foreach_keeps_order_and_tells_the_whole_c27_c29() -> None:
    ran = run(new().foreach(inc, concurrency=2), [{"v": 1}, {"v": 2}, {"v": 3}])
    assert ran.result == [{"v": 2}, {"v": 3}, {"v": 4}]
    assert ran.paths == ["inc[0]", "inc[1]", "inc[2]"]
    assert ran.told == [("entered", "inc", [{"v": 1}, {"v": 2}, {"v": 3}]), ("left", "inc", [0, ran.result])]
    assert run(new().foreach(inc), []).result == []


@pytest.mark.parametrize(
    ("width", "expected"),
    [(0, 1), (-1, 1), (2.9, 2), (float("nan"), 1), (float("inf"), 5),
     ("inputData.length", 5), ("'many'", 1), ("2.9", 2), ("-3", 1)],
)  # fmt: skip
def test_concurrency_is_made_a_number_c33(width: Any, expected: int) -> None:
    assert run(new().foreach(take, concurrency=width), [1, 2, 3, 4, 5]).in_flight_max == expected


def test_a_failing_item_stops_or_is_collected() -> None:
    def odd(data: int) -> int:
        if data == 2:
            raise ValueError("two")
        return data * 10

    stopped = drive(new().foreach(take).commit(), [1, 2, 3], {"take": odd})
    assert (message(stopped), stopped.paths) == ("ValueError: two", ["take[0]", "take[1]"])
    collected = drive(new().foreach(take, on_error="collect").commit(), [1, 2, 3], {"take": odd})
    assert collected.result == [
        {"status": "success", "output": 10},
        {"status": "failed", "error": {"name": "ValueError", "message": "two"}},
        {"status": "success", "output": 30},
    ]


@pytest.mark.parametrize(
    ("data", "kind"), [({"v": 1}, "an object"), ("ab", "a string"), (None, "null"), (3, "a number")]
)
def test_foreach_takes_lists_only(data: Any, kind: str) -> None:
    assert message(run(new().foreach(inc), data)) == f'TypeError: foreach over "inc" needs a list, not {kind}'


def test_sleeps_pass_on_what_flows_c54() -> None:
    workflow = (
        new().then(inc).sleep(0.015, id="z").sleep("inputData.v / 4").sleep(-50).sleep(path("inputData.none"))
        .sleep_until(code("new Date(Date.now() + 7)")).sleep_until(code("'2023-11-14T22:13:21Z'")).then(dbl)
    )  # fmt: skip
    ran = run(workflow, {"v": 1})
    assert ran.result == {"v": 4}
    waits = dict(ran.timers)
    assert (waits["z"], waits["sleep_2"], waits["sleep_until_1"], waits["sleep_until_2"]) == (15, 500, 7, 1000)


@pytest.mark.parametrize(
    ("workflow", "expected"),
    [
        (new().sleep("'x'"), 'ExpressionError: the duration of "sleep_1" is no number of seconds: "x"'),
        (new().sleep("1 / 0"), 'ExpressionError: the duration of "sleep_1" is no number of seconds: Infinity'),
        (new().sleep("nope"), 'ExpressionError: the duration of "sleep_1" failed: ReferenceError: nope is not defined'),
        (new().sleep_until("'tomorrow'"),
         'ExpressionError: the instant of "sleep_until_1" is no date, RFC 3339 text or milliseconds: "tomorrow"'),
        (new().foreach(inc, concurrency="nope"),
         'ExpressionError: the concurrency of foreach over "inc" failed: ReferenceError: nope is not defined'),
    ],
)  # fmt: skip
def test_computed_values_that_make_no_sense_fail_the_run(workflow: Workflow, expected: str) -> None:
    assert message(run(workflow, [])) == expected


def test_code_strings_see_what_they_are_promised() -> None:
    text = (
        "({ i: inputData, n: initData, s: state, c: requestContext, r: stepResults, g: getStepResult('inc'), "
        "none: getStepResult('zzz'), first: getInitData() })"
    )
    ran = run(new().then(inc).parallel([dbl, take]).map(code(text)), {"v": 1}, state={"a": 1}, context={"b": 2})
    assert ran.result["r"] == {
        "inc": {"v": 2},
        "parallel_1": {"dbl": {"v": 4}, "take": {"v": 2}},
        "dbl": {"v": 4},
        "take": {"v": 2},
    }
    assert {key: ran.result[key] for key in "insc"} | {"g": ran.result["g"]} == {
        "i": {"dbl": {"v": 4}, "take": {"v": 2}},
        "n": {"v": 1},
        "s": {"a": 1},
        "c": {"b": 2},
        "g": {"v": 2},
    }
    assert (ran.result["none"], ran.result["first"]) == (None, {"v": 1})


def test_hostile_names_are_data() -> None:
    proto = free("__proto__")
    workflow = (
        new()
        .parallel([proto, free("constructor")])
        .map({"__proto__": path("stepResults.__proto__"), "x": {"value": {"__proto__": 1}}})
    )
    ran = drive(workflow.commit(), 1, {"__proto__": lambda v: v + 1, "constructor": lambda v: v + 2})
    assert ran.result == {"__proto__": 2, "x": {"__proto__": 1}}


def test_tampering_does_not_reach_the_helpers() -> None:
    tamper = (
        "(() => { for (const key of ['push', 'map', 'forEach', 'join', 'slice']) Array.prototype[key] = () => { throw 1; };"
        " Array.prototype[Symbol.iterator] = null; Object.defineProperty(Object.prototype, 'inc', { set() { throw 2; } });"
        " Promise.prototype.then = () => { throw 3; }; Object.keys = Array.isArray = JSON.stringify = () => { throw 4; };"
        " return inputData; })()"
    )
    workflow = (
        new()
        .map(code(tamper))
        .foreach(inc, concurrency=2)
        .parallel([take, nul])
        .map({"t": {"template": "${inputData.take}"}})
    )
    assert run(workflow, [{"v": 1}, {"v": 2}]).result == {"t": '[{"v":2},{"v":3}]'}


def test_many_arms_and_many_items() -> None:
    arms = [free(f"s{i}") for i in range(2000)]
    ran = drive(new().parallel(arms).commit(), 1, {step.id: take for step in arms})
    assert len(ran.result) == 2000
    ran = drive(new().foreach(take, concurrency=50).commit(), list(range(2000)), FUNCTIONS)
    assert (ran.result, ran.in_flight_max) == (list(range(2000)), 50)


def test_a_step_inside_and_outside_keeps_both_paths() -> None:
    inner = create_workflow(id="W").then(inc).commit()
    ran = run(new().then(inner).then(inc).then(clone_workflow(inner, id="V")), {"v": 0})
    assert ran.paths == ["W/inc", "inc", "V/inc"]
