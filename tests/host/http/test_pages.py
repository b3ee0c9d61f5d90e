"""What pages show beside a run: relatives, code in both languages, workers, the next instants of a schedule."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import quote

from support.apps import AppOn, Journal, in_loop
from support.served import adding, asker, asking, served, started

import cloche
from cloche import create_workflow, http, start_child
from cloche.run.clock import SystemWorld
from cloche.store import MemoryStore


def of_all(app: Any) -> Any:
    return http.app(app, auth=http.local)


@cloche.workflow(id="family")
async def family(count: int) -> int:
    return sum([await start_child("adding", {"v": number}) for number in range(count)] and [count])


@in_loop
async def test_a_run_knows_its_parent_and_its_children(journal: Journal) -> None:
    async with served(adding(journal), family) as (ask, _):
        await started(ask, "family", 3, "top")
        first = (await ask.get("/v1/runs/top/lineage", params={"limit": 2})).json()
        assert first["parent"] is None
        assert [(one["run_id"], one["workflow"], one["status"]) for one in first["children"]] == [
            ("top\x1fc1", "adding", "success"),
            ("top\x1fc2", "adding", "success"),
        ]
        rest = (await ask.get("/v1/runs/top/lineage", params={"limit": 2, "after": first["next"]})).json()
        assert ([one["run_id"] for one in rest["children"]], rest["next"]) == (["top\x1fc3"], None)
        child = (await ask.get("/v1/runs/top%20%E2%80%BA%201/lineage")).json()
        assert (child["parent"]["run_id"], child["parent"]["status"], child["children"]) == ("top", "success", [])


@in_loop
async def test_a_run_knows_what_it_goes_on_from(journal: Journal) -> None:
    failing = create_workflow(id="failing").then(journal.boom()).commit()
    async with served(failing, asking(journal)) as (ask, _):
        await started(ask, "failing", {"v": 1}, "r1")
        again = (await ask.post("/v1/runs/r1/retry", json={})).json()["id"]
        of_first, of_again = [(await ask.get(f"/v1/runs/{quote(one)}/lineage")).json() for one in ("r1", again)]
        assert [one["run_id"] for one in of_first["retried_as"]] == [again]
        assert of_again["retry_of"]["run_id"] == "r1"
        await started(ask, "asking", {"v": 1}, "r2")
        await ask.post("/v1/runs/r2/fork", json={"at": "ask", "run_id": "r3"})
        forked = (await ask.get("/v1/runs/r3/lineage")).json()
        assert (forked["forked_from"]["run_id"], forked["forked_at"]) == ("r2", "ask")
        assert (await ask.get("/v1/runs/nobody/lineage")).status_code == 404


@in_loop
async def test_code_is_shown_in_both_languages_with_the_node_of_each_line(journal: Journal) -> None:
    async with served(adding(journal), family) as (ask, _):
        before = (await ask.get("/v1/workflows/adding/code")).json()
        await started(ask, "adding", {"v": 1}, "r1")
        code = (await ask.get("/v1/runs/r1/code")).json()
        assert [one["language"] for one in code["sources"]] == ["javascript", "python"]
        assert [one["code"] for one in code["sources"]] == [one["code"] for one in before["sources"]]
        assert {line["node"] for one in code["sources"] for line in one["map"]} == {"inc"}
        assert (before["digest"], code["digest"] is None, code["graph"]["id"]) == (None, False, "adding")
        native = (await ask.get("/v1/workflows/family/code")).json()
        assert [one["language"] for one in native["sources"]] == ["python"]
        assert (await ask.get("/v1/workflows/nobody/code")).status_code == 404


@in_loop
async def test_workers_say_what_they_have(journal: Journal) -> None:
    async with served(adding(journal), asking(journal)) as (ask, _):
        found = (await ask.get("/v1/workers")).json()
        [one] = found["details"]
        assert found["workers"] == [one["id"]]
        assert {name: one[name] for name in ("is_dead", "workflows", "hung_steps", "runs")} == {
            "is_dead": False,
            "workflows": ["adding", "asking"],
            "hung_steps": 0,
            "runs": 0,
        }


@in_loop
async def test_the_next_instants_of_a_schedule_are_told(journal: Journal) -> None:
    async with served(adding(journal)) as (ask, _):
        body = {"workflow": "adding", "cron": "0 3 * * *", "tz": "Europe/Berlin", "input": {"v": 1}}
        await ask.put("/v1/schedules/nightly", json=body)
        instants = (await ask.get("/v1/schedules/nightly/upcoming", params={"count": 3})).json()["instants"]
        times = [datetime.fromisoformat(one) for one in instants]
        assert len(times) == 3
        assert times == sorted(set(times))
        assert instants[0] == (await ask.get("/v1/schedules/nightly")).json()["next_at"]
        await ask.post("/v1/schedules/nightly/pause")
        assert (await ask.get("/v1/schedules/nightly/upcoming")).json() == {"instants": []}
        assert (await ask.get("/v1/schedules/nobody/upcoming")).status_code == 404


@in_loop
async def test_open_runs_are_held_against_what_a_workflow_starts_with_now(journal: Journal) -> None:
    store = MemoryStore()

    def flow(*after: Any) -> Any:
        made = create_workflow(id="asking").then(journal.inc()).then(journal.ask())
        for one in after:
            made = made.then(one)
        return made.commit()

    async with AppOn(store, workflows=[flow()], world=SystemWorld()) as app:
        for number in range(3):
            await (await app.start("asking", {"v": 1}, run_id=f"r{number}")).result()
    changed = create_workflow(id="asking").then(journal.dbl()).then(journal.ask()).commit()
    for workflow, fits in ((flow(journal.take()), True), (changed, False)):
        async with AppOn(store, workflows=[workflow], world=SystemWorld()) as app, asker(of_all(app)) as ask:
            await (await app.start("asking", {"v": 1}, run_id=f"new {fits}")).result()
            first = (await ask.post("/v1/workflows/asking/check", json={"most": 2})).json()
            assert (first["checked"], first["current"]) == (2, 1)
            rest = (await ask.post("/v1/workflows/asking/check", json={"most": 2, "after": first["next"]})).json()
            held = {one["run_id"]: one for one in [*first["runs"], *rest["runs"]]}
            assert held["r1"]["fits"] is fits
            assert (held["r1"]["problem"] is None, held["r1"]["seq"] is None) == (fits, fits)
            assert (await app.get("r1")).id == "r1"
            assert (await ask.post("/v1/workflows/nobody/check", json={})).status_code == 404
            assert (await ask.post("/v1/workflows/asking/check", json={"version": "v9"})).status_code == 404
