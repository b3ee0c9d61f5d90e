"""What is not let in, and how every failure is told: RFC 9457, with what to do."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from support.apps import AppOn, FlakyStore, Journal, in_loop
from support.served import adding, asker, asking, served, started

from cloche import Client, http
from cloche.errors import StoreError, StoreFailed, StoreUnavailable
from cloche.http import problems as http_problems
from cloche.http.gate import ONCE
from cloche.http.rates import STREAMS_MAX, Rates
from cloche.store import MemoryStore


def is_problem(answer: httpx.Response, status: int, code: str) -> bool:
    body = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "what_to_do"} <= body.keys()
    return (answer.status_code, body["status"], body["type"]) == (status, status, f"urn:cloche:error:{code}")


@in_loop
async def test_every_failure_is_a_problem_with_what_to_do(journal: Journal) -> None:
    async with served(asking(journal)) as (ask, _):
        await started(ask, "asking", {"v": 1}, "r1")
        start = "/v1/workflows/asking/runs"
        expected: list[tuple[httpx.Response, int, str]] = [
            (await ask.get("/v1/runs/nobody"), 404, "not-found"),
            (await ask.get("/v1/runs/%00"), 404, "not-found"),
            (await ask.post("/v1/workflows/unknown/runs", json={}), 404, "not-found"),
            (await ask.get("/v1/nothing"), 404, "no-such-path"),
            (await ask.put("/v1/runs/r1"), 405, "method-not-allowed"),
            (await ask.get("/v1/runs", params={"limit": 1001}), 422, "invalid-input"),
            (await ask.get("/v1/runs", params={"status": "odd"}), 422, "invalid-input"),
            (await ask.post(start, json={"unknown": 1}), 422, "invalid-input"),
            (await ask.post(start, content=b"{"), 422, "invalid-input"),
            (await ask.post(start, content=b"NaN"), 422, "invalid-input"),
            (await ask.post(start, content=b'{"input": 1e999}'), 422, "invalid-input"),
            (await ask.post(start, content=b"[" * 100_000), 422, "invalid-input"),
            (
                await ask.post(start, content=b"x", headers={"Content-Type": "text/plain"}),
                415,
                "unsupported-media-type",
            ),
            (
                await ask.post(start, content=b"\xff", headers={"Content-Type": "application/cbor"}),
                422,
                "invalid-input",
            ),
            (await ask.get("/v1/runs/r1", headers={"Accept": "text/html"}), 406, "not-acceptable"),
            (await ask.post("/v1/runs/r1/resume", json={"data": 1, "step": "other"}), 409, "not-suspended"),
            (await ask.post("/v1/runs/r1/events/%7F", json={}), 422, "invalid-input"),
        ]
        for number, (answer, status, code) in enumerate(expected):
            assert is_problem(answer, status, code), (number, answer.text)


@in_loop
async def test_what_a_worker_would_refuse_is_refused(journal: Journal) -> None:
    from pydantic import BaseModel

    from cloche import create_workflow

    class Numbers(BaseModel):
        v: int

    flow = create_workflow(id="adding", input_schema=Numbers).then(journal.inc()).commit()
    async with served(flow) as (ask, _):
        answer = await started(ask, "adding", {"v": "many"}, "r1")
        assert is_problem(answer, 422, "invalid-input")
        assert "v" in answer.json()["detail"]


@in_loop
async def test_a_store_that_is_away_is_503_without_its_name(journal: Journal) -> None:
    store = FlakyStore()
    async with AppOn(store, workflows=[adding(journal)]) as worker, asker(http.app(worker, auth=http.local)) as ask:
        store.faults.is_away = True
        answer = await ask.get("/v1/runs/r1")
        store.faults.is_away = False
        assert is_problem(answer, 503, "store-unavailable")
        assert (answer.headers["retry-after"], "nobody answers" in answer.text) == ("1", False)


@pytest.mark.parametrize(
    "error",
    [StoreUnavailable("pg-7.internal is away"), StoreFailed("/srv/runs.db was replaced")],
    ids=lambda one: one.code,
)
@in_loop
async def test_a_store_that_is_away_cannot_say_whose_a_token_is(
    error: StoreError, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever balances loads asks another server: it is no fault of this one's."""
    async with Client(MemoryStore()) as client, asker(http.app(client)) as ask:
        monkeypatch.setattr(type(client.connection.store), "token", _raising(error))
        answer = await ask.get("/v1/runs", headers={"Authorization": f"Bearer clk_{'a' * 12}_{'x' * 43}"})
        assert is_problem(answer, 503, error.code)
        assert (answer.headers["retry-after"], error.message in answer.text) == ("1", False)
        assert (error.message in caplog.text, "Traceback" in caplog.text) == (True, False)


def _raising(error: Exception) -> Any:
    async def token(store: Any, id: str) -> None:
        raise error

    return token


