"""What the command line says of runs that were asked for and that no worker has begun."""

from __future__ import annotations

import asyncio

import pytest
from support.commands import FLOWS, MATH, cloche
from support.stores import closed_after

from cloche import Client
from cloche.store import SqliteStore


@pytest.fixture
def asked(store: str) -> str:
    """The store, with a request to start run r1 of math."""

    async def start() -> None:
        async with Client(store) as client:
            await client.start("math", {"x": 5}, run_id="r1")

    asyncio.run(start())
    return store


def test_show_says_that_no_worker_has_the_workflow(asked: str) -> None:
    ran = cloche("show", "r1", "--store", asked)
    why = "pending: no worker has workflow 'math': start 'cloche worker' with it, or deploy it"
    pasted = why.replace("'cloche worker'", f"'cloche worker --store {asked}'")
    assert (ran.code, ran.out.splitlines()[0]) == (0, pasted)
    assert ran.out.splitlines()[2:] == [
        f"  Start a worker that has workflow 'math': cloche worker TARGET --store {asked}",
        f"  End the run: cloche cancel r1 --store {asked}",
    ]
    expected = {"run_id": "r1", "workflow_id": "math", "status": "pending", "why": why, "timing": []}
    said = cloche("show", "r1", "--store", asked, "--json").json()
    assert said.pop("reason")["kind"] == "no-worker"
    assert said == expected


def test_a_worker_begins_what_was_asked_for(asked: str) -> None:
    assert cloche("worker", f"{FLOWS}:slow", "--once", "--store", asked).out == ""
    assert cloche("worker", MATH, "--once", "--store", asked).out.endswith("✓ r1  math  success\n")
    assert cloche("show", "r1", "--store", asked, "--json").json()["result"] == {"x": 20}


def test_cancel_ends_a_request(asked: str) -> None:
    assert cloche("cancel", "r1", "--store", asked).code == 0
    ran = cloche("show", "r1", "--store", asked)
    assert (ran.code, ran.out) == (1, "")
    assert "run r1 was canceled before it began" in ran.err
    assert cloche("worker", MATH, "--once", "--store", asked).out == ""


def test_requests_of_the_command_line_leave_no_worker(asked: str) -> None:
    async def left() -> None:
        async with closed_after(SqliteStore(asked)) as store:
            assert await store.leases.workers() == []
            assert [row.kind for row in await store.requests()] == ["start", "event"]

    cloche("event", "r1", "paid", "--store", asked)
    cloche("runs", "--store", asked)
    asyncio.run(left())


def test_show_says_that_data_is_on_its_way(store: str) -> None:
    """Without a worker; and a second resume of the same step is told."""
    assert cloche("run", f"{FLOWS}:asking", "--input", '{"v": 1}', "--run-id", "r1", "--store", store).code == 75
    data = ("--data", '{"add": 1}', "--store", store)
    assert cloche("resume", "r1", *data).code == 0
    ran = cloche("show", "r1", "--store", store)
    assert "on its way: data for ask; a worker that has the run takes it" in ran.out
    assert cloche("show", "r1", "--store", store, "--json").json()["on_their_way"] == ["data for ask"]
    second = cloche("resume", "r1", *data)
    assert (second.code, second.out) == (2, "")
    assert "data for ask is on its way" in second.err
    cloche("cancel", "r1", "--store", store)
    expected = ["data for ask", "a cancellation"]
    assert cloche("show", "r1", "--store", store, "--json").json()["on_their_way"] == expected


def test_what_comes_in_the_place_of_an_event_is_said_one_at_a_time(asked: str) -> None:
    assert "a failure for event 'paid'" in cloche("event", "r1", "paid", "--error", "no money", "--store", asked).out
    assert "a sign of life for event 'paid'" in cloche("event", "r1", "paid", "--heartbeat", "--store", asked).out
    both = cloche("event", "r1", "paid", "--data", "1", "--error", "no", "--store", asked)
    assert (both.code, "give one of" in both.err) == (2, True)
    unknown = cloche("resume", "--hook", "door", "--data", "1", "--store", asked)
    assert (unknown.code, "no open hook has this token" in unknown.err) == (4, True)
    assert cloche("resume", "--data", "1", "--store", asked).code == 2
