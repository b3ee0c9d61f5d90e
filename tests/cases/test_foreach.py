"""F. One call per item of a list."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel
from support.cases import Case, everywhere, failure, outcome, outputs, statuses, uncut

from cloche import Step, StepContext, code, create_workflow, path
from cloche.history import Kind


@everywhere
async def test_foreach_keeps_the_order_of_its_items(case: Case) -> None:
    gen = case.journal.step("gen", lambda _: [{"x": 1}, {"x": 2}, {"x": 3}])
    t = case.journal.step("t", lambda item: {"d": 2 * item["x"]})
    total = case.journal.step("sum", lambda items: {"total": sum(item["d"] for item in items)})
    result = await case.start(create_workflow(id="w").then(gen).foreach(t).then(total), {})
    assert outcome(result) == ("success", {"total": 12})
    assert result.steps["t"].output == [{"d": 2}, {"d": 4}, {"d": 6}]
    assert result.steps["t"].payload == [{"x": 1}, {"x": 2}, {"x": 3}]
    assert result.step_execution_path == ["gen", "sum"]


@everywhere
async def test_foreach_over_nothing(case: Case) -> None:
    t, n = case.journal.step("t"), case.journal.step("n", lambda items: {"count": len(items)})
    result = await case.start(create_workflow(id="w").foreach(t).then(n), [])
    assert outcome(result) == ("success", {"count": 0})
    assert (result.steps["t"].status, result.steps["t"].output, set(case.journal.began)) == ("success", [], {"n"})


@everywhere
async def test_bail_inside_foreach_ends_the_run(case: Case) -> None:
    def bail_at_two(item: int, ctx: StepContext) -> int:
        if item == 2:
            ctx.bail(["B"])
        return item

    workflow = create_workflow(id="w").foreach(case.journal.acts("t", bail_at_two)).then(case.journal.step("after"))
    result = await case.start(workflow, [1, 2, 3])
    assert outcome(result) == ("success", ["B"])
    assert await case.paths(Kind.STEP_CALLED) == ["t[0]", "t[1]"]
    assert "after" not in result.steps


@pytest.mark.parametrize(
    ("concurrency", "highest"),
    [(0, 1), (-1, 1), (2.9, 2), (float("nan"), 1), (code("'many'"), 1), (code("inputData.length"), 5)],
)
@uncut
async def test_how_many_items_are_at_work(case: Case, concurrency: Any, highest: int) -> None:
    """What computes the width from the run is a code string here: functions under glass are another matter."""
    flying = Flying()
    workflow = create_workflow(id="w").foreach(flying.step(case), concurrency=concurrency)
    result = await case.start(workflow, [1, 2, 3, 4, 5])
    assert (outcome(result), flying.highest) == (("success", [1, 2, 3, 4, 5]), highest)


@everywhere
async def test_a_computed_width_is_the_same_in_every_life(case: Case) -> None:
    workflow = create_workflow(id="w").foreach(case.journal.step("t"), concurrency=path("initData.length"))
    assert outcome(await case.start(workflow, [1, 2, 3])) == ("success", [1, 2, 3])


@uncut
async def test_the_window_rolls(case: Case) -> None:
    """The next item starts as a place becomes free, not when a whole batch is done."""
    first = asyncio.Event()

    async def hold_the_first(item: int, ctx: StepContext) -> int:
        if item == 0:
            await first.wait()
        return item

    await case.begin(
        create_workflow(id="w").foreach(case.journal.acts("t", hold_the_first), concurrency=2), [0, 1, 2, 3]
    )
    await case.until(lambda: case.records(Kind.STEP_COMPLETED), lambda records: len(records) == 3)
    first.set()
    assert outcome(await case.end()) == ("success", [0, 1, 2, 3])


@pytest.mark.parametrize("value", [{"a": 1}, "text", 5, None])
@everywhere
async def test_what_is_no_list_fails_the_run(case: Case, value: Any) -> None:
    """Mastra gives [] for an object, hangs on its other engine, and takes a text apart into its characters."""
    result = await case.start(create_workflow(id="w").foreach(case.journal.step("t")), value)
    assert (failure(result)[0], statuses(result), case.journal.began) == ("TypeError", {"t": "failed"}, [])


@everywhere
async def test_null_items_and_outputs_keep_their_places(case: Case) -> None:
    """Mastra shortens the list."""
    result = await case.start(create_workflow(id="w").foreach(case.journal.step("t")), [1, None, None])
    assert outcome(result) == ("success", [1, None, None])


@everywhere
async def test_the_first_failure_stops_the_queue(case: Case) -> None:
    body = case.journal.step("t", lambda item: 1 // item)
    result = await case.start(create_workflow(id="w").foreach(body), [1, 0, 2])
    assert failure(result)[0] == "ZeroDivisionError"
    assert (await case.paths(Kind.STEP_CALLED), result.steps["t"].payload) == (["t[0]", "t[1]"], [1, 0, 2])


@everywhere
async def test_failures_may_be_collected(case: Case) -> None:
    body = case.journal.step("t", lambda item: 6 // item)
    result = await case.start(create_workflow(id="w").foreach(body, on_error="collect", concurrency=3), [1, 0, 2])
    assert result.status == "success"
    one, zero, two = result.result
    assert (one, two) == ({"status": "success", "output": 6}, {"status": "success", "output": 3})
    assert (zero["status"], zero["error"]["name"]) == ("failed", "ZeroDivisionError")


@everywhere
async def test_each_item_is_compared_with_the_schema(case: Case) -> None:
    class Item(BaseModel):
        x: int

    body = case.journal.step("t", lambda item: item.x, input_schema=Item)
    result = await case.start(create_workflow(id="w").foreach(body), [{"x": 1}, {"x": "no"}])
    assert (failure(result)[0], case.journal.began[-1]) == ("InvalidInput", "t[0]")


@everywhere
async def test_a_workflow_for_each_item(case: Case) -> None:
    inner = create_workflow(id="W").then(case.journal.inc()).sleep(1).then(case.journal.dbl()).commit()
    result = await case.start(create_workflow(id="w").foreach(inner, concurrency=2), [{"v": 1}, {"v": 2}, {"v": 3}])
    assert outcome(result) == ("success", [{"v": 4}, {"v": 6}, {"v": 8}])
    assert outputs(result) == {"W": [{"v": 4}, {"v": 6}, {"v": 8}]}


@everywhere
async def test_a_foreach_ends_with_as_many_successes_as_it_needs(case: Case) -> None:
    def odd_only(item: int) -> int:
        if item % 2 == 0:
            raise ValueError("even")
        return item

    workflow = create_workflow(id="w").foreach(case.journal.step("t", odd_only), min_successes=2)
    assert outcome(await case.start(workflow, [1, 2, 3, 4, 5])) == ("success", [1, 3])
    assert await case.paths(Kind.STEP_CALLED) == ["t[0]", "t[1]", "t[2]"]


@everywhere
async def test_a_result_says_how_far_a_foreach_is(case: Case) -> None:
    result = await case.start(
        create_workflow(id="w").foreach(case.journal.ask("t"), concurrency=2), [{"v": 1}, {"v": 2}]
    )
    assert result.steps["t"].metadata == {"completed_count": 0, "total_count": 2}
    result = await case.resume({"add": 1}, foreach_index=1)
    assert result.steps["t"].metadata == {"completed_count": 1, "total_count": 2}


class Flying:
    """How many calls of its step are at work at once."""

    def __init__(self) -> None:
        self.now = self.highest = 0

    def step(self, case: Case) -> Step:
        return case.journal.acts("t", self._fly)

    async def _fly(self, item: Any, ctx: StepContext) -> Any:
        self.now += 1
        self.highest = max(self.highest, self.now)
        for _ in range(20):
            await asyncio.sleep(0)
        self.now -= 1
        return item
