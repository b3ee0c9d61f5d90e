"""Runs over HTTP: listed, read, followed, carried and deleted, in the forms of the API."""

from __future__ import annotations

from typing import Any

import pytest
from support.apps import Journal, in_loop
from support.served import adding, asking, served, started

from cloche import create_workflow
from cloche.history.check import decode_sequence
from cloche.history.ids import DEFAULT_TENANT, RunId, RunKey, Seq
from cloche.history.records import genesis, unpack_record


@in_loop
async def test_a_run_is_where_it_stands(journal: Journal) -> None:
    async with served(asking(journal)) as (ask, _):
        await started(ask, "asking", {"v": 1}, "r1")
        run = (await ask.get("/v1/runs/r1")).json()
        assert {name: run[name] for name in ("id", "tenant", "workflow", "status", "blocked", "is_owned")} == {
            "id": "r1",
            "tenant": "default",
            "workflow": "asking",
            "status": "suspended",
            "blocked": None,
            "is_owned": False,
        }
        assert run["why"]["kind"] == "suspended"
        assert [action["href"] for action in run["why"]["actions"]] == ["resume", "events/{name}", "cancel"]


@in_loop
async def test_an_answer_that_is_known_is_not_sent_again(journal: Journal) -> None:
    async with served(asking(journal)) as (ask, _):
        await started(ask, "asking", {"v": 1}, "r1")
        tag = (await ask.get("/v1/runs/r1")).headers["etag"]
        again = await ask.get("/v1/runs/r1", headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        await ask.post("/v1/runs/r1/resume", json={"data": {"add": 1}})
        await ask.get("/v1/runs/r1/result", headers={"Prefer": "wait=1"})
        assert (await ask.get("/v1/runs/r1", headers={"If-None-Match": tag})).status_code == 200


@in_loop
async def test_runs_are_listed_page_by_page(journal: Journal) -> None:
    async with served(adding(journal), asking(journal)) as (ask, _):
        for number in range(5):
            await started(ask, "adding", {"v": number}, f"r{number}")
        await started(ask, "asking", {"v": 1}, "other")
        seen: list[str] = []
        cursor: str | None = None
        while True:
            given: dict[str, str] = {"cursor": cursor} if cursor else {}
            page = await ask.get("/v1/runs", params={"limit": 2, "workflow": "adding", **given})
            seen += [run["id"] for run in page.json()["runs"]]
            cursor = page.json()["next"]
            assert (cursor is not None) == ('rel="next"' in page.headers.get("link", ""))
            if cursor is None:
                break
        assert seen == ["r4", "r3", "r2", "r1", "r0"]
        suspended = await ask.get("/v1/runs", params={"status": "suspended"})
        assert [run["id"] for run in suspended.json()["runs"]] == ["other"]
        nothing: dict[str, Any] = {"runs": [], "next": None, "not_begun": []}
        assert (await ask.get("/v1/runs", params={"cursor": "nobody-gave-this"})).json() == nothing
        either = await ask.get("/v1/runs", params={"status": ["suspended", "failed"]})
        assert [run["id"] for run in either.json()["runs"]] == ["other"]


@in_loop
async def test_a_result_is_waited_for(journal: Journal) -> None:
    async with served(asking(journal)) as (ask, _):
        await started(ask, "asking", {"v": 1}, "r1")
        first = await ask.get("/v1/runs/r1/result")
        assert (first.status_code, first.json()["suspended"]) == (200, [["ask"]])
        await ask.post("/v1/runs/r1/resume", json={"data": {"add": 41}})
        await ask.post("/v1/runs/r1/events/paid", json={"payload": "all"})
        last = await ask.get("/v1/runs/r1/result", headers={"Prefer": "respond-async, wait=20"})
        assert (last.status_code, last.json()["status"], last.json()["result"]) == (200, "success", "all")
        assert last.json()["steps"]["ask"]["output"] == {"v": 42}


@in_loop
async def test_records_come_by_page_with_as_much_of_them_as_is_asked_for(journal: Journal) -> None:
    async with served(adding(journal)) as (ask, _):
        await started(ask, "adding", {"v": 1, "text": "x" * 5000}, "r1")
        page = (await ask.get("/v1/runs/r1/log", params={"limit": 3})).json()
        assert ([one["seq"] for one in page["records"]], page["next"]) == ([1, 2, 3], 3)
        [large] = [one for one in page["records"] if one["kind"] == "run_started"]
        assert (large["is_whole"], large["body"], large["size"] > 5000) == (False, None, True)
        rest = (await ask.get("/v1/runs/r1/log", params={"after": 3, "bodies": "none"})).json()
        assert {one["is_whole"] for one in rest["records"]} == {False}
        assert rest["next"] is None
        whole = (await ask.get("/v1/runs/r1/log", params={"bodies": "full"})).json()
        assert {one["is_whole"] for one in whole["records"]} == {True}


@in_loop
async def test_records_as_they_are_stored_can_be_verified(journal: Journal) -> None:
    async with served(adding(journal)) as (ask, _):
        await started(ask, "adding", {"v": 1}, "r1")
        answer = await ask.get("/v1/runs/r1/log", headers={"Accept": "application/cbor-seq"})
        assert answer.headers["content-type"] == "application/cbor-seq"
        previous = genesis(RunKey(DEFAULT_TENANT, RunId("r1")))
        items: Any = decode_sequence(answer.content)
        for seq, (packed, hash) in enumerate(items, 1):
            previous = unpack_record(packed, hash, previous=previous, expected=Seq(seq)).hash
        assert (await ask.get("/v1/runs/r1")).json()["head_hash"] == previous.hex()


@in_loop
async def test_a_body_comes_whole_or_in_ranges(journal: Journal) -> None:
    async with served(adding(journal)) as (ask, _):
        await started(ask, "adding", {"v": 1, "text": "x" * 5000}, "r1")
        place = "/v1/runs/r1/records/2/body"
        whole = await ask.get(place)
        assert whole.headers["content-type"] == "application/cbor"
        part = await ask.get(place, headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, whole.content[10:20])
        assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"
        last = await ask.get(place, headers={"Range": "bytes=-5"})
        assert last.content == whole.content[-5:]
        beyond = await ask.get(place, headers={"Range": f"bytes={len(whole.content)}-"})
        assert beyond.status_code == 416
        known = await ask.get(place, headers={"If-None-Match": whole.headers["etag"]})
        assert known.status_code == 304
        stale = await ask.get(place, headers={"Range": "bytes=0-1", "If-Range": '"another"'})
        assert (stale.status_code, stale.content) == (200, whole.content)
        as_json = await ask.get(place, headers={"Accept": "application/json"})
        assert "x" * 5000 in as_json.text
        assert (await ask.get("/v1/runs/r1/records/99/body")).status_code == 404


@in_loop
async def test_values_that_json_cannot_hold_come_as_cbor(journal: Journal) -> None:
    from cloche.operations.forms import from_cbor, to_cbor

    flow = create_workflow(id="same").then(journal.take()).commit()
    async with served(flow) as (ask, _):
        body = to_cbor({"input": {"raw": b"\x00\xff", "n": float("inf")}, "run_id": "r1"})
        headers = {"Content-Type": "application/cbor", "Accept": "application/cbor", "Prefer": "wait=20"}
        answer = await ask.post("/v1/workflows/same/runs", content=body, headers=headers)
        assert from_cbor(answer.content)["result"] == {"raw": b"\x00\xff", "n": float("inf")}
        as_json = (await ask.get("/v1/runs/r1/result")).json()
        assert as_json["result"] == {"raw": "hex:00ff", "n": "Infinity"}


@in_loop
async def test_code_and_graph_are_those_that_the_run_is_pinned_to(journal: Journal) -> None:
    async with served(adding(journal)) as (ask, _):
        await started(ask, "adding", {"v": 1}, "r1")
        assert (await ask.get("/v1/runs/r1/graph")).json()["id"] == "adding"
        source = (await ask.get("/v1/runs/r1/source")).json()
        assert source["language"] == "javascript"
        assert "inc" in {line["node"].rpartition("/")[2] for line in source["map"]}


@in_loop
async def test_a_run_is_exported_deleted_and_never_begun_again(journal: Journal) -> None:
    async with served(adding(journal)) as (ask, app):
        await started(ask, "adding", {"v": 1}, "r1")
        exported = await ask.get("/v1/runs/r1/export")
        assert exported.content == await app.state.service.client.export("r1")
        assert (await ask.delete("/v1/runs/r1")).status_code == 204
        assert (await ask.get("/v1/runs/r1")).status_code == 404
        assert (await started(ask, "adding", {"v": 1}, "r1")).status_code == 409


@in_loop
async def test_a_run_that_goes_on_is_not_deleted(journal: Journal) -> None:
    async with served(asking(journal)) as (ask, _):
        await started(ask, "asking", {"v": 1}, "r1")
        refused = await ask.delete("/v1/runs/r1")
        assert (refused.status_code, "only a run that has ended" in refused.json()["detail"]) == (409, True)


@pytest.mark.parametrize("id", ["a/b", "...", "ü%2F", "a?b#c", "order 17"])
def test_an_id_may_hold_what_a_path_is_made_of(journal: Journal, id: str) -> None:
    from urllib.parse import quote

    @in_loop
    async def asked() -> None:
        async with served(adding(journal)) as (ask, _):
            made = await started(ask, "adding", {"v": 1}, id)
            assert made.json()["run_id"] == id
            place = made.headers["location"]
            assert place == f"/v1/runs/{quote(id, safe='')}"
            assert (await ask.get(place)).json()["id"] == id
            assert (await ask.get(f"{place}/result")).json()["run_id"] == id

    asked()


@in_loop
async def test_runs_are_found_by_tag_error_and_text(journal: Journal) -> None:
    failing = create_workflow(id="failing").then(journal.boom()).commit()
    async with served(adding(journal), failing) as (ask, _):
        for number in range(2):
            body = {"input": {"v": number}, "run_id": f"r{number}", "tags": {"n": str(number)}}
            await ask.post("/v1/workflows/failing/runs", json=body, headers={"Prefer": "wait=5"})
        for given, found in (
            ({"tag": "n=1"}, ["r1"]),
            ({"error": "RuntimeError", "step": "boom"}, ["r1", "r0"]),
            ({"text": "BOOM"}, ["r1", "r0"]),
            ({"until": "2001-01-01T00:00:00Z"}, []),
        ):
            page = (await ask.get("/v1/runs", params=given)).json()
            assert [run["id"] for run in page["runs"]] == found
        [group] = (await ask.get("/v1/failures")).json()["failures"]
        assert (group["error"], group["step"], group["count"], group["example"]) == ("RuntimeError", "boom", 2, "r1")


@in_loop
async def test_a_run_says_why_it_failed_and_is_retried(journal: Journal) -> None:
    failing = create_workflow(id="failing").then(journal.boom()).commit()
    async with served(failing) as (ask, _):
        await ask.post(
            "/v1/workflows/failing/runs", json={"input": {"v": 1}, "run_id": "r1"}, headers={"Prefer": "wait=5"}
        )
        why = (await ask.get("/v1/runs/r1/why")).json()
        assert (why["kind"], why["step"], why["last_error"]["name"]) == ("ended", "boom", "RuntimeError")
        assert [action["href"] for action in why["actions"]] == ["retry", "."]
        made = await ask.post("/v1/runs/r1/retry")
        assert (made.status_code, made.json()["id"], made.headers["location"]) == (
            201,
            "r1\x1fr1",
            "/v1/runs/r1%1Fr1",
        )
        assert (await ask.get("/v1/runs/r1/why")).json()["retried_as"] == ["r1\x1fr1"]
        assert (await ask.get("/v1/runs/nobody/why")).status_code == 404
        assert (await ask.post("/v1/runs/nobody/retry")).status_code == 404
