"""Many runs: idempotent starts, listings, streams, shared commits, several apps in one process."""

from __future__ import annotations

import asyncio
import gc
import threading
from pathlib import Path
from typing import Any

import pytest
from support.apps import AppOn, FlakyStore, Journal, ManualWorld, ended, in_loop, until

from cloche import Cloche, RunConflict, StepContext, create_step, create_workflow, step
from cloche.errors import NotFound, StoreUnavailable, UsageError
from cloche.history import Kind
from cloche.store import MemoryStore, all_records


@in_loop
async def test_starting_a_run_again_gives_that_run(journal: Journal) -> None:
    workflow = create_workflow(id="w").then(journal.inc()).commit()
    async with Cloche(workflows=[workflow]) as app:
        first = await app.start("w", {"v": 1}, run_id="r1")
        assert await ended(first) == ("success", {"v": 2})
        again = await app.start("w", {"v": 1}, run_id="r1")
        assert (await ended(again), journal.began) == (("success", {"v": 2}), ["inc"])


@in_loop
async def test_a_workflow_is_not_started_as_another_of_its_id(journal: Journal) -> None:
    """Neither one with other steps, nor one whose steps have other functions."""
    registered = create_workflow(id="w").then(journal.inc()).commit()
    with_others = create_workflow(id="w").then(journal.take()).commit()
    made_again = create_workflow(id="w").then(journal.inc()).commit()
    async with Cloche(workflows=[registered]) as app:
        for other in (with_others, made_again):
            with pytest.raises(UsageError, match="workflow 'w' is registered here as another one, which would run"):
                await app.start(other, {"v": 1})
        assert await ended(await app.start(registered, {"v": 1})) == ("success", {"v": 2})


@in_loop
async def test_a_stream_ends_when_its_app_is_left(journal: Journal) -> None:
    """Also one whose reader is slow, and of a run whose step does not end."""

    async def hang(data: Any) -> None:
        await asyncio.Event().wait()

    async def follow(run: Any, pace: asyncio.Event) -> list[Kind]:
        kinds = []
        async for record in run.stream():
            kinds.append(record.kind)
            await pace.wait()
        return kinds

    workflow = create_workflow(id="w").then(create_step(id="hang", execute=hang)).commit()
    fast, slow = asyncio.Event(), asyncio.Event()
    fast.set()
    async with Cloche(workflows=[workflow], drain_timeout_s=0.05) as app:
        run = await app.start("w")
        readers = [asyncio.create_task(follow(run, pace)) for pace in (fast, slow)]
        await until(lambda: app.under_way)
    slow.set()
    assert await asyncio.gather(*readers) == [[Kind.RUN_CREATED, Kind.RUN_STARTED, Kind.STEP_CALLED]] * 2


@in_loop
async def test_another_input_or_workflow_under_the_same_id_is_refused(journal: Journal) -> None:
    workflow = create_workflow(id="w").then(journal.inc()).commit()
    other = create_workflow(id="other").then(journal.take()).commit()
    async with Cloche(workflows=[workflow, other]) as app:
        await app.start("w", {"v": 1}, run_id="r1")
        for id, value in (("w", {"v": 2}), ("other", {"v": 1})):
            with pytest.raises(RunConflict, match="run r1 exists already, of workflow 'w'"):
                await app.start(id, value, run_id="r1")
        assert [row.key.run for row in await app.list()] == ["r1"]


@in_loop
async def test_many_who_start_the_same_run_at_once_get_one_run(journal: Journal) -> None:
    workflow = create_workflow(id="w").then(journal.inc()).sleep(3600).commit()
    async with Cloche(workflows=[workflow]) as app:
        runs = await asyncio.gather(*(app.start("w", {"v": 1}, run_id="r1") for _ in range(5)))
        await until(lambda: runs[0]._key not in app._running.drivers)
        for run in runs:
            await run.cancel()
        assert {(await run.result()).status for run in runs} == {"canceled"}
    assert journal.began == ["inc"]


@in_loop
async def test_a_caller_who_gives_up_leaves_a_whole_run(journal: Journal) -> None:
    workflow = create_workflow(id="w").then(journal.inc()).commit()
    async with AppOn(FlakyStore(lies=1), workflows=[workflow]) as app:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(app.start("w", {"v": 1}, run_id="r1"), 0.01)
        assert await ended(await app.start("w", {"v": 1}, run_id="r1")) == ("success", {"v": 2})
    assert journal.began == ["inc"]


