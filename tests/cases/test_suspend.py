"""G. Suspend and resume: a step waits for outside data, and runs again from its beginning with it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel
from support.apps import Journal
from support.cases import Case, everywhere, outcome, statuses

from cloche import Step, StepContext, create_workflow, path
from cloche.errors import InvalidInput, NotSuspended
from cloche.history import Kind


@everywhere
async def test_suspend_and_resume_without_naming_the_step(case: Case) -> None:
    workflow = create_workflow(id="w").then(case.journal.inc()).then(case.journal.ask()).then(case.journal.dbl())
    result = await case.start(workflow, {"v": 1})
    assert (result.status, result.suspended) == ("suspended", [["ask"]])
    assert result.suspend_payload == {"ask": {"ask": "ask", "at": 2}}
    assert statuses(result) == {"inc": "success", "ask": "suspended"}
    result = await case.resume({"add": 10})
    assert (outcome(result), result.suspended, result.suspend_payload) == (("success", {"v": 24}), [], {})
    ask = result.steps["ask"]
    assert (ask.status, ask.resume_payload, ask.suspend_payload) == ("success", {"add": 10}, None)
    assert (ask.payload, ask.output) == ({"v": 2}, {"v": 12})
    assert result.step_execution_path == ["inc", "ask", "dbl"]
    assert case.journal.began == ["inc", "ask", "ask", "dbl"]


@everywhere
async def test_two_arms_suspended_in_parallel(case: Case) -> None:
    arms = [case.journal.ask("a"), case.journal.ask("b")]
    result = await case.start(create_workflow(id="w").parallel(arms).then(case.journal.take()), {"v": 1})
    assert (result.status, result.suspended) == ("suspended", [["a"], ["b"]])
    assert result.suspend_payload == {"a": {"ask": "a", "at": 1}, "b": {"ask": "b", "at": 1}}
    with pytest.raises(NotSuspended, match="multiple suspended"):
        await case.resume({"add": 1})
    result = await case.resume({"add": 1}, step="a")
    assert (result.status, result.suspended) == ("suspended", [["b"]])
    assert statuses(result) == {"a": "success", "b": "suspended"}
    result = await case.resume({"add": 2}, step="b")
    assert outcome(result) == ("success", {"a": {"v": 2}, "b": {"v": 3}})


@everywhere
async def test_resume_labels(case: Case) -> None:
    result = await case.start(create_workflow(id="w").then(_labelled(case.journal, "l", "L1", "L2")), {})
    assert (result.status, result.suspend_payload) == ("suspended", {"l": {"q": 1}})
    assert {label: found["step"] for label, found in result.resume_labels.items()} == {"L1": "l", "L2": "l"}
    before = len(await case.records())
    with pytest.raises(NotSuspended, match="label 'L9'"):  # Mastra falls back to the only suspended step
        await case.resume({"x": 1}, label="L9")
    assert len(await case.records()) == before
    assert outcome(await case.resume({"x": 1}, label="L2")) == ("success", {"x": 1})


@everywhere
async def test_foreach_one_at_a_time(case: Case) -> None:
    workflow = create_workflow(id="w").foreach(_ten_and_more(case.journal))
    result = await case.start(workflow, [1, 2, 3])
    assert (result.status, result.suspended) == ("suspended", [["t"]])
    assert await case.paths(Kind.STEP_CALLED) == ["t[0]", "t[1]"]
    result = await case.resume({"n": 1})
    assert (result.status, await case.paths(Kind.STEP_CALLED)) == ("suspended", ["t[0]", "t[1]", "t[2]"])
    assert outcome(await case.resume({"n": 2})) == ("success", [10, 21, 32])


@everywhere
async def test_foreach_all_at_once(case: Case) -> None:
    workflow = create_workflow(id="w").foreach(_ten_and_more(case.journal), concurrency=3)
    result = await case.start(workflow, [1, 2, 3])
    assert (result.status, result.suspended) == ("suspended", [["t"]])
    assert outcome(await case.resume({"n": 9})) == ("success", [10, 29, 39])


@everywhere
async def test_a_loop_body_that_suspends_every_turn(case: Case) -> None:
    def one_more(data: dict[str, int], ctx: StepContext) -> dict[str, int]:
        if ctx.resume_data is None:
            ctx.suspend({"at": data["v"]})
        return {"v": data["v"] + 1}

    result = await case.start(
        create_workflow(id="w").dountil(case.journal.acts("l", one_more), path("inputData.v") >= 3), {"v": 1}
    )
    assert (result.status, result.suspend_payload) == ("suspended", {"l": {"at": 1}})
    result = await case.resume({"go": 1})
    assert (result.status, result.suspend_payload) == ("suspended", {"l": {"at": 2}})
    result = await case.resume({"go": 1})
    assert (outcome(result), result.steps["l"].metadata) == (("success", {"v": 3}), {"iteration_count": 2})


@everywhere
async def test_branch_conditions_are_not_asked_again_on_resume(case: Case) -> None:
    """A condition is part of the guest's computation: a replay computes it once more, and writes the same log."""
    q = case.journal.acts("q", lambda _, ctx: 1 if ctx.resume_data else ctx.suspend())
    arms = [("(console.log('asked'), true)", q), ("false", case.journal.dbl())]
    result = await case.start(create_workflow(id="w").branch(arms).then(case.journal.take()), {"v": 1})
    assert (result.status, result.suspended) == ("suspended", [["q"]])
    result = await case.resume({"a": 1})
    assert outcome(result) == ("success", {"q": 1})
    assert ("dbl" in case.journal.began, len(await case.records(Kind.LOG_LINE))) == (False, 1)


