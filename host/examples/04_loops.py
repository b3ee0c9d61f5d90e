"""A step for each item of a list, two at a time, and a loop that goes on until a condition holds."""

from cloche import Cloche, create_workflow, path, step


@step(id="split")
async def split(text: str) -> list[str]:
    return text.split()


@step(id="count")
async def count(word: str) -> int:
    return len(word)


@step(id="halve")
async def halve(number: int) -> int:
    return number // 2


workflow = (
    create_workflow(id="words")
    .then(split)
    .foreach(count, concurrency=2)
    .map("inputData.reduce((sum, length) => sum + length, 0)")
    .dountil(halve, path("inputData") < 3)
    .commit()
)

if __name__ == "__main__":
    result = Cloche.run_sync(workflow, "seven words under a small glass bell")
    print(result.unwrap(), "after", result.steps["halve"].metadata["iteration_count"], "turns")
