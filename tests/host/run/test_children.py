"""Child runs that workflow code starts: once, by an id that follows from the call; what comes of them is recorded."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.apps import in_loop, until
from support.guests import needs_python

from cloche import Cloche, StepContext, create_workflow, gather, race, start_child, step, wait_for_event, workflow
from cloche.errors import MissingWorkflow, UsageError
from cloche.history import Kind
from cloche.tenancy import Policy

PATIENCE_S = 60.0


@step
async def plus_one(data: Any) -> Any:
    return {"v": data["v"] + 1}


@step
async def breaks(data: Any) -> Any:
    raise ValueError("no more")


@step
async def waits(data: Any, ctx: StepContext) -> Any:
    await ctx.abort_signal.wait()
    return "let go"


small = create_workflow(id="small").then(plus_one).commit()
broken = create_workflow(id="broken").then(breaks).commit()
slow = create_workflow(id="slow").then(waits).commit()


@workflow
async def adds(data: Any) -> Any:
    first = await small({"v": data["v"]})
    rest = await gather(*[small({"v": n}) for n in (10, 20)])
    return [first, *rest]


@workflow
async def survives(data: Any) -> Any:
    try:
        return await broken(data)
    except ValueError as error:
        return {"was": str(error)}


@workflow
async def asks_for_nothing(data: Any) -> Any:
    return await start_child("no-such-workflow", data)


@workflow
async def hurries(data: Any) -> Any:
    return await race(slow(data), wait_for_event("enough"))


@workflow
async def stays(data: Any) -> Any:
    return await slow(data)


@workflow
async def digs(data: Any) -> Any:
    return 0 if data == 0 else 1 + await start_child("digs", data - 1)


@asynccontextmanager
async def opened(tmp_path: Path, store: str, *workflows: Any, **options: Any) -> AsyncIterator[Cloche]:
    needs_python()
    place = "memory:" if store == "memory" else str(tmp_path / "runs.db")
    async with Cloche(place, workflows=workflows, handle_sigterm=False, **options) as app:
        yield app


BOTH = pytest.mark.parametrize("store", ["memory", "sqlite"])


@BOTH
@in_loop
async def test_children_run_on_their_own_and_what_they_give_is_recorded(tmp_path: Path, store: str) -> None:
    async with opened(tmp_path, store, adds) as app:
        run = await app.start(adds, {"v": 1}, run_id="r1")
        assert (await run.result()).unwrap() == [{"v": 2}, {"v": 11}, {"v": 21}]
        assert {row.key.run: (row.workflow, row.status) for row in await app.list()} == {
            "r1": ("adds", "success"),
            "r1\x1fc1": ("small", "success"),
            "r1\x1fc2": ("small", "success"),
            "r1\x1fc3": ("small", "success"),
        }
        ended = [record.content()[2:] for record in await run.history() if record.kind is Kind.CHILD_ENDED]
        assert sorted(ended) == [[1, [0, {"v": 2}]], [2, [0, {"v": 11}]], [3, [0, {"v": 21}]]]
        assert (await app.replay("r1")).ok
        assert (await app.verify()).ok


@BOTH
@in_loop
async def test_the_failure_of_a_child_is_raised_where_it_is_awaited(tmp_path: Path, store: str) -> None:
    async with opened(tmp_path, store, survives) as app:
        run = await app.start(survives, {}, run_id="r1")
        assert (await run.result()).unwrap() == {"was": "no more"}
        assert await (await app.get("r1 › 1")).status() == "failed"
        assert (await app.replay("r1")).ok


JAVASCRIPT = """
export default async function workflow(input) {
  const [a, b] = await Promise.all([cloche.child("first", "small", input), cloche.child("second", "small", {v: 9})]);
  return {v: a.v + b.v};
}
"""


@in_loop
async def test_javascript_starts_children_too_and_they_are_among_its_steps(tmp_path: Path) -> None:
    async with Cloche("memory:", workflows=[small], policy=Policy()) as app:
        version = await app.deploy("default", JAVASCRIPT, workflow="w", language="javascript")
        result = await (await app.start(version, {"v": 1}, run_id="r1")).result()
        assert result.unwrap() == {"v": 12}
        steps = {id: (one.status, one.payload, one.output) for id, one in result.steps.items()}
        assert steps == {"first": ("success", {"v": 1}, {"v": 2}), "second": ("success", {"v": 9}, {"v": 10})}
        assert (await app.replay("r1")).ok


@in_loop
async def test_code_that_is_not_told_of_a_cancellation_ends_behind_its_children(tmp_path: Path) -> None:
    async with Cloche("memory:", workflows=[slow], policy=Policy()) as app:
        source = "export default async function workflow(input) { return cloche.child('c', 'slow', input); }"
        version = await app.deploy("default", source, workflow="w", language="javascript")
        run = await app.start(version, {}, run_id="r1")
        await until(
            lambda: _rows(app), lambda rows: any(row.key.run == "r1\x1fc1" and row.status == "running" for row in rows)
        )
        await run.cancel()
        assert (await run.result()).status == "canceled"
        assert await (await app.get("r1 › 1")).status() == "canceled"
        kinds = [record.kind for record in await run.history()]
        assert kinds[-3:] == [Kind.CANCEL_REQUESTED, Kind.CHILD_ENDED, Kind.RUN_CANCELED]
        assert (await app.replay("r1")).ok


@in_loop
async def test_input_that_a_child_refuses_fails_its_call(tmp_path: Path) -> None:
    strict = create_workflow(id="small", input_schema=dict[str, int]).then(plus_one).commit()
    async with opened(tmp_path, "memory", strict) as app:

        @workflow
        async def careless(data: Any) -> Any:
            return await start_child("small", "no mapping")

        result = await (await app.start(careless, {})).result()
        assert result.error is not None
        assert (result.status, result.error.name) == ("failed", "InvalidInput")
        assert len(await app.list()) == 1


@in_loop
async def test_a_run_whose_child_no_process_knows_is_blocked_and_goes_on_where_it_is(tmp_path: Path) -> None:
    async with opened(tmp_path, "sqlite", asks_for_nothing) as app:
        run = await app.start(asks_for_nothing, {"v": 1}, run_id="r1")
        blocked = (await run.result()).blocked
        assert blocked is not None
        assert blocked["reason"] == MissingWorkflow.code
        assert "needs workflow 'no-such-workflow' for a child" in blocked["message"]
    known = create_workflow(id="no-such-workflow").then(plus_one).commit()
    async with opened(tmp_path, "sqlite", asks_for_nothing, known) as app:
        assert (await (await app.get("r1")).result(final=True)).unwrap() == {"v": 2}


@BOTH
@in_loop
async def test_canceling_a_run_cancels_its_children(tmp_path: Path, store: str) -> None:
    async with opened(tmp_path, store, stays) as app:
        run = await app.start(stays, {}, run_id="r1")
        await until(
            lambda: _rows(app), lambda rows: any(row.key.run == "r1\x1fc1" and row.status == "running" for row in rows)
        )
        await run.cancel()
        assert (await run.result()).status == "canceled"
        assert (await (await app.get("r1 › 1")).result(final=True)).status == "canceled"
        kinds = [record.kind for record in await run.history()]
        assert kinds[-3:] == [Kind.CANCEL_DELIVERED, Kind.CALL_ABANDONED, Kind.RUN_CANCELED_BY_CODE]
        assert (await app.replay("r1")).ok


@in_loop
async def test_a_child_that_lost_a_race_is_canceled(tmp_path: Path) -> None:
    async with opened(tmp_path, "memory", hurries) as app:
        run = await app.start(hurries, {}, run_id="r1")
        await until(
            lambda: _rows(app), lambda rows: any(row.key.run == "r1\x1fc1" and row.status == "running" for row in rows)
        )
        await app.send_event("r1", "enough", "soon")
        assert (await run.result()).unwrap() == "soon"
        assert (await (await app.get("r1 › 1")).result(final=True)).status == "canceled"
        assert (await app.replay("r1")).ok


@in_loop
async def test_a_workflow_may_be_its_own_child_as_deep_as_its_policy_says(tmp_path: Path) -> None:
    async with opened(tmp_path, "memory", digs, policy=Policy(child_depth=3, concurrent_runs=1)) as app:
        assert (await (await app.start(digs, 3)).result()).unwrap() == 3
        result = await (await app.start(digs, 4)).result()
        assert result.error is not None
        assert result.error.name == "LimitExceeded"


@in_loop
async def test_a_process_that_comes_back_finds_the_child_that_was_started(tmp_path: Path) -> None:
    async with opened(tmp_path, "sqlite", stays, drain_timeout_s=0.1) as app:
        await app.start(stays, {}, run_id="r1")
        await until(lambda: _rows(app), lambda rows: len(rows) == 2)
    async with opened(tmp_path, "sqlite", stays) as app:
        await app.cancel("r1 › 1")
        result = await (await app.get("r1")).result()
        assert result.error is not None
        assert (result.status, result.error.name) == ("failed", "Canceled")
        assert result.error.message == "child run r1 › 1 was canceled"
        assert len(await _rows(app)) == 2


def test_a_workflow_is_called_like_a_function_in_native_workflows_only() -> None:
    with pytest.raises(
        UsageError, match="workflow 'small' is awaited like a function inside of a native workflow only"
    ):
        _ = small({"v": 1})


async def _rows(app: Cloche) -> Any:
    return await app._running.store.runs()


AUTHOR = """\
import pathlib, time
import cloche

