"""Going on from a checkpoint: nothing before it is read, and on any doubt about it the whole history is replayed."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.apps import KEY, AppOn, Journal, ManualWorld, ended, in_loop, until
from support.stores import closed_after

from cloche import Cloche, Workflow, code, create_step, create_workflow, path
from cloche.engines import SandboxEngine
from cloche.history import Record, RunId, RunKey, Seq
from cloche.operations.deep_verify import deep_findings
from cloche.run.checkpoints import Checkpoint, opened, sealed
from cloche.sandbox import images
from cloche.status import RunStatus
from cloche.store import MemoryCheckpoints, MemoryStore, SqliteStore
from cloche.store.checkpoints import CheckpointFile

OTHER = RunKey(KEY.tenant, RunId("r2"))


class WatchedStore(MemoryStore):
    """Remembers which records were read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: set[Seq] = set()

    async def records(self, key: RunKey, after: Seq = Seq(0), limit: int = 9) -> list[Record]:  # noqa: B008
        page = await super().records(key, after, limit)  # which `rows` are made from too
        self.read.update(record.seq for record in page)
        return page


def loop_and_ask(journal: Journal, turns: int = 30) -> Workflow:
    """Many steps, then a question, then one more step."""
    return (
        create_workflow(id="w")
        .dowhile(journal.inc(), path("inputData.v") < turns)
        .then(journal.ask())
        .then(journal.dbl())
        .commit()
    )


async def until_it_asks(app: Cloche, store: MemoryStore, run_id: str = "r1", value: int = 0) -> None:
    await app.start("w", {"v": value}, run_id=run_id)
    await until(lambda: store.runs(status=RunStatus.SUSPENDED), lambda rows: run_id in [row.key.run for row in rows])


async def asked(store: MemoryStore, kept: MemoryCheckpoints, workflow: Workflow, *runs: tuple[str, int]) -> None:
    """Runs that wait for data, whose process is gone; each left a checkpoint in the middle of its loop."""
    async with AppOn(store, kept, workflows=[workflow], checkpoint_every=20) as app:
        for run_id, value in runs or [("r1", 0)]:
            await until_it_asks(app, store, run_id, value)


async def finished(store: MemoryStore, kept: MemoryCheckpoints, workflow: Workflow, run_id: str = "r1") -> Any:
    async with AppOn(store, kept, workflows=[workflow]) as app:
        await app.resume(run_id, resume_data={"add": 1})
        return await ended(await app.get(run_id))


def checkpoint_of(kept: MemoryCheckpoints, key: RunKey = KEY) -> Checkpoint:
    data = kept._kept[key][1]
    assert data is not None
    return opened(key, data)


@in_loop
async def test_nothing_between_the_beginning_and_the_checkpoint_is_read(journal: Journal) -> None:
    store, kept, workflow = WatchedStore(), MemoryCheckpoints(), loop_and_ask(journal)
    await asked(store, kept, workflow)
    at, head = checkpoint_of(kept).seq, (await store.runs())[0].head_seq
    async with AppOn(store, kept, workflows=[workflow]) as app:
        store.read.clear()
        async with app._running.starting.with_driver(KEY) as driver:
            assert len(driver.machine.open.suspensions()) == 1
        assert store.read == {1, 2, *range(at + 1, head + 1)}
        assert at > 40


@in_loop
async def test_a_run_from_a_checkpoint_ends_as_one_that_was_replayed(journal: Journal) -> None:
    store, kept, workflow = MemoryStore(), MemoryCheckpoints(), loop_and_ask(journal)
    await asked(store, kept, workflow)
    began = list(journal.began)
    assert await finished(store, kept, workflow) == ("success", {"v": 62})
    assert journal.began == [*began, "ask", "dbl"]
    async with AppOn(store, kept, workflows=[workflow]) as app:
        report = await app.replay("r1")
    assert report.ok


@in_loop
async def test_a_run_that_has_ended_keeps_no_checkpoint(journal: Journal) -> None:
    store, kept, workflow = MemoryStore(), MemoryCheckpoints(), loop_and_ask(journal)
    await asked(store, kept, workflow)
    assert await kept.get(KEY) is not None
    await finished(store, kept, workflow)
    assert await kept.get(KEY) is None


def _of_another_run(kept: MemoryCheckpoints) -> bytes:
    return kept._kept[OTHER][1] or b""


