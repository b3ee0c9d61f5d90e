"""Workflows and an app as users have them, for figures of the whole."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from cloche import Cloche, clone_step, create_workflow, step
from cloche.client import Workflow
from cloche.engines import CellSource

T = TypeVar("T")


@step(id="inc")
async def inc(data: int) -> int:
    return data + 1


@step(id="same")
async def same(data: bytes) -> bytes:
    return data


@cache
def chain(length: int) -> Workflow:
    """Steps one after another."""
    workflow = create_workflow(id=f"chain-{length}", input_schema=int)
    for number in range(length):
        workflow.then(clone_step(inc, id=f"s{number}"))
    return workflow.commit()


def each(concurrency: int) -> Workflow:
    """One step for every item of a list."""
    return create_workflow(id="each", input_schema=list[int]).foreach(inc, concurrency=concurrency).commit()


def handing_on(length: int) -> Workflow:
    """Steps that take data and give it on as it came."""
    workflow = create_workflow(id=f"hand-{length}", input_schema=bytes)
    for number in range(length):
        workflow.then(clone_step(same, id=f"s{number}"))
    return workflow.commit()


def app(store: str | Path | None, workflow: Workflow, engine: CellSource | None = None) -> Cloche:
    """On the file or URL `store`, or in memory."""
    return Cloche(store if store is not None else "memory:", workflows=[workflow], engine=engine)


async def live(app: Cloche, workflow: Workflow, value: Any) -> Any:
    """One run from its start to its result."""
    return (await (await app.start(workflow, value)).result()).unwrap()


def run(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(main)
