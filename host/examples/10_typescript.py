"""A workflow in TypeScript: compiled and run under glass, without Node.js; its steps are functions of Python."""

import asyncio
import tempfile
from pathlib import Path

from cloche import Cloche, load_bundle, step

FILE = Path(__file__).with_name("onboarding.ts")


@step(id="createAccount")
async def create_account(order: dict[str, str]) -> dict[str, str]:
    return {"id": f"a-{order['id']}"}


@step(id="sendMail", retries=2)
async def send_mail(mail: str, text: str) -> str:
    return f"{text} to {mail}"


async def main() -> None:
    bundle = load_bundle(FILE)
    print("calls:", ", ".join(bundle.steps))
    with tempfile.TemporaryDirectory() as directory:
        store, steps = Path(directory) / "runs.db", (create_account, send_mail)
        async with Cloche(store, workflows=bundle.workflows, steps=steps) as app:
            run = await app.start("onboarding", [{"id": "o-1", "mail": "ann@shop.example"}])
            print((await run.result(final=True)).unwrap())
            print("replays:", (await app.replay(run.id)).ok)


if __name__ == "__main__":
    asyncio.run(main())
