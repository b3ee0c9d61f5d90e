"""Several workers on one store: a run has one at a time, what one loses another finishes, a request is accepted once."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from support.apps import KEY, AppOn, Journal, ManualWorld, ended, in_loop, until

from cloche import Cloche, Step, StepContext, Workflow, create_workflow
from cloche.errors import InvalidInput, NotSuspended, RunConflict
from cloche.history import Kind, RunKey
from cloche.run.driver import PARK_AFTER_MS
from cloche.status import RunStatus
from cloche.store import GRANTED, Append, MemoryStore, Outcome, RunRow, SqliteStore, Store, all_records
from cloche.worker.answers import token_of


def held_step(journal: Journal, gate: asyncio.Event) -> Step:
    async def wait(data: object, ctx: StepContext) -> object:
        await gate.wait()
        return data

    return journal.acts("held", wait)


def held(journal: Journal, gate: asyncio.Event) -> Workflow:
    return create_workflow(id="w").then(journal.inc()).then(held_step(journal, gate)).then(journal.dbl()).commit()


def asking(journal: Journal) -> Workflow:
    return create_workflow(id="w").then(journal.inc()).then(journal.ask()).then(journal.dbl()).commit()


@in_loop
async def test_work_is_divided_and_each_run_has_one_worker(journal: Journal) -> None:
    store, gate = MemoryStore(), asyncio.Event()
    gate.set()
    workflow, world = held(journal, gate), ManualWorld()
    async with AppOn(store, workflows=[workflow], world=world) as first:
        runs = [await first.start("w", {"v": n}) for n in range(40)]
        async with AppOn(store, workflows=[workflow], world=world) as second:
            assert [(await (await second.get(run.id)).result()).status for run in runs] == ["success"] * 40
    assert Counter(journal.calls).most_common(1)[0][1] == 1


@in_loop
async def test_the_runs_of_a_worker_that_dies_are_taken_over_at_once(journal: Journal) -> None:
    store, gate, world = MemoryStore(), asyncio.Event(), ManualWorld()
    workflow = held(journal, gate)
    first = AppOn(store, workflows=[workflow], world=world)
    await first.__aenter__()
    await first.start("w", {"v": 1}, run_id="r1")
    await until(lambda: "held" in journal.began)
    async with AppOn(store, workflows=[workflow], world=world) as second:
        assert KEY not in second._running.drivers
        await first.vanish()
        world.move(1, second)
        gate.set()
        assert await ended(await second.get("r1")) == ("success", {"v": 4})
    assert journal.began == ["inc", "held", "held", "dbl"]


@in_loop
async def test_a_silent_worker_is_evicted_and_its_results_are_late(journal: Journal) -> None:
    store, gates = MemoryStore(), [asyncio.Event(), asyncio.Event()]
    worlds = [ManualWorld("silent"), ManualWorld("other")]
    apps = [
        await AppOn(store, workflows=[held(journal, gate)], world=world).__aenter__()
        for gate, world in zip(gates, worlds, strict=True)
    ]
    silent, other = apps
    silent._running.claims.stop()  # it hangs, and sends no heartbeat
    run = await silent.start("w", {"v": 1}, run_id="r1")
    await until(lambda: journal.began == ["inc", "held"])
    await asyncio.sleep(0.25)  # the other has seen its heartbeat
    worlds[1].move(14)
    await asyncio.sleep(0.25)
    assert KEY not in other._running.drivers
    worlds[1].move(2)
    await until(lambda: journal.began == ["inc", "held", "held"])
    before = await all_records(store, KEY)
    gates[0].set()  # the first one wakes up, and its step ends
    await until(lambda: KEY not in silent._running.drivers)
    assert await all_records(store, KEY) == before
    gates[1].set()
    assert await ended(await other.get("r1")) == ("success", {"v": 4})
    assert journal.began == ["inc", "held", "held", "dbl"]
    await silent._running.claims.begin()  # it runs again, under another name
    assert await ended(run) == ("success", {"v": 4})
    for app in apps:
        await app.__aexit__(None, None, None)


@in_loop
async def test_an_evicted_worker_drops_its_runs_and_joins_again(journal: Journal) -> None:
    store, gate, world = MemoryStore(), asyncio.Event(), ManualWorld()
    async with AppOn(store, workflows=[held(journal, gate)], world=world) as app:
        await app.start("w", {"v": 1}, run_id="r1")
        await until(lambda: journal.began == ["inc", "held"])
        membership = app._running.membership
        name = membership.worker
        assert await store.leases.evict((await store.leases.workers())[0])
        world.move(5)
        await until(lambda: membership.worker != name)
        await until(lambda: journal.began == ["inc", "held", "held"])
        gate.set()
        assert await ended(await app.get("r1")) == ("success", {"v": 4})


@in_loop
async def test_it_knows_before_others_that_its_leases_may_be_taken() -> None:
    from cloche.worker.membership import Membership

    store, world = MemoryStore(), ManualWorld()
    one, other = (Membership(store.leases, world, 10.0) for _ in range(2))
    await one.join()
    await other.join()
    for seconds, safe, known in ((7, True, 2), (1, False, 2), (1, False, 2), (1, False, 1)):
        world.move(seconds)
        await other.keep()
        assert (one.is_safe, len(await store.leases.workers())) == (safe, known)
    assert (await one.keep(), one.is_safe, len(await store.leases.workers())) == (False, True, 2)


@in_loop
async def test_a_jump_of_the_wall_clock_takes_no_lease(journal: Journal) -> None:
    class Jumping(ManualWorld):
        def monotonic(self) -> float:
            return 0.0

    store, gate, world = MemoryStore(), asyncio.Event(), Jumping()
    workflow = held(journal, gate)
    async with AppOn(store, workflows=[workflow], world=world) as first:
        await first.start("w", {"v": 1}, run_id="r1")
        async with AppOn(store, workflows=[workflow], world=world) as second:
            for seconds in (86_400 * 365, -86_400 * 700):
                world.move(seconds, first, second)
                await asyncio.sleep(0.25)
            assert len(await store.leases.workers()) == 2
            gate.set()
            assert await ended(await second.get("r1")) == ("success", {"v": 4})
    assert Counter(journal.began).most_common(1)[0][1] == 1


@in_loop
async def test_a_worker_that_leaves_hands_over_at_once(journal: Journal) -> None:
    store, gate = MemoryStore(), asyncio.Event()
    workflow = held(journal, gate)
    async with AppOn(store, workflows=[workflow]) as stays:
        async with AppOn(store, workflows=[workflow], drain_timeout_s=0.01) as leaves:
            await leaves.start("w", {"v": 1}, run_id="r1")
            await until(lambda: "held" in journal.began)
        gate.set()
        assert await ended(await stays.get("r1")) == ("success", {"v": 4})


@in_loop
async def test_a_run_that_another_worker_executes_can_be_asked_for_anything(journal: Journal, tmp_path: Path) -> None:
    gate = asyncio.Event()
    workflow = create_workflow(id="w").parallel([journal.ask(), held_step(journal, gate)]).commit()
    file = tmp_path / "runs.db"
    async with Cloche(file, workflows=[workflow]) as owner, Cloche(file, workflows=[workflow]) as other:
        await owner.start("w", {"v": 1}, run_id="r1")
        await until(lambda: "held" in journal.began)
        with pytest.raises(NotSuspended, match="does not wait for step 'nobody'"):
            await other.resume("r1", step="nobody", resume_data={"add": 1})
        resuming = asyncio.create_task(other.resume("r1", resume_data={"add": 1}))
        await until(lambda: journal.began.count("ask") == 2)
        assert KEY in owner._running.drivers
        await other.cancel("r1")
        gate.set()
        assert ((await resuming).status, await (await owner.get("r1")).status()) == ("canceled", "canceled")
        await other.cancel("r1")  # asking again is no mistake
        assert await owner._running.store.requests() == []


@in_loop
async def test_a_run_that_lacks_its_step_here_goes_on_where_it_is_known(journal: Journal) -> None:
    store = MemoryStore()
    workflow = asking(journal)
    async with AppOn(store, workflows=[workflow]) as app:
        await (await app.start("w", {"v": 1}, run_id="r1")).result()
    async with AppOn(store) as without, AppOn(store, workflows=[workflow]) as with_it:
        await without.resume("r1", resume_data={"add": 5})
        await until(lambda: store.runs(status=RunStatus.SUCCESS))
        assert await ended(await with_it.get("r1")) == ("success", {"v": 14})


@in_loop
async def test_a_run_that_was_let_go_is_parked(journal: Journal) -> None:
    """Its pause is exactly the time from which on runs are parked, and has become shorter when the commit is made."""

    class Slow(MemoryStore):
        async def commit(self, appends: Sequence[Append]) -> list[Outcome]:
            world.time_ms += 1
            return await super().commit(appends)

    store, world = Slow(), ManualWorld()
    workflow = create_workflow(id="w").sleep(timedelta(milliseconds=PARK_AFTER_MS)).then(journal.inc()).commit()
    async with AppOn(store, workflows=[workflow], world=world) as app:
        run = await app.start("w", {"v": 1}, run_id="r1")
        await until(lambda: KEY not in app._running.drivers, patience_s=5)
        world.move(PARK_AFTER_MS / 1000, app)
        assert await ended(run) == ("success", {"v": 2})
    assert journal.began == ["inc"]


VICTIM = """
import asyncio, sys
from cloche import Cloche, create_step, create_workflow

