"""Runs are started and moved over HTTP; the same request again is the same request."""

from __future__ import annotations

import pytest
from guest.cells import python_module
from support.apps import Journal, in_loop
from support.served import adding, asking, served, started

from cloche.http import app as http_app
from cloche.http import local


@in_loop
async def test_the_same_start_again_is_the_same_run(journal: Journal) -> None:
    async with served(adding(journal)) as (ask, _):
        first, again = [await started(ask, "adding", {"v": 1}, "r1") for _ in range(2)]
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json()["result"] == again.json()["result"] == {"v": 2}
        other = await started(ask, "adding", {"v": 2}, "r1")
        assert (other.status_code, other.json()["type"]) == (409, "urn:cloche:error:run-conflict")
        assert journal.began == ["inc"]


@in_loop
async def test_a_key_names_a_run(journal: Journal) -> None:
    async with served(adding(journal)) as (ask, _):
        place, headers = "/v1/workflows/adding/runs", {"Idempotency-Key": "order 17"}
        answers = [await ask.post(place, json={"input": {"v": 1}}, headers=headers) for _ in range(2)]
        assert [one.status_code for one in answers] == [201, 200]
        assert answers[0].json()["id"] == answers[1].json()["id"]
        other = await ask.post(place, json={"input": {"v": 1}}, headers={"Idempotency-Key": "order 18"})
        assert other.json()["id"] != answers[0].json()["id"]


@in_loop
@pytest.mark.parametrize("id", [".", ".."])
async def test_a_run_that_would_have_no_address_is_refused(journal: Journal, id: str) -> None:
    async with served(adding(journal)) as (ask, _):
        answer = await started(ask, "adding", {"v": 1}, id)
        assert answer.status_code == 422
        assert f"a run '{id}' would have no address: give it another id" in answer.text


@in_loop
async def test_a_start_that_is_not_over_in_time_is_accepted(journal: Journal) -> None:
    from cloche import create_workflow

    sleeping = create_workflow(id="sleeping").sleep(60).commit()
    async with served(sleeping) as (ask, _):
        answer = await ask.post("/v1/workflows/sleeping/runs", json={"run_id": "r1"}, headers={"Prefer": "wait=1"})
        assert (answer.status_code, answer.json()["id"]) == (202, "r1")
        assert answer.headers["preference-applied"] == "wait=1"


@in_loop
async def test_data_with_a_key_is_given_once(journal: Journal) -> None:
    async with served(asking(journal)) as (ask, _):
        await started(ask, "asking", {"v": 1}, "r1")
        headers = {"Idempotency-Key": "k"}
        first = await ask.post("/v1/runs/r1/resume", json={"data": {"add": 1}}, headers=headers)
        assert (first.status_code, first.json()) == (202, {"paths": ["ask"]})
        await ask.get("/v1/runs/r1/result", headers={"Prefer": "wait=1"})
        again = await ask.post("/v1/runs/r1/resume", json={"data": {"add": 1}}, headers=headers)
        assert (again.status_code, again.json()) == (200, {"paths": None})
        late = await ask.post("/v1/runs/r1/resume", json={"data": {"add": 1}})
        assert (late.status_code, late.json()["type"]) == (409, "urn:cloche:error:not-suspended")


@in_loop
async def test_an_event_with_a_key_is_delivered_once(journal: Journal) -> None:
    async with served(asking(journal)) as (ask, _):
        await started(ask, "asking", {"v": 1}, "r1")
        await ask.post("/v1/runs/r1/resume", json={"data": {"add": 1}})
        headers = {"Idempotency-Key": "k"}
        first = await ask.post("/v1/runs/r1/events/paid", json={"payload": 7}, headers=headers)
        assert (first.status_code, first.json()) == (202, {"is_new": True})
        done = await ask.get("/v1/runs/r1/result", headers={"Prefer": "wait=20"})
        assert done.json()["result"] == 7
        again = await ask.post("/v1/runs/r1/events/paid", json={"payload": 7}, headers=headers)
        assert (again.status_code, again.json()) == (200, {"is_new": False})


@in_loop
async def test_a_run_is_canceled(journal: Journal) -> None:
    async with served(asking(journal)) as (ask, _):
        await started(ask, "asking", {"v": 1}, "r1")
        assert [(await ask.post("/v1/runs/r1/cancel")).status_code for _ in range(2)] == [202, 202]
        done = await ask.get("/v1/runs/r1/result", headers={"Prefer": "wait=20"})
        assert done.json()["status"] == "canceled"


@in_loop
async def test_what_can_be_started_is_listed(journal: Journal) -> None:
    async with served(adding(journal)) as (ask, _):
        listed = (await ask.get("/v1/workflows")).json()["workflows"]
        assert listed == [{"id": "adding", "input_schema": None, "is_registered": True, "versions": []}]


