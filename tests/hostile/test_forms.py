"""Requests over HTTP, and answers to who asks, in forms that nobody means: refused in words, never a fault of the server."""

from __future__ import annotations

import json
from typing import Any

import cbor2
import httpx
import pytest
from support.apps import Journal, in_loop
from support.served import adding, asking, served, started

from cloche.client.remote.transport import problem_of
from cloche.errors import ClocheError

LONE, MANY = "\ud800", 10**5
JSON, CBOR = {"Content-Type": "application/json"}, {"Content-Type": "application/cbor"}
START, EVENT, RESUME, FORK = (
    "/v1/workflows/adding/runs",
    "/v1/runs/r1/events/paid",
    "/v1/runs/r1/resume",
    "/v1/runs/r1/fork",
)


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


BODIES: dict[str, tuple[str, bytes, dict[str, str]]] = {
    "half a character as a value": (START, as_json({"input": {"v": LONE}}), JSON),
    "half a character as a key": (START, as_json({"input": {LONE: 1}}), JSON),
    "half a character as a run's id": (START, as_json({"input": {"v": 1}, "run_id": LONE}), JSON),
    "half a character in the context": (START, as_json({"input": {"v": 1}, "request_context": {LONE: LONE}}), JSON),
    "half a character in an event": (EVENT, as_json({"payload": LONE}), JSON),
    "half a character as a step": (RESUME, as_json({"data": 1, "step": LONE}), JSON),
    "half a character as a label": (RESUME, as_json({"data": 1, "label": LONE}), JSON),
    "half a character as a place": (FORK, as_json({"at": LONE}), JSON),
    "half a character as a token's label": ("/v1/tokens", as_json({"role": "viewer", "label": LONE}), JSON),
    "half a character as source": (
        *("/v1/workflows/w/versions", as_json({"source": LONE, "language": "javascript"}), JSON),
    ),
    "half a character in a graph": ("/v1/workflows/w/versions", as_json({"graph": {"id": LONE, "nodes": []}}), JSON),
    "nothing between characters": (START, as_json({"input": {"v": 1}, "run_id": "a\0b"}), JSON),
    "a number that is none": (START, b'{"input": {"v": 1e999}}', JSON),
    "a number of many digits": (START, b'{"input": {"v": %s}}' % (b"9" * MANY), JSON),
    "an index beyond all": (RESUME, as_json({"data": 1, "foreach_index": 10**30}), JSON),
    "a value of many depths": (START, b'{"input": %s1%s}' % (b"[" * MANY, b"]" * MANY), JSON),
    "a key that is there twice": (START, b'{"input": {"v": 1, "v": 2}, "input": {"v": 3}}', JSON),
    "a text that is no UTF-8": (START, b'{"input": "\xff"}', JSON),
    "UTF-16": (START, as_json({"input": {"v": 1}}).decode().encode("utf-16"), JSON),
    "CBOR without an end": (START, b"\xbf", CBOR),
    "CBOR that shares": (START, cbor2.dumps({"input": [x := [1], x]}, value_sharing=True), CBOR),
    "CBOR of many depths": (START, b"\x81" * MANY, CBOR),
    "CBOR with a key that is none": (START, cbor2.dumps({"input": {1: 2}}), CBOR),
    "CBOR that says a size": (START, b"\xa1\x65input\x9b\x00\xff\xff\xff\xff\xff\xff\xff", CBOR),
    "a token that lasts for ever": ("/v1/tokens", b'{"role": "viewer", "lasts_s": 1e308}', JSON),
    "a token that lasted": ("/v1/tokens", b'{"role": "viewer", "lasts_s": -1}', JSON),
}


@pytest.mark.parametrize(("place", "body", "headers"), BODIES.values(), ids=BODIES)
@in_loop
async def test_a_body_in_a_form_that_nobody_means(place: str, body: bytes, headers: dict[str, str]) -> None:
    journal = Journal()
    async with served(adding(journal), asking(journal)) as (ask, _):
        await started(ask, "asking", {"v": 1}, "r1")
        answer = await ask.post(place, content=body, headers={**headers, "Prefer": "wait=5"})
        assert answer.status_code < 500, answer.text
        assert answer.status_code < 400 or answer.json()["type"].startswith("urn:cloche:error:"), answer.text
        assert (await ask.get("/v1/runs/r1")).json()["status"] == "suspended"


