"""Logs of runs that no case has: children, remote steps, waits that fail, tags and deadlines, histories.

At each record the fold says of the run what its machine says; the golden table of folds is made from these too.
"""

from __future__ import annotations

from typing import Any

import pytest
from support.apps import in_loop, until
from support.folds import check_fold
from support.guests import needs_python
from support.served import asker

from cloche import (
    Cloche,
    RemoteStep,
    continue_as_new,
    create_workflow,
    gather,
    http,
    patched,
    set_deadline,
    set_tags,
    sleep,
    start_child,
    step,
    wait_for_event,
    workflow,
)
from cloche.history import Kind
from cloche.store import all_records

needs = pytest.mark.usefixtures("python_guest")


@pytest.fixture
def python_guest() -> None:
    needs_python()


@step
async def plus_one(data: Any) -> Any:
    return {"v": data["v"] + 1}


@step
async def breaks(data: Any) -> Any:
    raise ValueError("no more")


small = create_workflow(id="small").then(plus_one).commit()
broken = create_workflow(id="broken").then(breaks).commit()
asks = create_workflow(id="asks").wait_for_event("never").commit()


@workflow
async def family(data: Any) -> Any:
    first = await small(data)
    rest = await gather(*[small({"v": n}) for n in (10, 20)])
    try:
        await broken(data)
    except ValueError as error:
        return [first, *rest, str(error)]


@workflow
async def leaves_a_child(data: Any) -> Any:
    return await start_child("asks", data)


@workflow
async def declined(data: Any) -> Any:
    print("waits")
    set_tags(customer="acme", is_open=True)
    set_deadline(hours=2)
    try:
        await wait_for_event("paid")
    except Exception as error:
        set_tags(is_open=None)
        set_deadline(None)
        return str(error)


@workflow
async def counts(n: int) -> Any:
    if patched("faster"):
        n += 1
    return n if n > 3 else await continue_as_new(n)


@workflow
async def cleans_up(data: Any) -> Any:
    try:
        await sleep(days=30)
    finally:
        await plus_one({"v": 1})


async def checked(app: Cloche, *kinds: Kind) -> None:
    """The folds of all runs of the store; these kinds of records are among them."""
    found: set[Kind] = set()
    for row in await app.connection.store.runs():
        await check_fold(app.connection.store, row)
        found |= {record.kind for record in await all_records(app.connection.store, row.key)}
    assert found >= set(kinds)


@needs
@in_loop
async def test_children_that_succeed_and_one_that_fails() -> None:
    async with Cloche("memory:", workflows=[family, small, broken]) as app:
        result = await (await app.start(family, {"v": 1}, run_id="r1")).result()
        assert result.unwrap() == [{"v": 2}, {"v": 11}, {"v": 21}, "no more"]
        await checked(app, Kind.CHILD_STARTED, Kind.CHILD_ENDED)


@needs
@in_loop
async def test_a_child_of_a_run_that_is_canceled() -> None:
    async with Cloche("memory:", workflows=[leaves_a_child, asks]) as app:
        run = await app.start(leaves_a_child, {"v": 1}, run_id="r1")
        await until(lambda: app.list(workflow="asks", status="waiting"))
        await run.cancel()
        assert (await run.result()).status == "canceled"
        await checked(app, Kind.CHILD_STARTED, Kind.CANCEL_DELIVERED)


@needs
@in_loop
async def test_a_wait_that_fails_under_tags_and_a_deadline() -> None:
    async with Cloche("memory:", workflows=[declined]) as app:
        run = await app.start(declined, {}, run_id="r1", tags={"who": "ann"})
        await app.send_event("r1", "paid", error="the bank is closed")
        assert (await run.result()).unwrap() == "the bank is closed"
        await checked(app, Kind.HOOK_FAILED, Kind.TAGGED, Kind.DEADLINE_SET, Kind.LOG_LINE)


@in_loop
async def test_a_wait_of_the_builder_that_fails() -> None:
    async with Cloche("memory:", workflows=[asks]) as app:
        run = await app.start(asks, {}, run_id="r1")
        await app.send_event("r1", "never", error="it will not come")
        assert (await run.result()).status == "failed"
        await checked(app, Kind.HOOK_FAILED, Kind.RUN_FAILED)


@needs
@in_loop
async def test_histories_of_one_run() -> None:
    async with Cloche("memory:", workflows=[counts]) as app:
        assert (await (await app.start(counts, 1, run_id="r1")).result()).unwrap() == 4
        await checked(app, Kind.RUN_CONTINUED_AS_NEW, Kind.PATCHED)


@needs
@in_loop
async def test_a_run_that_cleans_up_when_it_is_canceled() -> None:
    async with Cloche("memory:", workflows=[cleans_up]) as app:
        run = await app.start(cleans_up, {}, run_id="r1")
        await until(lambda: app.list(workflow="cleans_up", status="waiting"))
        await run.cancel()
        assert (await run.result()).status == "canceled"
        await checked(app, Kind.CANCEL_DELIVERED, Kind.RUN_CANCELED_BY_CODE)


@pytest.mark.parametrize("said", ["complete", "fail", "nothing"])
@in_loop
async def test_a_step_that_is_performed_elsewhere(said: str) -> None:
    away = create_workflow(id="away").then(RemoteStep("resize", input_schema=dict)).commit()
    async with Cloche("memory:", workflows=[away]) as app, asker(http.app(app, auth=http.local)) as ask:
        run = await app.start(away, {"url": "x"}, run_id="r1")
        answer = await ask.post("/v1/steps/poll", json={"steps": ["resize"], "wait_s": 10})
        [attempt] = answer.json()["attempts"]
        if said == "complete":
            await ask.post(f"/v1/steps/{attempt['token']}/complete", json={"output": {"v": 1}})
        elif said == "fail":
            await ask.post(
                f"/v1/steps/{attempt['token']}/fail",
                json={"error": {"name": "Refused", "message": "no"}, "is_retryable": False},
            )
        else:
            await run.cancel()
        status = {"complete": "success", "fail": "failed", "nothing": "canceled"}[said]
        assert (await run.result()).status == status
        await checked(app, Kind.ATTEMPT_SENT)