def _with_one_bit_changed(kept: MemoryCheckpoints) -> bytes:
    data = bytearray(kept._kept[KEY][1] or b"")
    data[len(data) // 2] ^= 1
    return bytes(data)


def _cut_off(kept: MemoryCheckpoints) -> bytes:
    return (kept._kept[KEY][1] or b"")[:-1]


def _with_the_cell_of_another_run(kept: MemoryCheckpoints) -> bytes:
    """Authentic, and wrong all the same: what the tail leads to tells."""
    mine, other = checkpoint_of(kept), checkpoint_of(kept, OTHER)
    return sealed(KEY, Checkpoint(mine.seq, other.state_hash, mine.machine, other.cell))


def _of_another_head(kept: MemoryCheckpoints) -> bytes:
    """Authentic, and of a history that this log does not have."""
    mine, other = checkpoint_of(kept), checkpoint_of(kept, OTHER)
    return sealed(KEY, Checkpoint(mine.seq, mine.state_hash, other.machine, mine.cell))


@pytest.mark.parametrize(
    "forged", [_of_another_run, _with_one_bit_changed, _cut_off, _with_the_cell_of_another_run, _of_another_head]
)
def test_on_any_doubt_the_whole_history_is_replayed_and_the_checkpoint_never_used(
    journal: Journal, forged: Any
) -> None:
    @in_loop
    async def lived() -> None:
        store, kept, workflow = WatchedStore(), MemoryCheckpoints(), loop_and_ask(journal)
        await asked(store, kept, workflow, ("r1", 0), ("r2", -15))
        kept._kept[KEY] = (kept._kept[KEY][0], forged(kept))
        store.read.clear()
        async with AppOn(store, kept, workflows=[workflow]) as app:
            async with app._running.starting.with_driver(KEY):
                pass
            assert store.read == {*range(1, (await store.runs())[1].head_seq + 1)}
            assert await kept.get(KEY) is None
            await app.resume("r1", resume_data={"add": 1})
            assert await ended(await app.get("r1")) == ("success", {"v": 62})

    lived()


@in_loop
async def test_code_that_was_changed_does_not_take_a_checkpoint_of_the_old(journal: Journal) -> None:
    store, kept, workflow = MemoryStore(), MemoryCheckpoints(), loop_and_ask(journal)
    await asked(store, kept, workflow)
    changed = loop_and_ask(journal, turns=10)
    assert await finished(store, kept, changed) == ("success", {"v": 62})  # an open run goes on under its own


@in_loop
async def test_a_parked_run_that_is_still_warm_is_not_rebuilt(journal: Journal) -> None:
    store, workflow = WatchedStore(), loop_and_ask(journal)
    async with AppOn(store, workflows=[workflow]) as app:
        await until_it_asks(app, store)
        await until(lambda: KEY not in app._running.drivers)
        store.read.clear()
        await app._running.requests.resume(KEY, {"data": {"add": 1}})
        await until(lambda: store.runs(status=RunStatus.SUCCESS))
        assert store.read == {1}  # what it was created with
        assert await ended(await app.get("r1")) == ("success", {"v": 62})


@in_loop
async def test_without_room_cells_are_given_up_behind_a_checkpoint_and_all_runs_end(journal: Journal) -> None:
    store, kept, workflow = MemoryStore(), MemoryCheckpoints(), loop_and_ask(journal, turns=80)
    async with AppOn(store, kept, workflows=[workflow], warm_bytes=600_000) as app:
        for number in range(8):
            await until_it_asks(app, store, f"r{number}", number % 3)
        await until(lambda: app._running.is_idle)
        assert app._running.cells.cached.bytes_used <= 600_000
        given_up = 8 - len(app._running.cells.cached)
        await until(lambda: sum(RunKey(KEY.tenant, RunId(f"r{n}")) in kept._kept for n in range(8)) == given_up)
        assert given_up >= 3
        for number in range(8):
            await app.resume(f"r{number}", resume_data={"add": 1})
            assert await ended(await app.get(f"r{number}")) == ("success", {"v": 162})


@in_loop
async def test_a_run_may_give_up_its_cell_while_its_step_is_at_work(journal: Journal) -> None:
    store, world = MemoryStore(), ManualWorld()
    held: list[Any] = []

    async def hold(data: Any, ctx: Any) -> Any:
        gate = asyncio.get_running_loop().create_future()
        held.append(gate)
        await gate
        return data

    workflow = create_workflow(id="w").then(journal.acts("hold", hold)).then(journal.dbl()).commit()
    async with AppOn(store, workflows=[workflow], world=world, warm_bytes=1) as app:
        runs = [await app.start("w", {"v": number}, run_id=f"r{number}") for number in range(3)]
        await until(lambda: len(held) == 3)
        assert len(app._running.cells.cached) == 1  # the newest keeps its own
        for gate in held:
            gate.set_result(None)
        assert [await ended(run) for run in runs] == [("success", {"v": 2 * number}) for number in range(3)]


LONG = """
import asyncio, sys
from cloche import Cloche, create_step, create_workflow, path

async def inc(data): return {"v": data["v"] + 1}
workflow = create_workflow(id="w").dowhile(create_step(id="inc", execute=inc), path("inputData.v") < 1_000_000).commit()

async def main(store):
    async with Cloche(store, workflows=[workflow], checkpoint_every=100) as app:
        await app.start("w", {"v": 0}, run_id="r1")
        await (await app.get("r1")).result()

asyncio.run(main(sys.argv[1]))
"""


@in_loop
async def test_after_kill_9_a_long_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    process = subprocess.Popen([sys.executable, "-c", LONG, str(file)])
    try:
        await _wait_for_records(file, 900)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    async with closed_after(CheckpointFile(tmp_path / "runs.db-checkpoints")) as kept:
        data = await kept.get(KEY)
    assert data is not None
    at = opened(KEY, data).seq

    async def goes_on() -> None:
        async with Cloche(file, workflows=[_long()], checkpoint_every=100) as app:
            head = (await (await app.get("r1")).row()).head_seq
            async with app._running.starting.with_driver(KEY) as driver:
                assert 300 < at <= head
                assert driver.live._has_checkpoint
            await app.cancel("r1")
            assert (await (await app.get("r1")).result()).status == "canceled"
            assert (await app.verify()).ok
            assert (await app.replay("r1")).ok

    await goes_on()


def _long() -> Workflow:
    async def inc(data: Any) -> Any:
        return {"v": data["v"] + 1}

    return create_workflow(id="w").dowhile(create_step(id="inc", execute=inc), path("inputData.v") < 1_000_000).commit()


async def _wait_for_records(file: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if file.exists() and file.stat().st_size > 4096:
            async with closed_after(SqliteStore(file)) as store:
                row = await store.run(KEY)
                if row is not None and row.head_seq >= count:
                    return
        time.sleep(0.05)
    raise AssertionError("the run did not get far enough")


@in_loop
async def test_a_deep_verification_replays_and_compares_the_state_of_the_checkpoint(journal: Journal) -> None:
    store, kept, workflow = MemoryStore(), MemoryCheckpoints(), loop_and_ask(journal)
    await asked(store, kept, workflow)
    store.checkpoints = kept
    assert [one async for one in deep_findings(store, SandboxEngine())] == []
    mine = checkpoint_of(kept)
    wrong = Checkpoint(mine.seq, "0" * 64, mine.machine, mine.cell)
    kept._kept[KEY] = (mine.seq, sealed(KEY, wrong))
    [finding] = [one async for one in deep_findings(store, SandboxEngine(), KEY)]
    assert (finding.run, finding.seq) == ("r1", mine.seq)
    assert "another state than replay ends in" in finding.problem
    kept._kept[KEY] = (mine.seq, b"nothing")
    [finding] = [one async for one in deep_findings(store, SandboxEngine(), KEY)]
    assert "not made by this user's cloche" in finding.problem


SPIN = "(() => { let x = 0; for (let i = 0; i < 600000; i++) x = (x + i) & 1023; return inputData.v; })()"


@in_loop
async def test_few_events_that_compute_much_are_worth_a_checkpoint_too(journal: Journal) -> None:
    store, kept = MemoryStore(), MemoryCheckpoints()
    workflow = create_workflow(id="w").map({"v": code(SPIN)}).then(journal.inc()).then(journal.ask()).commit()
    async with AppOn(store, kept, workflows=[workflow]) as app:
        await until_it_asks(app, store)
    assert checkpoint_of(kept).seq < 10
    assert await finished(store, kept, workflow) == ("success", {"v": 2})


@in_loop
async def test_what_was_loaded_beforehand_is_not_loaded_by_the_first_run(journal: Journal) -> None:
    workflow = create_workflow(id="w").map({"v": code("inputData.v + 41 /* loaded beforehand */")}).commit()
    broken = create_workflow(id="broken").map({"v": code("(() => { throw 1 })()")}).commit()
    before = set(images.kept._values)
    async with AppOn(MemoryStore(), workflows=[workflow, broken]) as app:
        await app.prewarm()
        loaded = set(images.kept._values) - before
        assert len(loaded) == 2
        assert await ended(await app.start(workflow, {"v": 1})) == ("success", {"v": 42})
        assert set(images.kept._values) - before == loaded