READS = {
    "a page after all": ("/v1/runs/r1/log", {"after": str(2**53)}, {}),
    "a page after what is no number": ("/v1/runs/r1/log", {"after": "1e3"}, {}),
    "a cursor that is no text": ("/v1/runs", {"cursor": "_w"}, {}),
    "a cursor with nothing in it": ("/v1/runs", {"cursor": "AAAA"}, {}),
    "a workflow with nothing in it": ("/v1/runs", {"workflow": "\0"}, {}),
    "a record of many digits": ("/v1/runs/r1/records/" + "9" * 5000, {}, {}),
    "a record below the first": ("/v1/runs/r1/records/-1", {}, {}),
    "a range of many digits": ("/v1/runs/r1/records/1/body", {}, {"Range": f"bytes={'9' * 5000}-"}),
    "a range of nothing": ("/v1/runs/r1/records/1/body", {}, {"Range": "bytes=-0"}),
    "a range in other digits": ("/v1/runs/r1/records/1/body", {}, {"Range": b"bytes=\xb2-"}),
    "a wait that is no number": ("/v1/runs/r1/result", {}, {"Prefer": "wait=1e309, wait=nan"}),
    "a thousand likings": ("/v1/runs/r1", {}, {"Accept": ",".join(["a/b;q=0.1"] * 1000)}),
    "a stream after all": ("/v1/runs/r1/events", {}, {"Last-Event-ID": "9" * 5000}),
    "a tenant that is none": ("/v1/runs", {}, {"Cloche-Tenant": "a/../b\\"}),
    "a tenant of other bytes": ("/v1/runs", {}, {"Cloche-Tenant": b"\xff\xfe"}),
    "a path of half a character": ("/v1/runs/%ED%A0%80", {}, {}),
    "a path with a directory in it": ("/v1/runs/..%2F..%2Fr1/export", {}, {}),
}


@pytest.mark.parametrize(("place", "parameters", "headers"), READS.values(), ids=READS)
@in_loop
async def test_a_question_in_a_form_that_nobody_means(place: str, parameters: Any, headers: Any) -> None:
    journal = Journal()
    async with served(asking(journal)) as (ask, _):
        await started(ask, "asking", {"v": 1}, "r1")
        async with ask.stream("GET", place, params=parameters, headers=headers) as answer:
            assert answer.status_code < 500, await answer.aread()


@pytest.mark.parametrize("key", ["\x7f", "a" * 201, "é" * 150, "\u200b"])
@in_loop
async def test_a_key_that_does_not_show_is_none(key: str) -> None:
    journal = Journal()
    async with served(asking(journal)) as (ask, _):
        await started(ask, "asking", {"v": 1}, "r1")
        answer = await ask.post(EVENT, json={"payload": 1}, headers={b"Idempotency-Key": key.encode()})
        assert 400 <= answer.status_code < 500


ANSWERS: dict[str, bytes] = {
    "a list": b"[]",
    "a number": b"7",
    "nothing": b"",
    "facts that are called like arguments": b'{"type": "urn:cloche:error:not-found", "detail": "x", "message": 1, "self": 2}',
    "a detail that is none": b'{"type": "urn:cloche:error:usage", "detail": {"a": 1}}',
    "an error of the base": b'{"type": "urn:cloche:error:cloche", "detail": "x"}',
    "many depths": b"[" * MANY,
}


@pytest.mark.parametrize("body", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("status", [401, 404, 422, 503])
def test_a_server_that_refuses_in_another_form(body: bytes, status: int) -> None:
    answer = httpx.Response(status, content=body, request=httpx.Request("GET", "http://server/v1/runs"))
    error = problem_of(answer)
    assert isinstance(error, ClocheError)
    assert isinstance(error.message, str)
