"""`continue_as_new`: a run goes on as its next history, under the same name; crashed everywhere, on both engines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.apps import in_loop, until
from support.guests import needs_python

from cloche import (
    Client,
    Cloche,
    DirectEngine,
    SandboxEngine,
    continue_as_new,
    create_task,
    set_tags,
    sleep,
    step,
    wait_for_event,
    workflow,
)
from cloche.engines import CellSource
from cloche.history import DEFAULT_TENANT, Kind, RunKey
from cloche.history.ids import continuation_key, first_history, history_number, parent_of, run_key
from cloche.store import MemoryStore
from cloche.store.histories import newest
from cloche.testing import crash_everywhere
from cloche.text import shown

ENGINES: list[Callable[[], CellSource]] = [SandboxEngine, DirectEngine]
each_engine = pytest.mark.parametrize("engine", ENGINES)


@step
async def add_one(n: int) -> int:
    return n + 1


@workflow
async def counts(n: int, upto: int = 4) -> str:
    set_tags(n=n)
    n = await add_one(n)
    if n >= upto:
        return f"counted to {n}"
    return await continue_as_new(n, upto=upto)


@workflow
async def parent(n: int) -> str:
    return "child " + await counts(n, 3)


@workflow
async def collects(got: list[int]) -> list[int]:
    if len(got) == 3:
        return got
    got.append(await wait_for_event("number", schema=int))
    return await continue_as_new(got)


@workflow
async def misfits(n: int) -> int:
    return await continue_as_new("text")


apps: list[Cloche] = []


@step
async def see_the_child() -> None:
    await until(lambda: apps[-1].list(workflow="naps", status="waiting"))


@workflow
async def naps() -> None:
    await sleep(days=1)


@workflow
async def leaves_a_child(n: int) -> str:
    if n:
        return "done"
    task = create_task(naps())
    await see_the_child()
    return "too early" if task.done else await continue_as_new(1)


async def histories(app: Cloche) -> list[tuple[str, str]]:
    return sorted((shown(row.key.run), str(row.status)) for row in await app.list())


@each_engine
@in_loop
async def test_a_run_goes_on_under_its_name(engine: Any) -> None:
    needs_python()
    async with Cloche(workflows=[counts], engine=engine()) as app:
        run = await app.start(counts, {"n": 1}, run_id="c", tags={"who": "ann"}, deadline="1 day")
        result = await run.result()
        assert (result.unwrap(), result.run_id) == ("counted to 4", "c")
        assert result.tags == {"who": "ann", "n": 3}
        assert result.deadline is not None
        assert await histories(app) == [("c", "continued"), ("c › n1", "continued"), ("c › n2", "success")]
        assert (await (await app.start(counts, {"n": 1}, run_id="c")).result()).unwrap() == "counted to 4"
        seeds = {(await run.history(history=number))[1].inline for number in range(3)}
        assert len(seeds) == 3
        assert (await app.verify()).findings == []


@each_engine
@in_loop
async def test_whoever_waits_for_it_goes_on_waiting(engine: Any) -> None:
    needs_python()
    async with Cloche(workflows=[parent, counts], engine=engine()) as app:
        result = await (await app.start(parent, 0, run_id="p")).result()
        assert result.unwrap() == "child counted to 3"
        assert ("p › 1 › n2", "success") in await histories(app)


@in_loop
async def test_events_that_wait_go_along_in_their_order() -> None:
    needs_python()
    async with Cloche(workflows=[collects]) as app:
        run = await app.start(collects, [], run_id="r")
        for number in range(3):
            await app.send_event("r", "number", number, idempotency_key=f"k{number}")
        assert (await run.result()).unwrap() == [0, 1, 2]
        assert not await app.send_event("r", "number", 0, idempotency_key="k0")  # of a history before


@in_loop
async def test_a_cancellation_reaches_the_newest() -> None:
    needs_python()
    store = MemoryStore()
    async with Cloche(store, workflows=[collects]) as app, Client(store) as client:
        run = await app.start(collects, [], run_id="r")
        await app.send_event("r", "number", 1)
        await until(run.status, lambda status: status == "waiting")
        await client.cancel("r")
        assert (await run.result()).status == "canceled"
        assert await newest(store, run_key("r", DEFAULT_TENANT)) == run_key("r › n1", DEFAULT_TENANT)


@in_loop
async def test_an_input_that_does_not_fit_fails_the_next_history() -> None:
    needs_python()
    async with Cloche(workflows=[misfits]) as app:
        result = await (await app.start(misfits, 1)).result()
    assert result.error is not None
    assert (result.status, result.error.name) == ("failed", "InvalidInput")


@each_engine
@in_loop
async def test_open_children_are_canceled(engine: Any) -> None:
    needs_python()
    async with Cloche(workflows=[leaves_a_child, naps], engine=engine()) as app:
        apps.append(app)
        assert (await (await app.start(leaves_a_child, 0, run_id="r")).result()).unwrap() == "done"
        children = [row.key.run for row in await app.list(workflow="naps")]
        assert [(await (await app.get(child)).result()).status for child in children] == ["canceled"]


@in_loop
async def test_a_stream_follows_it_and_goes_on_from_a_position() -> None:
    needs_python()
    async with Cloche(workflows=[counts]) as app:
        run = await app.start(counts, {"n": 1}, run_id="c")
        await run.result()
        whole = [record.position async for record in run.stream()]
        assert whole == sorted(whole)
        assert {history for history, _ in whole} == {0, 1, 2}
        assert [record.position async for record in run.stream((1, 2))] == [one for one in whole if one > (1, 2)]
        last = [record.kind async for record in run.stream((1, 0)) if record.history == 1][-1]
        assert last is Kind.RUN_CONTINUED_AS_NEW


@pytest.mark.parametrize("is_file", [False, True])
def test_no_crash_loses_or_repeats_anything(is_file: bool, tmp_path: Path) -> None:
    needs_python()
    first, second = (tmp_path / "a", tmp_path / "b") if is_file else (None, None)
    for folder in filter(None, (first, second)):
        folder.mkdir()
    report = crash_everywhere(counts, {"n": 1}, sqlite=first)
    assert report.result.unwrap() == "counted to 4"
    report = crash_everywhere(collects, [], events={"number": 1}, cancel_after_s=5, sqlite=second)
    assert report.result.status == "canceled"


def test_no_crash_loses_the_parent() -> None:
    needs_python()
    assert crash_everywhere(parent, 0, children=[counts]).result.unwrap() == "child counted to 3"


def test_names_of_histories_follow_from_the_first() -> None:
    first = run_key("order-17", DEFAULT_TENANT)
    third = continuation_key(continuation_key(first))
    assert (shown(third.run), history_number(third), first_history(third)) == ("order-17 › n2", 2, first)
    child = run_key("order-17 › 3", DEFAULT_TENANT)
    assert parent_of(continuation_key(child)) == parent_of(child) == (first, 3)
    assert parent_of(third) is None


@in_loop
async def test_the_newest_of_many_is_found_in_few_looks() -> None:
    first, looks = run_key("r", DEFAULT_TENANT), []

    class Store:
        def __init__(self, last: int, is_pending: bool) -> None:
            self.last, self.is_pending = last, is_pending

        async def run(self, key: RunKey) -> Any:
            looks.append(key)
            number = history_number(key)
            if number > self.last or (number == self.last and self.is_pending):
                return None
            return type("Row", (), {"status": "continued" if number < self.last else "running"})

    for last in (*range(40), 1000):
        for is_pending in (False, True) if last else (False,):
            store: Any = Store(last, is_pending)
            assert history_number(await newest(store, first)) == last
    assert len(looks) < 41 * 2 * 25
