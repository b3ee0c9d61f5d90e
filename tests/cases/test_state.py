"""I. State and request context."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from support.apps import Journal
from support.cases import Case, everywhere, failure, outcome, statuses

from cloche import Step, StepContext, create_workflow
from cloche.history import Kind


@everywhere
async def test_when_a_state_change_becomes_visible(case: Case) -> None:
    """Every set merges. (In Mastra the last set of a step replaces the earlier ones.)"""
    seen: dict[str, Any] = {}

    def a(_: Any, ctx: StepContext) -> None:
        ctx.set_state(x=1)
        seen["a"] = dict(ctx.state)

    def b(_: Any, ctx: StepContext) -> None:
        seen["b"] = dict(ctx.state)
        ctx.set_state(y=2)
        ctx.set_state(w=3)

    def c(_: Any, ctx: StepContext) -> None:
        seen["c"] = dict(ctx.state)

    steps = [case.journal.acts("a", a), case.journal.acts("b", b), case.journal.acts("c", c)]
    workflow = create_workflow(id="w").then(steps[0]).then(steps[1]).then(steps[2])
    result = await case.start(workflow, {}, initial_state={"x": 0, "z": 9})
    last = {"x": 1, "z": 9, "y": 2, "w": 3}
    assert seen == {"a": {"x": 0, "z": 9}, "b": {"x": 1, "z": 9}, "c": last}
    assert (result.status, result.state) == ("success", last)


@everywhere
async def test_a_step_that_raises_changes_no_state(case: Case) -> None:
    def act(_: Any, ctx: StepContext) -> None:
        ctx.set_state(x=1)
        raise RuntimeError("no")

    result = await case.start(create_workflow(id="w").then(case.journal.acts("s", act)), initial_state={"x": 0})
    assert (failure(result), result.state) == (("RuntimeError", "no"), {"x": 0})


@everywhere
async def test_what_a_step_sets_before_it_suspends_is_kept(case: Case) -> None:
    def act(_: Any, ctx: StepContext) -> Any:
        ctx.set_state(tries=ctx.state.get("tries", 0) + 1)
        return ctx.resume_data or ctx.suspend()

    result = await case.start(create_workflow(id="w").then(case.journal.acts("s", act)))
    assert (result.status, result.state) == ("suspended", {"tries": 1})
    assert (await case.resume("r")).state == {"tries": 2}


@everywhere
async def test_no_update_is_lost_between_items_at_once(case: Case) -> None:
    """In Mastra three items that add 1, 2 and 3 to 0 end at 3."""
    workflow = create_workflow(id="w").foreach(_adder(case.journal), concurrency=3).then(case.journal.take())
    result = await case.start(workflow, [1, 2, 3], initial_state={"sum": 0})
    assert (outcome(result), result.state) == (("success", [1, 2, 3]), {"sum": 6})


@everywhere
async def test_no_update_is_lost_between_parallel_arms(case: Case) -> None:
    def grow(_: Any, ctx: StepContext) -> None:
        ctx.update_state(lambda state: {"ids": [*state["ids"], ctx.step_id]})

    arms = [case.journal.acts(id, grow) for id in ("a", "b", "c")]
    result = await case.start(create_workflow(id="w").parallel(arms), initial_state={"ids": []})
    ends = [str(path) for path in await case.paths(Kind.STEP_COMPLETED)]
    assert (result.status, result.state) == ("success", {"ids": ends})
    assert sorted(ends) == ["a", "b", "c"]


@everywhere
async def test_sets_and_updates_of_one_step_follow_each_other(case: Case) -> None:
    def act(_: Any, ctx: StepContext) -> None:
        ctx.set_state(n=5)
        ctx.update_state(lambda state: {"n": state["n"] * 2, "old": state["z"]})
        ctx.set_state(last=True)

    result = await case.start(create_workflow(id="w").then(case.journal.acts("s", act)), initial_state={"n": 1, "z": 0})
    assert result.state == {"n": 10, "z": 0, "old": 0, "last": True}


@everywhere
async def test_an_update_that_raises_fails_its_step(case: Case) -> None:
    def raising(_: Mapping[str, Any]) -> Mapping[str, Any]:
        raise KeyError("k")

    def act(_: Any, ctx: StepContext) -> None:
        ctx.update_state(raising)

    result = await case.start(create_workflow(id="w").then(case.journal.acts("s", act)), initial_state={"n": 1})
    assert (failure(result)[0], statuses(result), result.state) == ("KeyError", {"s": "failed"}, {"n": 1})


@everywhere
async def test_conditions_maps_and_durations_see_the_state_as_it_is_now(case: Case) -> None:
    count = case.journal.acts("count", lambda data, ctx: ctx.set_state(n=ctx.state.get("n", 0) + 1))
    workflow = (
        create_workflow(id="w")
        .dountil(count, "state.n >= 3")
        .sleep("state.n")
        .branch(
            [({"eq": {"left": {"path": "state.n"}, "right": {"literal": 3}}}, case.journal.step("yes", lambda _: 1))]
        )
        .map({"n": {"template": "${state.n}"}})
    )
    began = case.world.now()
    result = await case.start(workflow)
    assert outcome(result) == ("success", {"n": "3"})
    assert (case.world.now() - began, statuses(result)["yes"]) == (3000, "success")


@everywhere
async def test_nested_workflows_share_the_state_of_the_run(case: Case) -> None:
    set_k = case.journal.acts("set", lambda _, ctx: ctx.set_state(k="inner"))
    read = case.journal.acts("read", lambda _, ctx: ctx.state["k"])
    inner = create_workflow(id="W").map({"before": {"template": "${state.k}"}}).then(set_k).commit()
    result = await case.start(create_workflow(id="w").then(inner).then(read), initial_state={"k": "outer"})
    assert (outcome(result), result.state) == (("success", "inner"), {"k": "inner"})


@everywhere
async def test_state_is_handed_out_as_it_cannot_be_changed(case: Case) -> None:
    def act(_: Any, ctx: StepContext) -> None:
        with pytest.raises(TypeError):
            ctx.state["x"] = 1  # type: ignore[index]

    assert (await case.start(create_workflow(id="w").then(case.journal.acts("s", act)))).state == {}


@everywhere
async def test_all_steps_see_the_request_context_also_after_a_resume(case: Case) -> None:
    def act(_: Any, ctx: StepContext) -> Any:
        return ctx.request_context["user"] if ctx.resume_data else ctx.suspend({"for": ctx.request_context["user"]})

    inner = create_workflow(id="W").then(case.journal.acts("s", act)).commit()
    workflow = create_workflow(id="w").then(inner).map({"u": {"request_context_path": "user"}})
    result = await case.start(workflow, request_context={"user": "bob"})
    assert result.suspend_payload == {"W/s": {"for": "bob"}}
    assert outcome(await case.resume(True)) == ("success", {"u": "bob"})


def _adder(journal: Journal) -> Step:
    async def add(item: int, ctx: StepContext) -> int:
        await asyncio.sleep(0)
        ctx.update_state(lambda state: {"sum": state["sum"] + item})
        return item

    return journal.acts("t", add)
