"""Native workflows with their author's classes: enums, dataclasses, named tuples and exceptions, under glass."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, NamedTuple

import pytest
from support.apps import in_loop
from support.guests import needs_python

from cloche import Cloche, Graph, Workflow, load_workflow, step, workflow


class Status(Enum):
    OPEN = "open"
    PAID = "paid"


class Size(StrEnum):
    SMALL = "s"
    LARGE = "l"


@dataclass
class Line:
    sku: str
    count: int = 1
    size: Size = Size.SMALL
    tags: list[str] = field(default_factory=list)

    @property
    def is_large(self) -> bool:
        return self.size is Size.LARGE


class Place(NamedTuple):
    street: str
    number: int = 1


class ShopError(Exception):
    pass


class OutOfStock(ShopError):
    def __init__(self, sku: str, left: int) -> None:
        super().__init__(f"{left} {sku} left")
        self.sku, self.left = sku, left


class Strange(Exception):
    __slots__ = ("x",)

    def __new__(cls, x: int) -> Strange:
        return super().__new__(cls, x)


@step
def reserve(data: Any) -> Any:
    if data["count"] > 10:
        raise OutOfStock(data["sku"], 10)
    return data


@step
def echo(data: Any) -> Any:
    return data


@step
def breaks(data: Any) -> Any:
    raise Strange(5)


@workflow
async def order(data: dict[str, Any]) -> dict[str, Any]:
    line = Line(data["sku"], data["count"], Size.LARGE, ["a"])
    try:
        reserved = await reserve(line)
    except ShopError as error:
        return {
            "status": Status.OPEN, "sku": error.sku, "left": error.left, "is": isinstance(error, OutOfStock),  # type: ignore[attr-defined]
            "text": str(error), "name": error.name, "line": error.__class__.__name__,  # type: ignore[attr-defined]
        }  # fmt: skip
    back = Line(**{**reserved, "size": Size(reserved["size"])})
    place = await echo(Place("Main"))
    return {"status": Status.PAID, "same": back == line and back.is_large, "place": place, "line": line}


@workflow
async def gives_up(data: Any) -> Any:
    raise OutOfStock("nuts", 0)


@workflow
async def hears_strange(data: Any) -> str:
    try:
        await breaks(data)
    except Strange:
        return "its own"
    except Exception as error:
        return f"{type(error).__name__} {error.name}"  # type: ignore[attr-defined]
    return "nothing"


@pytest.fixture(autouse=True)
def _python() -> None:
    needs_python()


async def lived(made: Workflow, data: Any) -> Any:
    async with Cloche("memory:", workflows=[made], handle_sigterm=False) as app:
        run = await app.start(made, data, run_id="r1")
        result = await run.result()
        assert (await app.replay("r1")).ok
        return result


@in_loop
async def test_values_of_classes_cross_and_are_made_again() -> None:
    line = {"sku": "nut", "count": 3, "size": "l", "tags": ["a"]}
    expected = {"status": "paid", "same": True, "place": ["Main", 1], "line": line}
    assert (await lived(order, {"sku": "nut", "count": 3})).unwrap() == expected


@in_loop
async def test_an_exception_of_a_step_is_one_of_the_authors_class_inside() -> None:
    seen = (await lived(order, {"sku": "nut", "count": 30})).unwrap()
    assert seen == {
        "status": "open", "sku": "nut", "left": 10, "is": True,
        "text": "10 nut left", "name": "OutOfStock", "line": "OutOfStock",
    }  # fmt: skip


@in_loop
async def test_an_exception_that_leaves_says_its_class_text_and_attributes() -> None:
    error = (await lived(gives_up, None)).error
    assert (error.name, error.message, error.data) == ("OutOfStock", "0 nuts left", {"sku": "nuts", "left": 0})


@in_loop
async def test_one_that_makes_its_objects_in_a_way_of_its_own_is_caught_as_well() -> None:
    assert (await lived(hears_strange, None)).unwrap() == "its own"


@in_loop
async def test_the_stored_graph_runs_by_the_steps_alone() -> None:
    text = order.graph.to_json()
    again = load_workflow(Graph.from_json(text), steps=[reserve, echo])
    assert again.graph.to_json() == text
    assert (await lived(again, {"sku": "nut", "count": 30})).unwrap()["is"] is True
