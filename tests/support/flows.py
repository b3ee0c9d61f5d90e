"""Workflows that the tests of the command line run."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from pydantic import BaseModel

from cloche import StepContext, create_step, create_workflow, step


class Numbers(BaseModel):
    x: int


@step(id="double")
async def double(data: Numbers) -> Numbers:
    return Numbers(x=data.x * 2)


add_ten = create_step(
    id="add-ten", input_schema=Numbers, output_schema=Numbers, execute=lambda data: Numbers(x=data.x + 10)
)
math = create_workflow(id="math", input_schema=Numbers, output_schema=Numbers).then(double).then(add_ten).commit()
changed_math = create_workflow(id="math", input_schema=Numbers, output_schema=Numbers).then(add_ten).commit()
open_ended = create_workflow(id="open-ended").then(double)

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m‮evil\r\n\x00"


@step(id="hostile")
async def hostile(data: Any) -> Any:
    return {"text": HOSTILE, HOSTILE: 1}


@step(id="refuse")
async def refuse(data: Any) -> Any:
    raise ValueError(f"no: {HOSTILE}")


def leave_a_mark(ctx: StepContext) -> None:
    marks = os.open(os.environ["FLOWS_MARKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(marks, f"{ctx.run_id}\n".encode())
    os.close(marks)


@step(id="stuck")
async def stuck(data: Any, ctx: StepContext) -> Any:
    """Never ends."""
    leave_a_mark(ctx)
    await asyncio.Event().wait()


@step(id="marked")
async def marked(data: Any, ctx: StepContext) -> Any:
    """Says in a file that it began, and takes a while."""
    leave_a_mark(ctx)
    await asyncio.sleep(0.3)
    return data


@step(id="ask")
async def ask(data: Any, ctx: StepContext) -> Any:
    if ctx.resume_data is None:
        ctx.suspend()
    return {"v": data["v"] + ctx.resume_data["add"]}


asking = create_workflow(id="asking").then(ask).commit()
escaping = create_workflow(id="escaping").then(hostile).commit()
failing = create_workflow(id="failing").then(refuse).commit()
slow = create_workflow(id="slow").then(marked).then(hostile).commit()
endless = create_workflow(id="endless").then(stuck).commit()
sleeping = create_workflow(id="sleeping").sleep(0.2).commit()
asleep = create_workflow(id="asleep").sleep(86_400).commit()
spinning = create_workflow(id="spinning").map("(() => { for (;;) {} })()").commit()
strange = (
    create_workflow(id="strange")
    .then(
        create_step(
            id="odd", execute=lambda _: {"nan": float("nan"), "inf": float("inf"), "bytes": b"\x00\xff", "big": 2**70}
        )
    )
    .commit()
)
not_a_workflow = time