JOURNAL = pathlib.Path(__file__).with_name("journal.txt")

@cloche.step
def work(data: dict) -> dict:
    with JOURNAL.open("a") as journal:
        journal.write(f"{data['n']}\\n")
    time.sleep(0.02)
    return {"n": data["n"] + 1}

child = cloche.create_workflow(id="child").then(work).commit()

@cloche.workflow(id="parent")
async def parent(data: dict) -> list:
    found = []
    for turn in range(12):
        found.append((await child({"n": turn}))["n"])
    return found
"""


def test_a_parent_is_killed_again_and_again_and_starts_each_child_once(tmp_path: Path) -> None:
    needs_python()
    (tmp_path / "author.py").write_text(AUTHOR)
    environment = {**os.environ, "CLOCHE_STORE": str(tmp_path / "runs.db")}
    started = [sys.executable, "-m", "cloche.cli", "run", "author.py:parent", "--input", "{}", "--run-id", "r1"]
    journal, deadline = tmp_path / "journal.txt", time.monotonic() + PATIENCE_S

    def lines() -> int:
        return journal.read_text().count("\n") if journal.exists() else 0

    for kill in range(3):
        process = subprocess.Popen(started, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
        wanted = lines() + 2 + kill
        while lines() < wanted and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        assert process.wait(PATIENCE_S) == -signal.SIGKILL
    done = subprocess.run(
        started, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout) == list(range(1, 13))
    assert asyncio.run(_what_there_is(tmp_path)) == sorted(["r1", *(f"r1\x1fc{n}" for n in range(1, 13))])


async def _what_there_is(tmp_path: Path) -> list[str]:
    async with Cloche(str(tmp_path / "runs.db"), handle_sigterm=False) as app:
        assert (await app.verify()).ok
        assert (await app.replay("r1")).ok
        rows = await app.list(limit=None)
        assert {row.status for row in rows} == {"success"}
        kinds = [record.kind for record in await (await app.get("r1")).history()]
        assert (kinds.count(Kind.CHILD_STARTED), kinds.count(Kind.CHILD_ENDED)) == (12, 12)
        return sorted(row.key.run for row in rows)
