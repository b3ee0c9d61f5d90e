"""A client of a server has the names of a client of a store, and the same answers."""

from __future__ import annotations

import inspect
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.apps import AppOn, Journal, in_loop
from support.commands import MATH, cloche
from support.served import adding, asking
from support.serving import Serving

from cloche import Client, Policy, Run, create_workflow, http
from cloche.client import TenantRuns
from cloche.client.remote import RemoteClient, RemoteRun, RemoteTenant
from cloche.errors import (
    AccessRefused,
    BrokenChain,
    NotFound,
    NotSuspended,
    RunConflict,
    RunFailed,
    StoreUnavailable,
    UsageError,
)
from cloche.operations import tokens
from cloche.operations.forms import to_json
from cloche.run.clock import SystemWorld
from cloche.store import MemoryStore

URL = "http://127.0.0.1:4700"


@asynccontextmanager
async def both(*workflows: Any, **options: Any) -> AsyncIterator[tuple[Any, Any]]:
    """A client of a server, and the worker that it serves."""
    async with AppOn(MemoryStore(), workflows=workflows, world=SystemWorld(), **options) as worker:
        transport = httpx.ASGITransport(app=http.app(worker, auth=http.local), raise_app_exceptions=False)
        async with RemoteClient(URL, transport=transport) as client:
            yield client, worker


@pytest.mark.parametrize(
    ("local", "remote"),
    [(Client, RemoteClient), (TenantRuns, RemoteTenant), (Run, RemoteRun)],
    ids=lambda one: one.__name__,
)
def test_it_has_the_names_and_parameters_of_the_one_on_a_store(local: Any, remote: Any) -> None:
    ours = {name: one for name, one in inspect.getmembers(local) if not name.startswith("_") and name != "connection"}
    for name, one in ours.items():
        assert hasattr(remote, name), name
        if inspect.isfunction(one) and (local, name) not in {(Run, "start"), (Run, "resume")}:
            expected = list(inspect.signature(one).parameters)
            assert list(inspect.signature(getattr(remote, name)).parameters) == expected, name


@pytest.mark.parametrize(
    ("act", "command"),
    [
        (lambda acme: acme.suspend("why"), "tenant suspend"),
        (lambda acme: acme.reinstate(), "tenant reinstate"),
        (lambda acme: acme.quarantine("v", "why"), "tenant quarantine"),
        (lambda acme: acme.release("v"), "tenant release"),
        (lambda acme: acme.holds(), "tenant list"),
        (lambda acme: acme.audit_log(), "audit"),
    ],
)
@in_loop
async def test_what_an_operator_does_is_not_done_over_a_server(act: Any, command: str, journal: Journal) -> None:
    async with both(adding(journal)) as (client, _):
        with pytest.raises(UsageError, match=f"where the store is, not over a server.*'cloche {command}'"):
            await act(client.tenant("acme"))


@in_loop
async def test_a_run_is_started_followed_and_read(journal: Journal) -> None:
    async with both(adding(journal)) as (client, worker):
        run = await client.start("adding", {"v": 1, "text": "x" * 50_000}, run_id="order/17")
        assert (await run.result()).unwrap() == {"v": 2}
        assert [record.hash async for record in run.stream()] == [one.hash for one in await run.history()]
        local = await worker.get("order/17")
        assert await run.history() == await local.history()
        assert await run.records(3, 2) == await local.records(3, 2)
        assert (await run.result()) == (await local.result())
        assert [row.key for row in await client.list()] == [row.key for row in await worker.list()]
        [row], [same] = await client.list(), await worker.list()
        assert (row.head_hash, row.created_at, row.code) == (same.head_hash, same.created_at, same.code)
        assert await client.export("order/17") == await worker.export("order/17")
        assert await client.usage() == await worker.usage()
        assert await client.tenant("default").usage("order/17") == await worker.tenant("default").usage("order/17")
        assert [one.id for one in await client.startable()] == ["adding"]


@in_loop
async def test_values_keep_their_types(journal: Journal) -> None:
    value = {"at": datetime(2026, 1, 2, tzinfo=UTC), "raw": b"\x00\xff", "n": float("inf")}
    async with both(create_workflow(id="same").then(journal.take()).commit()) as (client, _):
        run = await client.start("same", value)
        assert (await run.result()).result == value


