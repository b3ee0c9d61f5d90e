"""What a run is billed for: the same whatever crashed in between, and held against a replay."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.apps import AppOn, CutStore, FlakyStore, Journal, ManualWorld, ended, in_loop, until
from support.guests import needs_python

from cloche import Cloche, DirectEngine, ProcessEngine, SandboxEngine, StepContext, Workflow, code, create_workflow
from cloche.engines import Cell
from cloche.errors import UsageError
from cloche.history import DEFAULT_TENANT, RunId, RunKey
from cloche.history.messages import EVENTS
from cloche.operations import replay
from cloche.run import lanes, turn
from cloche.run.meter import Meter
from cloche.store import MemoryStore, Metered, Store, Usage
from cloche.tenancy import Policy

KEY = RunKey(DEFAULT_TENANT, RunId("r1"))
CATCHING = """
from cloche import step, workflow

@workflow
async def w(data):
    for _ in range(6):
        try:
            await step("boom")(data)
        except Exception as error:
            said = str(error)
    return said
"""
SPIN = "(() => { let x = 0; for (let i = 0; i < %s; i++) x = (x + i) & 1023; return inputData.v; })()"


def chain(journal: Journal, steps: int = 4) -> Workflow:
    workflow = create_workflow(id="w")
    for number in range(steps):
        workflow = workflow.then(journal.step(f"inc{number}", lambda data: {"v": data["v"] + 1}))
    return workflow.commit()


async def billed(store: Store, key: RunKey = KEY) -> Usage:
    found = await store.metered(key)
    assert found is not None
    return found.usage


async def straight(workflow: Workflow, value: Any = None) -> Usage:
    """What the run uses when nothing goes wrong."""
    async with AppOn(MemoryStore(), workflows=[workflow]) as app:
        assert (await (await app.start(workflow, value or {"v": 1}, run_id="r1")).result()).status == "success"
        return await billed(app.store)


def counted(usage: Usage) -> tuple[int, ...]:
    """What is the same however it went: all but time, memory, how it was cut into turns, and overhead."""
    return usage.fuel, usage.events, usage.steps


@in_loop
async def test_a_run_is_billed_for_what_is_in_its_log(journal: Journal) -> None:
    async with AppOn(MemoryStore(), workflows=[chain(journal)]) as app:
        run = await app.start("w", {"v": 1, "large": "x" * 9_000}, run_id="r1")
        await run.result()
        records, used = await run.history(), await billed(app.store)
        assert used.events == sum(record.kind in EVENTS for record in records) == 5
        assert (used.steps, used.turns) == (4, 5)
        assert (await app.verify()).findings == []
        assert used.log_bytes == sum(len(r.packed) + (r.payload.size if r.payload else 0) for r in records) > 9_000
        assert used.fuel > 100_000
        assert used.overhead_fuel == 0
        assert 0 < used.wall_us < 60_000_000
        report = await app.replay("r1")
        assert (report.ok, report.fuel, report.fuel_recorded) == (True, used.fuel, used.fuel)


@in_loop
async def test_crashes_and_replays_are_not_billed_twice(journal: Journal) -> None:
    """The process ends behind each commit: whatever is done again is overhead."""
    workflow = chain(journal)
    expected, store = await straight(workflow), CutStore()
    while True:
        app = AppOn(store, workflows=[workflow])
        await app.__aenter__()
        run = await app.start("w", {"v": 1}, run_id="r1")
        done = asyncio.create_task(run.result())
        cut = asyncio.create_task(store.went_out.wait())
        await asyncio.wait({done, cut}, return_when=asyncio.FIRST_COMPLETED)
        if not cut.done():
            cut.cancel()
            break
        done.cancel()
        await app.vanish()
        store.restore_power()
    assert (store.cuts, done.result().status) == (5, "success")
    used, report = await billed(store), await app.replay("r1")
    assert counted(used) == counted(expected)
    assert used.overhead_fuel > 0
    assert (report.ok, report.fuel_recorded) == (True, used.fuel)
    await app.vanish()


@in_loop
@pytest.mark.parametrize("trouble", [{"refusals": 2}, {"lies": 1}])
async def test_a_commit_that_failed_or_whose_answer_was_lost_is_billed_once(
    journal: Journal, trouble: dict[str, int]
) -> None:
    workflow, store = chain(journal), FlakyStore()
    expected = await straight(workflow)
    async with AppOn(store, workflows=[workflow]) as app:
        run = await app.start("w", {"v": 1}, run_id="r1")
        for name, count in trouble.items():
            setattr(store, name, count)
        assert await ended(run) == ("success", {"v": 5})
        assert counted(await billed(store)) == counted(expected)
        assert (await app.replay("r1")).ok
        assert (await app.replay("r1")).fuel_recorded is not None


@in_loop
async def test_a_rebuild_from_a_checkpoint_or_from_the_beginning_bills_the_same(journal: Journal) -> None:
    workflow = create_workflow(id="w").then(journal.inc()).then(journal.ask()).then(journal.dbl()).commit()
    bills = []
    for every in (1, 10_000):
        store = MemoryStore()
        app = AppOn(store, workflows=[workflow], checkpoint_every=every)
        async with app:
            assert (await (await app.start("w", {"v": 1}, run_id="r1")).result()).status == "suspended"
        async with AppOn(store, app._given_checkpoints, workflows=[workflow], checkpoint_every=every) as app2:
            assert (await app2.resume("r1", resume_data={"add": 1})).status == "success"
            assert (await app2.replay("r1")).fuel_recorded == (await billed(store)).fuel
        bills.append(counted(await billed(store)))
    assert bills[0] == bills[1]


@in_loop
async def test_a_heavy_turn_that_is_made_again_is_billed_once(journal: Journal) -> None:
    workflow = create_workflow(id="w").map({"v": code(SPIN % 1_500_000)}).then(journal.inc()).commit()
    async with AppOn(MemoryStore(), workflows=[workflow]) as app:
        assert (await (await app.start("w", {"v": 1}, run_id="r1")).result()).status == "success"
        used, report = await billed(app.store), await app.replay("r1")
        assert used.overhead_fuel > 0
        assert (report.ok, report.fuel_recorded) == (True, used.fuel)


@in_loop
async def test_results_that_come_at_once_are_billed_as_those_that_come_one_by_one(journal: Journal) -> None:
    bills = []
    for at_once in (True, False):
        gates = [asyncio.Event() for _ in range(12)]

        async def wait(data: Any, ctx: StepContext, gates: list[asyncio.Event] = gates) -> Any:
            await gates[data].wait()
            return data

        workflow = create_workflow(id="w").foreach(journal.acts("wait", wait), concurrency=12).commit()
        async with AppOn(MemoryStore(), workflows=[workflow]) as app:
            run = await app.start("w", list(range(12)), run_id="r1")
            for number, gate in enumerate(gates):
                gate.set()
                if not at_once:
                    least = min(number + 2, 12)
                    await until(lambda: billed(app.store), lambda used: used.events >= least)  # noqa: B023
            assert (await run.result()).status == "success"
            bills.append(await billed(app.store))
            assert (await app.replay("r1")).fuel_recorded == bills[-1].fuel
    assert counted(bills[0]) == counted(bills[1])
    assert bills[0].turns < bills[1].turns


@in_loop
async def test_python_is_billed_likewise(journal: Journal) -> None:
    needs_python()
    async with AppOn(MemoryStore(), steps=[journal.boom("an odd text é")], policy=Policy()) as app:
        await app.deploy("default", CATCHING, workflow="w", language="python")
        await (await app.start("w", {"v": 1}, run_id="r1")).result()
        report, used = await app.replay("r1"), await billed(app.store)
        assert (report.ok, report.fuel_recorded, report.fuel_tolerance) == (True, used.fuel, used.fuel // 200)
        app.store._data.metered[KEY] = Metered(used + Usage(fuel=used.fuel // 100), app._engine.meter)  # type: ignore[attr-defined]
        assert (await app.replay("r1")).fuel_differs


@in_loop
async def test_a_stopped_guest_is_billed_as_overhead(journal: Journal) -> None:
    workflow = create_workflow(id="w").then(journal.inc()).map({"v": code(SPIN % 10**12)}).commit()
    async with AppOn(MemoryStore(), workflows=[workflow], policy=Policy(fuel_per_event=100_000_000)) as app:
        assert (await (await app.start("w", {"v": 1}, run_id="r1")).result()).status == "failed"
        used, report = await billed(app.store), await app.replay("r1")
        assert used.overhead_fuel >= 100_000_000
        assert (report.ended_by_fault, report.ok, report.fuel_recorded) == (True, True, used.fuel)


STOPPED = {
    "out of fuel": (Policy(fuel_per_event=100_000_000), SPIN % 10**12, "FuelExhausted"),
    "out of time": (Policy(wall_ms_per_event=30, fuel_per_event=10**15), SPIN % 10**12, "TimeExhausted"),
    "not to be taken": (Policy(value_items=3), "({ v: [1, 2, 3, 4, 5] })", "LimitExceeded"),
}


@pytest.mark.parametrize("engine", [SandboxEngine, ProcessEngine])
@pytest.mark.parametrize("end", STOPPED)
def test_the_time_of_a_stopped_turn_is_billed(
    journal: Journal, end: str, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look at the clock is a millisecond after the one before."""
    policy, spin, name = STOPPED[end]
    crossings, timed = list[bool](), lanes._timed

    def noted(*given: Any, **named: Any) -> bytes:
        crossings.append(True)
        return timed(*given, **named)

    monkeypatch.setattr(lanes, "_timed", noted)
    for module in (lanes, turn):
        monkeypatch.setattr(module, "perf_counter_ns", itertools.count(0, 1_000_000).__next__)

    @in_loop
    async def live() -> None:
        workflow = create_workflow(id="w").then(journal.inc()).map({"v": code(spin)}).then(journal.take()).commit()
        async with AppOn(MemoryStore(), workflows=[workflow], policy=policy, engine=engine()) as app:
            error = (await (await app.start("w", {"v": 1}, run_id="r1")).result()).error
            assert error is not None
            assert error.name == name
            used = await billed(app.store)
            assert len(crossings) > used.turns
            assert used.wall_us >= 1000 * len(crossings)

    live()


