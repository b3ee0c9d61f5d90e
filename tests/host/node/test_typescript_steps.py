"""Steps on Node that are written in TypeScript: a file with its workflow and its steps is all that there is, and no package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.node import needs_node

import cloche
from cloche import Cloche, NodeSteps, UsageError, create_step, create_workflow
from cloche.history import Kind

pytestmark = [needs_node, pytest.mark.anyio]
FLOW = """import { FatalError, getStepMetadata, getWritable, sleep } from "workflow";
import { greeting } from "./texts";
import { later } from "./lib/more.js";

interface Account { id: string; mail: string }
enum Level { Low, High = 5 }

export async function onboarding(mail: string): Promise<unknown> {
  "use workflow";
  const account = await createAccount(mail);
  await sendMail(account, greeting(account.mail));
  await sleep("5ms");
  try {
    return [account.id, await later(3), await refused()];
  } catch (error) {
    return [account.id, (error as Error).message];
  }
}
export async function createAccount(mail: string): Promise<Account> {
  "use step";
  return { id: `a-${getStepMetadata().attempt}-${Level.High}`, mail };
}
async function sendMail(account: Account, text: string): Promise<void> {
  "use step";
  const writer = getWritable<string>().getWriter();
  await writer.write(`to ${account.mail}: ${text}`);
  writer.releaseLock();
}
async function refused(): Promise<void> {
  "use step";
  throw new FatalError("no way");
}
"""
MORE = """import { basename } from "node:path";
export async function later(n: number): Promise<string> { "use step"; return `${basename("a/b")}${n satisfies number}`; }
"""


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "more.ts").write_text(MORE)
    (tmp_path / "texts.ts").write_text(
        'export const greeting = (mail: string): string => `welcome, ${mail.split("@")[0]}`;\n'
    )
    (tmp_path / "flow.ts").write_text(FLOW)
    return tmp_path / "flow.ts"


async def test_a_file_has_its_workflow_and_its_steps(flow: Path) -> None:
    bundle = cloche.load_bundle(flow)
    async with Cloche("memory:", workflows=bundle.workflows, steps=[NodeSteps(flow)]) as app:
        run = await app.start("onboarding", ["ann@shop.example"], run_id="wrun_1")
        assert (await run.result()).unwrap() == ["a-1-5", "no way"]
        written: list[Any] = [one.content()["value"] for one in await run.history() if one.kind is Kind.STEP_WROTE]
        assert written == [{"stream": "strm_1_user", "chunk": "to ann@shop.example: welcome, ann"}]
        failed = next(one for one in await run.history() if one.kind is Kind.ATTEMPT_FAILED)
        line = FLOW[: FLOW.index("throw new FatalError")].count("\n") + 1
        assert f"flow.ts:{line}:9)" in str(await run.traceback_of(failed))
        assert "cloche/steps" not in str(await run.traceback_of(failed))
        assert [step for step in bundle.steps if "later" in step] == ["step//./lib/more//later"]
        assert (await app.replay("wrun_1")).ok


async def test_the_builder_takes_a_step_in_typescript(flow: Path) -> None:
    workflow = create_workflow(id="w").then(create_step(node=f"{flow}#createAccount")).commit()
    async with Cloche("memory:", workflows=[workflow]) as app:
        made = (await (await app.start(workflow, "a@b.c")).result()).unwrap()
    assert made == {"id": "a-1-5", "mail": "a@b.c"}


async def test_what_cannot_be_read_is_told_by_its_line(flow: Path, capfd: pytest.CaptureFixture[str]) -> None:
    flow.write_text("export const a: = 1;\n")
    with pytest.raises(UsageError, match=r"flow\.ts cannot be imported"):
        await NodeSteps(flow).open_steps()
    assert "flow.ts:1:17: Unexpected token" in capfd.readouterr().err
