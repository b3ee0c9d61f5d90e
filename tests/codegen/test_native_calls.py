"""A picture of a native workflow shows what it calls: `cloche graph`, notebooks, `to_text()`, `to_mermaid()`, `to_svg()`."""

from __future__ import annotations

from typing import Any

import cloche
from cloche import gather, sleep, step, wait_for_event


@step
def reserve(item: str) -> str:
    return item


@step
def undo(item: str) -> str:
    return item


@cloche.workflow(id="parcel")
async def parcel(name: str) -> str:
    return name


async def sent(items: list[str]) -> None:
    for item in items:
        if item:
            await parcel(item)


@cloche.workflow(id="order")
async def order(items: list[str]) -> Any:
    try:
        done = await gather(*[reserve(item) for item in items])
        await sent(done)
    except ValueError:
        await undo("all")
    while not await wait_for_event("paid"):
        await sleep(days=1)
    return done


OUTLINE = """\
workflow order
  function order
    try
      gather
        step reserve
      function sent
        for item in items
          if item
            workflow parcel
    except ValueError
      step undo
    wait for event 'paid'
    while not await wait_for_event('paid')
      sleep days=1
"""


def test_an_outline_has_its_calls_where_they_stand() -> None:
    assert order.to_text() == OUTLINE


def test_a_workflow_without_calls_is_its_function() -> None:
    assert parcel.to_text() == "workflow parcel\n  function parcel\n"
    assert "done" in parcel.to_mermaid()
    assert parcel.to_svg().count("<rect") >= 1


def test_a_flowchart_has_an_arrow_to_each_call() -> None:
    lines = order.to_mermaid().splitlines()
    boxes = [line.split('"')[1] for line in lines if '(["' in line]
    assert boxes == [
        "gather", "step reserve", "workflow parcel", "step undo", "wait for event 'paid'", "sleep days=1"
    ]  # fmt: skip
    assert sum("-.->" in line for line in lines) == len(boxes)


def test_a_picture_has_its_steps_and_how_far_they_are() -> None:
    assert "reserve" in order.to_svg()
    assert "success" not in order.to_svg().partition("</style>")[2]
    assert "success" in order.to_svg({"reserve": "success"}).partition("</style>")[2]


async def spin(items: list[str]) -> None:
    await reserve(items[0])
    await spin(items[1:])


@cloche.workflow(id="spinning")
async def spinning(items: list[str]) -> None:
    await spin(items)


def test_a_function_that_calls_itself_is_opened_once() -> None:
    assert spinning.to_text().splitlines()[2:] == ["    function spin", "      step reserve"]