@in_loop
async def test_a_suspended_run_is_resumed_and_told(journal: Journal) -> None:
    async with both(asking(journal)) as (client, _):
        run = await client.start("asking", {"v": 1}, run_id="r1")
        assert (await run.result()).suspended == [["ask"]]
        assert await client.request_resume("r1", resume_data={"add": 1}, idempotency_key="k") == ["ask"]
        assert await client.send_event("r1", "paid", 7, idempotency_key="k")
        assert (await run.result(final=True)).result == 7
        assert await client.request_resume("r1", resume_data={"add": 1}, idempotency_key="k") is None
        assert not await client.send_event("r1", "paid", 7, idempotency_key="k")


@in_loop
async def test_errors_are_those_of_the_store(journal: Journal) -> None:
    async with both(asking(journal)) as (client, _):
        run = await client.start("asking", {"v": 1}, run_id="r1")
        await run.result()
        with pytest.raises(RunConflict):
            await client.start("asking", {"v": 2}, run_id="r1")
        with pytest.raises(NotFound) as missing:
            await client.get("nobody")
        assert (missing.value.kind, missing.value.id) == ("run", "nobody")
        with pytest.raises(NotSuspended):
            await client.request_resume("r1", step="other")
        await client.cancel("r1")
        assert (await run.result(final=True)).status == "canceled"
        await client.delete("r1")
        with pytest.raises(NotFound):
            await client.view("r1")


