"""G. What a step is resumed with, by whom, and what resuming is not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel
from support.apps import KEY
from support.cases import Case, everywhere, failure, outcome, statuses, uncut

from cloche import StepContext, create_workflow
from cloche.errors import InvalidInput, NotFound, NotSuspended
from cloche.history import Kind


class Ask(BaseModel):
    ask: str


class Answer(BaseModel):
    add: int
    by: str = "nobody"


@everywhere
async def test_resume_data_that_does_not_fit_changes_nothing(case: Case) -> None:
    def answered(_: Any, ctx: StepContext) -> Any:
        return ctx.resume_data.add if ctx.resume_data else ctx.suspend()

    await case.start(create_workflow(id="w").then(case.journal.acts("s", answered, resume_schema=Answer)))
    before = len(await case.records())
    with pytest.raises(InvalidInput, match="add: "):
        await case.resume({"add": "many"})
    assert (len(await case.records()), (await case.look()).status) == (before, "suspended")
    assert outcome(await case.resume({"add": 5})) == ("success", 5)


@everywhere
async def test_resume_data_has_the_defaults_of_its_schema(case: Case) -> None:
    def answered(_: Any, ctx: StepContext) -> Any:
        return ctx.resume_data.by if ctx.resume_data else ctx.suspend()

    await case.start(create_workflow(id="w").then(case.journal.acts("s", answered, resume_schema=Answer)))
    result = await case.resume({"add": 5})
    assert outcome(result) == ("success", "nobody")
    assert result.steps["s"].resume_payload == {"add": 5, "by": "nobody"}


@everywhere
async def test_a_suspend_payload_that_does_not_fit_fails_the_step(case: Case) -> None:
    s = case.journal.acts("s", lambda _, ctx: ctx.suspend({"ask": 5}), suspend_schema=Ask)
    result = await case.start(create_workflow(id="w").then(s))
    assert (failure(result)[0], statuses(result)) == ("InvalidInput", {"s": "failed"})


@pytest.mark.parametrize("data", [False, 0, "", [], {}])
@everywhere
async def test_falsy_data_is_data(case: Case, data: Any) -> None:
    """Mastra delivers `false` and then forgets that it did."""
    s = case.journal.acts("s", lambda _, ctx: [ctx.resume_data] if ctx.resume_data is not None else ctx.suspend())
    await case.start(create_workflow(id="w").then(s))
    result = await case.resume(data)
    assert (outcome(result), result.steps["s"].resume_payload) == (("success", [data]), data)


@everywhere
async def test_without_data_the_step_suspends_again(case: Case) -> None:
    await case.start(create_workflow(id="w").then(case.journal.ask()), {"v": 1})
    result = await case.resume()
    assert (result.status, result.suspended) == ("suspended", [["ask"]])
    assert outcome(await case.resume({"add": 1})) == ("success", {"v": 2})


@everywhere
async def test_nothing_catches_a_suspension(case: Case) -> None:
    def careless(_: Any, ctx: StepContext) -> Any:
        try:
            return ctx.resume_data or ctx.suspend("waiting")
        except Exception:
            return "eaten"

    result = await case.start(create_workflow(id="w").then(case.journal.acts("s", careless)))
    assert (result.status, result.suspend_payload) == ("suspended", {"s": "waiting"})
    assert outcome(await case.resume("x")) == ("success", "x")


@everywhere
async def test_a_step_may_fail_and_be_tried_again_after_its_resume(case: Case) -> None:
    """Mastra's workflow-level retries are lost on resume."""
    counts: list[tuple[int, Any]] = []

    def flaky(_: Any, ctx: StepContext) -> str:
        if ctx.resume_data is None:
            ctx.suspend("q")
        counts.append((ctx.retry_count, ctx.resume_data))
        if ctx.retry_count < 2:
            raise OSError("not yet")
        return "done"

    workflow = create_workflow(id="w", retry_config={"attempts": 2, "delay_s": 5}).then(case.journal.acts("s", flaky))
    await case.start(workflow)
    began = case.world.now()
    result = await case.resume("r")
    assert (outcome(result), counts) == (("success", "done"), [(0, "r"), (1, "r"), (2, "r")])
    assert case.world.now() - began == 10_000


