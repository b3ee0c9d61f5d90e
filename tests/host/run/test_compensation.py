"""`then(…, compensate=…)`: what was done is undone when a later step fails, in reverse order, as JavaScript and as Python."""

from __future__ import annotations

from typing import Any, cast

import pytest
from support.apps import in_loop
from support.guests import needs_python

from cloche import Cloche, DirectEngine, FatalError, SandboxEngine, create_workflow, step
from cloche.testing import crash_everywhere
from cloche_codegen import GraphError

undone: list[str] = []


@step
async def flight(to: str) -> dict[str, str]:
    return {"flight": to}


@step
async def car(booked: dict[str, str]) -> dict[str, str]:
    return {**booked, "car": "small"}


@step
async def hotel(booked: dict[str, str]) -> dict[str, str]:
    if booked["flight"] == "Atlantis":
        raise FatalError("there is no hotel")
    return {**booked, "hotel": "Ritz"}


@step
async def cancel_flight(booked: dict[str, str]) -> None:
    undone.append(f"flight to {booked['flight']}")


@step
async def cancel_car(booked: dict[str, str]) -> None:
    undone.append(f"a {booked['car']} car")
    raise FatalError("the office is closed")


@step
async def leaves(booked: dict[str, str], ctx: Any) -> None:
    ctx.bail({"early": booked["flight"]})


@step
async def takes_text(what: str) -> str:
    return what


def trip(guest: Any, last: Any = hotel) -> Any:
    flow = create_workflow(id="trip", guest=guest)
    return flow.then(flight, compensate=cancel_flight).then(car, compensate=cancel_car).then(last).commit()


@pytest.mark.parametrize("engine", [SandboxEngine, DirectEngine])
@pytest.mark.parametrize("guest", ["javascript", "python"])
@in_loop
async def test_what_was_done_is_undone_the_last_first(guest: str, engine: Any) -> None:
    needs_python()
    undone.clear()
    flow = trip(guest)
    async with Cloche(workflows=[flow], engine=engine()) as app:
        assert (await (await app.start(flow, "Rome")).result()).unwrap()["hotel"] == "Ritz"
        assert undone == []
        result = await (await app.start(flow, "Atlantis")).result()
    assert undone == ["a small car", "flight to Atlantis"]
    assert result.error is not None
    assert (result.status, str(result.error), result.error.step) == ("failed", "FatalError: there is no hotel", "hotel")
    ends = {path: str(one.status) for path, one in result.steps.items() if path.startswith("undo:")}
    assert ends == {"undo:car": "failed", "undo:flight": "success"}


@pytest.mark.parametrize("guest", ["javascript", "python"])
@in_loop
async def test_a_bail_undoes_nothing(guest: str) -> None:
    needs_python()
    undone.clear()
    flow = trip(guest, leaves)
    async with Cloche(workflows=[flow]) as app:
        assert (await (await app.start(flow, "Rome")).result()).unwrap() == {"early": "Rome"}
    assert undone == []


@pytest.mark.parametrize("guest", ["javascript", "python"])
@in_loop
async def test_a_nested_workflow_undoes_its_own_and_is_undone_as_a_whole(guest: Any) -> None:
    needs_python()
    undone.clear()
    inner = create_workflow(id="inner", guest=guest).then(flight, compensate=cancel_flight).then(car).commit()
    outer = create_workflow(id="outer", guest=guest).then(inner, compensate=cancel_car).then(hotel).commit()
    async with Cloche(workflows=[outer]) as app:
        assert (await (await app.start(outer, "Atlantis")).result()).status == "failed"
    assert undone == ["a small car"]  # the inner one had ended well


@pytest.mark.parametrize("guest", ["javascript", "python"])
def test_no_crash_undoes_too_little_or_ends_otherwise(guest: str) -> None:
    needs_python()
    report = crash_everywhere(trip(guest), "Atlantis")
    assert report.result.status == "failed"
    assert report.crashes >= 10


def test_what_cannot_undo_it_is_told_at_commit() -> None:
    with pytest.raises(GraphError, match="does not fit the input of the step that compensates for it"):
        create_workflow(id="w").then(flight, compensate=takes_text).commit()
    with pytest.raises(GraphError, match="compensate takes a step, not function"):
        create_workflow(id="w").then(flight, compensate=cast("Any", lambda _: None))
