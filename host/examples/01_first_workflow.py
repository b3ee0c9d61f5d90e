"""Two steps, run in memory: a decorated function, and one made a step by hand."""

import asyncio

from pydantic import BaseModel

from cloche import StepContext, create_step, create_workflow, step


class Numbers(BaseModel):
    x: int


@step(id="double", retries=2)
async def double(data: Numbers) -> Numbers:
    return Numbers(x=data.x * 2)


async def plus(data: Numbers, ctx: StepContext) -> Numbers:
    ctx.log.info("attempt %s", ctx.attempt)
    return Numbers(x=data.x + 10)


add_ten = create_step(id="add-ten", input_schema=Numbers, output_schema=Numbers, execute=plus)

workflow = create_workflow(id="math", input_schema=Numbers, output_schema=Numbers).then(double).then(add_ten).commit()


async def main() -> None:
    run = await workflow.create_run()
    result = await run.start(input_data={"x": 5})
    print(result.status, result.result, [*result.steps])


if __name__ == "__main__":
    asyncio.run(main())
