"""Temporal's messages: a query for what a run knows, an update that is checked, a signal that lets it end."""

import asyncio

import cloche
from cloche import Cloche, create_hook, set_tags, step

GREETINGS = {"en": "Hello, world", "fr": "Bonjour, monde", "de": "Hallo, Welt"}


@step
async def call_greeting_service(language: str) -> str:
    return {"pt": "Olá mundo"}.get(language, "?")


@cloche.workflow(id="greeting")
async def greeting(language: str) -> str:
    greetings = dict(GREETINGS)
    set_tags(language=language)  # what others may ask for while it runs
    with create_hook(schema=dict[str, str], token="greeting") as hook:
        message = await hook
        while "approve" not in message:
            language = message["language"]
            if language not in greetings:
                greetings[language] = await call_greeting_service(language)
            set_tags(language=language)
            message = await hook
    return f"{greetings[language]} (approved by {message['approve']})"


async def main() -> None:
    async with Cloche(workflows=[greeting]) as app:
        run = await app.start(greeting, "en", run_id="g-1")
        while not (tags := (await app.view("g-1")).result.tags):
            await asyncio.sleep(0.01)
        print(tags)
        await app.resume_hook("greeting", {"language": "pt"})
        await app.resume_hook("greeting", {"approve": "ann"})
        result = await run.result(final=True)
        print(result.tags, result.unwrap())


asyncio.run(main())