@in_loop
async def test_a_bill_that_a_replay_does_not_burn_is_reported(journal: Journal) -> None:
    store = MemoryStore()
    async with AppOn(store, workflows=[chain(journal)]) as app:
        await (await app.start("w", {"v": 1}, run_id="r1")).result()
        used = await store.metered(KEY)
        assert used is not None
        store._data.metered[KEY] = replace(used, usage=used.usage + Usage(fuel=1))
        report = await app.replay("r1")
        assert (report.ok, report.divergence, report.fuel_differs) == (False, None, True)
        assert report.fuel_recorded == report.fuel + 1
        store._data.metered[KEY] = Metered(used.usage + Usage(fuel=1), "another wasmtime")
        assert (await app.replay("r1")).ok
        assert (await app.replay("r1", chain(journal, 4))).ok


@in_loop
async def test_a_bill_that_does_not_follow_from_the_log_is_found(journal: Journal) -> None:
    store = MemoryStore()
    async with AppOn(store, workflows=[chain(journal)]) as app:
        await (await app.start("w", {"v": 1}, run_id="r1")).result()
        used = await store.metered(KEY)
        assert used is not None
        store._data.metered[KEY] = replace(used, usage=used.usage + Usage(events=1, steps=2, log_bytes=3))
        found = [finding.problem for finding in (await app.verify()).findings]
        assert [text.split(",")[0] for text in found] == [
            "the run is billed for 6 events",
            "the run is billed for 6 steps",
            f"the run is billed for {used.usage.log_bytes + 3} log_bytes",
        ]


