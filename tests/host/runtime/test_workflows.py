"""What workflows mean: the conformance cases that this version reaches, each lived three ways (see `conftest`)."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from support.apps import Journal, Lived

from cloche import GraphError, RunResult, clone_step, clone_workflow, code, create_workflow, path


def outcome(result: RunResult) -> tuple[str, Any]:
    return result.status, result.result


def test_one_step(lived: Lived, journal: Journal) -> None:  # C01
    result = lived(create_workflow(id="w").then(journal.inc()).commit(), {"v": 1}, journal=journal)
    assert outcome(result) == ("success", {"v": 2})
    assert (result.steps["inc"].status, result.steps["inc"].output) == ("success", {"v": 2})
    assert (result.input, result.step_execution_path) == ({"v": 1}, ["inc"])


def test_scalars_lists_and_null_flow_unchanged(lived: Lived, journal: Journal) -> None:  # C03
    a, b, c = (
        journal.step("a", lambda _: "ab"),
        journal.step("b", lambda data: [data, data]),
        journal.step("c", lambda _: None),
    )
    result = lived(create_workflow(id="w").then(a).then(b).then(c).commit(), {}, journal=journal)
    assert outcome(result) == ("success", None)
    assert [(step.payload, step.output) for step in result.steps.values()] == [
        ({}, "ab"),
        ("ab", ["ab", "ab"]),
        (["ab", "ab"], None),
    ]


def test_a_raising_step_fails_the_run(lived: Lived, journal: Journal) -> None:  # C05
    workflow = create_workflow(id="w").then(journal.inc()).then(journal.boom()).then(journal.dbl()).commit()
    result = lived(workflow, {"v": 1}, journal=journal)
    assert result.error is not None
    assert (result.status, result.result) == ("failed", None)
    assert (result.error.name, result.error.message, result.error.step) == ("RuntimeError", "boom", "boom")
    assert {id: (step.status, step.output) for id, step in result.steps.items()} == {
        "inc": ("success", {"v": 2}),
        "boom": ("failed", None),
    }


def test_a_workflow_is_a_step_and_its_steps_stay_inside(lived: Lived, journal: Journal) -> None:  # C07 (i)
    inner = create_workflow(id="W").then(journal.inc()).then(journal.dbl()).commit()
    workflow = create_workflow(id="w").then(inner).then(clone_workflow(inner, id="W2")).commit()
    result = lived(workflow, {"v": 1}, journal=journal)
    assert outcome(result) == ("success", {"v": 10})
    assert {id: step.output for id, step in result.steps.items()} == {"W": {"v": 4}, "W2": {"v": 10}}


def test_the_failure_of_a_nested_workflow_keeps_its_data(lived: Lived, journal: Journal) -> None:  # C07 (ii)
    class DeepError(Exception):
        code = 0

    def raise_deep(_: Any) -> None:
        error = DeepError("deep!")
        error.code = 42
        raise error

    bad = create_workflow(id="Bad").then(journal.step("deep", raise_deep)).commit()
    result = lived(create_workflow(id="w").then(bad).then(journal.inc()).commit(), {"v": 1}, journal=journal)
    assert result.error is not None
    assert (result.status, result.error.message, result.error.data) == ("failed", "deep!", {"code": 42})
    assert (result.error.step, list(result.steps), result.steps["Bad"].status) == ("Bad", ["Bad"], "failed")


def test_a_template_is_filled_from_all_that_is_known(lived: Lived, journal: Journal) -> None:  # C10
    template = (
        "x=${inputData.v} i=${initData.v} s=${stepResults.inc.v} st=${state.k} rc=${requestContext.u} "
        "o=${stepResults.inc} n=${initData.nul}"
    )
    workflow = create_workflow(id="w").then(journal.inc()).map({"d": {"template": template}}).commit()
    result = lived(
        workflow,
        {"v": 1, "nul": None},
        journal=journal,
        initial_state={"k": "K"},
        request_context={"u": "bob"},
    )
    assert outcome(result) == ("success", {"d": 'x=2 i=1 s=2 st=K rc=bob o={"v":2} n='})


def test_a_missing_last_key_of_a_map_is_absent(lived: Lived, journal: Journal) -> None:  # C12 (i)
    workflow = create_workflow(id="w").then(journal.inc()).map({"a": {"step": "inc", "path": "nope"}}).commit()
    assert outcome(lived(workflow, {"v": 1}, journal=journal)) == ("success", {})


def test_a_missing_key_on_the_way_fails_the_map(lived: Lived, journal: Journal) -> None:  # C12 (ii)
    workflow = create_workflow(id="w").then(journal.inc()).map({"a": {"step": "inc", "path": "v.q.z"}}, id="m").commit()
    result = lived(workflow, {"v": 1}, journal=journal)
    assert result.error is not None
    assert (result.status, result.error.step) == ("failed", "m")
    assert "Invalid path v.q.z in step inc" in result.error.message


def test_a_map_of_a_step_that_did_not_run_fails(lived: Lived, journal: Journal) -> None:  # C12 (iii)
    arms = [("false", journal.inc()), ("true", journal.take())]
    workflow = create_workflow(id="w").branch(arms).map({"a": {"step": "inc", "path": "v"}}).commit()
    result = lived(workflow, {"v": 1}, journal=journal)
    assert result.error is not None
    assert (result.status, "Invalid path v in step inc" in result.error.message) == ("failed", True)


@pytest.mark.parametrize("template", ["${ inputData.x }", "${foo.x}"])
def test_a_template_that_is_wrong_is_refused_while_building(template: str) -> None:  # C12 (iv)
    with pytest.raises(GraphError):
        create_workflow(id="w").map({"a": {"template": template}}).commit()


def test_a_map_may_be_code_a_path_or_an_expression(lived: Lived, journal: Journal) -> None:
    workflow = (
        create_workflow(id="w")
        .then(journal.inc())
        .map({"twice": code("inputData.v * 2"), "same": path("inputData.v"), "big": path("inputData.v") > 1, "one": 1})
        .commit()
    )
    result = lived(workflow, {"v": 1}, journal=journal)
    assert outcome(result) == ("success", {"twice": 4, "same": 2, "big": True, "one": 1})


def test_parallel_outputs_are_keyed_by_step(lived: Lived, journal: Journal) -> None:  # C13
    workflow = create_workflow(id="w").parallel([journal.inc(), journal.dbl()]).then(journal.take()).commit()
    result = lived(workflow, {"v": 5}, journal=journal)
    assert outcome(result) == ("success", {"inc": {"v": 6}, "dbl": {"v": 10}})
    assert (result.steps["inc"].payload, result.steps["dbl"].payload) == ({"v": 5}, {"v": 5})
    assert result.step_execution_path == ["take"]


def test_one_parallel_block_behind_another(lived: Lived, journal: Journal) -> None:  # C16
    p, q = journal.step("p", lambda d: d["inc"]["v"]), journal.step("q", lambda d: d["dbl"]["v"])
    workflow = create_workflow(id="w").parallel([journal.inc(), journal.dbl()]).parallel([p, q]).commit()
    assert outcome(lived(workflow, {"v": 5}, journal=journal)) == ("success", {"p": 6, "q": 10})


def test_a_failing_arm_fails_the_block_when_all_have_ended(lived: Lived, journal: Journal) -> None:
    workflow = create_workflow(id="w").parallel([journal.boom(), journal.inc()]).commit()
    result = lived(workflow, {"v": 1}, journal=journal)
    assert (result.status, result.steps["boom"].status, result.steps["inc"].output) == ("failed", "failed", {"v": 2})


@pytest.mark.parametrize(("v", "arm"), [(10, "low"), (50, "mid"), (80, "high")])
def test_a_branch_takes_the_arm_that_holds(lived: Lived, journal: Journal, v: int, arm: str) -> None:  # C17
    value = path("inputData.v")
    conditions = {"low": value < 33, "mid": (value >= 33) & (value < 66), "high": value >= 66}
    steps = {id: journal.step(id, partial(_named, id)) for id in conditions}
    workflow = create_workflow(id="w").branch([(conditions[id], steps[id]) for id in conditions]).commit()
    result = lived(workflow, {"v": v}, journal=journal)
    assert outcome(result) == ("success", {arm: arm})
    assert (list(result.steps), set(journal.began)) == ([arm], {arm})


def test_no_arm_holds(lived: Lived, journal: Journal) -> None:  # C19
    workflow = create_workflow(id="w").branch([("false", journal.inc())]).then(journal.take()).commit()
    assert outcome(lived(workflow, {"v": 5}, journal=journal)) == ("success", {})


def test_a_condition_that_raises_fails_the_run(lived: Lived, journal: Journal) -> None:  # C20
    raises = '(() => { throw new Error("c"); })()'
    workflow = create_workflow(id="w").branch([(raises, journal.inc()), ("true", journal.dbl())]).commit()
    result = lived(workflow, {"v": 5}, journal=journal)
    assert result.error is not None
    assert (result.status, journal.began) == ("failed", [])
    assert result.error.message.endswith("failed: Error: c")


def test_choose_takes_the_first_that_holds_or_the_other(lived: Lived, journal: Journal) -> None:
    big, other = journal.step("big", lambda _: "B"), journal.step("other", lambda _: "O")
    workflow = create_workflow(id="w").choose([(path("inputData.v") > 9, big)], otherwise=other).commit()
    assert outcome(lived(workflow, {"v": 10}, journal=journal)) == ("success", {"big": "B"})
    assert outcome(lived(workflow, {"v": 1}, journal=journal)) == ("success", {"other": "O"})


def test_do_until(lived: Lived, journal: Journal) -> None:  # C22
    fin = journal.step("fin", lambda data: {"final": data["v"]})
    workflow = create_workflow(id="w").dountil(journal.inc(), path("inputData.v") >= 12).then(fin).commit()
    result = lived(workflow, {"v": 0}, journal=journal)
    assert outcome(result) == ("success", {"final": 12})
    last = result.steps["inc"]
    assert (last.output, last.payload, last.metadata["iteration_count"]) == ({"v": 12}, {"v": 11}, 12)


def test_a_loop_condition_that_raises_fails_the_run(lived: Lived, journal: Journal) -> None:  # C26
    workflow = create_workflow(id="w").dountil(journal.inc(), '(() => { throw new Error("cc"); })()').commit()
    result = lived(workflow, {"v": 0}, journal=journal)
    assert result.error is not None
    assert (result.status, result.error.message.endswith("failed: Error: cc")) == ("failed", True)


def test_foreach_keeps_the_order_of_its_items(lived: Lived, journal: Journal) -> None:  # C27
    gen = journal.step("gen", lambda _: [{"x": 1}, {"x": 2}, {"x": 3}])
    t = journal.step("t", lambda item: {"d": 2 * item["x"]})
    total = journal.step("sum", lambda items: {"total": sum(item["d"] for item in items)})
    result = lived(create_workflow(id="w").then(gen).foreach(t).then(total).commit(), {}, journal=journal)
    assert outcome(result) == ("success", {"total": 12})
    assert result.steps["t"].output == [{"d": 2}, {"d": 4}, {"d": 6}]
    assert result.steps["t"].payload == [{"x": 1}, {"x": 2}, {"x": 3}]


def test_foreach_over_nothing(lived: Lived, journal: Journal) -> None:  # C29
    t, n = journal.step("t"), journal.step("n", lambda items: {"count": len(items)})
    result = lived(create_workflow(id="w").foreach(t).then(n).commit(), [], journal=journal)
    assert outcome(result) == ("success", {"count": 0})
    assert (result.steps["t"].status, result.steps["t"].output, set(journal.began)) == ("success", [], {"n"})


def test_a_sleep_passes_its_input_through(lived: Lived, journal: Journal) -> None:  # C54
    workflow = (
        create_workflow(id="w")
        .then(journal.inc())
        .sleep(0.015, id="z")
        .sleep("inputData.v / 400")
        .sleep(-50)
        .sleep_until(datetime(2020, 1, 1, tzinfo=UTC), id="past")
        .then(journal.dbl())
        .commit()
    )
    result = lived(workflow, {"v": 1}, journal=journal)
    assert outcome(result) == ("success", {"v": 4})
    z = result.steps["z"]
    assert (z.status, z.payload, z.output) == ("success", {"v": 2}, {"v": 2})
    assert [id for id in result.step_execution_path if id in ("inc", "z", "past", "dbl")] == ["inc", "z", "past", "dbl"]


def test_a_whole_business_process(lived: Lived, journal: Journal) -> None:
    """Everything in one: nested, parallel, branch, loop, foreach, map and sleeps, under a long call path."""
    per_item = create_workflow(id="per-item").then(journal.inc()).sleep(1).then(journal.dbl()).commit()
    items = journal.step("items", lambda data: [{"v": v} for v in range(data["n"])])
    grow = journal.step("grow", lambda data: {"v": data["v"] + 5})
    workflow = (
        create_workflow(id="w")
        .then(items)
        .foreach(per_item, concurrency=2)
        .map({"v": code("inputData.reduce((sum, item) => sum + item.v, 0)")})
        .branch([(path("inputData.v") > 3, journal.take())])
        .map(path("inputData.take"))
        .dountil(grow, path("inputData.v") >= 30)
        .parallel([clone_step(grow, id="g1"), clone_step(grow, id="g2")])
        .commit()
    )
    result = lived(workflow, {"n": 3}, journal=journal)
    assert outcome(result) == ("success", {"g1": {"v": 37}, "g2": {"v": 37}})


def _named(id: str, _: Any) -> str:
    return id
