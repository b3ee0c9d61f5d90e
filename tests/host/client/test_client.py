"""A client starts, asks and reads; a worker of the same store executes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field
from support.apps import AppOn, FlakyStore, Journal, ended, in_loop, until
from support.stores import closed_after

from cloche import Client, Cloche, Policy, QueueFull, RunConflict, RunFailed, Workflow, create_workflow
from cloche.errors import InvalidInput, NotFound, StartRefused, UsageError
from cloche.history import Kind, RunId, RunKey, TenantId
from cloche.run.clock import SystemWorld
from cloche.store import MemoryStore, SqliteStore
from cloche.testing import TestApp
from cloche.worker.answers import start_token

KEY = RunKey(TenantId("default"), RunId("r1"))


class Numbers(BaseModel):
    v: int
    of: list[int] = Field(default_factory=list)


def adding(journal: Journal, **options: Any) -> Workflow:
    return create_workflow(id="adding", **options).then(journal.inc()).commit()


def asking(journal: Journal) -> Workflow:
    return create_workflow(id="asking").then(journal.ask()).wait_for_event("paid").commit()


@asynccontextmanager
async def beside(*workflows: Workflow, **options: Any) -> AsyncIterator[tuple[Client, TestApp]]:
    """A client, and a worker that is opened with it, on one store."""
    store = MemoryStore()
    async with AppOn(store, workflows=workflows, world=SystemWorld(), **options) as app, Client(store) as client:
        yield client, app


# ---- starting ----


@in_loop
async def test_runs_that_nobody_has_begun_are_listed_with_what_they_wait_for(journal: Journal) -> None:
    async with Client(MemoryStore()) as client:
        await client.start("adding", {"v": 1}, run_id="r1", tags={"customer": "c-1"})
        await client.tenant("acme").start("adding", {"v": 2}, run_id="r2")
        await client.start("asking", {"v": 3}, run_id="r3")
        found = await client.not_begun()
        assert [(one.id, one.workflow) for one in found] == [("r3", "asking"), ("r1", "adding")]
        assert found[0].sentence == "no worker has workflow 'asking': start 'cloche worker' with it, or deploy it"
        assert [one.id for one in await client.not_begun(all_tenants=True)] == ["r3", "r2", "r1"]
        assert [one.id for one in await client.not_begun(tags={"customer": "c-1"}, status=["failed", "pending"])] == [
            "r1"
        ]
        assert [one.id for one in await client.not_begun(text='"v": 3', limit=1)] == ["r3"]
        assert await client.not_begun(status="failed") == await client.not_begun(until=0) == []
        assert await client.not_begun(error="ValueError") == []
        async with AppOn(client.connection.store, workflows=[adding(journal)], world=SystemWorld()):
            assert await ended(await client.get("r1")) == ("success", {"v": 2})
            assert [one.id for one in await client.not_begun()] == ["r3"]


@in_loop
async def test_a_worker_begins_what_a_client_starts(journal: Journal) -> None:
    async with beside(adding(journal), policy=Policy(payload_bytes=5_000)) as (client, _):
        run = await client.start("adding", {"v": 1}, run_id="r1")
        assert await ended(run) == ("success", {"v": 2})
        [created, *_] = await run.history()
        assert created.content()["policy"] == {"payload_bytes": 5_000}
        assert [row.key.run for row in await client.list()] == ["r1"]


@in_loop
async def test_a_client_is_no_worker(journal: Journal, tmp_path: Path) -> None:
    async with Client(tmp_path / "runs.db") as client:
        await client.start("adding", {"v": 1}, run_id="r1")
        assert await client.connection.store.leases.workers() == []
    async with AppOn(MemoryStore()) as app, Client(app.store) as client:
        assert await client.workers() == [app._running.name]


@in_loop
async def test_a_worker_on_a_file_sees_itself(journal: Journal, tmp_path: Path) -> None:
    async with AppOn(SqliteStore(tmp_path / "runs.db"), workflows=[adding(journal)]) as app:
        assert await app.workers() == [app._running.name]
        assert [(one.id, one.is_registered) for one in await app.startable()] == [("adding", True)]


@in_loop
async def test_a_client_blocks_no_run(journal: Journal) -> None:
    async with beside(asking(journal)) as (client, app):
        run = await client.start("asking", {"v": 1}, run_id="r1")
        assert (await run.result()).status == "suspended"
        await app.vanish()
        async with Client(app.store) as other:
            assert await (await other.get("r1")).status() == "suspended"
            await other.start("unknown", 1)
        [row] = await app.store.runs()
        assert (row.status, row.problem) == ("suspended", None)


@in_loop
async def test_a_request_waits_for_a_worker_that_comes_later(journal: Journal, tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    async with Client(f"sqlite:///{file}") as client:
        run = await client.start("adding", {"v": 1}, run_id="r1")
        assert await run.status() == "pending"
        async with Cloche(file, workflows=[adding(journal)]):
            assert await ended(run) == ("success", {"v": 2})


@in_loop
async def test_a_deploy_begins_what_was_asked_for(journal: Journal) -> None:
    store = MemoryStore()
    async with Client(store) as client:
        run = await client.start("adding", {"v": 1}, run_id="r1")
        async with AppOn(store, steps=[journal.inc()], policy=Policy()) as app:
            await app._running.inbox.look()
            assert await run.status() == "pending"
            await app.deploy("default", adding(journal).graph)
            assert await ended(run) == ("success", {"v": 2})


@in_loop
@pytest.mark.parametrize("is_direct", [False, True])
async def test_the_same_start_again_is_that_run(journal: Journal, is_direct: bool) -> None:
    workflow = adding(journal, input_schema=Numbers)
    async with beside(workflow) as (client, app):
        first = await (app if is_direct else client).start("adding", {"v": 1}, run_id="r1")
        for other in (client, app, client):
            assert (await ended(await other.start("adding", {"v": 1}, run_id="r1")))[0] == "success"
            with pytest.raises(RunConflict, match="run r1 exists already"):
                await other.start("adding", {"v": 2}, run_id="r1")
        assert ["request" in record.content() for record in await first.history()][:1] == [True]
    assert journal.began == ["inc"]


@in_loop
async def test_the_same_request_again_is_one_request(journal: Journal) -> None:
    store = MemoryStore()
    async with Client(store) as client, Client(store) as other:
        await client.start("adding", {"v": 1}, run_id="r1")
        await other.start("adding", {"v": 1}, run_id="r1")
        with pytest.raises(RunConflict):
            await other.start("adding", {"v": 2}, run_id="r1")
        with pytest.raises(RunConflict):
            await other.start("other", {"v": 1}, run_id="r1")
        assert len(await store.requests()) == 1


@in_loop
async def test_a_default_factory_makes_no_other_start(journal: Journal) -> None:
    counts = iter(range(100))

    class Counted(BaseModel):
        v: int
        number: int = Field(default_factory=lambda: next(counts))

    async with beside(adding(journal, input_schema=Counted)) as (_, app):
        await app.start("adding", {"v": 1}, run_id="r1")
        assert (await ended(await app.start("adding", {"v": 1}, run_id="r1")))[0] == "success"


@in_loop
async def test_starting_beside_a_worker_costs_one_commit(journal: Journal) -> None:
    store, workflow = FlakyStore(), create_workflow(id="waits").wait_for_event("paid").commit()
    async with AppOn(store, workflows=[workflow]) as app:
        await app.start("waits", run_id="r1")
        assert (store.faults.commits, await store.requests(), await store.answer(start_token(KEY))) == (1, [], None)


@in_loop
async def test_two_workers_ask_on_start_once(journal: Journal) -> None:
    asked: list[str] = []

    async def on_start(run: Any) -> None:
        asked.append(run["run_id"])
        await asyncio.sleep(0.2)  # the other worker looks meanwhile

    store, workflow = MemoryStore(), adding(journal, on_start=on_start)
    async with AppOn(store, workflows=[workflow]), AppOn(store, workflows=[workflow]), Client(store) as client:
        runs = [await client.start("adding", {"v": 1}, run_id=f"r{number}") for number in range(5)]
        assert [await ended(run) for run in runs] == [("success", {"v": 2})] * 5
    assert sorted(asked) == [f"r{number}" for number in range(5)]


@in_loop
async def test_a_worker_that_died_leaves_the_request_to_the_next(journal: Journal) -> None:
    reached = asyncio.Event()

    async def stuck(_: Any) -> None:
        reached.set()
        await asyncio.Event().wait()

    store = MemoryStore()
    async with AppOn(store, workflows=[adding(journal, on_start=stuck)]) as first, Client(store) as client:
        run = await client.start("adding", {"v": 1}, run_id="r1")
        await reached.wait()
        async with AppOn(store, workflows=[adding(journal)]):
            await first.vanish()
            assert await ended(run) == ("success", {"v": 2})


# ---- refusing ----


@in_loop
async def test_bad_input_is_refused_at_once(journal: Journal) -> None:
    async with beside(adding(journal, input_schema=Numbers)) as (client, app):
        with pytest.raises(InvalidInput, match="the input of workflow 'adding' does not fit its schema: v"):
            await client.start("adding", {"v": "many"}, run_id="r1")
        assert await app.store.requests() == []
        await app.deploy("acme", create_workflow(id="theirs", input_schema=Numbers).then(journal.inc()).commit().graph)
        with pytest.raises(InvalidInput):
            await client.tenant("acme").start("theirs", {"v": "many"})


@in_loop
async def test_a_workflow_that_nobody_has_is_named(journal: Journal) -> None:
    async with beside(adding(journal), asking(journal)) as (client, _):
        with pytest.raises(NotFound, match="there is no workflow 'math'; there are: adding, asking"):
            await client.start("math", 1)


@in_loop
async def test_the_newest_registration_is_the_schema(journal: Journal) -> None:
    store = MemoryStore()
    async with AppOn(store, workflows=[adding(journal, input_schema=Numbers)]) as old:
        async with AppOn(store, workflows=[]) as new, Client(store) as client:
            await asyncio.sleep(0.01)
            await new.start(adding(journal), {"v": 1})
            await until(store.leases.workers, lambda workers: all("adding" in str(worker.offers) for worker in workers))
            await client.start("adding", {"v": "many"}, run_id="r1")
        assert old.is_open


def refusing(error: Exception) -> Any:
    def on_start(_: Any) -> None:
        raise error

    return on_start


@in_loop
async def test_what_a_worker_refuses_is_raised_by_result(journal: Journal) -> None:
    async with beside(adding(journal, on_start=refusing(ValueError("sold out")))) as (client, _):
        run = await client.start("adding", {"v": 1}, run_id="r1")
        with pytest.raises(StartRefused, match="on_start of workflow 'adding' refused run r1: ValueError: sold out"):
            await run.result()
        assert await client.list() == []


@in_loop
async def test_a_refused_request_may_be_made_again(journal: Journal, tmp_path: Path) -> None:
    """At once: the worker sees it although it has the number of the one that was refused."""
    raised: list[str] = []

    def on_start(run: Any) -> None:
        if len(raised) < 3:
            raised.append(run["run_id"])
            raise ValueError("not yet")

    file = tmp_path / "runs.db"
    async with Cloche(file, workflows=[adding(journal, on_start=on_start)]), Client(file) as client:
        for _ in range(3):
            run = await client.start("adding", {"v": 1}, run_id="r1")
            with pytest.raises(StartRefused):
                await run.result()
        assert await ended(await client.start("adding", {"v": 1}, run_id="r1")) == ("success", {"v": 2})


@in_loop
async def test_what_was_left_for_a_refused_run_is_refused(journal: Journal) -> None:
    store = MemoryStore()
    async with Client(store) as client:
        run = await client.start("adding", {"v": 1}, run_id="r1")
        await client.send_event("r1", "paid", 1)
        async with AppOn(store, workflows=[adding(journal, on_start=refusing(ValueError("sold out")))]):
            with pytest.raises(StartRefused):
                await run.result()
            assert await store.requests() == []


@in_loop
async def test_a_full_queue_refuses_a_request(journal: Journal) -> None:
    policy = Policy(concurrent_runs=1, queued_runs=1)
    held = asyncio.Event()

    async def wait(data: Any, _: Any) -> Any:
        await held.wait()
        return data

    workflow = create_workflow(id="w").then(journal.acts("wait", wait)).commit()
    async with beside(workflow, policy=policy) as (client, _):
        runs = []
        for number in range(3):
            runs.append(await client.start("w", number, run_id=f"r{number}"))
            await until(client.connection.store.requests, lambda waiting: not waiting)
        with pytest.raises(QueueFull):
            await runs[2].result()
        held.set()
        assert [await ended(run) for run in runs[:2]] == [("success", 0), ("success", 1)]
        assert await ended(await client.start("w", 3, run_id="r2")) == ("success", 3)  # a refused one may be made again


@in_loop
async def test_a_request_can_be_canceled(journal: Journal) -> None:
    store = MemoryStore()
    async with Client(store) as client:
        run = await client.start("adding", {"v": 1}, run_id="r1")
        await client.send_event("r1", "paid", 1)
        await run.cancel()
        with pytest.raises(RunFailed, match="run r1 was canceled before it began"):
            await run.result()
        assert await run.status() == "canceled"
        with pytest.raises(NotFound):
            await client.get("r1")


# ---- asking ----


@in_loop
async def test_a_client_resumes_sends_and_streams(journal: Journal) -> None:
    async with beside(asking(journal)) as (client, _):
        run = await client.start("asking", {"v": 1}, run_id="r1")
        assert await client.send_event("r1", "paid", 7)  # before it waits, and perhaps before it has begun
        assert (await run.result()).suspend_payload == {"ask": {"ask": "ask", "at": 1}}
        assert (await client.resume("r1", resume_data={"add": 1}, idempotency_key="k")).result == 7
        kinds = [record.kind async for record in run.stream()]
        assert (kinds[0], kinds[-1]) == (Kind.RUN_CREATED, Kind.RUN_COMPLETED)
        assert (await client.resume("r1", resume_data={"add": 1}, idempotency_key="k")).result == 7
        assert (await client.tenant("default").usage("r1")).steps == 1
        await client.delete("r1")
        with pytest.raises(NotFound):
            await client.start("adding", 1)


@in_loop
async def test_a_client_cancels_a_run_elsewhere(journal: Journal) -> None:
    async with beside(asking(journal)) as (client, _):
        run = await client.start("asking", {"v": 1}, run_id="r1")
        await run.result()
        await client.cancel("r1")
        assert (await run.result(final=True)).status == "canceled"


@in_loop
async def test_a_closed_client_says_so(journal: Journal) -> None:
    async with Client(MemoryStore()) as client:
        run = await client.start("adding", {"v": 1}, run_id="r1")
        waiting = asyncio.create_task(run.result())
        await asyncio.sleep(0)
    with pytest.raises(UsageError, match="this Client was closed while run r1 had not ended"):
        await waiting
    with pytest.raises(UsageError, match="this Client is not open"):
        await client.list()


@pytest.mark.parametrize("store", ["memory:", "mysql://app@db/cloche"])
def test_a_store_that_no_client_can_open_is_refused(store: str) -> None:
    with pytest.raises(UsageError):
        Client(store)


# ---- two processes ----

WORKER = """
import asyncio, sys
from cloche import Cloche, Policy, create_step, create_workflow

