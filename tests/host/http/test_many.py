"""Many runs over HTTP: what is slow, where the time of one went, and the same done to all that a filter gives."""

from __future__ import annotations

from typing import Any

import httpx
from support.apps import AppOn, Journal, in_loop
from support.served import adding, asker, asking, served, started

from cloche import create_step, create_workflow, http
from cloche.http import Principal, Role
from cloche.run.clock import SystemWorld
from cloche.store import MemoryStore


async def bulk(ask: httpx.AsyncClient, action: str, **body: Any) -> Any:
    answer = await ask.post("/v1/bulk", json={"action": action, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


@in_loop
async def test_one_request_does_a_page_and_the_audit_log_has_who(journal: Journal) -> None:
    flow = asking(journal)
    async with AppOn(MemoryStore(), workflows=[flow], world=SystemWorld()) as worker:
        async with asker(http.app(worker, auth=http.local)) as ask:
            for number in range(5):
                await started(ask, "asking", {"v": number}, f"r{number}")
            where = {"status": "suspended"}
            counted = await bulk(ask, "cancel", where=where, dry_run=True)
            assert (counted["matched"], counted["done"]) == (5, 0)
            done, after = [], None
            while True:
                page = await bulk(ask, "cancel", where=where, most=2, after=after, bulk_id="b1")
                done.append(page["done"])
                if (after := page["next"]) is None:
                    break
            assert sum(done) == 5
            assert max(done) == 2
        entries = await worker.tenant("default").audit_log()
        assert {(one.action, one.actor) for one in entries} == {("bulk", "local")}


@in_loop
async def test_to_delete_is_for_admins(journal: Journal) -> None:
    async with served(adding(journal), auth=lambda scope: Principal("op", Role.OPERATOR)) as (ask, _):
        await started(ask, "adding", {"v": 1}, "r1")
        answer = await ask.post("/v1/bulk", json={"action": "delete", "where": {"status": "success"}})
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:cloche:error:forbidden")
        assert (await bulk(ask, "delete", where={"status": "success"}, dry_run=True))["matched"] == 1


@in_loop
async def test_where_the_time_went_and_what_was_said(journal: Journal) -> None:
    def talk(data: Any, ctx: Any) -> Any:
        print("on its way")
        ctx.log.warning("slowly")
        return data

    async with served(create_workflow(id="w").then(create_step(id="talk", execute=talk)).commit()) as (ask, _):
        await started(ask, "w", {"v": 1}, "r1")
        [story] = (await ask.get("/v1/runs/r1/timing")).json()["steps"]
        assert [(one["level"], one["text"]) for one in story["lines"]] == [("info", "on its way"), ("warn", "slowly")]
        assert [one["outcome"] for one in story["attempts"]] == ["success"]
        [slow] = (await ask.get("/v1/top")).json()["steps"]
        assert (slow["workflow"], slow["step"], slow["count"], slow["open"]) == ("w", "talk", 1, 0)
        assert (await ask.get("/v1/runs/none/timing")).status_code == 404


@in_loop
async def test_a_stream_has_the_times_of_steps(journal: Journal) -> None:
    async with served(adding(journal)) as (ask, _):
        await started(ask, "adding", {"v": 1}, "r1")
        stream = (await ask.get("/v1/runs/r1/events")).text
        ends = [line for line in stream.splitlines() if "step_completed" in line]
        assert ends
        assert all('"times":{"queue_ms":0,"work_ms":' in line.replace(": ", ":").replace(", ", ",") for line in ends)


@in_loop
async def test_runs_are_listed_by_how_long_they_have_stood(journal: Journal) -> None:
    async with served(asking(journal)) as (ask, _):
        await started(ask, "asking", {"v": 1}, "r1")
        listed = [(await ask.get("/v1/runs", params={"age": age})).json()["runs"] for age in (0, 3600)]
        assert [len(one) for one in listed] == [1, 0]