@everywhere
async def test_several_turns_in_one_step_with_the_suspend_data_of_the_last(case: Case) -> None:
    def talk(_: Any, ctx: StepContext) -> dict[str, Any]:
        if ctx.resume_data is None:
            ctx.suspend({"turn": 1})
        if ctx.resume_data["turn"] == 1:
            ctx.suspend({"turn": 2, "prev": ctx.suspend_data})
        return {"done": ctx.resume_data, "prev": ctx.suspend_data}

    result = await case.start(create_workflow(id="w").then(case.journal.acts("m", talk)), {})
    assert result.suspend_payload == {"m": {"turn": 1}}
    result = await case.resume({"turn": 1})
    assert result.suspend_payload == {"m": {"turn": 2, "prev": {"turn": 1}}}
    result = await case.resume({"turn": 2})
    assert outcome(result) == ("success", {"done": {"turn": 2}, "prev": {"turn": 2, "prev": {"turn": 1}}})


# ---- beyond the cases: where a suspended step may stand ------------------------------------------------------------------


@pytest.mark.parametrize("name", [None, "W1", "W1/W2/ask", "W1.W2.ask", ["W1", "W2", "ask"], "ask", "W2/ask"])
@everywhere
async def test_a_step_inside_nested_workflows_is_resumed_by_any_of_its_names(case: Case, name: Any) -> None:
    inner = create_workflow(id="W2").then(case.journal.ask()).commit()
    outer = create_workflow(id="W1").then(case.journal.inc()).then(inner).commit()
    result = await case.start(create_workflow(id="w").then(outer).then(case.journal.dbl()), {"v": 1})
    assert (result.status, result.suspended) == ("suspended", [["W1", "W2", "ask"]])
    assert result.suspend_payload == {"W1/W2/ask": {"ask": "ask", "at": 2}}
    assert statuses(result) == {"W1": "suspended"}
    result = await case.resume({"add": 1}, step=name)
    assert outcome(result) == ("success", {"v": 6})


@everywhere
async def test_a_step_object_names_itself(case: Case) -> None:
    a, b = case.journal.ask("a"), case.journal.ask("b")
    await case.start(create_workflow(id="w").parallel([a, b]), {"v": 1})
    assert (await case.resume({"add": 1}, step=b)).suspended == [["a"]]


