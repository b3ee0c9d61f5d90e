"""The budgets of a whole run, on every road by which it may go on; where a bound ends a run; and apps beside each other."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hostile.platform import javascript
from support import budget_workload
from support.apps import AppOn, Journal, in_loop, until

from cloche import Cloche, Policy, ProcessEngine, SandboxEngine, create_step
from cloche.engines import CellSource
from cloche.errors import LimitExceeded
from cloche.history import Kind, Record, RunId, RunKey, TenantId
from cloche.operations import replay
from cloche.store import MemoryStore, SqliteStore, all_records
from cloche.store.checkpoints import CheckpointFile

PATIENCE_S = 60.0
TENANT = TenantId(budget_workload.TENANT)
KEY = RunKey(TENANT, RunId("r1"))
BUDGETS = {"fuel_per_run": 60_000_000, "log_bytes_per_run": 16_000}
KILLS = (3, 7, 12)  # steps of some 16
OFTEN, NEVER = 4, 10_000  # events between checkpoints


async def lived(store: Path, limit: str, *, every: int, kills: tuple[int, ...] = ()) -> list[Record]:
    """The log of a run that its budget ended, in as many processes as it took."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "BUDGET_STORE": str(store),
        "BUDGET_POLICY": Policy.model_validate({limit: BUDGETS[limit]}).model_dump_json(),
        "BUDGET_EVERY": str(every),
        "BUDGET_KILLS": " ".join(map(str, kills)),
    }
    for _ in kills:
        ended = subprocess.run([sys.executable, budget_workload.__file__], env=environment, timeout=PATIENCE_S)
        assert ended.returncode == -signal.SIGKILL
    if kills and every == OFTEN:
        checkpoints = CheckpointFile.beside(store)
        assert await checkpoints.get(KEY) is not None
        await checkpoints.close()
    subprocess.run([sys.executable, budget_workload.__file__], env=environment, check=True, timeout=PATIENCE_S)
    found = SqliteStore(store, must_exist=True)
    try:
        assert (await replay.verify(found, KEY)).ok
        assert (await replay.replay(found, KEY, SandboxEngine())).ok
        return await all_records(found, KEY)
    finally:
        await found.close()


def size_of(records: list[Record]) -> int:
    return sum(len(record.packed) + (record.payload.size if record.payload else 0) for record in records)


def stop_of(records: list[Record], limit: str) -> int:
    """What was asked, of a log that ends as it must: the bound, behind the event that led beyond it."""
    *_, cause, last = records
    assert (cause.kind, last.kind) == (Kind.STEP_COMPLETED, Kind.RUN_STOPPED)
    content = last.content()
    data = content["failure"]["data"]
    assert content["fault"] == LimitExceeded.code
    assert (data["limit"], data["value"]) == (limit, BUDGETS[limit])
    assert data["asked"] > data["value"]
    return int(data["asked"])


@pytest.mark.parametrize("every", [OFTEN, NEVER], ids=["checkpoint and tail", "whole history"])
@in_loop
async def test_fuel_of_a_run_survives_kill_9(tmp_path: Path, every: int) -> None:
    whole = await lived(tmp_path / "whole.db", "fuel_per_run", every=every)
    killed = await lived(tmp_path / "killed.db", "fuel_per_run", every=every, kills=KILLS)
    assert stop_of(killed, "fuel_per_run") == pytest.approx(stop_of(whole, "fuel_per_run"), rel=0.001)
    assert killed[-2].path == whole[-2].path == "work#16"


@pytest.mark.parametrize("every", [OFTEN, NEVER], ids=["checkpoint and tail", "whole history"])
@in_loop
async def test_the_size_of_a_log_survives_kill_9(tmp_path: Path, every: int) -> None:
    killed = await lived(tmp_path / "killed.db", "log_bytes_per_run", every=every, kills=KILLS)
    asked = stop_of(killed, "log_bytes_per_run")
    *before, rider, event, _ = killed  # an attempt that began rides with the event
    assert rider.kind is Kind.ATTEMPT_STARTED
    assert size_of(before) <= BUDGETS["log_bytes_per_run"] < asked
    assert asked > size_of([*before, rider, event])  # with what the guest asked for behind the event


