"""The kill switch: nothing runs of what an operator holds back, in any worker, and nothing of it is lost."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hostile.platform import ENGINES, LIMITS, Mode, javascript
from support.apps import AppOn, Journal, ManualWorld, in_loop, until

from cloche import Client, Grant, Policy
from cloche.errors import HeldBack, NotFound
from cloche.store import MemoryStore
from cloche.testing import TestApp

FOREVER = "for (;;) await step('tick')(1);"
ASKS = "return await cloche.waitForEvent('w', 'go', 0);"
GRANTED = Policy.strict(steps=[Grant(step="tick")]).model_copy(update={"step_starts_per_second": 10_000, "cancel_s": 1})


def app_on(mode: Mode, store: MemoryStore, journal: Journal, **options: Any) -> AppOn:
    engine = ENGINES[mode](LIMITS["javascript"])
    return AppOn(store, engine=engine, steps=[journal.step("tick")], policy=GRANTED, **options)


async def deployed(app: TestApp, body: str, workflow: str = "w") -> Any:
    return await app.deploy("mallory", javascript(body), workflow=workflow, language="javascript")


async def stands_still(journal: Journal) -> None:
    """No step begins any more."""
    await asyncio.sleep(0.05)
    count = len(journal.began)
    await asyncio.sleep(0.2)
    assert len(journal.began) == count


@pytest.mark.parametrize("is_whole", [True, False], ids=["tenant", "version"])
def test_what_is_held_back_stops_in_every_worker_and_goes_on_later(mode: Mode, is_whole: bool) -> None:
    @in_loop
    async def live() -> None:
        store, journal = MemoryStore(), Journal()
        async with app_on(mode, store, journal) as app, app_on(mode, store, journal) as other:
            version = await deployed(app, FOREVER)
            mallory, elsewhere = app.tenant("mallory"), other.tenant("mallory")
            here = await mallory.start("w", 1, run_id="r1")
            await elsewhere.start("w", 2, run_id="r2")
            await until(lambda: {run for run, _ in journal.calls} == {"r1", "r2"})
            await (mallory.suspend("mines") if is_whole else mallory.quarantine(version, "mines"))
            await until(lambda: not (app._running.drivers.keys() or other._running.drivers.keys()))
            await stands_still(journal)
            assert [row.status for row in await mallory.list()] == ["running", "running"]
            assert all(row.owner is None for row in await mallory.list())
            for start in (mallory.start("w", 3), elsewhere.start(version, 4), here.cancel()):
                with pytest.raises(HeldBack, match="mines"):
                    await start
            seen = len(journal.began)
            await (mallory.reinstate() if is_whole else mallory.release(version))
            await until(lambda: {run for run, _ in journal.calls[seen:]} == {"r1", "r2"})
            for run_id in ("r1", "r2"):
                await mallory.cancel(run_id)
                assert (await (await mallory.get(run_id)).result()).status == "canceled"
                assert (await mallory.replay(run_id)).ok

    live()


def test_a_step_under_way_ends_and_is_recorded(mode: Mode) -> None:
    @in_loop
    async def live() -> None:
        store, journal, gate = MemoryStore(), Journal(), asyncio.Event()

        async def slow(data: Any, ctx: Any) -> Any:
            await gate.wait()
            return data

        engine = ENGINES[mode](LIMITS["javascript"])
        policy = GRANTED.model_copy(update={"cancel_s": 20})
        async with AppOn(store, engine=engine, steps=[journal.acts("tick", slow)], policy=policy) as app:
            await deployed(app, "return await step('tick')(5);")
            mallory = app.tenant("mallory")
            await mallory.start("w", 1, run_id="r1")
            await until(lambda: journal.began == ["tick"])
            await mallory.suspend("mines")
            gate.set()
            await until(lambda: not app._running.drivers.keys())
            await mallory.reinstate()
            assert (await (await mallory.get("r1")).result()).unwrap() == 5
            assert journal.began == ["tick"]

    live()


def test_what_comes_meanwhile_is_kept(mode: Mode) -> None:
    """An event, a start of a client's, and a run in the queue."""

    @in_loop
    async def live() -> None:
        store, journal = MemoryStore(), Journal()
        async with app_on(mode, store, journal) as app, Client(store, tenant="mallory") as client:
            await deployed(app, ASKS)
            mallory = app.tenant("mallory")
            run = await mallory.start("w", 1, run_id="r1")
            await until(lambda: run.status(), lambda status: status == "waiting")
            await mallory.suspend("mines")
            await mallory.send_event("r1", "go", 7)
            asked = await client.start("w", 1, run_id="r2")
            await app._running.inbox.look()
            await asyncio.sleep(0.1)
            assert (await run.status(), await asked.status()) == ("waiting", "pending")
            await mallory.reinstate()
            assert (await run.result()).unwrap() == 7
            await mallory.send_event("r2", "go", 8)
            assert (await asked.result()).unwrap() == 8

    live()


