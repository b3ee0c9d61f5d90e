"""An agent that writes programs: they run under glass, its tools are steps, and what is wrong goes back to it as data."""

import asyncio
from typing import Any

from cloche import Cloche, Policy, step

PROGRAM = """
async def main(order):
    prices = [await price(name) for name in order]
    return summ(prices)
"""


@step
def price(name: str) -> int:
    return {"tea": 4, "coffee": 6}[name]


@step
def ask_model(problem: dict[str, Any] | None) -> str:  # a script stands in for a model, which reads what was wrong
    return PROGRAM if problem is None else PROGRAM.replace("summ", "sum")


async def main() -> None:
    async with Cloche(steps=[price]) as app:
        problem: dict[str, Any] | None = None
        for attempt in (1, 2, 3):
            source = ask_model.execute(problem)
            done = await app.evaluate("acme", source, ["tea", "coffee"], steps=[price], policy=Policy.strict())
            if done.problem is None:
                print(f"attempt {attempt}: {done.result}, with {done.usage.steps} steps")
                break
            problem = done.problem.to_data()
            print(f"attempt {attempt}: line {problem['line']}: {problem['text']}: {problem['name']}")


asyncio.run(main())
