"""An agent loop: turns of a model, tools side by side, output while it works, a person who is asked, and a budget."""

import asyncio

from cloche import Cloche, Kind, Policy, StepContext, create_step, gather, step, workflow


@step(retries=3)
def ask_model(turn: int, heard: list[int], ctx: StepContext) -> tuple[list[str], str]:  # a script stands in for a model
    ctx.writer.write(f"turn {turn}: I heard {sum(heard)}")
    return ["tea", "coffee", "milk"][: turn % 3 + 1], "Go on?" if turn == 25 else ""


look_up = create_step(id="look_up", execute=len)


@step
def approve(question: str, ctx: StepContext) -> bool:
    return bool(ctx.resume_data) if ctx.resume_data is not None else ctx.suspend({"question": question})


@workflow(id="agent")
async def agent(turns: int) -> dict[str, object]:
    heard: list[int] = []
    for turn in range(turns):
        tools, question = await ask_model(turn, heard)
        heard = await gather(*[look_up(name) for name in tools], limit=2)
        if question and not await approve(question):
            return {"turns": turn}
    return {"turns": turns, "heard": heard}


async def main() -> None:
    async with Cloche(workflows=[agent], policy=Policy(fuel_per_run=10**10, run_lifetime_s=3600)) as app:
        run = await app.start(agent, 50)
        print((await run.result()).suspend_payload)
        print((await run.resume(resume_data=True)).unwrap())
        print([one.to_data()["body"] for one in await run.history() if one.kind is Kind.STEP_WROTE][-1])


asyncio.run(main())