async def held(data):
    print("began", flush=True)
    await asyncio.sleep(3600)

workflow = create_workflow(id="w").then(create_step(id="held", execute=held)).commit()

async def main():
    async with Cloche(sys.argv[1], workflows=[workflow]) as app:
        await (await app.start("w", 1, run_id="r1")).result()

asyncio.run(main())
"""


@in_loop
async def test_the_only_survivor_takes_over_from_a_killed_process(tmp_path: Path) -> None:
    """Nobody else writes to the file: what the survivor notices is that it has evicted the other one itself."""
    file = tmp_path / "runs.db"
    workflow = create_workflow(id="w").then(Journal().step("held", lambda data: data + 1)).commit()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    victim = await asyncio.create_subprocess_exec(
        sys.executable, "-c", VICTIM, str(file), stdout=subprocess.PIPE, env=environment
    )
    assert victim.stdout is not None
    assert await victim.stdout.readline() == b"began\n"
    async with Cloche(file, workflows=[workflow]) as survivor:
        run = await survivor.get("r1")
        await asyncio.sleep(0.3)  # it has seen all that the other one wrote
        assert KEY not in survivor._running.drivers
        victim.kill()
        await victim.wait()
        assert await ended(run) == ("success", 2)


FLOWS = """
import os
from cloche import create_step, create_workflow

