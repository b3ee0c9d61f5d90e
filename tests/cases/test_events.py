"""L. Events from outside."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path as FilePath
from typing import Any

import pytest
from pydantic import BaseModel
from support.apps import Journal, in_loop, until
from support.cases import Case, everywhere, failure, outcome, statuses

from cloche import Cloche, Workflow, create_workflow
from cloche.errors import InvalidInput, NotFound, NotSuspended
from cloche.history import Kind
from cloche.history.values import encode
from cloche.operations import replay
from cloche.store import SqliteStore


class Paid(BaseModel):
    amount: int


@everywhere
async def test_an_event_that_is_waited_for_flows_on(case: Case) -> None:
    result = await case.start(_waiting(case.journal), {"v": 1})
    assert (result.status, statuses(result)) == ("waiting", {"inc": "success", "paid": "waiting"})
    await case.send("paid", {"v": 20})
    result = await case.end()
    assert (outcome(result), result.steps["paid"].output) == (("success", {"v": 40}), {"v": 20})


@everywhere
async def test_an_event_that_comes_early_is_kept(case: Case) -> None:
    nap = create_workflow(id="w").sleep(60).wait_for_event("paid", id="paid").then(case.journal.dbl())
    await case.start(nap, {"v": 1}, still=True)
    await case.send("paid", {"v": 5})
    assert (await case.rest()).status == "waiting"
    assert (outcome(await case.end()), await case.store.requests()) == (("success", {"v": 10}), [])


@everywhere
async def test_each_wait_takes_one_event_in_the_order_they_came(case: Case) -> None:
    workflow = create_workflow(id="w").sleep(60)
    workflow.wait_for_event("e", id="first").wait_for_event("e", id="second")
    await case.start(workflow, still=True)
    for number in (1, 2, 3):
        await case.send("e", number)
    result = await case.end()
    assert (outcome(result), result.steps["first"].output) == (("success", 2), 1)


@everywhere
async def test_an_event_of_another_name_is_not_meant(case: Case) -> None:
    await case.start(_waiting(case.journal), {"v": 1})
    await case.send("other", {"v": 9})
    assert (await case.rest()).status == "waiting"
    await case.send("paid", {"v": 2})
    assert outcome(await case.end()) == ("success", {"v": 4})


@everywhere
async def test_an_event_that_does_not_come_in_time_fails_the_run(case: Case) -> None:
    began = case.world.now()
    workflow = (
        create_workflow(id="w").wait_for_event("paid", id="paid", timeout=timedelta(hours=1)).then(case.journal.inc())
    )
    result = await case.start(workflow, {"v": 1})
    assert (failure(result)[0], case.world.now() - began) == ("EventTimeout", 3_600_000)
    error = result.steps["paid"].error
    assert (statuses(result), error and error.name, result.error and result.error.step) == (
        {"paid": "failed"},
        "EventTimeout",
        "paid",
    )
    with pytest.raises(NotSuspended):
        await case.send("paid")


@everywhere
async def test_an_event_in_time_stops_the_timeout(case: Case) -> None:
    workflow = create_workflow(id="w").wait_for_event("paid", timeout="inputData.seconds").sleep(100)
    await case.start(workflow, {"seconds": 60}, still=True)
    await case.send("paid", "ok")
    began = case.world.now()
    assert (outcome(await case.end()), case.world.now() - began) == (("success", "ok"), 100_000)
    assert len(await case.records(Kind.TIMER_FIRED)) == 1


@everywhere
async def test_the_same_key_is_one_event(case: Case) -> None:
    workflow = create_workflow(id="w").sleep(60).wait_for_event("e").wait_for_event("e", timeout=5)
    await case.start(workflow, still=True)
    await case.send("e", 1, idempotency_key="k")
    await case.send("e", 2, idempotency_key="k")
    assert failure(await case.end())[0] == "EventTimeout"


@everywhere
async def test_a_nested_workflow_waits_for_events(case: Case) -> None:
    inner = create_workflow(id="W").wait_for_event("go").then(case.journal.inc()).commit()
    workflow = create_workflow(id="w").parallel([inner, case.journal.ask()])
    result = await case.start(workflow, {"v": 1})
    assert result.suspended == [["ask"]]
    await case.send("go", {"v": 6})
    await case.resume({"add": 1})
    assert outcome(await case.end()) == ("success", {"W": {"v": 7}, "ask": {"v": 2}})


@everywhere
async def test_what_an_event_carries_is_compared_with_its_schema(case: Case) -> None:
    workflow = create_workflow(id="w").wait_for_event("paid", schema=Paid).map("inputData.amount")
    await case.start(workflow)
    with pytest.raises(InvalidInput, match="amount: "):
        await case.send("paid", {"amount": "much"})
    assert ((await case.look()).status, await case.store.requests()) == ("waiting", [])
    await case.send("paid", {"amount": 5})
    assert outcome(await case.end()) == ("success", 5)


@everywhere
async def test_a_waiting_run_can_be_canceled(case: Case) -> None:
    await case.start(_waiting(case.journal), {"v": 1})
    assert outcome(await case.cancel()) == ("canceled", None)


@everywhere
async def test_opening_a_store_with_a_run_that_waits_for_an_event_starts_nothing(case: Case) -> None:
    await case.start(_waiting(case.journal), {"v": 1})
    records = len(await case.records())
    await case.reopen()
    assert (case.app.is_idle, len(await case.records())) == (True, records)
    await case.send("paid", {"v": 1})
    assert outcome(await case.end()) == ("success", {"v": 2})


@everywhere
async def test_there_must_be_a_run_to_send_an_event_to(case: Case) -> None:
    await case.start(create_workflow(id="w").then(case.journal.inc()), {"v": 1})
    with pytest.raises(NotFound):
        await case.app.send_event("nobody", "e")
    with pytest.raises(NotSuspended):
        await case.app.send_event("r1", "e")


@in_loop
async def test_requests_of_another_process_are_accepted_by_the_owner(tmp_path: FilePath) -> None:
    """They are rows in the store: from another connection, while the owner is at work, or before it is started."""
    journal, file = Journal(), tmp_path / "c.db"
    workflow = create_workflow(id="w").then(journal.ask()).wait_for_event("go").then(journal.ask("last")).commit()
    async with Cloche(file, workflows=[workflow]) as app:
        run = await app.start(workflow, {"v": 1}, run_id="r1")
        assert (await run.result()).suspended == [["ask"]]
        outside = SqliteStore(file)
        await _post(outside, "resume", {"data": {"add": 1}, "step": "ask"}, "one")
        await until(lambda: replay.machine_of(outside, run._key), lambda machine: machine.open.hooks())
        await _post(outside, "event", ["go", {"v": 7}], "two")
        await until(lambda: replay.machine_of(outside, run._key), lambda machine: machine.open.suspensions())
    await _post(outside, "resume", {"data": {"add": 3}, "step": "nothing"}, "wrong")
    await _post(outside, "resume", {"data": {"add": 3}, "label": None, "foreach_index": None}, "three")
    await _post(outside, "resume", {"data": {"add": 3}, "label": None, "foreach_index": None}, "three")
    async with Cloche(file, workflows=[workflow]) as app:
        result = await (await app.get("r1")).result(final=True)
        assert outcome(result) == ("success", {"v": 10})
        await until(outside.requests, lambda waiting: not waiting)
    await outside.close()
    assert journal.began == ["ask", "ask", "last", "last"]


async def _post(store: SqliteStore, kind: str, body: Any, token: str) -> None:
    [row] = await store.runs()
    name = body[0] if kind == "event" else None
    await store.post(row.key, kind, encode(body), token, row.updated_at, name=name)


def _waiting(journal: Journal) -> Workflow:
    return create_workflow(id="w").then(journal.inc()).wait_for_event("paid", id="paid").then(journal.dbl())
