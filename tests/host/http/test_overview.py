"""What a list of runs asks for: how many stand where, and why each does not move; and answers that wait to be accepted."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from support.apps import Journal, in_loop
from support.served import adding, asking, served

from cloche.http import overview
from cloche.http.overview import RUNS_MAX


@pytest.fixture
def journal() -> Journal:
    return Journal()


async def started(ask: httpx.AsyncClient, workflow: str, id: str, input: Any, **headers: str) -> None:
    body = {"input": input, "run_id": id}
    await ask.post(f"/v1/workflows/{workflow}/runs", json=body, headers={"Prefer": "wait=30", **headers})


@in_loop
async def test_it_counts_how_many_runs_stand_where(journal: Journal) -> None:
    async with served(adding(journal), asking(journal)) as (ask, _):
        await started(ask, "asking", "r1", {"v": 1})
        await started(ask, "asking", "r2", {"v": 1})
        await started(ask, "adding", "r3", {"v": 1})
        found = (await ask.get("/v1/summary")).json()
        assert found["statuses"]["suspended"] == {"count": 2, "is_whole": True}
        assert (found["failed_unretried"], found["workers"]) == (0, 1)
        row = (await ask.get("/v1/runs/r1")).json()
        assert found["oldest_suspended"] == row["updated_at"]


@in_loop
async def test_it_counts_no_further_than_it_says(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "COUNTED_MAX", 1)
    async with served(asking(journal)) as (ask, _):
        await started(ask, "asking", "r1", {"v": 1})
        await started(ask, "asking", "r2", {"v": 1})
        statuses = (await ask.get("/v1/summary")).json()["statuses"]
        assert statuses["suspended"] == {"count": 1, "is_whole": False}


@in_loop
async def test_another_tenants_runs_are_not_counted_and_not_explained(journal: Journal) -> None:
    async with served(asking(journal)) as (ask, _):
        await started(ask, "asking", "r1", {"v": 1}, **{"Cloche-Tenant": "acme"})
        summary = (await ask.get("/v1/summary", headers={"Cloche-Tenant": "other"})).json()
        assert (summary["statuses"], summary["oldest_suspended"]) == ({}, None)
        reasons = await ask.get("/v1/reasons?run=r1", headers={"Cloche-Tenant": "other"})
        assert reasons.json() == {"reasons": []}


@in_loop
async def test_each_run_is_explained_in_a_line(journal: Journal) -> None:
    async with served(adding(journal), asking(journal)) as (ask, _):
        await started(ask, "asking", "r1", {"v": 1})
        await started(ask, "adding", "r2", {"v": 1})
        asked, ended = (await ask.get("/v1/reasons?run=r1&run=nobody&run=r2")).json()["reasons"]
        assert (asked["run_id"], asked["kind"], asked["step"], asked["actions"][0]) == (
            "r1",
            "suspended",
            "ask",
            "resume",
        )
        assert asked["steps"] == [{"step": "ask", "status": "suspended"}]
        assert (ended["status"], ended["kind"], ended["steps_count"]) == ("success", "ended", 1)
        result = (await ask.get("/v1/runs/r2/result")).json()["result"]
        assert ended["sentence"].replace(" ", "") == str(result).replace("'", '"').replace(" ", "")


@in_loop
async def test_so_many_are_explained_at_once_and_no_more(journal: Journal) -> None:
    async with served(adding(journal)) as (ask, _):
        many = "&".join(f"run=r{number}" for number in range(RUNS_MAX + 1))
        assert (await ask.get(f"/v1/reasons?{many}")).status_code == 422
        assert (await ask.get("/v1/reasons")).status_code == 422


@in_loop
async def test_a_long_history_is_not_read_for_a_list(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "RECORDS_MAX", 3)
    async with served(asking(journal)) as (ask, _):
        await started(ask, "asking", "r1", {"v": 1})
        [reason] = (await ask.get("/v1/reasons?run=r1")).json()["reasons"]
        assert (reason["kind"], reason["sentence"], reason["steps"]) == ("long", "a step waits for data", [])


@in_loop
async def test_an_answer_that_waits_is_accepted_when_it_is_answered(journal: Journal) -> None:
    async with served(asking(journal)) as (ask, _):
        await started(ask, "asking", "r1", {"v": 1})
        headers = {"Idempotency-Key": "k", "Prefer": "wait=30"}
        resumed = await ask.post("/v1/runs/r1/resume", json={"data": {"add": 1}}, headers=headers)
        assert (resumed.status_code, resumed.json()) == (202, {"paths": ["ask"]})
        assert (await ask.get("/v1/runs/r1/why")).json()["on_its_way"] == []
        again = await ask.post("/v1/runs/r1/resume", json={"data": {"add": 1}}, headers=headers)
        assert (again.status_code, again.json()) == (200, {"paths": None})