inc = create_step(id="inc", execute=lambda data: {"v": data["v"] + 1})

async def main():
    workflow = create_workflow(id="adding").then(inc).commit()
    async with Cloche(sys.argv[1], workflows=[workflow], policy=Policy(payload_bytes=7_000)):
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main())
"""


@contextmanager
def worker_process(file: Path) -> Iterator[None]:
    """A worker of the store in a process of its own."""
    line = [sys.executable, "-c", WORKER, str(file)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        yield
        worker.stdin.close()


@in_loop
async def test_a_run_has_the_policy_of_the_worker_that_begins_it(journal: Journal, tmp_path: Path) -> None:
    file, policy = tmp_path / "runs.db", Policy(payload_bytes=9_000)
    with worker_process(file):
        async with Cloche(tmp_path / "other.db", workflows=[adding(journal)], policy=policy), Client(file) as client:
            before = await client.workers()
            run = await client.start("adding", {"v": 1}, run_id="r1")
            assert await ended(run) == ("success", {"v": 2})
            [created, *_] = await run.history()
            assert created.content()["policy"] == {"payload_bytes": 7_000}
            assert (len(before), await client.workers()) == (1, before)
    async with closed_after(SqliteStore(file)) as store:
        assert (await store.leases.workers(), await store.requests()) == ([], [])
