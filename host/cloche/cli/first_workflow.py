"""A first workflow. `cloche dev` executes it, and loads this file again whenever it is saved."""

from dataclasses import dataclass

import cloche
from cloche import StepContext, gather, sleep, step


@dataclass
class Answer:
    ok: bool
    comment: str = ""


@step(retries=3)
async def greet(name: str) -> str:  # the real work: it runs in this process, and is done once
    return f"Hello {name}!"


@step
async def translate(text: str, language: str) -> str:
    return {"de": text.replace("Hello", "Hallo"), "fr": text.replace("Hello", "Bonjour")}.get(language, text)


@step(resume_schema=Answer)
async def approve(texts: list[str], ctx: StepContext) -> str:
    if ctx.resume_data is None:
        ctx.suspend({"question": "Shall these be sent?", "texts": texts})  # the run waits in the store for an answer
    return "sent" if ctx.resume_data.ok else f"not sent: {ctx.resume_data.comment}"


@cloche.workflow(id="hello")
async def hello(name: str) -> str:  # under glass: a pure function of what happened, rebuilt exactly after a crash
    text = await greet(name)
    texts = list(await gather(translate(text, "de"), translate(text, "fr")))
    await sleep(seconds=2)  # or days=30: no process needs to wait for it
    return await approve(texts)