@in_loop
async def test_a_log_that_was_changed_on_its_way_is_not_taken(journal: Journal) -> None:
    async with AppOn(MemoryStore(), workflows=[adding(journal)], world=SystemWorld()) as worker:
        inner = httpx.ASGITransport(app=http.app(worker, auth=http.local))

        class Forging(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                answer = await inner.handle_async_request(request)
                if not request.url.path.endswith("/log"):
                    return answer
                data = b"".join([part async for part in answer.stream])  # type: ignore[union-attr]
                changed = data.replace(b"adding", b"adding".upper(), 1)
                return httpx.Response(answer.status_code, content=changed)

        async with RemoteClient(URL, transport=Forging()) as client:
            run = await client.start("adding", {"v": 1}, run_id="r1")
            await run.result()
            with pytest.raises(BrokenChain):
                await run.history()


@in_loop
async def test_who_is_not_let_in_hears_why(journal: Journal) -> None:
    async with AppOn(MemoryStore(), workflows=[adding(journal)], world=SystemWorld(), policy=Policy()) as worker:
        made = await tokens.create(
            worker.connection.store, tenant="acme", role="viewer", label="", now=worker.connection.world.now()
        )
        transport = httpx.ASGITransport(app=http.app(worker), raise_app_exceptions=False)
        async with RemoteClient(URL, transport=transport) as nobody:
            with pytest.raises(AccessRefused) as refused:
                await nobody.list()
            assert refused.value.status == 401
        async with RemoteClient(URL, token=made.text, transport=transport) as viewer:
            assert await viewer.list() == []
            with pytest.raises(AccessRefused, match="needs the role operator"):
                await viewer.start("adding", {"v": 1})


@in_loop
async def test_a_server_that_is_not_there_is_an_error_of_a_store() -> None:
    async with Client("http://127.0.0.1:9") as client:
        with pytest.raises(StoreUnavailable, match="did not answer"):
            await client.list()


@in_loop
async def test_a_run_that_was_canceled_before_it_began_says_so() -> None:
    async with Client(MemoryStore()) as local:
        transport = httpx.ASGITransport(app=http.app(local, auth=http.local))
        async with RemoteClient(URL, transport=transport) as client:
            run = await client.start("unknown", 1, run_id="r1")
            assert await run.status() == "pending"
            await client.cancel("r1")
            with pytest.raises(RunFailed, match="canceled before it began"):
                await run.result()


def test_a_store_takes_no_token() -> None:
    with pytest.raises(UsageError, match="a token is for the URL of a server"):
        Client("runs.db", token="clk")


def test_the_command_line_takes_a_server_for_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = str(tmp_path / "runs.db")
    token = cloche("token", "create", "--tenant", "default", "--role", "operator", "--store", store).out.strip()
    monkeypatch.setitem(os.environ, "CLOCHE_TOKEN", token)
    with Serving(MATH, store=store, token=token) as server:
        server.post("/v1/workflows/math/runs", {"input": {"x": 5}, "run_id": "r1"}, Prefer="wait=30")
        for line in (["runs"], ["show", "r1"], ["log", "r1"], ["usage"]):
            there, here = (cloche(*line, "--json", "--store", where) for where in (server.url, store))
            assert (there.code, there.out.replace(server.url, store)) == (here.code, here.out), line
        file = tmp_path / "r1.cloche"
        assert cloche("export", "r1", "-o", str(file), "--store", server.url).code == 0
        assert cloche("cancel", "nobody", "--store", server.url).code == 4
        refused = cloche("verify", "--store", server.url)
        assert (refused.code, "this needs the store itself" in refused.err) == (2, True)


@in_loop
async def test_runs_are_found_retried_and_explained_over_a_server(journal: Journal) -> None:
    failing = create_workflow(id="failing").then(journal.boom()).commit()
    async with both(failing) as (client, worker):
        for number in range(3):
            run = await client.start("failing", {"v": number}, run_id=f"r{number}", tags={"n": str(number)})
            await run.result()
        first = await client.find(limit=2, status="failed")
        rest = await client.find(limit=2, status="failed", cursor=first.next)
        assert [row.key.run for row in [*first, *rest]] == ["r2", "r1", "r0"]
        assert [row.key.run for row in await client.find(tags={"n": "1"}, error="RuntimeError")] == ["r1"]
        assert await client.failures() == await worker.failures()
        there = to_json((await worker.why("r1")).to_data())
        assert to_json((await client.why("r1")).to_data()) == there
        assert to_json((await (await client.get("r1")).why()).to_data()) == there
        again = await client.retry("r1")
        assert (again.id, (await again.result()).status) == ("r1\x1fr1", "failed")
        report = await client.bulk("retry", where={"tags": {"n": "2"}})
        assert report.made == ["r2\x1fr1"]


@in_loop
async def test_schedules_are_put_fired_and_read_over_a_server(journal: Journal) -> None:
    async with both(adding(journal)) as (client, worker):
        ours, theirs = worker.schedules, client.schedules
        names = [name for name, one in inspect.getmembers(type(ours), inspect.isfunction) if not name.startswith("_")]
        for name in names:
            expected = list(inspect.signature(getattr(ours, name)).parameters)
            assert list(inspect.signature(getattr(theirs, name)).parameters) == expected, name
        made = await theirs.put("s/1", "adding", cron="0 3 * * *", tz="Europe/Berlin", input={"v": 1}, overlap="queue")
        assert made == await ours.get("s/1") == await theirs.get("s/1")
        await theirs.put("later", "adding", at="2046-01-01T00:00:00+00:00")
        assert await theirs.list() == await ours.list()
        run = await theirs.fire("s/1")
        assert (await run.result()).unwrap() == {"v": 2}
        assert await theirs.firings("s/1", limit=5) == await ours.firings("s/1")
        assert (await theirs.pause("s/1")).is_paused
        assert (await theirs.resume("s/1")).next_at == made.next_at
        await theirs.delete("s/1")
        with pytest.raises(NotFound, match="no schedule 's/1'"):
            await theirs.get("s/1")
        with pytest.raises(UsageError, match="no cron expression"):
            await theirs.put("s", "adding", cron="x")


def test_a_schedule_is_put_without_async(journal: Journal) -> None:
    from cloche import SyncCloche

    with SyncCloche(workflows=[adding(journal)]) as app:
        assert app.schedules.put("s", "adding", every=3_600, input={"v": 1}).when == "every 3600 s"
        assert app.schedules.fire("s").result().unwrap() == {"v": 2}
        assert [one.outcome for one in app.tenant("default").schedules.firings("s")] == ["fired"]


@in_loop
async def test_relatives_code_and_the_next_instants_are_as_on_the_store(journal: Journal) -> None:
    async with both(adding(journal), asking(journal)) as (client, worker):
        await (await client.start("asking", {"v": 1}, run_id="r1")).result()
        assert await client.lineage("r1") == await worker.lineage("r1")
        assert (await client.code_of_run("r1")).to_data() == (await worker.code_of_run("r1")).to_data()
        shown = await client.code_of_workflow("asking")
        assert shown.sources == (await worker.code_of_workflow("asking")).sources
        await client.schedules.put("hourly", "adding", cron="0 * * * *", input={"v": 1})
        assert await client.schedules.upcoming("hourly", 3) == await worker.schedules.upcoming("hourly", 3)
