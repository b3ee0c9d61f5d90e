"""B. Looking up results, and maps."""

from __future__ import annotations

from typing import Any

import pytest
from support.cases import Case, everywhere, failure, outcome, outputs

from cloche import GraphError, StepContext, code, create_workflow, path

TEMPLATE = (
    "x=${inputData.v} i=${initData.v} s=${stepResults.inc.v} st=${state.k} rc=${requestContext.u} "
    "o=${stepResults.inc} n=${initData.nul}"
)


@everywhere
async def test_a_step_looks_up_results_and_the_input_of_the_run(case: Case) -> None:
    inc = case.journal.inc()

    def look(_: Any, ctx: StepContext) -> dict[str, Any]:
        return {
            "by_id": ctx.get_step_result("inc"),
            "by_obj": ctx.get_step_result(inc),
            "none": ctx.get_step_result("zzz"),
            "init": ctx.get_init_data(),
            "retry": ctx.retry_count,
        }

    result = await case.start(create_workflow(id="w").then(inc).then(case.journal.acts("look", look)), {"v": 1})
    found = {"by_id": {"v": 2}, "by_obj": {"v": 2}, "none": None, "init": {"v": 1}, "retry": 0}
    assert outcome(result) == ("success", found)


@everywhere
async def test_a_step_that_failed_has_no_result(case: Case) -> None:
    look = case.journal.acts("look", lambda _, ctx: ctx.get_step_result("boom"))
    workflow = create_workflow(id="w").parallel([case.journal.boom()], settle=True).then(look)
    assert outcome(await case.start(workflow)) == ("success", None)


@everywhere
async def test_a_template_is_filled_from_all_that_is_known(case: Case) -> None:
    workflow = create_workflow(id="w").then(case.journal.inc()).map({"d": {"template": TEMPLATE}})
    value = {"v": 1, "nul": None}
    result = await case.start(workflow, value, initial_state={"k": "K"}, request_context={"u": "bob"})
    assert outcome(result) == ("success", {"d": 'x=2 i=1 s=2 st=K rc=bob o={"v":2} n='})


@everywhere
async def test_a_missing_last_key_of_a_map_is_absent(case: Case) -> None:
    workflow = create_workflow(id="w").then(case.journal.inc()).map({"a": {"step": "inc", "path": "nope"}})
    assert outcome(await case.start(workflow, {"v": 1})) == ("success", {})


@everywhere
async def test_a_missing_key_on_the_way_fails_the_map(case: Case) -> None:
    workflow = create_workflow(id="w").then(case.journal.inc()).map({"a": {"step": "inc", "path": "v.q.z"}}, id="m")
    result = await case.start(workflow, {"v": 1})
    assert "Invalid path v.q.z in step inc" in failure(result)[1]
    assert (result.error and result.error.step, result.steps["m"].status) == ("m", "failed")


@everywhere
async def test_a_map_of_a_step_that_did_not_run_fails(case: Case) -> None:
    arms = [("false", case.journal.inc()), ("true", case.journal.take())]
    workflow = create_workflow(id="w").branch(arms).map({"a": {"step": "inc", "path": "v"}})
    assert "Invalid path v in step inc" in failure(await case.start(workflow, {"v": 1}))[1]


@pytest.mark.parametrize("template", ["${ inputData.x }", "${foo.x}", "${stepResults}", "${requestContext}"])
def test_a_template_that_is_wrong_is_refused_while_building(template: str) -> None:
    with pytest.raises(GraphError):
        create_workflow(id="w").map({"a": {"template": template}}).commit()


def test_a_map_of_a_step_that_does_not_exist_is_refused_while_building() -> None:
    with pytest.raises(GraphError, match="zzz"):
        create_workflow(id="w").map({"a": {"step": "zzz", "path": "v"}}).commit()


@everywhere
async def test_a_map_may_be_code_a_path_or_an_expression(case: Case) -> None:
    workflow = (
        create_workflow(id="w")
        .then(case.journal.inc())
        .map({"twice": code("inputData.v * 2"), "same": path("inputData.v"), "big": path("inputData.v") > 1, "one": 1})
    )
    result = await case.start(workflow, {"v": 1})
    assert outcome(result) == ("success", {"twice": 4, "same": 2, "big": True, "one": 1})


@everywhere
async def test_a_map_takes_the_first_of_several_steps_that_has_a_result(case: Case) -> None:
    """Falsy results count, null does not."""
    a, b = case.journal.step("a", lambda _: None), case.journal.step("b", lambda _: 0)
    c = case.journal.step("c", lambda _: 7)
    workflow = create_workflow(id="w").then(a).then(b).then(c).map({"x": {"step": ["a", "b", "c"], "path": "."}})
    assert outcome(await case.start(workflow)) == ("success", {"x": 0})


@everywhere
async def test_every_form_of_a_map_field(case: Case) -> None:
    workflow = create_workflow(id="w").map(
        {
            "value": {"value": {"deep": [1, None]}},
            "init": {"init_data": True, "path": "user.name"},
            "whole": {"init_data": True, "path": "."},
            "context": {"request_context_path": "tenant.id"},
        },
        id="shape",
    )
    given = {"user": {"name": "Ann"}}
    result = await case.start(workflow, given, request_context={"tenant": {"id": 7}})
    shaped = {"value": {"deep": [1, None]}, "init": "Ann", "whole": given, "context": 7}
    assert (outcome(result), outputs(result)) == (("success", shaped), {"shape": shaped})
    assert result.step_execution_path == ["shape"]


@everywhere
async def test_maps_have_the_same_ids_in_every_build(case: Case) -> None:
    workflow = create_workflow(id="w").map({"a": 1}).map({"b": path("inputData.a")})
    assert outputs(await case.start(workflow)) == {"mapping_w_1": {"a": 1}, "mapping_w_2": {"b": 1}}


@everywhere
async def test_a_nested_workflow_sees_its_own_steps_and_input(case: Case) -> None:
    """`getInitData` and results inside a nested workflow are its own in conditions and maps."""
    inner = (
        create_workflow(id="W").then(case.journal.inc()).map({"init": path("initData.v"), "inc": path("inputData.v")})
    )
    workflow = create_workflow(id="w").map({"v": 10}).then(inner.commit())
    assert outcome(await case.start(workflow, {"v": 1})) == ("success", {"init": 10, "inc": 11})