@pytest.mark.parametrize("limit", BUDGETS)
@in_loop
async def test_a_fork_has_the_rest_of_the_budget_that_its_history_leaves(limit: str) -> None:
    """It hears the history again: the fuel of that is its own, and so are the records."""
    store = MemoryStore()

    async def live() -> None:
        policy = Policy.model_validate({limit: BUDGETS[limit]})
        steps = [create_step(id="work", execute=lambda data: data)]
        async with AppOn(store, steps=steps, tenant=TENANT, policy=policy) as app:
            await app.deploy(TENANT, budget_workload.SOURCE, workflow="endless", language="javascript")
            assert (await (await app.start("endless", None, run_id="r1")).result()).status == "failed"
            fork = await app.fork("r1", at="work#10", new_run_id="fork")
            assert (await fork.result()).status == "failed"
            assert (await app.replay("fork")).ok
            assert (await app.verify()).ok

    await live()
    first = await all_records(store, KEY)
    forked = await all_records(store, RunKey(TENANT, RunId("fork")))
    if limit == "fuel_per_run":
        assert forked[-2].path == first[-2].path
        assert stop_of(forked, limit) == pytest.approx(stop_of(first, limit), rel=0.001)
    else:
        stop_of(forked, limit)
        assert size_of(forked[:-3]) <= BUDGETS[limit]
        assert len(forked) <= len(first)
    assert len([record for record in forked if record.kind is Kind.STEP_CALLED]) > 10


AT_ONCE = "await Promise.all(['a', 'b', 'c'].map(async (id) => { await step(id)(1); "
CULPRITS = {
    "fuel_per_event": ("FuelExhausted", 30_000_000, "if (id === 'b') for (;;) {} }));"),
    "fuel_per_run": ("LimitExceeded", 20_000_000, "if (id === 'b') for (let i = 0; i < 1e6; i++); }));"),
    "pending_steps": (
        "LimitExceeded",
        5,
        "if (id === 'b') await Promise.all(Array(9).fill(1).map(step('same'))); }));",
    ),
    "console_bytes": ("LimitExceeded", 100, "if (id === 'b') console.log('x'.repeat(200)); }));"),
}


@pytest.mark.parametrize("limit", CULPRITS)
@in_loop
async def test_a_stop_stands_behind_the_event_that_did_it_and_only_results_that_are_too_late_behind_it(
    limit: str,
) -> None:
    """Three answers come at once, and the second one is too much: the third is kept, and not delivered."""
    name, value, body = CULPRITS[limit]
    store, journal = MemoryStore(), Journal()

    async def live() -> None:
        answers = asyncio.Event()
        steps = [journal.acts(id, lambda data, ctx: answers.wait()) for id in "abc"]
        policy = Policy.model_validate({limit: value})
        async with AppOn(store, steps=[*steps, journal.step("same")], tenant=TENANT, policy=policy) as app:
            await app.deploy(TENANT, javascript(AT_ONCE + body), workflow="w", language="javascript")
            run = await app.start("w", None, run_id="r1")
            await until(lambda: len(journal.began) == 3)
            answers.set()
            error = (await run.result()).error
            assert error is not None
            assert (error.name, error.data["limit"], error.data["value"]) == (name, limit, value)
            assert (await app.replay("r1")).ok
            assert (await app.verify()).ok

    await live()
    *_, first, cause, stop, late = [(record.kind, record.path, record.call) for record in await all_records(store, KEY)]
    assert (first, cause) == ((Kind.STEP_COMPLETED, "a", 1), (Kind.STEP_COMPLETED, "b", 2))
    assert (stop, late) == ((Kind.RUN_STOPPED, None, None), (Kind.LATE_RESULT, None, 3))


SPINS = javascript("for (let i = 0; i < input; i++); return await step('same')(input);")
LIGHT, HEAVY = 10, 300_000


@pytest.mark.parametrize("engine", [SandboxEngine, ProcessEngine])
def test_apps_of_one_process_have_each_their_own_policies(engine: type[CellSource]) -> None:
    """The same tenant, code, guest, engine and moment; what one app takes is not held against the other."""
    narrow, wide = Policy(fuel_per_event=20_000_000, step_starts_per_second=2), Policy()
    same = create_step(id="same", execute=lambda data: data)

    @in_loop
    async def live() -> None:
        cells = engine()
        apps = [AppOn(MemoryStore(), steps=[same], engine=cells, policies={TENANT: one}) for one in (narrow, wide)]
        async with apps[0], apps[1]:
            for app in apps:
                await app.deploy(TENANT, SPINS, workflow="w", language="javascript")
            for _ in range(3):
                few, many = await asyncio.gather(*(_end(app, HEAVY) for app in apps))
                assert (few, many) == ("FuelExhausted", HEAVY)
            ends = await asyncio.gather(*(_end(app, LIGHT) for app in apps * 4))
            assert ends == [LIGHT] * 8  # those of the first app one after the other

    live()


async def _end(app: Cloche, input_data: Any) -> Any:
    result = await (await app.tenant(TENANT).start("w", input_data)).result()
    return result.error.name if result.error else result.result
