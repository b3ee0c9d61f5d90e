"""The dashboard's own files over HTTP: what they may do, how long they are kept, and where they are."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from support.apps import Journal, in_loop
from support.served import adding, served

from cloche import Client, http
from cloche.http import assets
from cloche.store import MemoryStore

BUILT = Path(assets.FOLDER)


@pytest.fixture
def journal() -> Journal:
    return Journal()


@in_loop
async def test_the_page_takes_nothing_from_elsewhere_and_is_shown_in_no_frame(journal: Journal) -> None:
    async with served(adding(journal)) as (ask, _):
        page = await ask.get("/", headers={"Authorization": ""})
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert {policy[name] for name in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
        assert (policy["frame-ancestors"], policy["base-uri"]) == ("'none'", "'none'")
        assert page.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|https?://", page.text)


@in_loop
async def test_assets_are_kept_for_ever_and_the_page_is_asked_for_again(journal: Journal) -> None:
    async with served(adding(journal)) as (ask, _):
        page = await ask.get("/")
        assert page.headers["cache-control"] == "no-cache"
        again = await ask.get("/", headers={"If-None-Match": page.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        names = re.findall(r'(?:src|href)="\./(assets/[^"]+)"', page.text)
        assert len(names) == 3
        for name in names:
            asset = await ask.get(f"/{name}")
            assert (asset.status_code, asset.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
            plain = await ask.get(f"/{name}", headers={"Accept-Encoding": "identity"})
            assert (plain.content, "content-encoding" in plain.headers) == (asset.content, False)


@pytest.mark.parametrize("name", ["nothing.js", "..%2Findex.html", "%2e%2e/key", "..%2F..%2Fassets.py", "%00"])
@in_loop
async def test_nothing_but_assets_is_given(journal: Journal, name: str) -> None:
    async with served(adding(journal)) as (ask, _):
        answer = await ask.get(f"/assets/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@in_loop
async def test_under_a_prefix_everything_is_relative(journal: Journal) -> None:
    async with Client(MemoryStore()) as client:
        outer = FastAPI()
        outer.mount("/tools/cloche", http.app(client, auth=http.local))
        transport = httpx.ASGITransport(outer)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", follow_redirects=True) as ask:
            page = await ask.get("/tools/cloche")
            assert (page.status_code, page.url.path) == (200, "/tools/cloche/")
            [script] = re.findall(r'src="([^"]+)"', page.text)
            assert (await ask.get(str(page.url.join(script)))).status_code == 200
            assert (await ask.get(str(page.url.join("v1/me")))).json()["role"] == "admin"


@in_loop
async def test_a_checkout_that_is_not_built_says_how(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets, "FOLDER", tmp_path)
    async with served(adding(journal)) as (ask, _):
        page = await ask.get("/")
        assert page.status_code == 200
        assert "<code>make dashboard</code>" in page.text
        assert (await ask.get("/v1/me")).status_code == 200


@in_loop
async def test_the_build_packs_each_file_and_that_is_what_is_sent(journal: Journal) -> None:
    async with served(adding(journal)) as (ask, _):
        for name in ["", *(f"assets/{file.name}" for file in (BUILT / "assets").glob("*[!z]"))]:
            async with ask.stream("GET", f"/{name}", headers={"Accept-Encoding": "gzip"}) as answer:
                sent = b"".join([part async for part in answer.aiter_raw()])
            file = BUILT / (name or "index.html")
            assert sent == file.with_name(f"{file.name}.gz").read_bytes()
            assert gzip.decompress(sent) == file.read_bytes()
            assert name == "" or (await ask.get(f"/{name}.gz")).status_code == 404


@in_loop
async def test_what_the_build_did_not_pack_is_packed(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets, "FOLDER", tmp_path)
    (tmp_path / "index.html").write_text("<p>one</p>" * 50)
    async with served(adding(journal)) as (ask, _):
        page = await ask.get("/", headers={"Accept-Encoding": "gzip"})
        assert (page.headers["content-encoding"], page.text) == ("gzip", "<p>one</p>" * 50)


def test_all_of_it_weighs_at_most_60_kb() -> None:
    """As it is sent."""
    sent = {file.name: file.stat().st_size for file in BUILT.rglob("*.gz")}
    assert len(sent) == 4
    assert sum(sent.values()) <= 60_000, sent
