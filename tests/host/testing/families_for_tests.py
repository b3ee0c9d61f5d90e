"""A parent, its child, and a neighbour that shares a step with them."""

from __future__ import annotations

import cloche
from cloche import create_workflow, step


@step
async def look_up(name: str) -> str:
    return f"really {name}"


@step
async def send(text: str) -> str:
    return f"sent {text}"


@cloche.workflow(id="child")
async def child(name: str) -> str:
    return await look_up(name)


@cloche.workflow(id="parent")
async def parent(name: str) -> str:
    return await send(await child(name))


neighbour = create_workflow(id="neighbour").then(look_up).commit()
