"""A module that has a step: it is of the host."""

from __future__ import annotations

from cloche import step


@step
async def pay(cents: int) -> str:
    return f"paid {cents}"