@in_loop
async def test_a_fault_of_ours_is_an_id_and_no_text(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    async with served(adding(journal)) as (ask, app):
        app.state.service.client = None
        answer = await ask.get("/v1/workers")
        assert is_problem(answer, 500, "internal")
        assert "NoneType" not in answer.text
        assert answer.json()["id"] in caplog.text


@in_loop
async def test_nothing_larger_than_the_bound_is_read(journal: Journal) -> None:
    async with served(adding(journal), body_bytes_max=1000) as (ask, _):
        large = b'{"input": "' + b"x" * 1000 + b'"}'

        async def in_pieces() -> Any:
            for at in range(0, len(large), 100):
                yield large[at : at + 100]

        start = "/v1/workflows/adding/runs"
        json = {"Content-Type": "application/json"}
        assert is_problem(await ask.post(start, content=large, headers=json), 413, "body-too-large")
        assert is_problem(await ask.post(start, content=in_pieces(), headers=json), 413, "body-too-large")


@in_loop
@pytest.mark.parametrize(
    ("headers", "is_let_in"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Origin": "http://127.0.0.1:4700"}, True),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
    ],
)
async def test_a_page_of_another_site_changes_nothing(
    journal: Journal, headers: dict[str, str], is_let_in: bool
) -> None:
    async with served(adding(journal)) as (ask, _):
        answer = await ask.post("/v1/workflows/adding/runs", json={"run_id": "r1"}, headers=headers)
        assert (answer.status_code == 201) is is_let_in
        assert is_let_in or is_problem(answer, 403, "cross-site")
        assert (await ask.get("/v1/runs/r1")).status_code == (200 if is_let_in else 404)


@in_loop
@pytest.mark.parametrize(
    ("host", "is_let_in"),
    [("localhost:4700", True), ("[::1]:4700", True), ("evil.example:4700", False), ("127.0.0.1.evil.example", False)],
)
async def test_without_tokens_the_server_has_the_names_of_its_machine_alone(
    journal: Journal, host: str, is_let_in: bool
) -> None:
    """A page may have a name of its own point at 127.0.0.1: what it asks for is then of its own site, to its browser."""
    async with served(adding(journal)) as (ask, _):
        answer = await ask.get("/v1/runs", headers={"Host": host})
        assert (answer.status_code == 200) is is_let_in
        assert is_let_in or is_problem(answer, 421, "unknown-host")


@in_loop
async def test_every_answer_forbids_what_a_browser_might_do_with_it(journal: Journal) -> None:
    async with served(adding(journal)) as (ask, _):
        answers = [await ask.get(place) for place in ("/v1/runs", "/v1/runs/nobody", "/v1/nothing", "/healthz")]
        answers += [await ask.get("/v1/runs", headers={"Host": "evil.example"})]
        for answer in answers:
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
            assert answer.headers["cache-control"] == "no-store"
            assert "access-control-allow-origin" not in answer.headers


@in_loop
async def test_too_many_headers_are_not_looked_at(journal: Journal) -> None:
    async with served(adding(journal)) as (ask, _):
        many = {f"X-{number}": "x" for number in range(101)}
        assert (await ask.get("/v1/runs", headers=many)).status_code == 431


@pytest.mark.parametrize("name", [one.decode() for one in ONCE])
@in_loop
async def test_a_header_that_decides_is_there_once(journal: Journal, name: str) -> None:
    """A proxy may go by the first of two and this server by the last: whoever sends two is refused, whatever they say."""
    async with served(adding(journal)) as (ask, _):
        once = await ask.get("/v1/runs", headers=[(name, "127.0.0.1:4700")])
        twice = await ask.get("/v1/runs", headers=[(name, "127.0.0.1:4700"), (name.title(), "127.0.0.1:4700")])
        assert once.status_code == 200
        assert is_problem(twice, 400, "usage")
        assert f"the header {name} is there twice" in twice.json()["detail"]


@in_loop
async def test_a_principal_asks_so_often_and_no_more(journal: Journal) -> None:
    async with served(adding(journal), requests_per_s=0.5, burst=2) as (ask, _):
        answers = [await ask.get("/v1/runs") for _ in range(3)]
        assert [one.status_code for one in answers] == [200, 200, 429]
        assert is_problem(answers[-1], 429, "too-many-requests")
        assert int(answers[-1].headers["retry-after"]) >= 1


def test_a_bucket_fills_again() -> None:
    now = 0.0
    rates = Rates(lambda: now, per_s=2, burst=3)
    for _ in range(3):
        rates.take("p")
    rates.take("other")
    with pytest.raises(http_problems.Refused):
        rates.take("p")
    now = 0.5
    rates.take("p")
    with pytest.raises(http_problems.Refused):
        rates.take("p")


def test_a_principal_has_so_many_streams() -> None:
    from contextlib import ExitStack

    rates = Rates(lambda: 0.0, per_s=1, burst=1)
    with ExitStack() as open_streams:
        for _ in range(STREAMS_MAX):
            open_streams.enter_context(rates.stream("p"))
        with pytest.raises(http_problems.Refused, match="streams are open"), rates.stream("p"):
            pass
        with rates.stream("other"):
            pass
    with rates.stream("p"):
        pass


@in_loop
async def test_health_needs_nobody_and_readiness_a_store(journal: Journal) -> None:
    async with served(adding(journal), auth=lambda scope: None) as (ask, app):
        assert (await ask.get("/healthz")).status_code == 200
        assert (await ask.get("/readyz")).json() == {"is_ok": True}
        assert is_problem(await ask.get("/v1/runs"), 401, "unauthenticated")
        app.drain()
        assert ((await ask.get("/healthz")).status_code, (await ask.get("/readyz")).status_code) == (200, 503)


@pytest.mark.parametrize(
    "raised", [SystemExit(3), StopIteration(), ValueError("no"), type("Odd", (BaseException,), {})()]
)
@in_loop
async def test_auth_that_raises_is_an_answer(journal: Journal, raised: BaseException) -> None:
    def auth(scope: Any) -> Any:
        raise raised

    async with served(adding(journal), auth=auth) as (ask, _):
        for _ in range(2):
            assert is_problem(await ask.get("/v1/runs"), 500, "internal")