@in_loop
async def test_what_was_imported_or_is_not_metered_is_not_compared(journal: Journal) -> None:
    workflow = chain(journal)
    async with AppOn(MemoryStore(), workflows=[workflow]) as app:
        await (await app.start("w", {"v": 1}, run_id="r1")).result()
        exported = await app.export("r1")
    async with AppOn(MemoryStore(), workflows=[workflow]) as app:
        await app.import_(exported)
        report = await app.replay("r1")
        assert (report.ok, report.fuel_recorded) == (True, None)
    async with AppOn(MemoryStore(), workflows=[workflow], engine=DirectEngine()) as app:
        await (await app.start("w", {"v": 1}, run_id="r1")).result()
        assert ((await app.replay("r1")).ok, (await billed(app.store)).fuel, (await billed(app.store)).steps) == (
            True,
            0,
            4,
        )


@in_loop
async def test_a_fork_is_billed_for_the_history_it_takes_along(journal: Journal) -> None:
    async with AppOn(MemoryStore(), workflows=[chain(journal)]) as app:
        await (await app.start("w", {"v": 1}, run_id="r1")).result()
        fork = await app.fork("r1", at="inc2", new_run_id="r2")
        await fork.result()
        assert (
            (await app.replay("r2")).fuel_recorded
            == (await billed(app.store, fork._key)).fuel
            == (await billed(app.store)).fuel
        )