@in_loop
async def test_a_status_that_there_is_not_is_refused(journal: Journal) -> None:
    async with Cloche(workflows=[]) as app:
        for narrowed in (app.list(status="done"), app.prune(older_than_s=0, status="done")):
            with pytest.raises(UsageError, match=r"no status .done.; a run is pending, running, .*canceled"):
                await narrowed


@in_loop
async def test_runs_are_listed_newest_first_in_pages(journal: Journal) -> None:
    good = create_workflow(id="good").then(journal.take()).commit()
    bad = create_workflow(id="bad").then(journal.boom()).commit()
    async with Cloche(workflows=[good, bad]) as app:
        for n in range(5):
            await (await app.start("bad" if n == 2 else "good", n, run_id=f"r{n}")).result()

        async def ids(**asked: Any) -> list[str]:
            return [row.key.run for row in await app.list(**asked)]

        assert await ids() == ["r4", "r3", "r2", "r1", "r0"]
        assert await ids(status="failed") == await ids(workflow="bad") == ["r2"]
        assert (await ids(limit=2), await ids(limit=2, after="r3")) == (["r4", "r3"], ["r2", "r1"])
        assert (await ids(after="r0"), await ids(tenant="other")) == ([], [])


@in_loop
async def test_a_run_can_be_found_again(journal: Journal) -> None:
    workflow = create_workflow(id="w").then(journal.inc()).commit()
    async with Cloche(workflows=[workflow]) as app:
        await (await app.start("w", {"v": 1}, run_id="r1")).result()
        assert await ended(await app.get("r1")) == ("success", {"v": 2})
        with pytest.raises(NotFound, match="there is no run r2 in this store"):
            await app.get("r2")
        for odd in ("", " r", "a\nb", "x" * 201):
            with pytest.raises(UsageError, match="is not 1 to 200 bytes of text"):
                await app.start("w", {"v": 1}, run_id=odd)


@in_loop
async def test_records_are_streamed_as_they_become_durable(journal: Journal) -> None:
    go = asyncio.Event()

    async def wait(data: Any) -> Any:
        await go.wait()
        return data

    workflow = create_workflow(id="w").then(create_step(id="wait", execute=wait)).commit()
    async with Cloche(workflows=[workflow]) as app:
        run = await app.start("w", 1)
        seen: list[str] = []
        async for record in run.stream():
            seen.append(record.kind.name)
            if record.kind is Kind.STEP_CALLED:
                go.set()
        assert seen == [
            "RUN_CREATED",
            "RUN_STARTED",
            "STEP_CALLED",
            "ATTEMPT_STARTED",
            "STEP_COMPLETED",
            "RUN_COMPLETED",
        ]
        assert [record.seq async for record in run.stream(from_seq=4)] == [5, 6]
        assert [record.kind.name for record in await run.history()] == seen


@in_loop
async def test_runs_beside_each_other_share_commits(journal: Journal) -> None:
    workflow = create_workflow(id="w").then(journal.inc()).then(journal.dbl()).commit()
    store = FlakyStore()
    async with AppOn(store, workflows=[workflow]) as app:
        runs = await asyncio.gather(*(app.start("w", {"v": n}) for n in range(200)))
        results = await asyncio.gather(*(run.result() for run in runs))
    assert [result.result for result in results] == [{"v": 2 * (n + 1)} for n in range(200)]
    assert store.faults.commits <= 150  # of 600 appends


@in_loop
async def test_a_sequential_step_costs_one_commit(journal: Journal) -> None:
    steps = [journal.step(f"s{n}") for n in range(10)]
    workflow = create_workflow(id="w")
    for one in steps:
        workflow = workflow.then(one)
    store = FlakyStore()
    async with AppOn(store, workflows=[workflow.commit()]) as app:
        await (await app.start("w")).result()
    assert store.faults.commits == 11  # the beginning, and one for each step


@in_loop
async def test_apps_in_one_process_do_not_disturb_each_other(journal: Journal, tmp_path: Path) -> None:
    workflow = create_workflow(id="w").then(journal.inc()).commit()
    async with (
        Cloche(tmp_path / "a.db", workflows=[workflow]) as a,
        Cloche(tmp_path / "b.db", workflows=[workflow]) as b,
    ):
        runs = [await app.start("w", {"v": v}, run_id="same") for app, v in ((a, 1), (b, 5))]
        assert [await ended(run) for run in runs] == [("success", {"v": 2}), ("success", {"v": 6})]
    async with Cloche(tmp_path / "a.db") as a:
        assert await ended(await a.get("same")) == ("success", {"v": 2})


