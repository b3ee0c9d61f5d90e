"""What happens when processes end, steps are missing, code changes, records are damaged and stores do not answer."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.apps import KEY, AppOn, FlakyStore, Journal, ManualWorld, ended, in_loop, until

from cloche import Cloche, RetryConfig, StepContext, Workflow, code, create_step, create_workflow, step
from cloche.engines import Code, Language, SandboxEngine
from cloche.errors import StoreUnavailable
from cloche.history import Kind, TenantId
from cloche.history.limits import Limits
from cloche.status import RunStatus
from cloche.store import Append, MemoryStore, Outcome
from cloche.worker.tasks import WorkerTasks


def three_steps(journal: Journal, *, middle: str = "dbl") -> Workflow:
    steps = {"dbl": journal.dbl(), "other": journal.step("other", lambda _: {"v": 0})}
    return (
        create_workflow(id="w")
        .then(journal.inc())
        .then(steps[middle])
        .sleep(3600)
        .map({"v": code("inputData.v + 1") if middle == "dbl" else code("0")})
        .commit()
    )


@in_loop
async def test_a_sleep_survives_a_restart_and_is_not_longer_for_it(journal: Journal) -> None:
    workflow, store, world = three_steps(journal), MemoryStore(), ManualWorld()
    async with AppOn(store, workflows=[workflow], world=world) as app:
        await app.start("w", {"v": 1}, run_id="r1")
        await until(lambda: store.runs(status=RunStatus.WAITING))
    world.move(3599)
    async with AppOn(store, workflows=[workflow], world=world) as app:
        run = await app.get("r1")
        assert await run.status() == "waiting"
        world.move(1, app)
        assert await ended(run) == ("success", {"v": 5})
        fired = [record.time for record in await run.history() if record.kind is Kind.TIMER_FIRED]
    assert (journal.began, fired) == (["inc", "dbl"], [world.time_ms])


@in_loop
async def test_an_open_run_goes_on_under_the_code_it_began_with(journal: Journal) -> None:
    store, world = MemoryStore(), ManualWorld()
    async with AppOn(store, workflows=[three_steps(journal)], world=world) as app:
        await app.start("w", {"v": 1}, run_id="old")
        await until(lambda: store.runs(status=RunStatus.WAITING))
    world.move(3600)
    changed = three_steps(journal, middle="other")
    async with AppOn(store, workflows=[changed], steps=[journal.dbl()], world=world) as app:
        assert await ended(await app.get("old")) == ("success", {"v": 5})
        new = await app.start("w", {"v": 1}, run_id="new")
        await until(lambda: store.runs(status=RunStatus.WAITING))
        world.move(3600, app)
        assert await ended(new) == ("success", {"v": 0})
    assert journal.began == ["inc", "dbl", "inc", "other"]


@in_loop
async def test_replay_on_changed_code_reports_the_first_difference_as_data(journal: Journal) -> None:
    workflow = three_steps(journal)
    store, world = MemoryStore(), ManualWorld()
    async with AppOn(store, workflows=[workflow], world=world) as app:
        run = await app.start("w", {"v": 1}, run_id="r1")
        await until(lambda: store.runs(status=RunStatus.WAITING))
        same = await app.replay("r1")
        changed = await app.replay("r1", workflow=three_steps(journal, middle="other"))
        assert (same.ok, same.events, same.divergence) == (True, 3, None)
        report = changed.divergence
        assert report is not None
        assert (changed.ok, report.run_id, report.node) == (False, run.id, "other")
        assert [(d["at"], d["expected"], d["actual"]) for d in report.differences] == [
            ("name", "dbl", "other"),
            ("path", "dbl", "other"),
        ]
        called = next(r for r in await run.history() if r.path == "dbl")
        assert (report.seq, report.event_seq) == (called.seq, called.seq - 1)
        assert "the history has step 'dbl' here, but the workflow asked for 'other'" in str(report)
        assert await run.status() == "waiting"  # asking changes nothing


@in_loop
async def test_replay_of_every_ended_run_leads_where_the_run_was_led(journal: Journal) -> None:
    workflow = create_workflow(id="w").parallel([journal.inc(), journal.dbl()]).commit()
    async with Cloche(workflows=[workflow]) as app:
        for id in ("a", "b"):
            await (await app.start("w", {"v": 1}, run_id=id)).result()
        reports = [await app.replay(id) for id in ("a", "a")]
        assert [(r.ok, r.events) for r in reports] == [(True, 3), (True, 3)]
        assert reports[0].state_hash == reports[1].state_hash


@in_loop
async def test_a_run_without_its_steps_is_blocked_and_goes_on_when_they_are_there(journal: Journal) -> None:
    @step(id="inc")
    async def stuck(data: Any, ctx: StepContext) -> None:
        journal.began.append("stuck")
        await ctx.abort_signal.wait()

    store, world = MemoryStore(), ManualWorld()
    workflow = create_workflow(id="w").then(stuck).then(journal.dbl()).commit()
    app = AppOn(store, workflows=[workflow], world=world)
    await app.__aenter__()
    await app.start("w", {"v": 1}, run_id="r1")
    await until(lambda: journal.began)
    await app.vanish()
    other = create_workflow(id="other").then(journal.take()).commit()
    async with AppOn(store, workflows=[other], world=world) as without:
        result = await (await without.get("r1")).result()
        assert (result.status, result.blocked) == (
            "blocked",
            {
                "reason": "missing-step",
                "message": "run r1 needs step 'inc', which this process does not have: open the store with the "
                "workflows or steps that it needs",
                "what_to_do": "start a worker that has this step; the run goes on by itself",
            },
        )
        assert await ended(await without.start("other", 7)) == ("success", 7)
    async with AppOn(store, steps=[journal.inc(), journal.dbl()], world=world) as with_steps:
        assert await ended(await with_steps.get("r1")) == ("success", {"v": 4})
    assert journal.began == ["stuck", "take", "inc", "dbl"]


@in_loop
async def test_a_step_that_is_missing_when_its_retry_is_due_blocks_at_once(journal: Journal) -> None:
    flaky = journal.step("s", lambda _: 1 / 0, retry_config=RetryConfig(attempts=1, delay_s=5))
    store, world = MemoryStore(), ManualWorld()
    async with AppOn(store, workflows=[create_workflow(id="w").then(flaky).commit()], world=world) as app:
        await app.start("w", run_id="r1")
        await until(lambda: store.runs(status=RunStatus.WAITING))
    async with AppOn(store, world=world) as app:
        world.move(5, app)
        assert (await (await app.get("r1")).result()).status == "blocked"
        await app.cancel("r1")  # what is blocked can be given up
        assert (await (await app.get("r1")).result()).status == "canceled"


@in_loop
async def test_a_damaged_history_blocks_its_run_alone(journal: Journal, tmp_path: Path) -> None:
    workflow, world = three_steps(journal), ManualWorld()
    file = tmp_path / "store.db"
    async with Cloche(file, workflows=[workflow], world=world) as app:
        for id in ("good", "hurt"):
            await app.start("w", {"v": 1}, run_id=id)
            await until(lambda: not app._running.drivers)
    damage(file, "hurt", 3)
    async with Cloche(file, workflows=[workflow], world=world) as app:
        world.move(3600, app)
        assert await ended(await app.get("good")) == ("success", {"v": 5})
        row = await (await app.get("hurt")).row()
        assert row.status == "blocked"
        report = await app.verify()
        assert [(finding.run, finding.seq) for finding in report.findings] == [("hurt", 3)]
        assert (await app.verify("good")).ok
        assert await ended(await app.start("w", {"v": 1}, run_id="good")) == ("success", {"v": 5})


def damage(file: Path, run: str, seq: int) -> None:
    """Change a byte of a record, as a bad disk would: behind the back of the triggers."""
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("DROP TRIGGER records_are_not_changed")
        where = "WHERE seq = ? AND run_id = (SELECT id FROM runs WHERE run = ?)"
        [(record,)] = db.execute(f"SELECT record FROM records {where}", (seq, run))
        changed = record[:-1] + bytes([record[-1] ^ 1])
        db.execute(f"UPDATE records SET record = ? {where}", (changed, seq, run))


@in_loop
async def test_a_run_waits_for_its_store_and_no_step_is_run_again(journal: Journal) -> None:
    workflow = create_workflow(id="w").then(journal.inc()).then(journal.dbl()).commit()
    store = FlakyStore(refusals=1)
    async with AppOn(store, workflows=[workflow]) as app:
        with pytest.raises(StoreUnavailable, match="the disk is full"):
            await app.start("w", {"v": 1}, run_id="r1")
        run = await app.start("w", {"v": 1}, run_id="r1")
        store.faults.refusals = 2
        assert await ended(run) == ("success", {"v": 4})
    assert (journal.began, store.faults.refusals, store.faults.commits) == (["inc", "dbl"], 0, 3)


@in_loop
async def test_a_commit_whose_answer_was_lost_is_found_and_not_made_again(journal: Journal) -> None:
    @step(retries=1)
    async def flaky(data: Any, ctx: StepContext) -> Any:
        journal.began.append(f"{ctx.path} {ctx.attempt}")
        if ctx.attempt == 1:
            raise OSError("not now")
        return data

    workflow = create_workflow(id="w").then(journal.inc()).then(flaky).sleep(0).parallel([journal.dbl()]).commit()
    store = FlakyStore(lies=100)
    async with AppOn(store, workflows=[workflow]) as app:
        run = await app.start("w", {"v": 1})
        assert await ended(run) == ("success", {"dbl": {"v": 4}})
        assert (await app.verify(run.id)).ok
    assert (journal.began, store.faults.commits) == (["inc", "flaky 1", "flaky 2", "dbl"], 6)


@in_loop
async def test_what_is_due_while_the_store_is_away_is_done_when_it_is_back(journal: Journal) -> None:
    workflow, world = three_steps(journal), ManualWorld()
    store = FlakyStore()
    async with AppOn(store, workflows=[workflow], world=world) as app:
        run = await app.start("w", {"v": 1})
        await until(lambda: run._key not in app._running.drivers)
        store.faults.is_away = True
        world.move(3600, app)
        store.faults.is_away = False
        world.move(1, app)
        assert await ended(run) == ("success", {"v": 5})


@in_loop
async def test_a_run_keeps_the_guest_it_began_with(journal: Journal) -> None:
    """A worker whose own guest is another one takes the run's from the store."""
    engine = SandboxEngine()
    digest, _ = engine.guest()
    workflow, store, world = three_steps(journal), MemoryStore(), ManualWorld()
    async with AppOn(store, workflows=[workflow], world=world, engine=engine) as app:
        await app.start("w", {"v": 1}, run_id="r1")
        await until(lambda: store.runs(status=RunStatus.WAITING))
    world.move(3600)
    later = OtherGuest()
    async with AppOn(store, workflows=[workflow], world=world, engine=later) as app:
        assert await ended(await app.get("r1")) == ("success", {"v": 5})
    assert later.opened == [digest]


