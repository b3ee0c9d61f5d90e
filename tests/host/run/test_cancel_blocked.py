"""A run that cannot go on can be given up, and holds up nobody: it ends by its records alone, and its children are canceled."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.apps import KEY, AppOn, ManualWorld, in_loop, one_loop, run_in_loop, until
from support.guests import needs_python
from support.stores_of_all_kinds import STORES

from cloche import Client, Policy, RunResult, StepContext, create_workflow, step, workflow
from cloche.errors import BrokenChain
from cloche.history import DEFAULT_TENANT, CallId, Kind, RunKey
from cloche.history.ids import CHILD, derived_key
from cloche.store import MemoryStore, SqliteStore, Store
from cloche.testing import TestApp

BOTH = """
const step = globalThis[Symbol.for("WORKFLOW_USE_STEP")];
export default async function workflow(input) {
  return Promise.all([cloche.child("below", "below", input), step("work")(1)]);
}
"""
ABOVE = "export default async function workflow(input) { return cloche.child('middle', 'both', input); }"
OTHER = "export default async function workflow(input) { return cloche.child('other', 'below', input); }"
BELOW = derived_key(KEY, CHILD, CallId(1))


@step
async def ask(data: Any, ctx: StepContext) -> Any:
    if ctx.resume_data is None:
        ctx.suspend({"for": "data"})
    return ctx.resume_data


@step
async def work(data: Any) -> Any:
    await asyncio.Event().wait()


below = create_workflow(id="below").then(ask).commit()


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with one_loop(), STORES[request.param](tmp_path, run_in_loop) as made:
        yield made
        run_in_loop(made.close())


async def pin(store: Any, key: RunKey, code: str) -> None:
    """Have the run go on under other code, as if it had always been that."""
    if isinstance(store, MemoryStore):
        store._data.rows[key] = replace(store._data.rows[key], code=code)
    elif isinstance(store, SqliteStore):
        await store._database.change("UPDATE runs SET code = ? WHERE run = ?", (code, key.run))
    else:
        await store._database.write("UPDATE cloche.runs SET code = $1 WHERE run = $2", code, key.run)


async def left_open(store: Store, name: str = "both") -> None:
    """r1 waits for a step that hangs and for a child that is suspended, or for such a run; and its process is gone."""
    app = AppOn(store, workflows=[below], steps=[work], policy=Policy(cancel_s=1))
    await app.__aenter__()
    for id, source in (("both", BOTH), ("above", ABOVE), ("other", OTHER)):
        await app.deploy(DEFAULT_TENANT, source, workflow=id, language="javascript")
    await app.start(name, {}, run_id=KEY.run)
    await until(lambda: app.under_way)
    await until(app.list, lambda rows: any((row.workflow, row.status) == ("below", "suspended") for row in rows))
    await app.vanish()


async def is_blocked(app: TestApp, run: str = KEY.run) -> None:
    await until(app.list, lambda rows: any((row.key.run, row.status) == (run, "blocked") for row in rows))


async def all_canceled(app: TestApp) -> RunResult:
    """All runs are canceled, their logs verify and replay, and nothing is left to do. What r1 came to."""
    await until(app.list, lambda rows: {row.status for row in rows} == {"canceled"})
    assert (await app.verify()).ok
    for row in await app.list():
        assert (await app.replay(row.key.run)).ok
    await until(lambda: app.is_idle)
    await until(app.connection.store.requests, lambda rows: rows == [])
    return await (await app.get(KEY.run)).result()


@pytest.mark.parametrize("reason", ["missing-step", "divergence", "history"])
@in_loop
async def test_a_blocked_run_and_its_children_are_canceled(store: Store, reason: str) -> None:
    await left_open(store)
    row = await store.run(KEY)
    assert row is not None
    if reason == "divergence":
        other = await store.version_of(DEFAULT_TENANT, "other")
        assert other is not None
        await pin(store, KEY, other.digest)
    elif reason == "history":
        await pin(store, KEY, "c0de")
    async with AppOn(
        store, workflows=[below], steps=[] if reason == "missing-step" else [work], policy=Policy()
    ) as app:
        await is_blocked(app)
        assert f'"reason": "{reason}"' in str((await (await app.get(KEY.run)).row()).problem)
        await app.cancel(KEY.run)
        await pin(store, KEY, row.code)
        result = await all_canceled(app)
        error = result.steps["work"].error
        assert error is not None
        assert error.name == "Interrupted"
        kinds = [record.kind for record in await (await app.get(KEY.run)).history()]
        assert [kinds[0], kinds[-1], kinds.count(Kind.CANCEL_REQUESTED)] == [Kind.RUN_CREATED, Kind.RUN_CANCELED, 1]


@pytest.mark.parametrize("is_at_rest", [True, False])
@in_loop
async def test_a_blocked_child_does_not_hold_up_its_parent(store: Store, is_at_rest: bool) -> None:
    await left_open(store, "above")
    middle = derived_key(KEY, CHILD, CallId(1))
    row = await store.run(middle)
    assert row is not None
    await pin(store, middle, "c0de")
    async with AppOn(store, workflows=[below], steps=[work], policy=Policy()) as app:
        await is_blocked(app, middle.run)
        if is_at_rest:
            await until(lambda: KEY not in app._running.drivers)
        await app.cancel(KEY.run)
        assert (await (await app.get(KEY.run)).result(final=True)).status == "canceled"
        await until(app.list, lambda rows: {row.status for row in rows} == {"canceled"})
        await pin(store, middle, row.code)
        await all_canceled(app)


@in_loop
async def test_a_client_may_ask_for_it(store: Store) -> None:
    await left_open(store)
    async with AppOn(store, workflows=[below], policy=Policy()) as app, Client(await store.connect()) as client:
        await is_blocked(app)
        await client.cancel(KEY.run)
        await all_canceled(app)


@in_loop
async def test_a_child_that_cannot_be_read_is_left_behind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "runs.db"
    store = SqliteStore(file)
    await left_open(store)
    await store.close()
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("DROP TRIGGER records_are_not_changed")
        where = "WHERE seq = 3 AND run_id = (SELECT id FROM runs WHERE run = ?)"
        db.execute(f"UPDATE records SET hash = zeroblob(32) {where}", (BELOW.run,))
    async with AppOn(SqliteStore(file), workflows=[below], steps=[work], policy=Policy()) as app:
        await until(lambda: app.under_way)
        await app.cancel(KEY.run)
        with pytest.raises(BrokenChain):
            await app.cancel(BELOW.run)
        assert (await (await app.get(KEY.run)).result(final=True)).status == "canceled"
        assert await (await app.get(BELOW.run)).status() == "blocked"
    assert any("child run r1 › 1 could not be canceled, and is left behind" in line for line in caplog.messages)


@in_loop
async def test_its_callbacks_are_called() -> None:
    told: list[str] = []
    with_callback = create_workflow(id="w", on_finish=lambda result: told.append(result.status)).then(work).commit()
    store = MemoryStore()
    before = AppOn(store, workflows=[with_callback])
    await before.__aenter__()
    await before.start("w", 1, run_id=KEY.run)
    await until(lambda: before.under_way)
    await before.vanish()
    async with AppOn(store, workflows=[with_callback]) as app:
        app._running.registry._steps.clear()
        await is_blocked(app)
        await app._running.requests.end_blocked(KEY, "enough")
        assert (await (await app.get(KEY.run)).result()).status == "canceled"
        assert told == ["canceled"]


@step
async def tidy(data: Any) -> Any:
    return data


@workflow
async def careful(data: Any) -> Any:
    try:
        await work(data)
    finally:
        await tidy(data)


@in_loop
async def test_clean_up_that_is_blocked_ends_in_its_time(store: Store) -> None:
    needs_python()
    world, policy = ManualWorld(), Policy(clean_up_s=7)
    async with AppOn(store, workflows=[careful], world=world, policy=policy) as app:
        await app.start("careful", 1, run_id=KEY.run)
        await until(lambda: app.under_way)
        del app._running.registry._steps["tidy"]
        await app.cancel(KEY.run)
        await is_blocked(app)
        world.move(6, app)
        assert await (await app.get(KEY.run)).status() == "blocked"
        world.move(1, app)
        await all_canceled(app)