def held(data):
    open(os.environ["MARK"], "w").close()

workflow = create_workflow(id="w").then(create_step(id="held", execute=held)).commit()
"""


@in_loop
async def test_a_worker_that_reaches_the_store_by_a_link_takes_nothing_from_one_that_lives(
    journal: Journal, tmp_path: Path
) -> None:
    file, link, mark, gate = tmp_path / "runs.db", tmp_path / "current.db", tmp_path / "mark", asyncio.Event()
    link.symlink_to(file)
    (tmp_path / "flows.py").write_text(FLOWS)
    workflow = create_workflow(id="w").then(held_step(journal, gate)).commit()
    command = [sys.executable, "-m", "cloche.cli", "worker", "flows.py:workflow", "--store", str(link), "--once"]
    async with Cloche(file, workflows=[workflow]) as app:
        run = await app.start("w", 1, run_id="r1")
        await until(lambda: journal.began)
        environment = {**os.environ, "MARK": str(mark)}
        other = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, env=environment)
        code = await other.wait()
        gate.set()
        assert await ended(run) == ("success", 1)
    assert (journal.began, mark.exists()) == (["held"], False)
    assert code == 75  # a run of the store was open, and none could move


# ---- once ----------------------------------------------------------------------------------------------------------------


@in_loop
async def test_a_resume_with_a_key_is_applied_once_however_often_it_is_made(journal: Journal) -> None:
    store = MemoryStore()
    workflow = create_workflow(id="w").then(journal.ask("one")).then(journal.ask("two")).commit()
    async with AppOn(store, workflows=[workflow]) as app:
        await (await app.start("w", {"v": 1}, run_id="r1")).result()
        results = await asyncio.gather(
            *(app.resume("r1", resume_data={"add": 1}, idempotency_key="k") for _ in range(5))
        )
        assert {(result.status, str(result.suspended)) for result in results} == {("suspended", "[['two']]")}
    async with AppOn(store, workflows=[workflow]) as app:  # also in the next process
        assert (await app.resume("r1", resume_data={"add": 1}, idempotency_key="k")).status == "suspended"
        assert (await app.resume("r1", resume_data={"add": 10}, idempotency_key="l")).result == {"v": 12}
        assert (await app.resume("r1", resume_data={"add": 10}, idempotency_key="l")).result == {"v": 12}
    assert Counter(record.kind for record in await all_records(store, KEY))[Kind.STEP_RESUMED] == 2


@in_loop
async def test_a_resume_that_was_refused_may_be_made_again_with_its_key(journal: Journal) -> None:
    async with AppOn(MemoryStore(), workflows=[asking(journal)]) as app:
        await (await app.start("w", {"v": 1}, run_id="r1")).result()
        with pytest.raises(NotSuspended, match="'other'"):
            await app.resume("r1", step="other", resume_data={"add": 1}, idempotency_key="k")
        with pytest.raises(InvalidInput):
            await app.resume("r1", resume_data=object(), idempotency_key="k")
        assert (await app.resume("r1", resume_data={"add": 1}, idempotency_key="k")).result == {"v": 6}


@in_loop
async def test_an_event_with_a_key_is_delivered_once_also_after_the_run_took_it(journal: Journal) -> None:
    store = MemoryStore()
    workflow = create_workflow(id="w").wait_for_event("paid").wait_for_event("paid").commit()
    async with AppOn(store, workflows=[workflow]) as app:
        run = await app.start("w", None, run_id="r1")
        for _ in range(3):
            await app.send_event("r1", "paid", 1, idempotency_key="first")
            await until(lambda: store.answer(token_of(KEY, "event", "first")), lambda answer: answer == GRANTED)
        assert await run.status() == "waiting"
        await app.send_event("r1", "paid", 2, idempotency_key="second")
        assert await ended(run) == ("success", 2)
        await app.send_event("r1", "paid", 2, idempotency_key="second")  # known, though the run has ended
        with pytest.raises(NotSuspended):
            await app.send_event("r1", "paid", 3, idempotency_key="third")


@in_loop
async def test_a_start_that_lost_the_race_gives_the_run_of_the_winner(journal: Journal, tmp_path: Path) -> None:
    workflow = create_workflow(id="w").then(journal.inc()).commit()
    file = tmp_path / "runs.db"
    async with Cloche(file, workflows=[workflow]) as first, Cloche(file, workflows=[workflow]) as second:

        async def looked_before(key: RunKey) -> RunRow | None:
            return None

        second._running.store.run = looked_before  # type: ignore[method-assign]
        assert await ended(await first.start("w", {"v": 1}, run_id="r1")) == ("success", {"v": 2})
        del second._running.store.run
        for value, expected in ((1, 2), (2, None)):
            if expected is None:
                with pytest.raises(RunConflict):
                    await second.start("w", {"v": value}, run_id="r1")
            else:
                assert await ended(await second.start("w", {"v": value}, run_id="r1")) == ("success", {"v": expected})
    assert journal.began == ["inc"]


RACER = """
import asyncio, sys
from cloche import Cloche, create_step, create_workflow

