"""`bail`: a step ends its innermost workflow, well."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.apps import Journal
from support.cases import Case, everywhere, outcome, statuses, uncut

from cloche import Step, StepContext, create_workflow
from cloche.history import Kind


@everywhere
async def test_bail_at_the_top_ends_the_run(case: Case) -> None:
    result = await case.start(create_workflow(id="w").then(_bailing(case.journal)).then(case.journal.inc()), {"v": 1})
    assert (outcome(result), statuses(result)) == (("success", {"b": 1}), {"bails": "success"})
    assert case.journal.began == ["bails"]


@everywhere
async def test_bail_ends_the_innermost_workflow_and_the_one_around_goes_on(case: Case) -> None:
    inner = create_workflow(id="W").then(_bailing(case.journal)).then(case.journal.inc()).commit()
    result = await case.start(create_workflow(id="w").then(inner).then(case.journal.take()), {"v": 1})
    assert (outcome(result), statuses(result)) == (("success", {"b": 1}), {"W": "success", "take": "success"})
    assert "W/inc" not in case.journal.began


@everywhere
async def test_bail_in_a_workflow_that_is_an_arm_ends_the_arm(case: Case) -> None:
    inner = create_workflow(id="W").then(_bailing(case.journal)).then(case.journal.inc()).commit()
    result = await case.start(create_workflow(id="w").parallel([inner, case.journal.dbl()]), {"v": 1})
    assert outcome(result) == ("success", {"W": {"b": 1}, "dbl": {"v": 2}})


@pytest.mark.parametrize("block", ["parallel", "branch", "foreach", "dountil"])
@everywhere
async def test_bail_in_any_block_ends_the_run(case: Case, block: str) -> None:
    """In a parallel or branch arm Mastra's two engines disagree about this."""
    bails, workflow = _bailing(case.journal), create_workflow(id="w")
    match block:
        case "parallel":
            workflow.parallel([case.journal.ask(), bails])
        case "branch":
            workflow.branch([("true", case.journal.ask()), ("true", bails)])
        case "foreach":
            workflow.map("[inputData, inputData]").foreach(bails, concurrency=2)
        case "dountil":
            workflow.dountil(bails, "false")
    result = await case.start(workflow.then(case.journal.inc()), {"v": 1})
    assert (outcome(result), "inc" in case.journal.began, result.suspended) == (("success", {"b": 1}), False, [])


@everywhere
async def test_bail_in_a_block_of_a_nested_workflow_leaves_its_siblings_behind(case: Case) -> None:
    """What is suspended or sleeps beside it is not waited for any more, and not to be resumed."""
    nap = create_workflow(id="nap").sleep(3600).then(case.journal.dbl()).commit()
    inner = create_workflow(id="W").parallel([case.journal.ask("lost"), nap, _bailing(case.journal, {"v": 5})]).commit()
    workflow = create_workflow(id="w").then(inner).then(case.journal.ask("kept"))
    result = await case.start(workflow, {"v": 1}, still=True)
    assert (result.status, result.suspended) == ("suspended", [["kept"]])
    assert outcome(await case.resume({"add": 1}, still=True)) == ("success", {"v": 6})
    assert await case.paths(Kind.TIMER_FIRED) == []


@everywhere
async def test_bail_in_an_item_ends_that_items_workflow_only(case: Case) -> None:
    def bail_at_two(item: int, ctx: StepContext) -> int:
        return item if item != 2 else ctx.bail("two")

    inner = create_workflow(id="W").then(case.journal.acts("t", bail_at_two)).map("inputData * 10").commit()
    result = await case.start(create_workflow(id="w").foreach(inner), [1, 2, 3])
    assert outcome(result) == ("success", [10, "two", 30])


@everywhere
async def test_bail_ends_one_turn_of_a_loop_over_a_workflow(case: Case) -> None:
    inner = create_workflow(id="W").then(_bailing(case.journal, {"v": 9})).then(case.journal.inc()).commit()
    result = await case.start(create_workflow(id="w").dountil(inner, "iterationCount >= 2"), {"v": 1})
    assert (outcome(result), await case.paths(Kind.STEP_BAILED)) == (
        ("success", {"v": 9}),
        ["W[1]/bails", "W[2]/bails"],
    )


@everywhere
async def test_a_bail_keeps_the_state_that_was_set(case: Case) -> None:
    def act(_: Any, ctx: StepContext) -> None:
        ctx.set_state(k=1)
        ctx.update_state(lambda state: {"k": state["k"] + 1})
        ctx.bail("out")

    inner = create_workflow(id="W").then(case.journal.acts("s", act)).commit()
    workflow = create_workflow(id="w").then(inner).map({"k": {"template": "${state.k}"}})
    result = await case.start(workflow)
    assert (outcome(result), result.state) == (("success", {"k": "2"}), {"k": 2})


@everywhere
async def test_a_step_may_bail_after_its_resume(case: Case) -> None:
    def act(_: Any, ctx: StepContext) -> None:
        ctx.bail(ctx.resume_data) if ctx.resume_data else ctx.suspend()

    await case.start(create_workflow(id="w").then(case.journal.acts("s", act)).then(case.journal.inc()))
    assert outcome(await case.resume("enough")) == ("success", "enough")


@everywhere
async def test_nothing_catches_a_bail(case: Case) -> None:
    def act(_: Any, ctx: StepContext) -> str:
        try:
            ctx.bail("out")
        except Exception:
            return "eaten"

    workflow = create_workflow(id="w").parallel([case.journal.acts("s", act)], settle=True)
    assert outcome(await case.start(workflow.then(case.journal.inc()))) == ("success", "out")


@uncut
async def test_siblings_of_a_bail_get_the_signal_and_are_recorded_late(case: Case) -> None:
    signalled = asyncio.Event()

    async def slow(_: Any, ctx: StepContext) -> str:
        await ctx.abort_signal.wait()
        signalled.set()
        return "late"

    inner = create_workflow(id="W").parallel([case.journal.acts("slow", slow), _bailing(case.journal)]).commit()
    result = await case.start(create_workflow(id="w").then(inner).then(case.journal.take()))
    assert outcome(result) == ("success", {"b": 1})
    await signalled.wait()
    await case.until(lambda: case.records(Kind.LATE_RESULT))
    [late] = await case.records(Kind.LATE_RESULT)
    assert late.content() == {"value": "late"}
    assert outcome(await case.look()) == ("success", {"b": 1})


def _bailing(journal: Journal, value: Any = None) -> Step:
    return journal.acts("bails", lambda _, ctx: ctx.bail(value or {"b": 1}))
