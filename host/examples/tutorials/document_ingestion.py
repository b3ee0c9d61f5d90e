"""DBOS's document pipeline: each document is a child, its pages go side by side, and one broken page is no disaster."""

import asyncio

import cloche
from cloche import Cloche, CompletionError, gather, scope, step


@step(retries=2)
async def download(url: str) -> list[str]:
    return [f"{url}#{page}" for page in range(4)]


@step(retries=1)
async def index(page: str) -> int:
    if page == "b#1":
        raise ValueError(f"{page} is no text")
    return len(page)


@cloche.workflow(id="document")
async def document(url: str) -> int:
    pages = await download(url)
    with scope("pages"):
        done = await gather(*[index(page) for page in pages], limit=2, tolerated_failures=1)
    return sum(done.values)


@cloche.workflow(id="ingest")
async def ingest(urls: list[str]) -> dict[str, int]:
    try:
        return dict(zip(urls, await gather(*[document(url) for url in urls], limit=10), strict=True))
    except CompletionError as error:
        return {"failed": len(error.batch.failed)}


async def main() -> None:
    async with Cloche(workflows=[ingest, document]) as app:
        run = await app.start(ingest, ["a", "b", "c"], run_id="papers")
        print((await run.result(final=True)).unwrap())
        child = await app.get("papers › 2")
        print(sorted((await child.result()).steps))


asyncio.run(main())