def test_a_neighbour_goes_on(mode: Mode) -> None:
    @in_loop
    async def live() -> None:
        store, journal = MemoryStore(), Journal()
        async with app_on(mode, store, journal) as app:
            await deployed(app, FOREVER)
            await app.deploy("neighbour", javascript("return 1;"), workflow="w", language="javascript")
            await app.tenant("mallory").suspend("mines")
            assert (await (await app.tenant("neighbour").start("w", 1)).result()).unwrap() == 1
            with pytest.raises(NotFound, match="is not suspended"):
                await app.tenant("neighbour").reinstate()
            with pytest.raises(HeldBack):
                await deployed(app, ASKS)

    live()


def test_a_version_in_quarantine_stays_there_when_it_is_deployed_again(mode: Mode) -> None:
    @in_loop
    async def live() -> None:
        async with app_on(mode, MemoryStore(), Journal()) as app:
            version, mallory = await deployed(app, "return 1;"), app.tenant("mallory")
            await mallory.quarantine("w", "a hole")
            await mallory.withdraw(version)
            assert (await deployed(app, "return 1;")).digest == version.digest
            with pytest.raises(HeldBack, match="a hole"):
                await mallory.start("w", 1)
            await deployed(app, "return 2;")
            assert (await (await mallory.start("w", 1)).result()).unwrap() == 2

    live()


def test_acts_and_denials_are_in_the_audit_log_and_do_not_flood_it(mode: Mode) -> None:
    @in_loop
    async def live() -> None:
        body = "for (let i = 0; i < 500; i++) await step('s' + (i % 100))(1).catch(() => 0); return 1;"
        world = ManualWorld()
        async with app_on(mode, MemoryStore(), Journal(), world=world) as app:
            version, mallory = await deployed(app, body), app.tenant("mallory")
            assert (await (await mallory.start("w", 1, run_id="r1")).result()).unwrap() == 1
            await mallory.suspend("mines", by="ann")
            await mallory.reinstate(by="ann")
            await mallory.quarantine(version, "a hole", by="bob")
            await mallory.release(version, by="bob")
            await mallory.withdraw(version, by="bob")
            entries = await mallory.audit_log(limit=1_000)
            acts = [(entry.actor, entry.action) for entry in entries if entry.action != "denied"]
            assert acts == [
                *(("bob", act) for act in ("withdrew", "released", "quarantined")), ("ann", "reinstated"),
                ("ann", "suspended"), ("host", "deployed"),
            ]  # fmt: skip
            denied = [json.loads(entry.facts) for entry in entries if entry.action == "denied"]
            assert [one["asked"] for one in reversed(denied)] == [f"s{n}" for n in range(60)]
            assert denied[0] == {"limit": "steps", "asked": "s59", "run": "r1", "left_out": 0}

    live()


@in_loop
async def test_a_change_of_policies_is_in_the_audit_log() -> None:
    store = MemoryStore()
    for own in ({}, {"acme": Policy(timers=3)}, {"acme": Policy(timers=3)}, {"acme": Policy(timers=4)}):
        async with AppOn(store, policies=own):
            pass
    told = [(one.tenant, one.actor, one.action, json.loads(one.facts)) for one in await store.audit_log()]
    assert told == [("acme", "worker", "policy", {"timers": n}) for n in (4, 3)]
