"""A schema that a deploy has changed: open runs whose data fits the old one are blocked by it, and go on once it is mended."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from support.apps import AppOn, in_loop

from cloche import StepContext, Workflow, create_workflow, step
from cloche.store import MemoryStore


class Old(BaseModel):
    sku: str


class New(BaseModel):
    sku: str
    warehouse: str


class Mended(BaseModel):
    sku: str
    warehouse: str = "main"


class Answer(BaseModel):
    yes: bool


class LongAnswer(BaseModel):
    yes: bool
    why: str


def version(model: Any, answer: Any = None, gives: Any = None) -> Workflow:
    @step(id="reserve", output_schema=model if gives is None else None)
    async def reserve(data: Any) -> Any:
        return {"sku": "bolt"} if gives is None else gives

    @step(id="approve", resume_schema=answer)
    async def approve(data: Any, ctx: StepContext) -> Any:
        if ctx.resume_data is None:
            ctx.suspend()
        return data

    @step(id="ship", input_schema=model)
    async def ship(order: Any) -> Any:
        return getattr(order, "warehouse", order.sku)

    return create_workflow(id="order").then(reserve).then(approve).then(ship).commit()


async def begun(store: MemoryStore, workflow: Workflow) -> None:
    async with AppOn(store, workflows=[workflow]) as app:
        assert (await (await app.start("order", 1, run_id="r1")).result()).status == "suspended"


@in_loop
async def test_a_run_that_met_a_bad_deploy_is_blocked_and_goes_on_after_the_next() -> None:
    store = MemoryStore()
    await begun(store, version(Old))
    async with AppOn(store, workflows=[version(New)]) as app:
        result = await (await app.get("r1")).resume(resume_data={})
        assert result.status == "blocked"
        assert result.blocked is not None
        assert result.blocked["reason"] == "schema-changed"
        assert result.blocked["message"] == (
            "the input of step 'ship' fits the schema that the run began with, and not the one it has here: "
            "warehouse: Field required"
        )
    async with AppOn(store, workflows=[version(Mended)]) as app:
        result = await (await app.get("r1")).result(final=True)
    assert (result.status, result.result) == ("success", "main")


@in_loop
async def test_what_fits_neither_schema_fails_its_step() -> None:
    store = MemoryStore()
    await begun(store, version(Old, gives={"sku": 7}))
    async with AppOn(store, workflows=[version(New)]) as app:
        result = await (await app.get("r1")).resume(resume_data={})
    assert (result.status, result.error and result.error.name) == ("failed", "InvalidInput")


@in_loop
async def test_it_is_the_same_with_what_a_step_was_resumed_with() -> None:
    store = MemoryStore()
    await begun(store, version(Old, Answer))
    app = AppOn(store, workflows=[version(Old, Answer)])
    await app.__aenter__()
    app._running.registry._steps.clear()  # the data is recorded, and the step does not begin
    assert (await (await app.get("r1")).resume(resume_data={"yes": True})).status == "blocked"
    await app.vanish()
    async with AppOn(store, workflows=[version(Old, LongAnswer)]) as after:
        result = await (await after.get("r1")).result()
    assert result.blocked is not None
    assert "the resume data of step 'approve'" in result.blocked["message"]