def bump(data):
    with open(sys.argv[2], "a") as journal:
        journal.write("x")
    return data + 1

async def add(data, ctx):
    if ctx.resume_data is None:
        ctx.suspend()
    return data + ctx.resume_data

workflow = create_workflow(id="w").then(create_step(id="bump", execute=bump)).then(
    create_step(id="add", execute=add)).then(create_step(id="more", execute=add)).commit()

async def main():
    async with Cloche(sys.argv[1], workflows=[workflow]) as app:
        run = await app.start("w", 1, run_id="r1")
        await run.result()  # suspended, or further where another one was faster
        await app.resume("r1", resume_data=10, idempotency_key="ten")
        await app.resume("r1", resume_data=100, idempotency_key="hundred")
        print((await run.result(final=True)).result)

asyncio.run(main())
"""


@in_loop
async def test_processes_that_race_to_start_and_resume_make_one_run(tmp_path: Path) -> None:
    store, journal = tmp_path / "runs.db", tmp_path / "journal"
    command = [sys.executable, "-c", RACER, str(store), str(journal)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(4)]
    assert [(racer.communicate(timeout=60)[0], racer.returncode) for racer in racers] == [("112\n", 0)] * 4
    assert journal.read_text() == "x"
    left: Store = SqliteStore(store)
    assert (len(await left.runs()), list(await left.audit()), await left.leases.workers()) == (1, [], [])
    await left.close()
