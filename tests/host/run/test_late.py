"""Steps that nobody waits for any more: they do not hold up the run, and what they bring is recorded as late."""

import asyncio

from support.apps import in_loop, until

from cloche import Cloche, StepContext, create_workflow, step
from cloche.history import Kind


@in_loop
async def test_a_sibling_of_a_bail_does_not_hold_up_the_result_and_is_recorded_as_late() -> None:
    gate = asyncio.Event()

    @step(id="slow")
    async def slow(data: object, ctx: StepContext) -> str:
        await ctx.abort_signal.wait()
        await gate.wait()
        return "too late"

    @step(id="leave")
    async def leave(data: object, ctx: StepContext) -> None:
        ctx.bail("early")

    finished: list[str] = []
    workflow = create_workflow(id="w", on_finish=lambda result: finished.append(result.status))
    workflow.parallel([slow, leave]).commit()
    async with Cloche(workflows=[workflow]) as app:
        run = await app.start(workflow)
        assert ((await run.result()).result, finished) == ("early", ["success"])
        gate.set()
        await until(lambda: app.is_idle)
        last = (await run.history())[-1]
        assert (last.kind, last.content()) == (Kind.LATE_RESULT, {"value": "too late"})
        assert ((await app.verify()).ok, (await run.result()).status, finished) == (True, "success", ["success"])
