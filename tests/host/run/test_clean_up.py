"""Canceling a native workflow: it is told where it waits, cleans up within a bound, and all of that replays."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.apps import AppOn, Journal, ManualWorld, in_loop, until
from support.guests import needs_python

from cloche import (
    Canceled,
    Cloche,
    Policy,
    RunResult,
    StepContext,
    Workflow,
    gather,
    sleep,
    step,
    wait_for_event,
    workflow,
)
from cloche.errors import UsageError
from cloche.history import Kind
from cloche.store import MemoryStore, all_records

PATIENCE_S = 60.0
SEEN: list[str] = []


@step
async def book(data: Any, ctx: StepContext) -> str:
    SEEN.append("book")
    return "room 5"


@step
async def waits(data: Any, ctx: StepContext) -> None:
    SEEN.append("waits")
    await ctx.abort_signal.wait()
    SEEN.append("let go")


@step
async def give_back(room: str) -> str:
    SEEN.append(f"gave back {room}")
    return "free"


@workflow
async def journey(data: Any) -> str:
    room = await book(data)
    try:
        await waits(room)
    finally:
        await give_back(room)
    return "never"


@workflow
async def sleeps(data: Any) -> None:
    try:
        await sleep(days=3)
    finally:
        await give_back("the sleeper's")


@workflow
async def many(data: Any) -> None:
    async def one(name: str) -> None:
        try:
            await sleep(days=1)
        finally:
            await give_back(name)

    await gather(one("a"), one("b"))


@workflow
async def goes_on(data: Any) -> str:
    try:
        await sleep(days=3)
    except BaseException:
        return "as if nothing had happened"
    return "never"


@workflow
async def notes(data: Any) -> None:
    try:
        await sleep(days=3)
    except Canceled:
        await give_back("by name")
        raise


@workflow
async def breaks(data: Any) -> None:
    try:
        await sleep(days=3)
    finally:
        raise ValueError("clean-up broke")


@workflow
async def stubborn(data: Any) -> None:
    while True:
        try:
            await wait_for_event("never")
        except BaseException:
            await give_back("nothing")


@workflow
async def spins(data: Any) -> None:
    try:
        await sleep(days=3)
    finally:
        while True:
            pass


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    needs_python()
    SEEN.clear()


async def canceled(made: Workflow, seen: int = 0, policy: Policy | None = None) -> tuple[RunResult, list[Kind]]:
    """Cancel a run of it once so many steps were seen: how it ends, and what its records are, which replay."""
    async with Cloche("memory:", workflows=[made], policy=policy, handle_sigterm=False) as app:
        run = await app.start(made, {}, run_id="r1")
        await until(lambda: len(SEEN) >= seen)
        await run.cancel()
        result = await run.result()
        report = await app.replay("r1")
        assert report.ok
        heard = sum(record.kind in DELIVERED for record in await run.history())
        assert report.events == heard - report.ended_by_fault
        assert (await app.verify()).ok
        return result, [record.kind for record in await run.history()]


DELIVERED = {Kind.RUN_STARTED, Kind.STEP_COMPLETED, Kind.TIMER_FIRED, Kind.CANCEL_DELIVERED}


@in_loop
async def test_a_workflow_that_is_canceled_cleans_up() -> None:
    result, kinds = await canceled(journey, seen=2)
    assert (result.status, result.result, result.error) == ("canceled", None, None)
    assert sorted(SEEN) == sorted(["book", "waits", "let go", "gave back room 5"])
    told = kinds.index(Kind.CANCEL_DELIVERED)
    ended = [
        Kind.CALL_ABANDONED,
        Kind.STEP_CALLED,
        Kind.ATTEMPT_STARTED,
        Kind.STEP_COMPLETED,
        Kind.RUN_CANCELED_BY_CODE,
    ]
    assert [kind for kind in kinds[told + 1 :] if kind is not Kind.LATE_RESULT] == ended


@in_loop
async def test_a_workflow_that_sleeps_is_woken_to_clean_up() -> None:
    result, _ = await canceled(sleeps)
    assert (result.status, SEEN) == ("canceled", ["gave back the sleeper's"])


@in_loop
async def test_it_may_be_caught_by_its_name() -> None:
    result, _ = await canceled(notes)
    assert (result.status, SEEN) == ("canceled", ["gave back by name"])


@in_loop
async def test_every_arm_of_a_gather_cleans_up() -> None:
    result, _ = await canceled(many)
    assert (result.status, sorted(SEEN)) == ("canceled", ["gave back a", "gave back b"])


@in_loop
async def test_one_that_returns_all_the_same_has_succeeded_and_one_whose_clean_up_breaks_has_failed() -> None:
    result, _ = await canceled(goes_on)
    assert (result.status, result.result) == ("success", "as if nothing had happened")
    result, _ = await canceled(breaks)
    assert result.error is not None
    assert (result.status, result.error.name, result.error.message) == ("failed", "ValueError", "clean-up broke")


@in_loop
async def test_one_that_spins_in_its_clean_up_is_ended_by_its_fuel() -> None:
    result, kinds = await canceled(spins, policy=Policy(fuel_per_event=50_000_000))
    assert result.error is not None
    assert (result.status, result.error.name) == ("failed", "FuelExhausted")
    assert kinds[-2:] == [Kind.CANCEL_DELIVERED, Kind.RUN_STOPPED]


@in_loop
async def test_clean_up_s_ends_one_that_ignores_it() -> None:
    store, world = MemoryStore(), ManualWorld()
    async with AppOn(store, workflows=[stubborn], policy=Policy(clean_up_s=5), world=world) as app:
        run = await app.start(stubborn, {}, run_id="r1")
        await run.cancel()
        await until(lambda: SEEN)
        await run.cancel()  # to ask twice is to ask once
        world.move(4, app)
        assert await run.status() == "running"
        world.move(1, app)
        assert (await run.result()).status == "canceled"
        kinds = [record.kind for record in await run.history()]
        assert kinds.count(Kind.CANCEL_DELIVERED) == 1
        assert kinds[-2:] == [Kind.CANCEL_REQUESTED, Kind.RUN_CANCELED]
        assert (await app.replay("r1")).ok
        with pytest.raises(UsageError, match="was canceled before it called 'give_back', to clean up"):
            await app.fork("r1", at="give_back")


@in_loop
async def test_what_is_generated_ends_at_once_as_before(journal: Journal) -> None:
    from cloche import create_workflow

    made = create_workflow(id="w", guest="python").then(waits).then(journal.inc()).commit()
    async with Cloche("memory:", workflows=[made], handle_sigterm=False) as app:
        run = await app.start(made, {}, run_id="r1")
        await until(lambda: SEEN)
        await run.cancel()
        assert (await run.result()).status == "canceled"
        kinds = [record.kind for record in await run.history()]
        assert (Kind.CANCEL_REQUESTED in kinds, Kind.CANCEL_DELIVERED in kinds) == (True, False)


AUTHOR = """\
import pathlib, time
import cloche

