"""What a process gives its steps: found by the class that a parameter names, and replaced in tests."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel
from support.apps import in_loop
from support.guests import needs_python

import cloche
from cloche import Cloche, GraphError, StepContext, UsageError, create_workflow, resource, step
from cloche.testing import TestApp, double


class Db:
    def __init__(self, name: str) -> None:
        self.name = name


class Settings(BaseModel):
    currency: str = "EUR"


@step
async def charge(order: str, db: Db, settings: Settings = resource()) -> str:
    return f"{order} in {db.name}, {settings.currency}"


@step
def stamp(text: str, ctx: StepContext, db: Db = resource()) -> str:
    return f"{text} by {ctx.step_id} with {db.name}"


built = create_workflow(id="built", input_schema=str).then(charge).then(stamp).commit()


@cloche.workflow(id="native")
async def native(order: str) -> Any:
    return await stamp(await charge(order))  # type: ignore[call-arg]  # a checker sees 'db', which has no default


EXPECTED = "o-1 in live, EUR by stamp with live"
LIVE = {Db: Db("live"), Settings: Settings()}


@in_loop
async def test_steps_are_given_what_they_name() -> None:
    needs_python()
    async with Cloche(workflows=[built, native], resources=LIVE) as app:
        for workflow in (built, native):
            assert (await (await app.start(workflow, "o-1")).result()).unwrap() == EXPECTED


@in_loop
async def test_a_test_gives_others() -> None:
    async with TestApp(built, resources={Db: Db("fake"), Settings: Settings(currency="USD")}) as app:
        assert (await (await app.start(built, "o-1")).result()).unwrap() == "o-1 in fake, USD by stamp with fake"


@in_loop
async def test_a_double_that_answers_needs_none() -> None:
    doubles = [double("charge", returns="paid"), double("stamp", returns="stamped")]
    async with TestApp(built, doubles=doubles) as app:
        assert (await (await app.start(built, "o-1")).result()).unwrap() == "stamped"
    seeing = double("charge")
    async with TestApp(built, doubles=[seeing], resources=LIVE) as app:
        assert (await (await app.start(built, "o-1")).result()).unwrap() == EXPECTED
    assert seeing.inputs == ["o-1"]


@in_loop
async def test_what_is_not_given_is_told_at_once() -> None:
    with pytest.raises(UsageError, match=r"step 'charge' needs a Settings .* Cloche\(resources=\{Settings: …\}\)"):
        async with Cloche(workflows=[built], resources={Db: Db("live")}):
            pass


def test_a_resource_names_a_class() -> None:
    with pytest.raises(GraphError, match="write db: Class = resource"):

        @step
        async def odd(order: str, db: Any = resource()) -> None: ...


def test_resources_are_no_part_of_what_a_step_takes() -> None:
    assert charge.parameters.definition == "charge(order)"
    assert built.graph.steps["charge"].input_schema == {"type": "string"}
