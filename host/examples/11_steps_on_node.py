"""Steps of a JavaScript file, which Node.js performs, in a workflow of the builder."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from cloche import Cloche, create_step, create_workflow, step

FILE = Path(__file__).with_name("onboarding.mjs")


def has_mail(data: dict[str, Any]) -> bool:
    return bool(data["mail"])


def has_none(data: dict[str, Any]) -> bool:
    return not data["mail"]


@step
def letter(account: dict[str, Any]) -> str:
    return f"a letter to {account['id']}"


account = create_step(node=f"{FILE}#createAccount")
mail = create_step(node=f"{FILE}#sendMail", retries=2)
onboarding = create_workflow(id="onboarding").then(account).branch([(has_mail, mail), (has_none, letter)]).commit()


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with Cloche(Path(directory) / "runs.db", workflows=[onboarding]) as app:
            for address in ("ann@shop.example", ""):
                run = await app.start(onboarding, {"id": "o-1", "mail": address})
                print((await run.result(final=True)).unwrap(), (await app.replay(run.id)).ok)


if __name__ == "__main__":
    asyncio.run(main())
