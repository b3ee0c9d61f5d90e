"""Types in native workflows: what a step gives arrives as its annotation says, in a fresh run and in a replayed one."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from host.engines import native_types as author
from support.apps import in_loop

import cloche
from cloche import Cloche, RunResult, Workflow
from cloche.errors import InvalidInput
from cloche.store import MemoryStore
from cloche_codegen import GraphError

DAY = dt.date(2026, 1, 1)


async def ended(workflow: Workflow, data: Any, **options: Any) -> RunResult:
    """Of a run that was replayed afterwards on a fresh guest."""
    async with Cloche(MemoryStore(), workflows=[workflow]) as app:
        run = await app.start(workflow, data, **options)
        result = await run.result()
        assert (await app.replay(run.id)).divergence is None
        return result


@pytest.mark.parametrize(
    ("workflow", "data", "wanted"),
    [
        (author.scalars, 1, "3.00 paid"),
        (author.containers, 3, ["Point", "set", "Unreadable", "Decimal"]),
        (author.clocks, dt.date(2026, 3, 28), ["Europe/Berlin", "23", "123456", "2026-03-29T22:00:00.123456+02:00"]),
        (author.parent, 1, True),
    ],
    ids=lambda one: getattr(one, "id", None),
)
@in_loop
async def test_what_a_step_gives_has_its_type_inside(workflow: Workflow, data: Any, wanted: Any) -> None:
    result = await ended(workflow, data)
    assert (result.status, result.result) == ("success", wanted), result.error


@in_loop
async def test_a_model_keeps_its_methods() -> None:
    result = await ended(author.orders, {"start": {"amount": "10"}, "day": DAY})
    assert result.status == "success", result.error
    order = result.result
    assert isinstance(order, author.Order)
    assert (order.total, order.phase, order.by_day) == (author.Money(Decimal(12)), author.Phase.DONE, {DAY: 3})


@in_loop
async def test_a_model_is_made_inside() -> None:
    result = await ended(author.made, 1)
    assert result.status == "success", result.error
    one, other = result.result
    assert (type(one), one.tags, other.tags, one.id.version) == (author.Order, [], ["x"], 4)


@in_loop
async def test_what_is_in_a_model_is_validated_where_it_arrives() -> None:
    result = await ended(author.wrong, 1)
    assert result.result == "the input of step 'check' does not fit its schema: tags: Value error, an empty tag"


@in_loop
async def test_a_workflow_that_returns_another_type_fails() -> None:
    result = await ended(author.another_type, 3)
    assert result.error is not None
    assert (result.status, result.error.name) == ("failed", "InvalidResult")
    assert result.error.message.endswith(
        "the result of workflow 'another_type' does not fit its schema: sum: Field required"
    )


@in_loop
async def test_state_has_types_inside() -> None:
    result = await ended(author.stateful, 4, initial_state={"phase": "open"})
    assert (result.status, result.result) == ("success", [True, True, True]), result.error


@in_loop
async def test_events_have_types_inside() -> None:
    async with Cloche("memory:", workflows=[author.waiting]) as app:
        run = await app.start(author.waiting, 1)
        with pytest.raises(InvalidInput, match="what event 'paid' carries does not fit its schema: amount"):
            await app.send_event(run.id, "paid", {"amount": "much"})
        await app.send_event(run.id, "paid", author.Money(Decimal("2.5")))
        await app.send_event(run.id, "several", [None, author.Order(total=author.Money(Decimal(7)))])
        result = await run.result()
        assert (result.status, result.result) == ("success", [True, True, True]), result.error


def test_types_are_part_of_the_code() -> None:
    source = author.scalars.source()
    assert "price = _step('price', signature='price(n)', returns='decimal')" in source.code
    assert (
        "'Outcome': {'kind': 'enum', 'members': {'PAID': 'paid', 'REFUSED': 'refused'}, 'defined': True}" in source.code
    )
    assert "charge = _step('charge', signature='charge(amount)'" in source.code


def test_a_stored_workflow_has_them_too() -> None:
    graph = author.orders.graph
    loaded = cloche.load_workflow(graph.to_json(), steps=author.orders.steps)
    assert loaded.source().code == author.orders.source().code


@cloche.workflow(id="validating")
async def validating(data: dict[str, Any]) -> Any:
    return author.Order.model_validate(data)


def test_what_is_pydantics_own_is_refused_with_its_line() -> None:
    with pytest.raises(GraphError, match=r"it uses model_validate, which is pydantic's and not inside .*\n.*\n\s+\^+"):
        _ = validating.graph
