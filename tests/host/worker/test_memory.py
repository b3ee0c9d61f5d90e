"""What runs leave behind in a worker's memory: nothing that waits for a collection of garbage."""

from __future__ import annotations

import gc

from support.apps import in_loop

from cloche import Cloche, create_step, create_workflow
from cloche.sandbox.cells import Cell


@in_loop
async def test_an_ended_run_holds_no_cell() -> None:
    """A cell has memory of its own, and what drove the run refers to itself in circles: without a collection both stay."""

    async def plus(data: int) -> int:
        return data + 1

    workflow = create_workflow(id="w", input_schema=int).then(create_step(id="plus", execute=plus)).commit()
    async with Cloche("memory:", workflows=[workflow]) as app:
        await (await app.start(workflow, 1)).result()  # what stays for all runs is there
        gc.collect()
        before = _cells()
        gc.disable()
        try:
            runs = [await app.start(workflow, number) for number in range(5)]
            for run in runs:
                assert (await run.result()).status == "success"
            assert _cells() <= before
        finally:
            gc.enable()


def _cells() -> int:
    return sum(type(one) is Cell for one in gc.get_objects())