@everywhere
async def test_two_suspensions_in_one_nested_workflow_have_to_be_told_apart(case: Case) -> None:
    inner = create_workflow(id="W").parallel([case.journal.ask("a"), case.journal.ask("b")]).commit()
    await case.start(create_workflow(id="w").then(inner), {"v": 1})
    with pytest.raises(NotSuspended, match="multiple suspended"):
        await case.resume({"add": 1}, step="W")
    await case.resume({"add": 1}, step="W/a")
    assert outcome(await case.resume({"add": 2}, step="W")) == ("success", {"a": {"v": 2}, "b": {"v": 3}})


@everywhere
async def test_an_item_of_a_foreach_is_resumed_by_its_index(case: Case) -> None:
    workflow = create_workflow(id="w").foreach(_ten_and_more(case.journal), concurrency=3)
    await case.start(workflow, [1, 2, 3])
    result = await case.resume({"n": 5}, step="t", foreach_index=2)
    assert (result.status, result.suspended) == ("suspended", [["t"]])
    with pytest.raises(NotSuspended, match="item 2"):
        await case.resume({"n": 5}, foreach_index=2)
    assert outcome(await case.resume({"n": 1}, foreach_index=1)) == ("success", [10, 21, 35])


@everywhere
async def test_a_suspended_item_keeps_its_place_in_the_window(case: Case) -> None:
    workflow = create_workflow(id="w").foreach(_ten_and_more(case.journal), concurrency=2)
    await case.start(workflow, [2, 1, 1, 3, 4])
    assert await case.paths(Kind.STEP_CALLED) == ["t[0]", "t[1]", "t[2]", "t[3]"]
    await case.resume({"n": 0}, foreach_index=3)
    assert (await case.paths(Kind.STEP_CALLED))[4:] == ["t[4]"]
    assert outcome(await case.resume({"n": 0})) == ("success", [20, 10, 10, 30, 40])


@everywhere
async def test_items_of_a_foreach_of_workflows_are_resumed_by_their_index(case: Case) -> None:
    inner = create_workflow(id="W").then(case.journal.ask()).then(case.journal.inc()).commit()
    workflow = create_workflow(id="w").foreach(inner, concurrency=2)
    result = await case.start(workflow, [{"v": 1}, {"v": 2}])
    assert (result.status, result.suspended) == ("suspended", [["W", "ask"]])
    result = await case.resume({"add": 10}, step="W", foreach_index=1)
    assert result.status == "suspended"
    result = await case.resume({"add": 20}, foreach_index=0)
    assert outcome(result) == ("success", [{"v": 22}, {"v": 13}])


@everywhere
async def test_an_exact_path_names_one_item(case: Case) -> None:
    inner = create_workflow(id="W").then(case.journal.ask()).commit()
    await case.start(create_workflow(id="w").foreach(inner, concurrency=2), [{"v": 1}, {"v": 2}])
    await case.resume({"add": 10}, step="W[1]/ask")
    assert outcome(await case.resume({"add": 20}, step="W[0]/ask")) == ("success", [{"v": 21}, {"v": 12}])


@everywhere
async def test_a_label_reaches_into_nested_workflows_and_items(case: Case) -> None:
    def by_item(item: str, ctx: StepContext) -> Any:
        return ctx.resume_data or ctx.suspend(resume_label=f"for {item}")

    inner = create_workflow(id="W").then(case.journal.acts("l", by_item)).commit()
    workflow = create_workflow(id="w").foreach(inner, concurrency=2)
    result = await case.start(workflow, ["a", "b"])
    assert set(result.resume_labels) == {"for a", "for b"}
    assert (await case.resume("B", label="for b")).status == "suspended"
    assert outcome(await case.resume("A", label="for a")) == ("success", ["A", "B"])


@everywhere
async def test_all_items_with_one_label_are_one_question(case: Case) -> None:
    workflow = create_workflow(id="w").foreach(_labelled(case.journal, "l", "all"), concurrency=3)
    await case.start(workflow, [1, 2])
    assert outcome(await case.resume({"x": 1}, label="all")) == ("success", [{"x": 1}, {"x": 1}])


