"""A native workflow in the real Python guest: run, killed with `kill -9`, gone on with, replayed; failures by line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from codegen.functions_for_tests import is_small
from support.apps import in_loop
from support.guests import needs_python

from cloche import Cloche, DirectEngine, create_workflow, path, step, workflow

PATIENCE_S = 60.0
AUTHOR = """\
import pathlib
import cloche
from cloche import gather, sleep, step

JOURNAL = pathlib.Path(__file__).with_name("journal.txt")

@step
async def create_account(user: dict) -> dict:
    JOURNAL.open("a").write("account\\n")
    return {"id": "a-1", "addresses": [f"{user['name']}@one.example", f"{user['name']}@two.example"]}

@step(retries=2)
async def send_mail(address: str) -> str:
    JOURNAL.open("a").write(f"mail {address}\\n")
    return "sent"

@cloche.workflow(id="onboard")
async def onboard(user: dict) -> dict:
    account = await create_account(user)                  # a @step of the host
    mails = await gather(*[send_mail(a) for a in account["addresses"]], limit=5)
    await sleep(seconds=1)
    return {"account": account["id"], "mails": len(mails)}
"""


def test_onboard_is_killed_and_goes_on(tmp_path: Path) -> None:
    needs_python()
    (tmp_path / "onboard.py").write_text(AUTHOR)
    started = ["run", "onboard.py:onboard", "--input", '{"name": "ann"}', "--run-id", "r1"]
    environment = {**os.environ, "CLOCHE_STORE": str(tmp_path / "runs.db")}

    def cloche(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "cloche.cli", *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    child = subprocess.Popen([sys.executable, "-m", "cloche.cli", *started], cwd=tmp_path, env=environment)
    journal, deadline = tmp_path / "journal.txt", time.monotonic() + PATIENCE_S
    while not (journal.exists() and len(journal.read_text().split("\n")) > 3):
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait(PATIENCE_S) == -signal.SIGKILL
    assert json.loads(cloche(*started)) == {"account": "a-1", "mails": 2}
    done = journal.read_text().splitlines()
    assert done.count("account") == 1
    assert set(done) == {"account", "mail ann@one.example", "mail ann@two.example"}
    assert json.loads(cloche("replay", "r1", "--json"))["divergence"] is None
    assert json.loads(cloche("replay", "r1", "--with", "onboard.py:onboard", "--json"))["divergence"] is None
    assert "are what was written" in cloche("verify")


@step
async def fetched(data: Any) -> Any:
    return data


@workflow
async def fails(data: Any) -> Any:
    found = await fetched(data)
    return found["nothing"]


@in_loop
async def test_a_failure_is_one_with_its_type() -> None:
    needs_python()
    result = await (await fails.create_run()).start(input_data={"a": 1})
    assert result.status == "failed"
    assert result.error is not None
    assert (result.error.name, result.error.message) == ("KeyError", "'nothing'")


@in_loop
async def test_it_runs_without_glass_too() -> None:
    needs_python()
    async with Cloche("memory:", workflows=[fails], engine=DirectEngine()) as app:
        run = await app.start(fails, {"a": 1})
        result = await run.result()
        assert (result.status, result.error and result.error.name) == ("failed", "KeyError")
        assert (await app.replay(run.id)).divergence is None


@in_loop
async def test_a_graph_with_python_functions_runs_under_glass_and_without() -> None:
    needs_python()
    for engine in (None, DirectEngine()):
        made = create_workflow(id="w", execution_engine=engine).then(fetched)
        made.branch([(lambda data: data.score > 3, fetched_again), (is_small, fetched_more)])
        made.map({"n": {"fn": lambda data, ctx: len(data) + ctx.init_data.score}, "all": path("inputData")}).commit()
        result = await (await made.create_run()).start(input_data={"score": 5})
        assert result.unwrap() == {
            "n": 7,
            "all": {"again": {"score": 5}, "more": {"score": 5}},
        }


@step(id="again")
async def fetched_again(data: Any) -> Any:
    return data


@step(id="more")
async def fetched_more(data: Any) -> Any:
    return data