def test_apps_live_in_threads_too(journal: Journal) -> None:
    workflow = create_workflow(id="w").then(journal.inc()).commit()
    results = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(Cloche.run_sync(workflow, {"v": n}).result))
        for n in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(result["v"] for result in results) == [1, 2, 3]


@in_loop
async def test_a_store_that_cannot_be_made_says_where(tmp_path: Path) -> None:
    for place in (tmp_path / "no" / "such" / "folder.db", tmp_path):
        with pytest.raises(StoreUnavailable, match=str(tmp_path)):
            await Cloche(place).__aenter__()


@in_loop
async def test_two_steps_with_one_id_are_refused_when_the_app_opens(journal: Journal) -> None:
    one = create_workflow(id="one").then(journal.step("s", lambda _: 1)).commit()
    two = create_workflow(id="two").then(journal.step("s", lambda _: 2)).commit()
    with pytest.raises(UsageError, match="two steps have the id 's'"):
        await Cloche(workflows=[one, two]).__aenter__()


@in_loop
async def test_a_run_that_is_waited_for_while_its_app_closes_says_so(journal: Journal) -> None:
    workflow = create_workflow(id="w").sleep(3600).commit()
    async with Cloche(workflows=[workflow]) as app:
        run = await app.start("w", run_id="r1")
        waiting = asyncio.create_task(run.result())
        records = asyncio.create_task(_count(run))
        await until(lambda: run._key not in app._running.drivers)
    with pytest.raises(UsageError, match="this Cloche was closed while run r1 had not ended"):
        await waiting
    assert await records == 3


async def _count(run: Any) -> int:
    return len([record async for record in run.stream()])


@in_loop
async def test_leaving_lets_running_steps_end_and_starts_nothing_more(journal: Journal) -> None:
    leaving = asyncio.Event()

    @step
    async def slow(data: Any, ctx: StepContext) -> Any:
        journal.began.append(ctx.path)
        await leaving.wait()
        return {"v": 1}

    workflow = create_workflow(id="w").then(slow).then(journal.inc()).commit()
    store = MemoryStore()
    async with AppOn(store, workflows=[workflow], world=ManualWorld()) as app:
        run = await app.start("w")
        await until(lambda: journal.began)
        asyncio.get_running_loop().call_later(0.02, leaving.set)
    assert journal.began == ["slow"]
    assert [r.kind.name for r in await all_records(store, run._key)][-2:] == ["STEP_COMPLETED", "STEP_CALLED"]
    async with AppOn(store, workflows=[workflow], world=ManualWorld()) as app:
        assert await ended(await app.get(run.id)) == ("success", {"v": 2})
    assert journal.began == ["slow", "inc"]


@in_loop
async def test_a_step_that_does_not_end_is_cut_off_and_made_again(journal: Journal) -> None:
    @step
    async def slow(data: Any, ctx: StepContext) -> str:
        journal.began.append(ctx.path)
        if len(journal.began) == 1:
            await asyncio.Event().wait()
        return f"attempt {ctx.attempt}"

    workflow = create_workflow(id="w").then(slow).commit()
    store = MemoryStore()
    async with AppOn(store, workflows=[workflow], drain_timeout_s=0.01) as app:
        run = await app.start("w")
        await until(lambda: journal.began)
    async with AppOn(store, workflows=[workflow]) as app:
        assert await ended(await app.get(run.id)) == ("success", "attempt 1")


@in_loop
async def test_who_asks_for_results_leaves_nothing_behind(journal: Journal) -> None:
    """Of runs that have ended, and by callers who gave up; also streams."""
    ended_workflow = create_workflow(id="w").then(journal.inc()).commit()
    waiting = create_workflow(id="waiting").wait_for_event("go").commit()
    async with Cloche(workflows=[ended_workflow, waiting]) as app:
        done, open_run = await app.start("w", {"v": 1}), await app.start("waiting")
        await done.result()
        for _ in range(20):
            await (await app.get(done.id)).result()
            assert [record async for record in done.stream()]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(open_run.result(), 0.001)
        assert len(app._running.listeners) == 0


@in_loop
async def test_who_asks_for_the_result_of_an_ended_run_leaves_no_future_behind(journal: Journal) -> None:
    async with Cloche(workflows=[create_workflow(id="w").then(journal.inc()).commit()]) as app:
        run = await app.start("w", {"v": 1})
        await run.result()
        before = _futures()
        for _ in range(200):
            await (await app.get(run.id)).result()
        assert _futures() - before < 50  # of what the app does beside it


def _futures() -> int:
    gc.collect()
    return sum(isinstance(one, asyncio.Future) for one in gc.get_objects())
