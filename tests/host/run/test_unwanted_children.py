"""A child that nobody wants any more is canceled, whatever becomes of the process that its parent ran in."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.apps import KEY, AppOn, in_loop, one_loop, run_in_loop, until
from support.guests import needs_python
from support.stores_of_all_kinds import STORES

from cloche import Policy, StepContext, create_workflow, gather, race, step, wait_for_event, workflow
from cloche.history import DEFAULT_TENANT, CallId, Kind, RunKey
from cloche.history.ids import CHILD, derived_key
from cloche.store import Append, Outcome, Store
from cloche.testing import TestApp

CHILD_RUN = derived_key(KEY, CHILD, CallId(1))
GIVES_UP = {Kind.CALL_ABANDONED, Kind.RUN_COMPLETED, Kind.RUN_FAILED}


@step
async def ask(data: Any, ctx: StepContext) -> Any:
    if ctx.resume_data is None:
        ctx.suspend({"for": "data"})
    return ctx.resume_data


below = create_workflow(id="below").then(ask).commit()


@workflow
async def loses_a_race(data: Any) -> Any:
    await race(below(data), wait_for_event("enough"))
    return await wait_for_event("more")


@workflow
async def returns(data: Any) -> Any:
    return await race(below(data), wait_for_event("enough"))


@workflow
async def fails(data: Any) -> Any:
    async def bad() -> None:
        await wait_for_event("enough")
        raise ValueError("bad")

    return await gather(below(data), bad())


LEAVES = """
export default async function workflow(input) {
  await Promise.race([cloche.child("child", "below", input), cloche.sleep("nap", 500)]);
  return "gone";
}
"""
PARENTS = [loses_a_race, returns, fails]


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    needs_python()
    with one_loop(), STORES[request.param](tmp_path, run_in_loop) as made:
        yield made
        run_in_loop(made.close())


def dies_after_giving_up(app: TestApp, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """The commit in which r1 gives its child up is durable, and this process never hears of it. Set when that has happened."""
    store, has_died = app._running.store, asyncio.Event()
    commit = store.commit

    async def commit_and_die(appends: Sequence[Append]) -> Sequence[Outcome]:
        outcomes = await commit(appends)
        kinds = {record.kind for append in appends if append.key == KEY for record in append.records}
        if kinds & GIVES_UP:
            has_died.set()
            await asyncio.Event().wait()
        return outcomes

    monkeypatch.setattr(store, "commit", commit_and_die)
    return has_died


async def is_status(app: TestApp, key: RunKey, status: str) -> None:
    await until(app.list, lambda rows: any(row.key == key and row.status == status for row in rows))


@pytest.mark.parametrize("parent", PARENTS, ids=lambda parent: parent.id)
@in_loop
async def test_it_is_canceled_though_the_process_dies(
    store: Store, parent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app: TestApp = AppOn(store, workflows=[below, *PARENTS])
    await app.__aenter__()
    await app.start(parent.id, {}, run_id=KEY.run)
    await is_status(app, CHILD_RUN, "suspended")
    has_died = dies_after_giving_up(app, monkeypatch)
    await app.send_event(KEY.run, "enough", 1)
    await asyncio.wait_for(has_died.wait(), 30)
    await app.vanish()
    monkeypatch.undo()
    async with AppOn(store, workflows=[below, *PARENTS]) as app:
        await is_status(app, CHILD_RUN, "canceled")
        assert (await app.verify()).ok
        await until(store.requests, lambda rows: rows == [])


@in_loop
async def test_it_is_canceled_though_its_parent_only_left_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    app: TestApp = AppOn(store, workflows=[below], policy=Policy())
    await app.__aenter__()
    await app.deploy(DEFAULT_TENANT, LEAVES, workflow="leaves", language="javascript")
    has_died = dies_after_giving_up(app, monkeypatch)
    await app.start("leaves", {}, run_id=KEY.run)
    await is_status(app, CHILD_RUN, "suspended")
    await asyncio.wait_for(has_died.wait(), 30)
    await app.vanish()
    monkeypatch.undo()
    async with AppOn(store, workflows=[below], policy=Policy()) as app:
        await is_status(app, CHILD_RUN, "canceled")
        await until(store.requests, lambda rows: rows == [])


@pytest.mark.parametrize("parent", PARENTS, ids=lambda parent: parent.id)
@in_loop
async def test_it_is_canceled_once_where_the_process_goes_on(store: Store, parent: Any) -> None:
    async with AppOn(store, workflows=[below, *PARENTS]) as app:
        await app.start(parent.id, {}, run_id=KEY.run)
        await is_status(app, CHILD_RUN, "suspended")
        await app.send_event(KEY.run, "enough", 1)
        await is_status(app, CHILD_RUN, "canceled")
        await until(store.requests, lambda rows: rows == [])
        kinds = [record.kind for record in await (await app.get(CHILD_RUN.run)).history()]
        assert kinds.count(Kind.CANCEL_REQUESTED) == 1


@in_loop
async def test_a_child_that_has_ended_is_asked_for_nothing(store: Store) -> None:
    async with AppOn(store, workflows=[below, *PARENTS]) as app:
        await app.start("loses_a_race", {}, run_id=KEY.run)
        await is_status(app, CHILD_RUN, "suspended")
        await app.resume(CHILD_RUN.run, resume_data="done")
        await is_status(app, KEY, "waiting")
        await app.send_event(KEY.run, "more", 2)
        await is_status(app, KEY, "success")
        await until(store.requests, lambda rows: rows == [])
        await is_status(app, CHILD_RUN, "success")