class OtherGuest(SandboxEngine):
    """An engine whose new runs would get a guest that no run here has."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []

    def guest(self, language: Language = "javascript") -> tuple[str, bytes]:
        return "0" * 64, b"not this one"

    def open(self, code: Code, guest: Any, limits: Limits, tenant: TenantId) -> Any:
        self.opened.append(code.guest)
        return super().open(code, guest, limits, tenant)


@in_loop
async def test_recovery_takes_up_every_run_and_parks_what_sleeps(journal: Journal) -> None:
    workflow, world, store = three_steps(journal), ManualWorld(), MemoryStore()
    quick = create_workflow(id="quick").then(create_step(id="q", execute=lambda data: data)).commit()
    async with AppOn(store, workflows=[workflow, quick], world=world) as app:
        for n in range(20):
            await app.start("w", {"v": n}, run_id=f"r{n}")
        await until(lambda: store.runs(status=RunStatus.WAITING), lambda rows: len(rows) == 20)
    async with AppOn(store, workflows=[workflow, quick], world=world) as app:
        assert not app._running.drivers  # twenty sleepers cost twenty timers, and no cell
        assert await ended(await app.start("quick", 1)) == ("success", 1)
        world.move(3600, app)
        assert [(await ended(await app.get(f"r{n}")))[1] for n in range(20)] == [{"v": 2 * n + 3} for n in range(20)]
    assert len(journal.began) == 40


class EndlessStore(MemoryStore):
    """Never takes the commit that would end a run."""

    async def commit(self, appends: Sequence[Append]) -> list[Outcome]:
        if any(append.status == "success" for append in appends):
            raise StoreUnavailable("the disk is full")
        return await super().commit(appends)


@in_loop
async def test_a_driver_that_is_canceled_does_not_let_its_run_go_as_ended(journal: Journal) -> None:
    store = EndlessStore()
    workflow = create_workflow(id="w").then(journal.inc()).commit()
    async with AppOn(store, workflows=[workflow]) as app:
        await app.start("w", {"v": 1}, run_id="r1")
        await until(lambda: app._running.blocks.last_error(KEY))
        tasks = app._running.services.tasks
        assert isinstance(tasks, WorkerTasks)
        for task in list(tasks._tasks):  # as `asyncio.run` does with what is left at its end
            task.cancel()
        await until(lambda: app.is_idle)
    row = await store.run(KEY)
    assert row is not None
    assert row.status == "running"
