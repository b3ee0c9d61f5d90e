"""Runs whose cells live in processes that end: by the kernel's hand, by a fault, or because they hang."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.apps import AppOn, Journal, in_loop, until

from cloche import Cloche, Limits, ProcessEngine, Workflow, code, create_workflow
from cloche.history import Kind, RunId, RunKey, TenantId
from cloche.sandbox.process.child import Child
from cloche.store import MemoryCheckpoints, MemoryStore, all_records

SPINNING = Limits(fuel_per_event=1 << 60, wall_ms_per_event=60_000)


@pytest.fixture
def engine() -> Iterator[ProcessEngine]:
    with ProcessEngine(SPINNING, patience_s=30.0) as made:
        yield made


def steps(journal: Journal, count: int = 6) -> Workflow:
    workflow = create_workflow(id="steps")
    for number in range(count):
        workflow = workflow.then(journal.ask(f"ask{number}"))
    return workflow.commit()


def spinning(journal: Journal) -> Workflow:
    """One step, then it computes for ever."""
    workflow = create_workflow(id="spinning").then(journal.inc())
    return workflow.map(code("(() => { for (;;); })()")).commit()


def pid_of(engine: ProcessEngine, tenant: str = "default") -> int:
    return engine.processes()[TenantId(tenant)].pid


async def lost(child: Child, number: int = signal.SIGKILL) -> None:
    os.kill(child.pid, number)
    await until(lambda: child.has_ended)


@in_loop
async def test_a_run_that_loses_its_process_goes_on_in_another_and_nobody_else_notices() -> None:
    """Between any two turns, for every turn: the log and what steps saw are as if it had not happened."""
    journals = Journal(), Journal()
    store = MemoryStore()
    with ProcessEngine() as engine:
        mallory = AppOn(store, tenant="mallory", workflows=[steps(journals[0])], engine=engine)
        bob = AppOn(store, tenant="bob", workflows=[steps(journals[1])], engine=engine)
        async with mallory, bob:
            runs = [await app.start("steps", {"v": 1}) for app in (mallory, bob)]
            bystander = engine.processes().get(TenantId("bob"))
            pids = set()
            for number in range(6):
                for run in runs:
                    assert (await run.result()).status == "suspended"
                child = engine.processes()[TenantId("mallory")]
                pids.add(child.pid)
                await lost(child)
                for run in runs:
                    await run.resume(step=f"ask{number}", resume_data={"add": number})
            for app, run in zip((mallory, bob), runs, strict=True):
                result = await run.result()
                assert (result.status, result.result) == ("success", {"v": 16})
                assert (await app.verify()).ok
                assert (await app.replay(run.id)).ok
            assert len(pids) == 6
            assert bystander is None or not bystander.has_ended
        assert journals[0].began == journals[1].began


@in_loop
async def test_a_run_whose_process_ends_over_a_turn_is_rebuilt_and_makes_it_again(engine: ProcessEngine) -> None:
    """Twice the process ends while it computes; the third time it may finish."""
    journal = Journal()
    work = code("(() => { let n = 0; while (n < 6000000) n++; return { v: n } })()")
    workflow = create_workflow(id="w").then(journal.inc()).map(work).then(journal.take()).commit()
    async with Cloche(workflows=[workflow], engine=engine) as app:
        with killing(engine, times=2) as killed:
            result = await (await app.start("w", {"v": 1})).result()
        assert (result.status, result.result) == ("success", {"v": 6_000_000})
        assert journal.began == ["inc", "take"]
        assert len(killed) == 2
        assert (await app.verify()).ok


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_a_run_that_ends_its_process_every_time_ends_with_a_typed_error(number: signal.Signals) -> None:
    @in_loop
    async def live() -> None:
        journal, store = Journal(), MemoryStore()
        with ProcessEngine(SPINNING, patience_s=30.0) as engine:
            mallory = AppOn(store, tenant="mallory", workflows=[spinning(journal)], engine=engine)
            bob = AppOn(store, tenant="bob", workflows=[steps(Journal())], engine=engine)
            async with mallory, bob:
                beside = await bob.start("steps", {"v": 1})
                with killing(engine, "mallory", number=number) as killed:
                    result = await (await mallory.start("spinning", {"v": 1}, run_id="r")).result()
                assert result.error is not None
                assert (result.status, result.error.name) == ("failed", "CellLost")
                assert f"by signal {int(number)}" in result.error.message
                assert len(killed) >= 3  # one that is hit while the run is rebuilt counts apart
                *_, last = await all_records(store, RunKey(TenantId("mallory"), RunId("r")))
                assert last.kind is Kind.RUN_STOPPED
                assert journal.began == ["inc"]
                assert (await beside.result()).status == "suspended"
                assert not engine.processes()[TenantId("bob")].has_ended
                assert (await mallory.verify()).ok
                assert (await mallory.replay("r")).ok  # up to the event that did it

    live()


class Kept(MemoryCheckpoints):
    """Counts what is asked of it."""

    used = rejected = 0

    def holds(self, key: RunKey) -> bool:
        return self._kept.get(key, (0, None))[1] is not None

    async def get(self, key: RunKey) -> bytes | None:
        self.used += 1
        return await super().get(key)

    async def reject(self, key: RunKey) -> None:
        self.rejected += 1
        await super().reject(key)


@in_loop
async def test_a_checkpoint_made_in_a_process_that_is_gone_is_gone_on_from() -> None:
    journal, kept = Journal(), Kept()
    key = RunKey(TenantId("default"), RunId("r"))
    with ProcessEngine() as engine:
        app = AppOn(MemoryStore(), kept, workflows=[steps(journal, 4)], engine=engine, checkpoint_every=1)
        async with app:
            run = await app.start("steps", {"v": 1}, run_id="r")
            for number in range(4):
                await run.result()
                await until(lambda: kept.holds(key))
                await lost(engine.processes()[TenantId("default")])
                await run.resume(step=f"ask{number}", resume_data={"add": 1})
            assert (await run.result()).result == {"v": 5}
            assert (kept.used > 3, kept.rejected) == (True, 0)
            assert (await app.replay("r")).ok


@in_loop
async def test_a_run_whose_process_hangs_goes_on_in_another() -> None:
    journal = Journal()
    with ProcessEngine(Limits(wall_ms_per_event=200), patience_s=0.5) as engine:
        async with Cloche(workflows=[steps(journal, 1)], engine=engine) as app:
            run = await app.start("steps", {"v": 1})
            await run.result()
            child = engine.processes()[TenantId("default")]
            os.kill(child.pid, signal.SIGSTOP)
            await run.resume(resume_data={"add": 2})
            result = await run.result()
            assert (result.status, result.result) == ("success", {"v": 3})
            assert child.has_ended


class killing:
    """While this lasts, the process of a tenant is ended whenever it computes: `times`, or always. Which, is listed."""

    def __init__(
        self, engine: ProcessEngine, tenant: str = "default", *, number: int = signal.SIGKILL, times: int = 1_000
    ) -> None:
        self._engine, self._tenant, self._number, self._times = engine, TenantId(tenant), number, times
        self._killed: list[int] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._strike)

    def __enter__(self) -> list[int]:
        self._thread.start()
        return self._killed

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _strike(self) -> None:
        known: dict[int, float] = {}
        while not self._done.is_set():
            time.sleep(0.002)
            child = self._engine.processes().get(self._tenant)
            if child is None or len(self._killed) == self._times:
                continue
            used = cpu_s(child.pid)
            if used is not None and used > known.setdefault(child.pid, used) + 0.04:
                self._end(child)

    def _end(self, child: Child) -> None:
        self._killed.append(child.pid)
        while not child.has_ended:  # a first segfault that was none is survived
            try:
                os.kill(child.pid, self._number)
            except ProcessLookupError:
                return
            time.sleep(0.01)


def cpu_s(pid: int) -> float | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


HOST = """
import asyncio, sys
from cloche import Cloche, ProcessEngine, create_step, create_workflow
ask = create_step(id="ask", execute=lambda data, ctx: data if ctx.resume_data else ctx.suspend({}))
workflow = create_workflow(id="w").then(ask).commit()
async def main():
    engine = ProcessEngine()
    async with Cloche(workflows=[workflow], engine=engine) as app:
        await (await app.start("w", 1)).result()
        print(*[child.pid for child in engine.processes().values()], flush=True)
        if sys.argv[1] == "ends":
            return
        await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.mark.parametrize("end", ["ends", "is killed"])
def test_nothing_is_left_when_the_host_ends(end: str) -> None:
    host = subprocess.Popen([sys.executable, "-c", HOST, end], stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    pids = [int(pid) for pid in host.stdout.readline().split()]
    assert pids
    if end == "is killed":
        assert all(cpu_s(pid) is not None for pid in pids)
        host.kill()
    host.wait(60)
    host.stdout.close()
    deadline = time.monotonic() + 30
    while any(_is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "a process outlived its host"
        time.sleep(0.01)


def _is_alive(pid: int) -> bool:
    """Not a zombie either: whoever adopted it has waited for it, or will."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] not in "ZX"
    except OSError:
        return False
