"""The first workflow of the README: two steps, one after the other."""

from pydantic import BaseModel

from cloche_codegen import create_step, create_workflow, step


class Numbers(BaseModel):
    x: int


@step(id="double", retries=2)
async def double(data: Numbers) -> Numbers:
    """Twice the number."""
    return Numbers(x=data.x * 2)


async def plus(data: Numbers, ctx: object) -> Numbers:
    return Numbers(x=data.x + 10)


add_ten = create_step(id="add-ten", input_schema=Numbers, output_schema=Numbers, execute=plus)

workflow = create_workflow(id="math", input_schema=Numbers, output_schema=Numbers).then(double).then(add_ten).commit()