JOURNAL = pathlib.Path(__file__).with_name("journal.txt")

@cloche.step
def clean(n: int) -> int:
    with JOURNAL.open("a") as journal:
        journal.write(f"{n}\\n")
    time.sleep(0.02)
    return n

@cloche.workflow(id="tidy")
async def tidy(data: dict) -> None:
    try:
        await cloche.sleep(days=3)
    finally:
        for n in range(12):
            await clean(n)
"""


def test_a_process_that_is_killed_while_a_run_cleans_up_leaves_one_that_goes_on_cleaning(tmp_path: Path) -> None:
    (tmp_path / "author.py").write_text(AUTHOR)
    environment = {**os.environ, "CLOCHE_STORE": str(tmp_path / "runs.db")}
    command = [sys.executable, "-m", "cloche.cli"]
    started = [*command, "run", "author.py:tidy", "--input", "{}", "--run-id", "r1"]
    journal, deadline = tmp_path / "journal.txt", time.monotonic() + PATIENCE_S

    def lines() -> int:
        return journal.read_text().count("\n") if journal.exists() else 0

    process = subprocess.Popen(started, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    while not asyncio.run(_kinds(tmp_path)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    subprocess.run([*command, "cancel", "r1"], cwd=tmp_path, env=environment, check=True, timeout=PATIENCE_S)
    while lines() < 3:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait(PATIENCE_S) == -signal.SIGKILL
    worker = [*command, "worker", "author.py:tidy", "--once"]
    subprocess.run(worker, cwd=tmp_path, env=environment, check=True, timeout=PATIENCE_S)
    kinds = asyncio.run(_kinds(tmp_path))
    assert kinds[-1] is Kind.RUN_CANCELED_BY_CODE
    assert (kinds.count(Kind.CANCEL_DELIVERED), kinds.count(Kind.STEP_COMPLETED)) == (1, 12)
    done = [int(line) for line in journal.read_text().splitlines()]
    assert sorted(set(done)) == list(range(12))
    assert len(done) <= 13  # only the step that the kill met is made again
    replay = [*command, "replay", "r1", "--with", "author.py:tidy"]
    subprocess.run(replay, cwd=tmp_path, env=environment, check=True, timeout=PATIENCE_S)


async def _kinds(tmp_path: Path) -> list[Kind]:
    """Of the records of the run, once it sleeps."""
    from cloche.history import RunKey
    from cloche.history.ids import RunId, TenantId
    from cloche.store import SqliteStore

    store = SqliteStore(tmp_path / "runs.db")
    try:
        kinds = [record.kind for record in await all_records(store, RunKey(TenantId("default"), RunId("r1")))]
    finally:
        await store.close()
    return kinds if Kind.TIMER_SET in kinds else []
