"""L. Life-cycle callbacks: attributes of a workflow, called in the process in which a run stops."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from support.apps import KEY
from support.cases import Case, everywhere, failure, outcome, uncut

from cloche import Run, RunResult, Step, Workflow, create_workflow


class Callbacks:
    """What the callbacks of a workflow were told."""

    def __init__(self) -> None:
        self.all: list[str] = []

    def workflow(self, *steps: Step, **callbacks: Any) -> Workflow:
        every = {"on_start": self.start, "on_finish": self.finish, "on_error": self.error, **callbacks}
        workflow = create_workflow(id="w", **every)
        for step in steps:
            workflow.then(step)
        return workflow.commit()

    async def start(self, what: Mapping[str, Any]) -> None:
        assert what == {"run_id": KEY.run, "workflow_id": "w", "input": {"v": 1}}
        self.all.append("start")

    def finish(self, result: RunResult) -> None:
        self.all.append(f"finish({result.status})")

    async def error(self, result: RunResult) -> None:
        await asyncio.sleep(0)
        assert result.error is not None
        self.all.append(f"error({result.error.message})")


@uncut
async def test_a_run_that_succeeds(case: Case) -> None:
    called = Callbacks()
    result = await case.start(called.workflow(case.journal.inc()), {"v": 1})
    assert (outcome(result), called.all) == (("success", {"v": 2}), ["start", "finish(success)"])


@uncut
async def test_a_run_that_fails(case: Case) -> None:
    called = Callbacks()
    result = await case.start(called.workflow(case.journal.boom()), {"v": 1})
    assert (failure(result)[1], called.all) == ("boom", ["start", "finish(failed)", "error(boom)"])


@uncut
async def test_a_run_that_is_suspended_and_resumed(case: Case) -> None:
    called = Callbacks()
    await case.start(called.workflow(case.journal.ask()), {"v": 1})
    await case.until(lambda: len(called.all) == 2)
    assert outcome(await case.resume({"add": 1})) == ("success", {"v": 2})
    assert called.all == ["start", "finish(suspended)", "finish(success)"]


@everywhere
async def test_a_callback_that_raises_at_the_end_changes_nothing(case: Case) -> None:
    def raising(_: RunResult) -> None:
        raise RuntimeError("in the callback")

    called = Callbacks()
    result = await case.start(called.workflow(case.journal.inc(), on_finish=raising), {"v": 1})
    assert (outcome(result), called.all) == (("success", {"v": 2}), ["start"])


@everywhere
async def test_a_callback_that_raises_at_the_beginning_refuses_the_run(case: Case) -> None:
    def raising(_: Mapping[str, Any]) -> None:
        raise PermissionError("not today")

    called = Callbacks()
    with pytest.raises(PermissionError, match="not today"):
        await case.begin(called.workflow(case.journal.inc(), on_start=raising), {"v": 1})
    assert (case.journal.began, await case.store.runs(), called.all) == ([], [], [])
    assert await Run(case.app, KEY, None).status() == "pending"


@everywhere
async def test_a_run_is_begun_once_in_all_its_lives(case: Case) -> None:
    called = Callbacks()
    await case.start(called.workflow(case.journal.inc(), case.journal.ask()), {"v": 1})
    await case.resume({"add": 1})
    assert called.all.count("start") == 1


@uncut
async def test_a_canceled_run_is_finished_and_a_paused_one_is_not(case: Case) -> None:
    called = Callbacks()
    workflow = called.workflow(case.journal.inc(), case.journal.dbl())
    assert (await case.start(workflow, {"v": 1}, per_step=True)).status == "paused"
    await case.until(lambda: case.app.is_idle)
    assert called.all == ["start"]
    await case.cancel()
    assert called.all == ["start", "finish(canceled)"]


@uncut
async def test_opening_a_store_calls_nobody_for_what_has_stopped(case: Case) -> None:
    called = Callbacks()
    await case.start(called.workflow(case.journal.ask()), {"v": 1})
    await case.until(lambda: case.app.is_idle)
    before = list(called.all)
    await case.reopen()
    await case.until(lambda: case.app.is_idle)
    assert called.all == before == ["start", "finish(suspended)"]


@uncut
async def test_a_run_by_itself_waits_for_its_callbacks(case: Case) -> None:
    called = Callbacks()
    workflow = called.workflow(case.journal.boom())
    run = await workflow.create_run(KEY.run)
    await run.start({"v": 1})
    assert called.all == ["start", "finish(failed)", "error(boom)"]
