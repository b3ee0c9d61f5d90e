"""D. Branches: every arm whose condition holds; and `choose`: the first."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from support.cases import Case, everywhere, failure, outcome, statuses

from cloche import create_workflow, path

RAISES = '(() => { throw new Error("c"); })()'


@pytest.mark.parametrize(("v", "arm"), [(10, "low"), (50, "mid"), (80, "high")])
@everywhere
async def test_a_branch_takes_the_arm_that_holds(case: Case, v: int, arm: str) -> None:
    value = path("inputData.v")
    conditions = {"low": value < 33, "mid": (value >= 33) & (value < 66), "high": value >= 66}
    steps = {id: case.journal.step(id, partial(_named, id)) for id in conditions}
    workflow = create_workflow(id="w").branch([(conditions[id], steps[id]) for id in conditions])
    result = await case.start(workflow, {"v": v})
    assert outcome(result) == ("success", {arm: arm})
    assert (statuses(result), set(case.journal.began)) == ({arm: "success"}, {arm})


@everywhere
async def test_no_arm_holds(case: Case) -> None:
    workflow = create_workflow(id="w").branch([("false", case.journal.inc())]).then(case.journal.take())
    result = await case.start(workflow, {"v": 5})
    assert (outcome(result), result.steps["take"].payload) == (("success", {}), {})
    assert statuses(result) == {"take": "success"}


@everywhere
async def test_a_condition_that_raises_fails_the_run(case: Case) -> None:
    """Mastra's default engine reads it as false, which hides bugs; a typed error names the condition here."""
    workflow = create_workflow(id="w").branch([(RAISES, case.journal.inc()), ("true", case.journal.dbl())])
    result = await case.start(workflow, {"v": 5})
    name, message = failure(result)
    assert (name, message.endswith("failed: Error: c"), "inc" in message) == ("ConditionError", True, True)
    assert case.journal.began == []


@everywhere
async def test_every_arm_that_holds_runs(case: Case) -> None:
    arms = [("true", case.journal.inc()), ("inputData.v > 1", case.journal.dbl()), ("0", case.journal.take())]
    result = await case.start(create_workflow(id="w").branch(arms), {"v": 5})
    assert outcome(result) == ("success", {"inc": {"v": 6}, "dbl": {"v": 10}})


@pytest.mark.parametrize(
    ("value", "holds"),
    [(0, False), ("", False), (None, False), (False, False), ([], True), ({}, True), ("0", True), (-1, True)],
)
@everywhere
async def test_truth_is_that_of_javascript(case: Case, value: Any, holds: bool) -> None:
    truthy = {"truthy": {"value": {"path": "inputData.x"}}}
    workflow = create_workflow(id="w").branch([(truthy, case.journal.take()), ("inputData.x", case.journal.inc())])
    result = await case.start(workflow, {"x": value, "v": 1})
    assert set(statuses(result)) == ({"take", "inc"} if holds else set())


@everywhere
async def test_what_is_missing_is_equal_to_nothing_and_unequal_to_nothing(case: Case) -> None:
    missing = {"path": "inputData.no.such"}
    arms = {
        "eq": {"eq": {"left": missing, "right": {"literal": None}}},
        "ne": {"ne": {"left": missing, "right": {"literal": 1}}},
        "not_in": {"notIn": {"value": missing, "set": [1]}},
        "not_exists": {"notExists": {"path": "inputData.no.such"}},
        "falsy": {"falsy": {"value": missing}},
        "one_is_one": {"eq": {"left": {"path": "inputData.v"}, "right": {"literal": 1.0}}},
        "true_is_not_one": {"eq": {"left": {"literal": True}, "right": {"path": "inputData.v"}}},
        "text_is_no_number": {"gt": {"left": {"literal": "5"}, "right": {"path": "inputData.v"}}},
    }
    steps = [(test, case.journal.step(id, partial(_named, id))) for id, test in arms.items()]
    result = await case.start(create_workflow(id="w").branch(steps), {"v": 1})
    assert set(result.result) == {"not_in", "not_exists", "falsy", "one_is_one"}


@everywhere
async def test_conditions_see_state_results_the_input_and_the_context(case: Case) -> None:
    arms = [
        ("state.k === 1", case.journal.inc()),
        ("stepResults.first.v + initData.v === 3 && requestContext.u === 'bob'", case.journal.dbl()),
        ({"eq": {"left": {"path": "stepResults.first.v"}, "right": {"literal": 2}}}, case.journal.take()),
    ]
    workflow = create_workflow(id="w").then(case.journal.step("first", lambda _: {"v": 2})).branch(arms)
    result = await case.start(workflow, {"v": 1}, initial_state={"k": 1}, request_context={"u": "bob"})
    assert outcome(result) == ("success", {"inc": {"v": 3}, "dbl": {"v": 4}, "take": {"v": 2}})


@everywhere
async def test_choose_takes_the_first_that_holds(case: Case) -> None:
    arms = [
        ("inputData.v > 9", case.journal.dbl()),
        ("inputData.v > 1", case.journal.inc()),
        (RAISES, case.journal.take()),
    ]
    workflow = create_workflow(id="w").choose(arms)
    assert outcome(await case.start(workflow, {"v": 10})) == ("success", {"dbl": {"v": 20}})
    assert outcome(await case.start(workflow, {"v": 5}, run_id="r2")) == ("success", {"inc": {"v": 6}})
    assert failure(await case.start(workflow, {"v": 0}, run_id="r3"))[0] == "ConditionError"


@everywhere
async def test_choose_takes_the_other_if_none_holds(case: Case) -> None:
    arms = [("false", case.journal.inc())]
    workflow = create_workflow(id="w").choose(arms, otherwise=case.journal.dbl())
    assert outcome(await case.start(workflow, {"v": 1})) == ("success", {"dbl": {"v": 2}})
    without = create_workflow(id="none").choose(arms)
    assert outcome(await case.start(without, {"v": 1}, run_id="r2")) == ("success", {})


def _named(id: str, _: Any) -> str:
    return id