@everywhere
async def test_an_arm_sleeps_while_another_is_suspended(case: Case) -> None:
    nap = create_workflow(id="nap").sleep(60).then(case.journal.inc()).commit()
    workflow = create_workflow(id="w").parallel([nap, case.journal.ask()]).then(case.journal.take())
    result = await case.start(workflow, {"v": 1}, still=True)
    assert (result.status, statuses(result)["ask"]) == ("waiting", "suspended")
    result = await case.resume({"add": 5}, still=True)
    assert (result.status, statuses(result)["ask"]) == ("waiting", "success")
    assert outcome(await case.end()) == ("success", {"nap": {"v": 2}, "ask": {"v": 6}})


@everywhere
async def test_finished_siblings_do_not_run_again(case: Case) -> None:
    workflow = create_workflow(id="w").parallel([case.journal.inc(), case.journal.ask()])
    await case.start(workflow, {"v": 1})
    began = list(case.journal.began)
    await case.resume({"add": 1})
    assert case.journal.began[len(began) :] == ["ask"]


@everywhere
async def test_a_nested_workflow_that_failed_takes_what_is_suspended_in_it_along(case: Case) -> None:
    """What stood in it is not to be resumed: nobody waits for it any more."""
    inner = create_workflow(id="W").parallel([case.journal.ask("lost"), case.journal.boom()]).commit()
    workflow = create_workflow(id="w").parallel([inner, case.journal.ask()], settle=True)
    result = await case.start(workflow, {"v": 1})
    assert (result.status, result.suspended) == ("suspended", [["ask"]])
    with pytest.raises(NotSuspended):
        await case.resume({"add": 1}, step="lost")
    result = await case.resume({"add": 1})
    assert (result.status, result.result["ask"]) == ("success", {"status": "success", "output": {"v": 2}})
    assert result.result["W"]["error"]["message"] == "boom"


def _labelled(journal: Journal, id: str, *labels: str) -> Step:
    return journal.acts(id, lambda _, ctx: ctx.resume_data or ctx.suspend({"q": 1}, resume_label=labels))


def _ten_and_more(journal: Journal) -> Step:
    """Item 1 is 10; the others wait, and are ten times themselves and what they are given."""

    def act(item: int, ctx: StepContext) -> int:
        if item == 1:
            return 10
        if ctx.resume_data is None:
            ctx.suspend({"item": item})
        return item * 10 + int(ctx.resume_data["n"])

    return journal.acts("t", act)


class Answer(BaseModel):
    add: int


@everywhere
async def test_resume_data_is_checked_whatever_id_the_step_has_here(case: Case) -> None:
    def add(data: Any, ctx: StepContext) -> Any:
        return ctx.suspend() if ctx.resume_data is None else {"v": data["v"] + ctx.resume_data.add}

    ask = case.journal.acts("ask", add, resume_schema=Answer)
    await case.start(create_workflow(id="w").then(ask, id="other"), {"v": 1})
    with pytest.raises(InvalidInput, match="add: "):
        await case.resume({"add": "much"})
    assert outcome(await case.resume({"add": 2})) == ("success", {"v": 3})


@everywhere
async def test_an_index_is_never_that_of_an_inner_loop(case: Case) -> None:
    inner = create_workflow(id="W").dountil(case.journal.ask(), "inputData.v >= 10").commit()
    await case.start(create_workflow(id="w").foreach(inner, concurrency=2), [{"v": 1}, {"v": 2}])
    await case.resume({"add": 1}, step="W", foreach_index=0)
    with pytest.raises(NotSuspended, match="does not wait for step 'ask', item 7"):
        await case.resume({"add": 100}, step="ask", foreach_index=7)
    result = await case.resume({"add": 100}, step="ask", foreach_index=1)
    assert result.suspended == [["W", "ask"]]
    assert outcome(await case.resume({"add": 8}, foreach_index=0)) == ("success", [{"v": 10}, {"v": 102}])
