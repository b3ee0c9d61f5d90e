"""The document of the API: whatever it refers to is in it, so that clients can be made of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
from support.apps import Journal, in_loop
from support.served import adding, served


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            yield from references(one)


def found(document: Any, reference: str) -> Any:
    for name in reference.removeprefix("#/").split("/"):
        document = document.get(name) if isinstance(document, dict) else None
    return document


@in_loop
async def test_what_it_refers_to_is_there(journal: Journal) -> None:
    async with served(adding(journal)) as (ask, _):
        document = (await ask.get("/openapi.json")).json()
        there = sorted(set(references(document)))
        assert len(there) > 60
        assert [one for one in there if found(document, one) is None] == []
        assert document["openapi"].startswith("3.1.")


@in_loop
async def test_a_body_that_must_be_there_is_said_to_be(journal: Journal) -> None:
    """A request without one is an empty object: where members of it are required, that is none."""
    async with served(adding(journal)) as (ask, _):
        paths = (await ask.get("/openapi.json")).json()["paths"]
        required = {
            path: one["post"].get("requestBody", {}).get("required") for path, one in paths.items() if "post" in one
        }
        assert (required["/v1/bulk"], required["/v1/runs/{run_id}/cancel"]) == (True, False)
        assert required["/v1/workflows/{workflow}/versions"]  # one of its members has to be there
        assert paths["/v1/webhooks/{name}"]["put"]["requestBody"]["required"]
        assert (await ask.post("/v1/bulk")).status_code == 422


@in_loop
async def test_an_integer_may_be_written_with_a_point(journal: Journal) -> None:
    """As JSON Schema has it, and languages with one kind of number write it."""
    async with served(adding(journal)) as (ask, _):
        poll = {"steps": ["nobody-sends-this"], "wait_s": 0}
        answers = [
            (await ask.post("/v1/steps/poll", json={**poll, "most": most})).status_code for most in (2, 2.0, 2.5, "2")
        ]
        assert answers == [200, 200, 422, 422]


@in_loop
async def test_a_method_that_is_not_there_is_answered_with_all_that_are(journal: Journal) -> None:
    """Of an address as the document has it, whichever of its routes the framework came to first."""
    async with served(adding(journal)) as (ask, _):
        paths = (await ask.get("/openapi.json")).json()["paths"]
        told = {path: (await ask.request("TRACE", _place(path))).headers.get("allow") for path in paths}
        assert told == {path: ", ".join(sorted(map(str.upper, methods))) for path, methods in paths.items()}


def _place(path: str) -> str:
    return path.replace("{", "").replace("}", "")


@in_loop
async def test_a_time_is_no_number(journal: Journal) -> None:
    async with served(adding(journal)) as (ask, _):
        for path in ("/v1/runs", "/v1/failures", "/v1/top"):
            answers = [
                (await ask.get(path, params={"since": one})).status_code for one in ("0.5", "1767225600", "2026-01-01")
            ]
            assert answers == [422, 422, 200], path


@in_loop
async def test_one_of_these_is_said_and_held(journal: Journal) -> None:
    """The server accepts what the document's form of a schedule does, and refuses what it does not."""
    async with served(adding(journal)) as (ask, _):
        document = (await ask.get("/openapi.json")).json()
        form = {**document["components"]["schemas"]["ScheduleBody"], "components": document["components"]}
        whens: list[dict[str, Any]] = [{}, {"cron": "0 9-17 * * MON-FRI"}, {"every": 60}, {"at": "2030-01-31T08:00"}]
        whens += [{"cron": "0 9 * * *", "every": 60}, {"every": 60, "at": None}, {"every": "60"}, {"at": "1969-12-31"}]
        bodies = [{"workflow": "adding", "input": 1, **when} for when in whens]
        answers = [(await ask.put("/v1/schedules/s", json=body)).status_code for body in bodies]
        assert answers == [422, 200, 200, 200, 422, 200, 422, 422]
        allowed = [jsonschema_rs.is_valid(form, body) for body in bodies]
        assert allowed == [status == 200 for status in answers]
