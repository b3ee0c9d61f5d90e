"""Requests that are meant to hold a server up: slow ones, large ones, deep ones, compressed ones, and many."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from support.apps import AppOn, Journal, in_loop
from support.served import adding, served

from cloche import http
from cloche.http import gate, server
from cloche.http.server import Server
from cloche.run.clock import SystemWorld
from cloche.store import MemoryStore

START = "/v1/workflows/adding/runs"


@pytest.fixture
def journal() -> Journal:
    return Journal()


@asynccontextmanager
async def listening(journal: Journal) -> AsyncIterator[int]:
    """The port of a real server."""
    async with AppOn(MemoryStore(), workflows=[adding(journal)], world=SystemWorld()) as app:
        serving = Server("127.0.0.1", 0)
        running = asyncio.create_task(serving.run(http.app(app, auth=http.local)))
        try:
            yield serving.port
        finally:
            serving.end()
            await running


async def sent(port: int, data: bytes) -> bytes:
    """What comes back until the server closes the connection; it is kept open from here."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        await writer.drain()
        return await asyncio.wait_for(reader.read(), 60)
    except ConnectionError:  # it was closed while more was on its way: the answer may be lost with it
        return b""
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def head(*more: str, method: str = "POST", place: str = START) -> bytes:
    lines = [f"{method} {place} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json", *more, "", ""]
    return "\r\n".join(lines).encode()


async def is_well(port: int) -> bool:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as ask:
        return (await ask.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    "said", [b"", b"GET /healthz HT", head()[:-2], b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nx: "]
)
@in_loop
async def test_a_head_that_does_not_come_keeps_no_connection(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(server, "HEAD_S", 0.2)
    async with listening(journal) as port:
        assert await sent(port, said) == b""
        assert await is_well(port)


@in_loop
async def test_neither_does_the_head_of_a_second_request(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_S", 0.2)
    async with listening(journal) as port:
        whole = head(method="GET", place="/healthz")
        answer = await sent(port, whole + b"GET /healthz HT")
        assert answer.count(b"HTTP/1.1 200") == 1


@pytest.mark.parametrize("form", ["content-length: 100", "transfer-encoding: chunked"])
@in_loop
async def test_a_body_that_does_not_come_is_not_waited_for(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(gate, "BODY_S", 0.2)
    async with listening(journal) as port:
        part = b"1\r\n{\r\n" if "chunked" in form else b"{"
        answer = await sent(port, head(form) + part)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"urn:cloche:error:body-too-slow" in answer
        assert await is_well(port)


@in_loop
async def test_a_body_that_comes_byte_by_byte_is_not_waited_for(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part is in time, and the whole is not."""
    monkeypatch.setattr(gate, "BODY_S", 0.3)
    async with listening(journal) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head("content-length: 100000"))
        reading = asyncio.create_task(reader.read())
        while not reading.done():
            writer.write(b" ")
            await asyncio.sleep(0.02)
        assert reading.exception() or reading.result().startswith(b"HTTP/1.1 408")
        writer.close()
        assert await is_well(port)


@in_loop
async def test_chunks_without_end_are_cut_at_the_bound(journal: Journal) -> None:
    async with listening(journal) as port:
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        answer = await sent(port, head("transfer-encoding: chunked") + chunk * 20)
        assert answer[:12] in (b"HTTP/1.1 413", b"")
        assert await is_well(port)


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"[" * 500_000, 422), (b'{"input": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", 422),
     (b'{"input": ' + b"9" * 500_000 + b"}", 422), (b'{"input": NaN}', 422),
     (b'{"a": 1, ' * 100_000, 422), (b"\xff\xfe", 422), (b'"' + b"\\u0000" * 100_000 + b'"', 422),
     (b'{"run_id": "' + b"x" * 1_000_000 + b'"}', 422)],
    ids=lambda one: repr(one[:16]) if isinstance(one, bytes) else str(one),
)  # fmt: skip
@in_loop
async def test_json_that_is_large_deep_or_none_is_a_problem(journal: Journal, body: bytes, status: int) -> None:
    async with served(adding(journal)) as (ask, _):
        answer = await ask.post(START, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
@in_loop
async def test_nothing_is_unpacked(journal: Journal, coding: str) -> None:
    """A bomb of kilobytes that would be gigabytes stays as it is."""
    bomb = gzip.compress(b" " * 10_000_000)
    async with served(adding(journal)) as (ask, _):
        headers = {"Content-Type": "application/json", "Content-Encoding": coding}
        answer = await ask.post(START, content=bomb, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (415, "urn:cloche:error:unsupported-media-type")


@pytest.mark.parametrize(
    "kind", ["text/xml", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", ""]
)
@in_loop
async def test_a_body_of_another_type_is_not_read(journal: Journal, kind: str) -> None:
    async with served(adding(journal)) as (ask, _):
        answer = await ask.post(START, content=b'{"input": 1}', headers={"Content-Type": kind})
        assert answer.status_code == 415


@pytest.mark.parametrize("more", [["x: " + "y" * 100_000], [f"x-{number}: y" for number in range(10_000)]])
@in_loop
async def test_a_head_that_is_too_large_is_not_read(journal: Journal, more: list[str]) -> None:
    async with listening(journal) as port:
        answer = await sent(port, head(*more, method="GET", place="/healthz"))
        assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 431")
        assert await is_well(port)


@in_loop
async def test_many_connections_of_one_client_hold_up_nobody(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds that say half of a head: others are answered meanwhile, and these are closed."""
    monkeypatch.setattr(server, "HEAD_S", 1.0)
    async with listening(journal) as port:
        holding = [asyncio.create_task(sent(port, b"GET / HT")) for _ in range(300)]
        assert await is_well(port)
        assert set(await asyncio.gather(*holding)) == {b""}


@in_loop
async def test_a_value_that_many_requests_bring_is_each_s_own(journal: Journal) -> None:
    """Bodies at the bound, many at once: each is answered."""
    async with served(adding(journal), requests_per_s=1e6, burst=10**6) as (ask, _):
        body = json.dumps({"input": {"v": 1, "text": "x" * 1_000_000}}).encode()
        asked: Any = [ask.post(START, content=body, headers={"Content-Type": "application/json"}) for _ in range(10)]
        assert {answer.status_code for answer in await asyncio.gather(*asked)} == {201}