@everywhere
async def test_steps_behind_a_resume_keep_their_retries(case: Case) -> None:
    tries: list[int] = []

    def flaky(data: Any, ctx: StepContext) -> Any:
        tries.append(ctx.retry_count)
        if ctx.retry_count == 0:
            raise OSError("once")
        return data

    workflow = create_workflow(id="w", retry_config={"attempts": 1}).then(case.journal.ask())
    await case.start(workflow.then(case.journal.acts("flaky", flaky)), {"v": 1})
    assert (outcome(await case.resume({"add": 1})), tries) == (("success", {"v": 2}), [0, 1])


@everywhere
async def test_a_suspension_uses_up_no_tries(case: Case) -> None:
    def often(_: Any, ctx: StepContext) -> Any:
        if ctx.resume_data is None:
            ctx.suspend()
        if ctx.retry_count == 0:
            raise OSError("once")
        if ctx.resume_data < 3:
            ctx.suspend()
        return ctx.retry_count

    await case.start(create_workflow(id="w").then(case.journal.acts("s", often, retries=1)))
    assert (await case.resume(1)).status == "suspended"
    assert (await case.resume(2)).status == "suspended"
    assert outcome(await case.resume(3)) == ("success", 1)


@uncut
async def test_of_two_resumes_at_once_one_wins(case: Case) -> None:
    await case.start(create_workflow(id="w").then(case.journal.ask()), {"v": 1})
    answers = await asyncio.gather(
        *(case.app.resume(KEY.run, resume_data={"add": number}) for number in (1, 2, 3)), return_exceptions=True
    )
    won = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert [outcome(result) for result in won] == [outcome(await case.look())]
    assert [type(answer) for answer in answers if isinstance(answer, BaseException)] == [NotSuspended] * 2
    assert (len(await case.records(Kind.STEP_RESUMED)), case.journal.began) == (1, ["ask", "ask"])


@everywhere
async def test_a_suspended_run_can_be_canceled_and_not_be_resumed_then(case: Case) -> None:
    await case.start(create_workflow(id="w").then(case.journal.ask()).then(case.journal.inc()), {"v": 1})
    result = await case.cancel()
    assert (outcome(result), result.suspended) == (("canceled", None), [])
    with pytest.raises(NotSuspended):
        await case.resume({"add": 1})
    assert (await case.look()).status == "canceled"


@everywhere
async def test_a_run_that_does_not_exist_or_has_ended_is_not_resumed(case: Case) -> None:
    await case.start(create_workflow(id="w").then(case.journal.inc()), {"v": 1})
    with pytest.raises(NotSuspended):
        await case.resume({})
    with pytest.raises(NotFound):
        await case.resume({}, run_id="nobody")


@everywhere
async def test_a_name_of_nothing_that_is_suspended_lists_what_is(case: Case) -> None:
    await case.start(create_workflow(id="w").then(case.journal.ask()), {"v": 1})
    with pytest.raises(NotSuspended, match="suspended are: ask"):
        await case.resume({"add": 1}, step="inc")
    assert (await case.look()).suspended == [["ask"]]


@everywhere
async def test_opening_a_store_with_a_suspended_run_starts_nothing(case: Case) -> None:
    await case.start(create_workflow(id="w").then(case.journal.ask()), {"v": 1})
    began, records = len(case.journal.began), len(await case.records())
    await case.reopen()
    assert (case.app.is_idle, len(case.app._running.drivers)) == (True, 0)
    assert (len(case.journal.began), len(await case.records())) == (began, records)
    assert outcome(await case.resume({"add": 1})) == ("success", {"v": 2})


@uncut
async def test_a_hundred_suspended_runs_cost_no_driver(case: Case) -> None:
    workflow = create_workflow(id="w").then(case.journal.ask()).commit()
    for number in range(100):
        await case.start(workflow, {"v": number}, run_id=f"run-{number}")
    await case.until(lambda: case.app.is_idle)
    assert (len(case.app._running.drivers), len(await case.app.list(status="suspended"))) == (0, 100)
    await case.reopen()
    assert (case.app.is_idle, len(await case.app.list(status="suspended"))) == (True, 100)
    assert outcome(await case.resume({"add": 1}, run_id="run-7")) == ("success", {"v": 8})
