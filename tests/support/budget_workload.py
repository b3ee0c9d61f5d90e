"""A run that goes on until a bound of its policy ends it, in a process that kills itself in some of its steps.

Run as a script it starts the run, or finds it, and waits for its end. In the environment: `BUDGET_STORE`, `BUDGET_POLICY`
(JSON), `BUDGET_EVERY` (events between checkpoints), `BUDGET_KILLS` (numbers of the steps in which the process is killed, once
in each: a file beside the store says where it has been).
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from cloche import Cloche, Policy, create_step

TENANT = "acme"
STEPS_MAX = 60
SOURCE = f"""
const step = globalThis[Symbol.for("WORKFLOW_USE_STEP")];
export default async () => {{
  for (let i = 0; i < {STEPS_MAX}; i++) {{
    for (let k = 0; k < 10_000; k++);
    await step("work")({{ i, text: "x".repeat(200) + i }});
  }}
}};
"""


async def work(data: Any) -> Any:
    store, kills = Path(os.environ["BUDGET_STORE"]), os.environ["BUDGET_KILLS"].split()
    died_at = store.with_suffix(f".died-{data['i']}")
    if str(data["i"]) in kills and not died_at.exists():
        died_at.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return data


async def main() -> None:
    policy = Policy.model_validate_json(os.environ["BUDGET_POLICY"])
    every = int(os.environ["BUDGET_EVERY"])
    steps = [create_step(id="work", execute=work)]
    async with Cloche(
        os.environ["BUDGET_STORE"], steps=steps, policies={TENANT: policy}, checkpoint_every=every
    ) as app:
        tenant = app.tenant(TENANT)
        if not await tenant.list():
            await app.deploy(TENANT, SOURCE, workflow="endless", language="javascript")
            await tenant.start("endless", None, run_id="r1")
        await (await tenant.get("r1")).result()


if __name__ == "__main__":
    asyncio.run(main())