@in_loop
async def test_memory_is_billed_while_the_run_is_driven(journal: Journal) -> None:
    gate, world = asyncio.Event(), ManualWorld()

    async def wait(data: Any, ctx: StepContext) -> Any:
        await gate.wait()
        return data

    workflow = create_workflow(id="w").then(journal.acts("wait", wait)).then(journal.take()).commit()
    async with AppOn(MemoryStore(), workflows=[workflow], world=world) as app:
        run = await app.start("w", {"v": 1}, run_id="r1")
        await until(lambda: len(journal.began) == 1)
        assert (await billed(app.store)).memory_kib_ms == 0
        world.move(10)
        gate.set()
        await run.result()
        assert (
            64 * 10_000 < (await billed(app.store)).memory_kib_ms < 10_000 * 10_000
        )  # KiB of one cell, for ten seconds


@in_loop
async def test_usage_is_asked_for_by_tenant_and_by_run(tmp_path: Path, journal: Journal) -> None:
    async with Cloche(tmp_path / "s.db", workflows=[chain(journal)]) as app:
        acme, umbra = app.tenant("acme"), app.tenant("umbra")
        for tenant, run in ((acme, "r1"), (acme, "r2"), (umbra, "r1")):
            await (await tenant.start("w", {"v": 1}, run_id=run)).result()
        one, [total] = await acme.usage("r1"), await app.usage(tenant="acme")
        assert (total.tenant, total.runs, total.usage.fuel, total.usage.steps) == ("acme", 2, one.fuel * 2, 8)
        assert total.usage == one + await acme.usage("r2")
        assert await acme.usage() == total.usage
        assert [found.tenant for found in await app.usage()] == ["acme", "umbra"]
        await acme.delete("r1")
        assert await app.usage(tenant="acme") == [total]  # what was used was used
        assert (await app.usage(tenant="nobody"), await app.tenant("nobody").usage()) == ([], Usage())
        with pytest.raises(UsageError, match="no run r1 of tenant acme"):
            await acme.usage("r1")


def test_amounts_go_on_from_what_was_committed() -> None:
    time_s = [0.0]
    meter, cell = Meter(lambda: time_s[0], "m"), cast("Cell", SimpleNamespace(resident_bytes=2048))
    meter.burn(7)
    time_s[0] = 2.0
    assert meter.amounts([], cell, comes_to_rest=False) == Metered(Usage(overhead_fuel=7, memory_kib_ms=4_000), "m")
    meter.burn(5)  # while the commit is on its way
    meter.committed()
    time_s[0] = 2.05
    assert meter.amounts([], cell, comes_to_rest=False) == Metered(Usage(overhead_fuel=5), "m")
    meter.committed()
    assert meter.amounts([], cell, comes_to_rest=True) == Metered(Usage(memory_kib_ms=99), "m")


@in_loop
async def test_verify_of_a_run_that_goes_on_meanwhile_finds_nothing(journal: Journal) -> None:
    """Another process appends between the look at the records and the end of the look at the run."""
    store = MemoryStore()
    async with AppOn(store, workflows=[chain(journal)]) as app:
        await (await app.start("w", {"v": 1}, run_id="r1")).result()

        class Moving(MemoryStore):
            def __init__(self) -> None:
                vars(self).update(vars(store))

            async def records(self, key: RunKey, after: Any = 0, limit: int = 9) -> Any:
                found = await store.records(key, after, limit)
                used = await store.metered(KEY)
                assert used is not None
                store._data.metered[KEY] = replace(used, usage=used.usage + Usage(events=1))
                return found

        assert (await replay.verify(Moving(), KEY)).findings == []
        assert (await replay.verify(store, KEY)).findings != []  # the bill has grown, and nothing was appended
