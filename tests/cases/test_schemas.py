"""H. Schemas: what is compared with them, when, and what comes of it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel
from support.apps import KEY
from support.cases import Case, Way, everywhere, failure, outcome, statuses

from cloche import StepContext, create_workflow
from cloche.client.runs import Run
from cloche.errors import InvalidInput


class Number(BaseModel):
    v: float


class Numbered(BaseModel):
    v: float
    d: str = "dd"


class Text(BaseModel):
    v: str


@everywhere
async def test_bad_workflow_input_raises_before_anything_runs(case: Case) -> None:
    """`start` raises; the run, which nothing was recorded of, is still to be started."""
    workflow = create_workflow(id="w", input_schema=Number).then(case.journal.inc())
    with pytest.raises(InvalidInput, match="v: ") as raised:
        await case.begin(workflow, {"v": "x"})
    assert [problem.partition(":")[0] for problem in raised.value.problems] == ["v"]
    assert (case.journal.began, await case.store.runs()) == ([], [])
    assert await Run(case.app, KEY, None).status() == "pending"


@everywhere
async def test_defaults_are_filled_in_and_outputs_need_not_be_checked(case: Case) -> None:
    seen: list[Any] = []

    def act(data: Numbered) -> dict[str, Any]:
        seen.append(data.model_dump())
        return {**data.model_dump(), "extra": 1}

    s = case.journal.step("s", act, input_schema=Numbered, output_schema=Text)
    result = await case.start(create_workflow(id="w", validate_outputs=False).then(s), {"v": 1, "unk": 2})
    assert outcome(result) == ("success", {"v": 1.0, "d": "dd", "extra": 1})
    assert (seen[-1], result.steps["s"].payload) == ({"v": 1.0, "d": "dd"}, {"v": 1, "unk": 2})


@everywhere
async def test_validation_may_be_off(case: Case) -> None:
    seen: list[Any] = []
    s = case.journal.step("s", lambda data: seen.append(data) or data, input_schema=Numbered, output_schema=Text)  # type: ignore[func-returns-value]
    result = await case.start(create_workflow(id="w", validate_inputs=False, input_schema=Number).then(s), {"v": "x"})
    assert (result.status, seen[-1]) == ("success", {"v": "x"})


@everywhere
async def test_outputs_are_checked(case: Case) -> None:
    s = case.journal.step("s", lambda data: {"v": 5}, output_schema=Text)
    workflow = create_workflow(id="w").then(s).then(case.journal.take())
    result = await case.start(workflow, {})
    assert (failure(result)[0], statuses(result)) == ("InvalidInput", {"s": "failed"})
    assert "the result of step 's'" in failure(result)[1]


@everywhere
async def test_step_input_that_does_not_fit_fails_the_step(case: Case) -> None:
    s = case.journal.step("s", input_schema=Number)
    result = await case.start(create_workflow(id="w").then(s), {"v": "x"})
    assert (failure(result)[0], statuses(result), case.journal.began) == ("InvalidInput", {"s": "failed"}, [])


@everywhere
async def test_values_come_back_as_their_types(case: Case) -> None:
    double = case.journal.step("double", lambda data: Number(v=data.v * 2), input_schema=Number, output_schema=Number)
    result = await case.start(create_workflow(id="w", output_schema=Number).then(double), {"v": 2})
    assert result.status == "success"
    assert result.steps["double"].output == Number(v=4)
    assert result.result == ({"v": 4.0} if case.way is Way.STORED else Number(v=4))  # a JSON Schema revives nothing


@everywhere
async def test_initial_state_has_a_schema(case: Case) -> None:
    workflow = create_workflow(id="w", state_schema=Number).then(case.journal.acts("s", lambda _, ctx: dict(ctx.state)))
    with pytest.raises(InvalidInput, match="v: "):
        await case.begin(workflow, initial_state={"v": "x"})
    assert await case.store.runs() == []
    assert outcome(await case.start(workflow, initial_state={"v": 1})) == ("success", {"v": 1.0})


@everywhere
async def test_state_that_does_not_fit_fails_the_step(case: Case) -> None:
    def act(_: Any, ctx: StepContext) -> None:
        ctx.set_state(v="x")

    result = await case.start(create_workflow(id="w").then(case.journal.acts("s", act, state_schema=Number)))
    assert (failure(result)[0], result.state) == ("InvalidInput", {})
