"""E. Loops: the body, then the test."""

from __future__ import annotations

from support.cases import Case, everywhere, failure, outcome, statuses

from cloche import create_workflow, path
from cloche.history import Kind


@everywhere
async def test_do_until(case: Case) -> None:
    fin = case.journal.step("fin", lambda data: {"final": data["v"]})
    workflow = create_workflow(id="w").dountil(case.journal.inc(), path("inputData.v") >= 12).then(fin)
    result = await case.start(workflow, {"v": 0})
    assert outcome(result) == ("success", {"final": 12})
    last = result.steps["inc"]
    assert (last.output, last.payload, last.metadata["iteration_count"]) == ({"v": 12}, {"v": 11}, 12)
    assert (statuses(result), result.step_execution_path) == ({"inc": "success", "fin": "success"}, ["fin"])
    assert await case.paths(Kind.STEP_CALLED) == [*(f"inc[{turn}]" for turn in range(1, 13)), "fin"]


@everywhere
async def test_the_condition_is_given_how_often_the_body_ran(case: Case) -> None:
    seen = "(console.log(iterationCount), iterationCount >= 3)"
    result = await case.start(create_workflow(id="w").dountil(case.journal.inc(), seen), {"v": 0})
    assert outcome(result) == ("success", {"v": 3})
    assert [record.content()[2] for record in await case.records(Kind.LOG_LINE)] == ["1", "2", "3"]


@everywhere
async def test_a_loop_condition_that_raises_fails_the_run(case: Case) -> None:
    """Mastra's default engine raises out of `start` and leaves the run as running."""
    workflow = create_workflow(id="w").dountil(case.journal.inc(), '(() => { throw new Error("cc"); })()')
    result = await case.start(workflow, {"v": 0})
    name, message = failure(result)
    assert (name, message.endswith("failed: Error: cc"), "inc" in message) == ("ConditionError", True, True)
    assert (statuses(result), set(case.journal.began)) == ({"inc": "success"}, {"inc[1]"})


@everywhere
async def test_do_while_goes_on_while_the_condition_holds(case: Case) -> None:
    workflow = create_workflow(id="w").dowhile(case.journal.inc(), path("inputData.v") < 3)
    assert outcome(await case.start(workflow, {"v": 0})) == ("success", {"v": 3})


@everywhere
async def test_the_body_runs_at_least_once(case: Case) -> None:
    workflow = create_workflow(id="w").dountil(case.journal.inc(), "true").dowhile(case.journal.dbl(), "false")
    assert outcome(await case.start(workflow, {"v": 1})) == ("success", {"v": 4})


@everywhere
async def test_a_body_that_fails_ends_the_loop(case: Case) -> None:
    def fail_at_three(data: dict[str, int]) -> dict[str, int]:
        if data["v"] == 3:
            raise ValueError("three")
        return {"v": data["v"] + 1}

    body = case.journal.step("s", fail_at_three)
    result = await case.start(create_workflow(id="w").dountil(body, "false").then(case.journal.dbl()), {"v": 0})
    assert (failure(result), statuses(result)) == (("ValueError", "three"), {"s": "failed"})
    assert result.steps["s"].metadata["iteration_count"] == 4


@everywhere
async def test_a_workflow_may_be_the_body(case: Case) -> None:
    inner = create_workflow(id="W").then(case.journal.inc()).sleep(1).then(case.journal.dbl()).commit()
    workflow = create_workflow(id="w").dountil(inner, path("inputData.v") > 10)
    result = await case.start(workflow, {"v": 0})
    assert (outcome(result), statuses(result)) == (("success", {"v": 14}), {"W": "success"})
    assert (await case.paths(Kind.STEP_CALLED))[:4] == ["W[1]/inc", "W[1]/dbl", "W[2]/inc", "W[2]/dbl"]


@everywhere
async def test_a_loop_may_stand_in_a_loop(case: Case) -> None:
    inner = create_workflow(id="W").dountil(case.journal.inc(), "iterationCount >= 2").commit()
    result = await case.start(create_workflow(id="w").dountil(inner, "iterationCount >= 3"), {"v": 0})
    assert (outcome(result), (await case.paths(Kind.STEP_CALLED))[2:4]) == (
        ("success", {"v": 6}),
        ["W[2]/inc[1]", "W[2]/inc[2]"],
    )