SOURCE = "export default async (data) => ({ doubled: data.v * 2 });"


@in_loop
async def test_a_tenant_deploys_starts_and_withdraws(journal: Journal) -> None:
    async with served() as (ask, _):
        acme = {"Cloche-Tenant": "acme"}
        place = "/v1/workflows/twice/versions"
        made = await ask.post(place, json={"source": SOURCE, "language": "javascript"}, headers=acme)
        assert (made.status_code, made.json()["workflow"]) == (201, "twice")
        assert (await started(ask, "twice", {"v": 4}, "r1", **acme)).json()["result"] == {"doubled": 8}
        assert (await started(ask, "twice", {"v": 4}, "r1")).status_code == 404  # of another tenant
        listed = (await ask.get(place, headers=acme)).json()["versions"]
        assert [one["id"] for one in listed] == [made.json()["id"]]
        assert (await ask.delete(f"/v1/versions/{listed[0]['id']}", headers=acme)).status_code == 204
        assert (await started(ask, "twice", {"v": 5}, "r2", **acme)).status_code == 404
        broken = await ask.post(place, json={"source": "export default (", "language": "javascript"}, headers=acme)
        assert (broken.status_code, broken.json()["type"]) == (422, "urn:cloche:error:deploy-refused")


FILES = {
    "main.py": "from cloche import workflow\nfrom shop import rules\n@workflow\nasync def main(input):\n"
    "    return rules.double(input['v']) + len(open(rules.DATA, 'rb').read())\n",
    "shop/__init__.py": "",
    "shop/rules.py": "DATA = __file__.replace('rules.py', 'data.bin')\ndef double(x): return 2 * x\n",
    "shop/data.bin": {"base64": "AP8="},
}


@in_loop
async def test_a_tenant_deploys_several_files(journal: Journal) -> None:
    python_module()  # or this is skipped
    async with served() as (ask, _):
        place = "/v1/workflows/twice/versions"
        made = await ask.post(place, json={"files": FILES})
        assert made.status_code == 201
        assert (await ask.post(place, json={"files": FILES})).json()["digest"] == made.json()["digest"]
        assert (await started(ask, "twice", {"v": 4}, "r1")).json()["result"] == 10


@in_loop
async def test_what_cannot_be_deployed_is_refused_by_its_place(journal: Journal) -> None:
    async with served() as (ask, _):
        place = "/v1/workflows/twice/versions"
        both = await ask.post(place, json={"files": FILES, "source": SOURCE, "language": "javascript"})
        assert both.json()["detail"] == "give a graph, a source, or files, and one of them"
        for files, main in (
            (FILES, "app.py"),
            ({**FILES, "../x.py": ""}, "main.py"),
            ({**FILES, "a": {"base64": "%"}}, "main.py"),
        ):
            refused = await ask.post(place, json={"files": files, "main": main})
            assert refused.status_code in (400, 422), refused.text


@in_loop
async def test_a_run_is_forked_where_it_is_executed(journal: Journal) -> None:
    async with served(adding(journal)) as (ask, _):
        await started(ask, "adding", {"v": 1}, "r1")
        body = {"at": "inc", "input": {"v": 9}, "has_input": True, "run_id": "r2"}
        assert (await ask.post("/v1/runs/r1/fork", json=body)).status_code == 201
        done = await ask.get("/v1/runs/r2/result", headers={"Prefer": "wait=20"})
        assert done.json()["result"] == {"v": 10}


@in_loop
async def test_a_server_that_executes_nothing_serves_what_a_client_can(journal: Journal) -> None:
    from cloche import Client
    from cloche.store import MemoryStore

    client = Client(MemoryStore())
    paths = http_app(client, auth=local).openapi()["paths"]
    assert "/v1/runs/{run_id}/resume" in paths
    assert not {"/v1/runs/{run_id}/fork", "/v1/versions/{version}"} & paths.keys()


@in_loop
async def test_a_run_that_no_worker_has_begun_is_pending(journal: Journal) -> None:
    from support.served import asker

    from cloche import Client
    from cloche.store import MemoryStore

    async with Client(MemoryStore()) as client, asker(http_app(client, auth=local)) as ask:
        made = await ask.post("/v1/workflows/adding/runs", json={"input": {"v": 1}, "run_id": "r1"})
        assert (made.status_code, made.json()) == (201, {"id": "r1", "status": "pending"})
        run = (await ask.get("/v1/runs/r1")).json()
        assert (run["status"], run["records"], run["created_at"]) == ("pending", 0, None)
        assert "no worker has workflow 'adding'" in run["why"]["sentence"]
        assert (await ask.post("/v1/runs/r1/cancel")).status_code == 202
        assert (await ask.get("/v1/runs/r1/result")).status_code == 409
