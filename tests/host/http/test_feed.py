"""Runs as they move: lists kept by events, the state of a run at a record, and runs that are brought from elsewhere."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from support.apps import AppOn, Journal, in_loop, until
from support.served import adding, asker, asking, heard, served, started

from cloche import Client, Cloche, http
from cloche.http import feed
from cloche.run.clock import SystemWorld
from cloche.store import MemoryStore


def moved(text: str) -> list[tuple[int, str, str]]:
    """When which run came to stand where."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if fields.get("event") == "run":
            data = json.loads(fields["data"])
            found.append((int(fields["id"]), data["id"], data["status"]))
    return found


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "LOOK_S", 0.01)


@in_loop
async def test_the_feed_has_each_run_where_it_has_come_to(journal: Journal) -> None:
    async with served(adding(journal), asking(journal)) as (ask, app):
        await started(ask, "adding", {"v": 1}, "before")
        told = asyncio.create_task(
            heard(app, "/v1/feed?cursor=0", {}, lambda text: '"r2"' in text and "waiting" in text)
        )
        await started(ask, "adding", {"v": 1}, "r1")
        await started(ask, "asking", {"v": 1}, "r2")
        await ask.post("/v1/runs/r2/resume", json={"data": {"add": 1}})
        status, text = await told
        assert (status, text.startswith("retry: 1000\n\n")) == (200, True)
        last = {run: stands for _, run, stands in moved(text)}
        assert last == {"before": "success", "r1": "success", "r2": "waiting"}
        times = [at for at, _, _ in moved(text)]
        assert times == sorted(times)


@in_loop
async def test_the_feed_goes_on_after_the_id_that_was_seen(journal: Journal) -> None:
    """What moved while nobody listened comes; what moved long before does not."""
    async with served(adding(journal)) as (ask, app):
        await started(ask, "adding", {"v": 1}, "r1")
        _, text = await heard(app, "/v1/feed?cursor=0", {}, lambda text: "event: run" in text)
        [(at, _, _)] = moved(text)
        await started(ask, "adding", {"v": 1}, "r2")
        _, again = await heard(app, "/v1/feed", {"Last-Event-ID": str(at + 1)}, lambda text: '"r2"' in text)
        assert {run for _, run, _ in moved(again)} <= {"r1", "r2"}


@in_loop
async def test_the_feed_is_of_one_tenant_and_ends_on_drain(journal: Journal) -> None:
    async with served(adding(journal)) as (ask, app):
        await started(ask, "adding", {"v": 1}, "r1", **{"Cloche-Tenant": "acme"})
        await started(ask, "adding", {"v": 1}, "r2")
        told = asyncio.create_task(heard(app, "/v1/feed?cursor=0", {}, lambda text: False))
        await until(lambda: app.state.service.followed)
        app.drain()
        _, text = await told
        assert {run for _, run, _ in moved(text)} <= {"r2"}
        assert app.state.service.followed == {}


@in_loop
async def test_a_run_is_seen_as_it_stood_with_a_record(journal: Journal) -> None:
    async with served(adding(journal)) as (ask, _):
        head = (await started(ask, "adding", {"v": 1}, "r1")).json()["records"]
        stood: list[Any] = [
            (await ask.get("/v1/runs/r1/state", params={"seq": seq})).json() for seq in range(1, head + 1)
        ]
        assert [one["records"] for one in stood] == list(range(1, head + 1))
        assert (stood[1]["status"], stood[1]["result"], stood[1]["steps"]) == ("running", None, {})
        assert (stood[-1]["status"], stood[-1]["result"]) == ("success", {"v": 2})
        whole = (await ask.get("/v1/runs/r1/state")).json()
        assert {**whole, "why": ""} == {**(await ask.get("/v1/runs/r1/result")).json(), "why": ""}


@in_loop
async def test_a_run_is_brought_from_another_store(journal: Journal) -> None:
    async with served(adding(journal)) as (ask, _):
        await started(ask, "adding", {"v": 1}, "r1", **{"Cloche-Tenant": "acme"})
        exported = (await ask.get("/v1/runs/r1/export", headers={"Cloche-Tenant": "acme"})).content
    other = AppOn(MemoryStore(), workflows=[adding(journal)], world=SystemWorld())
    async with other, asker(http.app(other, auth=http.local)) as ask:
        kind = {"Content-Type": "application/octet-stream"}
        made = await ask.post("/v1/runs/import", content=exported, headers=kind)
        assert (made.status_code, made.json()) == (201, {"id": "r1", "status": "success"})
        found = await ask.get("/v1/runs/r1/result", headers={"Cloche-Tenant": "acme"})
        assert found.json()["result"] == {"v": 2}
        assert [one.action for one in await other.connection.store.audit_log()] == ["imported"]
        broken = await ask.post("/v1/runs/import", content=exported[:-9], headers=kind)
        assert broken.status_code in (409, 422)


class CountingStore(MemoryStore):
    """Counts how often runs are looked for."""

    looks = 0

    async def find(self, *args: Any, **options: Any) -> Any:
        self.looks += 1
        return await super().find(*args, **options)


@in_loop
async def test_nobody_looks_while_nothing_moves(journal: Journal) -> None:
    """Many streams, and a store that is asked for runs when one has moved, and not before."""
    store = CountingStore()
    async with AppOn(store, workflows=[adding(journal)], world=SystemWorld()) as app:
        served_app = http.app(app, auth=http.local)
        told = [
            asyncio.create_task(heard(served_app, "/v1/feed", {}, lambda text: '"r1"' in text and "success" in text))
            for _ in range(3)
        ]
        await until(lambda: store.looks >= 3)
        await asyncio.sleep(0.5)  # many times what passes between two looks
        assert store.looks == 3
        await app.start("adding", {"v": 1}, run_id="r1")
        assert [status for status, _ in await asyncio.gather(*told)] == [200, 200, 200]


@in_loop
async def test_a_server_without_workers_hears_of_what_others_move(journal: Journal, tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    async with Cloche(file, workflows=[adding(journal)]) as worker, Client(file) as client:
        served_app = http.app(client, auth=http.local)
        told = asyncio.create_task(
            heard(served_app, "/v1/feed?cursor=0", {}, lambda text: '"r2"' in text and "success" in text)
        )
        for run in ("r1", "r2"):
            await (await worker.start("adding", {"v": 1}, run_id=run)).result()
        assert (await told)[0] == 200
