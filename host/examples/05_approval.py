"""A run waits for a person; another process, the command line, gives the answer."""

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

from cloche import Cloche, StepContext, create_workflow, step


@step(id="approve")
async def approve(amount: int, ctx: StepContext) -> str:
    if ctx.resume_data is None:
        ctx.suspend({"question": f"pay {amount} EUR?"}, resume_label="manager")
    return "paid" if ctx.resume_data["ok"] else "refused"


workflow = create_workflow(id="expense", input_schema=int).then(approve).commit()


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = Path(directory) / "expenses.db"
        async with Cloche(store, workflows=[workflow]) as app:
            run = await app.start(workflow, 250, run_id="trip-9")
            print((await run.result()).suspend_payload)
            answer = ["resume", "trip-9", "--label", "manager", "--data", '{"ok": true}', "--store", str(store)]
            command = [sys.executable, "-m", "cloche.cli", *answer]
            await asyncio.to_thread(subprocess.run, command, stdout=subprocess.DEVNULL, check=True)
            print((await run.result(final=True)).unwrap())


if __name__ == "__main__":
    asyncio.run(main())
