"""`SyncCloche`: the names of `Cloche`, for those who have no event loop, or another one."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from cloche import Cloche, NotFound, SyncCloche, SyncRun, UsageError, create_step, create_workflow
from cloche.steps.context import StepContext

double = create_step(id="double", execute=lambda data: {"x": data["x"] * 2})


async def ask(data: Any, ctx: StepContext) -> Any:
    return ctx.resume_data or ctx.suspend({"question": data})


doubled = create_workflow(id="doubled").then(double).commit()
asked = create_workflow(id="asked").then(create_step(id="ask", execute=ask)).commit()


def test_a_run_is_started_followed_and_read() -> None:
    with SyncCloche(workflows=[doubled]) as app:
        run = app.start(doubled, {"x": 5}, run_id="order-17")
        assert isinstance(run, SyncRun)
        assert run.result().unwrap() == {"x": 10}
        assert (run.id, run.status()) == ("order-17", "success")
        assert [record.seq for record in run.stream()] == [record.seq for record in run.history()]
        assert [row.key.run for row in app.list()] == ["order-17"]
        assert app.get("order-17").result().unwrap() == {"x": 10}
        assert app.tenant("acme").list() == []
        with pytest.raises(NotFound):
            app.get("order-18")


def test_a_run_is_resumed_by_the_next_one(tmp_path: Path) -> None:
    file = str(tmp_path / "runs.db")
    with SyncCloche(file, workflows=[asked]) as app:
        assert app.start("asked", 1, run_id="r").result().status == "suspended"
    with SyncCloche(file, workflows=[asked]) as app:
        assert app.get("r").resume(resume_data="yes").unwrap() == "yes"


def test_it_has_every_name_of_a_cloche() -> None:
    names = {name for name in dir(Cloche) if not name.startswith("_")}
    with SyncCloche() as app:
        assert names <= set(dir(app))
        assert [name for name in sorted(names) if not hasattr(app, name)] == []


def test_threads_share_it() -> None:
    found: dict[int, Any] = {}
    with SyncCloche(workflows=[doubled]) as app:

        def one(number: int) -> None:
            found[number] = app.start(doubled, {"x": number}).result().unwrap()

        threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {number: {"x": number * 2} for number in range(8)}


def test_it_works_where_a_loop_runs_already() -> None:
    async def cell() -> Any:  # of a notebook
        with SyncCloche(workflows=[doubled]) as app:
            return app.start(doubled, {"x": 1}).result().unwrap()

    assert asyncio.run(cell()) == {"x": 2}


def test_it_is_opened_and_closed_by_hand_as_well() -> None:
    app = SyncCloche(workflows=[doubled])
    with pytest.raises(UsageError, match="this SyncCloche is not open"):
        app.start(doubled, {"x": 1})
    assert app.open().open().start(doubled, {"x": 1}).result().unwrap() == {"x": 2}
    app.close()
    app.close()
    assert "cloche" not in [thread.name for thread in threading.enumerate()]


def test_an_async_step_cannot_wait_for_its_own_loop() -> None:
    async def nested(data: Any) -> Any:
        return app.start(doubled, {"x": 1}).result().unwrap()

    wrong = create_workflow(id="wrong").then(create_step(id="nested", execute=nested)).commit()
    with SyncCloche(workflows=[wrong, doubled]) as app:
        result = app.start(wrong, {}).result()
        assert "was called on the loop that would answer" in str(result.error)


def test_a_sync_step_may_wait() -> None:
    def nested(data: Any) -> Any:
        return app.start(doubled, {"x": 1}).result().unwrap()

    outer = create_workflow(id="outer").then(create_step(id="nested", execute=nested)).commit()
    with SyncCloche(workflows=[outer, doubled]) as app:
        assert app.start(outer, {}).result().unwrap() == {"x": 2}


def test_a_forked_process_is_told_to_open_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with SyncCloche(workflows=[doubled]) as app, monkeypatch.context() as forked:
        forked.setattr(os, "getpid", lambda: -1)
        with pytest.raises(UsageError, match="open it in the worker process, after the fork"):
            app.start(doubled, {"x": 1})
