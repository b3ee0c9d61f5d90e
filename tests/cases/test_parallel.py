"""C. Parallel blocks: all arms at once, and what comes of them together."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.cases import Case, everywhere, failure, outcome, outputs, statuses, uncut

from cloche import Step, StepContext, create_workflow
from cloche.errors import NotSuspended
from cloche.history import Kind


@everywhere
async def test_parallel_outputs_are_keyed_by_step(case: Case) -> None:
    journal = case.journal
    workflow = create_workflow(id="w").parallel([journal.inc(), journal.dbl()]).then(journal.take())
    result = await case.start(workflow, {"v": 5})
    both = {"inc": {"v": 6}, "dbl": {"v": 10}}
    assert outcome(result) == ("success", both)
    assert {id: (step.payload, step.output) for id, step in result.steps.items()} == {
        "inc": ({"v": 5}, {"v": 6}),
        "dbl": ({"v": 5}, {"v": 10}),
        "take": (both, both),
    }
    assert result.step_execution_path == ["take"]


@everywhere
async def test_failure_beats_suspension(case: Case) -> None:
    s = case.journal.acts("s", lambda _, ctx: ctx.suspend())
    f = case.journal.boom("F")
    result = await case.start(create_workflow(id="w").parallel([s, f]), {})
    assert failure(result) == ("RuntimeError", "F")
    assert statuses(result) == {"s": "suspended", "boom": "failed"}
    with pytest.raises(NotSuspended):
        await case.resume({})
    assert outcome(await case.look()) == ("failed", None)


@everywhere
async def test_one_parallel_block_behind_another(case: Case) -> None:
    journal = case.journal
    p, q = journal.step("p", lambda data: data["inc"]["v"]), journal.step("q", lambda data: data["dbl"]["v"])
    workflow = create_workflow(id="w").parallel([journal.inc(), journal.dbl()]).parallel([p, q])
    assert outcome(await case.start(workflow, {"v": 5})) == ("success", {"p": 6, "q": 10})


@everywhere
async def test_a_failing_arm_lets_the_others_end(case: Case) -> None:
    workflow = create_workflow(id="w").parallel([case.journal.boom(), case.journal.inc()])
    result = await case.start(workflow, {"v": 1})
    assert (failure(result), outputs(result)["inc"]) == (("RuntimeError", "boom"), {"v": 2})


@everywhere
async def test_the_first_failing_arm_in_the_order_of_arms_counts(case: Case) -> None:
    first = case.journal.acts("first", _fails_last)
    second = case.journal.step("second", _fails)
    result = await case.start(create_workflow(id="w").parallel([first, second]), {"message": "second"})
    assert failure(result) == ("RuntimeError", "first")
    assert statuses(result) == {"first": "failed", "second": "failed"}


@everywhere
async def test_null_is_an_output(case: Case) -> None:
    workflow = create_workflow(id="w").parallel([case.journal.step("none", lambda _: None), case.journal.inc()])
    assert outcome(await case.start(workflow, {"v": 1})) == ("success", {"none": None, "inc": {"v": 2}})


@everywhere
async def test_settled_arms_never_fail_the_block(case: Case) -> None:
    workflow = create_workflow(id="w").parallel([case.journal.boom(), case.journal.inc()], settle=True)
    result = await case.start(workflow, {"v": 1})
    assert result.status == "success"
    assert result.result["inc"] == {"status": "success", "output": {"v": 2}}
    assert (result.result["boom"]["status"], result.result["boom"]["error"]["message"]) == ("failed", "boom")


@uncut
async def test_a_limit_is_a_rolling_window(case: Case) -> None:
    flying = Flying()
    steps = [flying.step(case, f"s{number}") for number in range(5)]
    result = await case.start(create_workflow(id="w").parallel(steps, limit=2))
    assert (result.status, flying.highest) == ("success", 2)


@everywhere
async def test_a_limit_changes_no_result(case: Case) -> None:
    steps = [case.journal.step(f"s{number}", number.__add__) for number in range(4)]
    result = await case.start(create_workflow(id="w").parallel(steps, limit=1), 10)
    assert outcome(result) == ("success", {"s0": 10, "s1": 11, "s2": 12, "s3": 13})


@everywhere
async def test_a_block_ends_with_as_many_successes_as_it_needs(case: Case) -> None:
    """What is still open then is abandoned: it waits for nobody, and nobody for it."""
    ask = case.journal.ask()
    workflow = create_workflow(id="w").parallel([ask, case.journal.inc(), case.journal.boom()], min_successes=1)
    result = await case.start(workflow, {"v": 1})
    assert (outcome(result), result.suspended) == (("success", {"inc": {"v": 2}}), [])


@everywhere
async def test_a_block_tolerates_as_many_failures_as_it_says(case: Case) -> None:
    arms = [case.journal.boom(), case.journal.inc()]
    one = create_workflow(id="w").parallel(arms, tolerated_failures=1)
    assert outcome(await case.start(one, {"v": 1})) == ("success", {"inc": {"v": 2}})
    none = create_workflow(id="w0").parallel(arms, tolerated_failures=0)
    result = await case.start(none, {"v": 1}, run_id="r2")
    name, message = failure(result)
    assert (name, message.partition("; ")[2]) == ("CompletionError", "the first: RuntimeError: boom")
    assert result.error is not None
    assert [item["status"] for item in result.error.data["items"]] == ["failed", "canceled"]


@everywhere
async def test_the_first_success_leaves_the_sleeping_arms_behind(case: Case) -> None:
    slow = create_workflow(id="slow").sleep(3600).then(case.journal.dbl()).commit()
    workflow = (
        create_workflow(id="w").parallel([slow, case.journal.inc()], first_success=True).then(case.journal.take())
    )
    result = await case.start(workflow, {"v": 1}, still=True)
    assert outcome(result) == ("success", {"inc": {"v": 2}})
    assert await case.paths(Kind.TIMER_FIRED) == []


class Flying:
    """How many of the steps that it makes are at work at once."""

    def __init__(self) -> None:
        self.now = self.highest = 0

    def step(self, case: Case, id: str) -> Step:
        return case.journal.acts(id, self._fly)

    async def _fly(self, data: Any, ctx: StepContext) -> Any:
        self.now += 1
        self.highest = max(self.highest, self.now)
        for _ in range(20):
            await asyncio.sleep(0)
        self.now -= 1
        return data


async def _fails_last(_: Any, ctx: StepContext) -> None:
    for _ in range(20):
        await asyncio.sleep(0)
    raise RuntimeError("first")


def _fails(data: Any) -> None:
    raise RuntimeError(data["message"])
