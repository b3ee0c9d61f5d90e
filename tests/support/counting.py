"""A workflow whose log grows for as long as a test needs: the server that executes it is killed meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

from cloche import create_workflow, step


@step(id="count")
async def count(data: Any) -> Any:
    await asyncio.sleep(0.005)
    return data


counting = create_workflow(id="counting").foreach(count).commit()
