"""Programs in the style of the Workflow SDK's documentation: compiled without Node.js, run, and replayed from their logs."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.apps import in_loop

import cloche
from cloche import Cloche, ProcessEngine, SandboxEngine
from cloche.engines import CellSource
from cloche.errors import NotFound

PROGRAMS = Path(__file__).parent / "programs"


@dataclass(frozen=True)
class Case:
    program: str
    workflow: str
    args: Sequence[Any]
    result: Any
    hooks: Sequence[tuple[str, Any]] = ()  # payloads that are sent, in order, by token

    def __str__(self) -> str:
        return f"{self.program}:{self.workflow}"


CASES = [
    Case("onboarding.ts", "onboarding", ["a@b.c"], {"user": {"id": "u-1", "mail": "a@b.c"}, "mails": ["welcome a@b.c", "how is it, a@b.c?"]}),
    Case("agent.ts", "agent", ["how is the weather?"], {"answer": "it is 42", "turns": 3, "tools": ["sunny in Bern", "42"]}),
    Case("approval.ts", "approval", ["d-1"], "published d-1", [("approve:d-1", {"ok": True})]),
    Case("approval.ts", "approval", ["d-2"], "rejected: no", [("approve:d-2", {"ok": False, "comment": "no"})]),
    Case("chat.ts", "chat", ["7"], ["HI", "THERE"], [("room:7", {"text": "hi"}), ("room:7", {"text": "there"}), ("room:7", {"text": "bye"})]),
    Case("saga.ts", "checkout", [{"id": "near", "amount": 3}], {"status": "shipped", "undone": []}),
    Case("saga.ts", "checkout", [{"id": "far", "amount": 3}], {"status": "canceled", "why": "cannot ship far", "undone": ["refund", "release"]}),
    Case("batching.ts", "batch", [10], {"sum": 385 - 9, "batches": 3, "failed": [3]}),
    Case("classes.ts", "Cart.shop", [["a", "b"]], ["Ada: 6 EUR", "paid 6"]),
    Case("values.ts", "values", ["2026-01-02T03:04:05.000Z"], {"size": 1, "set": [1, 2], "when": "2026-01-02T03:04:05.000Z", "level": "High", "name": "name", "big": str(2**70), "pattern": True}),
    Case("points.ts", "points", [1, 2], {"isPoint": True, "sum": 13}),
    Case("retries.ts", "retries", [], {"first": 2, "second": "FatalError: there is no way", "third": "fatal"}),
    Case("racing.ts", "race", [["a", "b"]], {"hasId": True, "first": "from b", "slow": "timeout", "all": ["from c", 3]}),
    Case("racing.ts", "later", [15], True),
    Case("children.ts", "parent", [[1, 2, 3]], [2, 4, 6]),
]  # fmt: skip


@pytest.fixture(params=[SandboxEngine, ProcessEngine], ids=["sandbox", "process"])
def engine(request: pytest.FixtureRequest) -> Iterator[CellSource]:
    made = request.param()
    yield made
    if isinstance(made, ProcessEngine):
        made.close()


def steps_of(bundle: Any) -> Any:
    spec = importlib.util.spec_from_file_location("program_steps", PROGRAMS / "steps.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return bundle.with_steps(vars(module))


@asynccontextmanager
async def app_of(program: str, **options: Any) -> Any:
    bundle = cloche.load_bundle(PROGRAMS / program)
    async with Cloche(workflows=bundle.workflows, steps=steps_of(bundle), **options) as app:
        yield app


@pytest.mark.parametrize("case", CASES, ids=str)
@in_loop
async def test_a_program_runs_and_replays(case: Case, engine: CellSource) -> None:
    async with app_of(case.program, engine=engine) as app:
        run = await app.start(case.workflow, list(case.args))
        for token, payload in case.hooks:
            while not await _sent(app, token, payload):
                await asyncio.sleep(0.01)
        assert (await run.result()).unwrap() == case.result
        assert (await app.replay(run.id)).ok


async def _sent(app: Cloche, token: str, payload: Any) -> bool:
    try:
        await app.resume_hook(token, payload)
    except NotFound:  # it has not come so far
        return False
    return True


@in_loop
async def test_what_a_step_captures_reaches_it_beside_its_arguments() -> None:
    bundle = cloche.load_bundle(PROGRAMS / "closures.ts")

    @cloche.step
    def label(text: str, closure: dict[str, Any]) -> str:
        return f"{closure['prefix']}-{text}-{closure['limits']['most']}-{closure['calls']}"

    @cloche.step(id="step//./closures//closures/tool/execute")
    def execute(n: int, closure: dict[str, Any]) -> int:
        return n * int(closure["limits"]["most"])

    async with Cloche(workflows=bundle.workflows, steps=[label, execute]) as app:
        run = await app.start("closures", ["x", {"most": 2}])
        assert (await run.result()).unwrap() == ["x-a-2-1", "x-b-2-2", 42]


def test_a_program_runs_without_node_from_the_command_line(tmp_path: Path) -> None:
    asked = [
        "run",
        "onboarding.ts:onboarding",
        "--steps",
        "steps.py",
        "--input",
        '["a@b.c"]',
        "--store",
        str(tmp_path / "s.db"),
    ]
    command = [sys.executable, "-m", "cloche.cli", *asked]
    environment = {**os.environ, "PATH": str(tmp_path)}  # where there is no node, nor anything else
    done = subprocess.run(command, cwd=PROGRAMS, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "welcome a@b.c" in done.stdout
