"""What lets somebody in is nowhere in a store in clear: neither in its files nor in what `pg_dump` writes."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path
from typing import Any

import httpx
from support.apps import AppOn, in_loop
from support.postgres import require, shared_schemas
from support.served import asker

from cloche import Cloche, RemoteStep, create_workflow, http
from cloche.operations import tokens
from cloche.run.clock import SystemWorld


async def _lived(app: Cloche, ask: httpx.AsyncClient) -> list[str]:
    """The secrets of a life over HTTP: tokens that were made, used and renewed, a session, the token of an attempt."""
    store, now = app.connection.store, app.connection.world.now()
    first = await tokens.create(store, tenant="default", role="admin", label="first", now=now)
    as_first = {"Authorization": f"Bearer {first.text}"}
    made = (await ask.post("/v1/tokens", json={"role": "worker"}, headers=as_first)).json()
    renewed = (await ask.post(f"/v1/tokens/{made['id']}/rotate", json={}, headers=as_first)).json()
    session = await ask.post("/v1/session", headers=as_first)
    cookie = session.headers["set-cookie"].split(";")[0].partition("=")[2]
    ask.cookies.clear()
    await ask.post("/v1/workflows/away/runs", json={"input": 1, "run_id": "r1"}, headers=as_first)
    as_worker = {"Authorization": f"Bearer {renewed['token']}"}
    polled = await ask.post("/v1/steps/poll", json={"steps": ["away"]}, headers=as_worker)
    [attempt] = polled.json()["attempts"]
    place = f"/v1/steps/{attempt['token']}"
    await ask.post(f"{place}/progress", json={"value": "half"}, headers=as_worker)
    assert (await ask.post(f"{place}/complete", json={"output": 1}, headers=as_worker)).status_code == 202
    assert (await (await app.get("r1")).result()).result == 1
    assert (await ask.get("/v1/me", headers={"Cookie": f"__Host-cloche={cookie}"})).status_code == 200
    return [first.text, made["token"], renewed["token"], cookie, attempt["token"]]


def _forms(secret: str) -> list[bytes]:
    """The part of it that nobody may know, as it might stand somewhere."""
    part = (secret.split("_", 2)[2] if secret.startswith("clk_") else secret.rpartition(".")[2]).encode()
    found = [part, part.hex().encode(), base64.b64encode(part).rstrip(b"=")]
    try:
        raw = base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
        found += [raw, raw.hex().encode(), base64.b64encode(raw).rstrip(b"=")]
    except ValueError:
        pass
    return found


async def _secrets_of(store: Any) -> tuple[Cloche, list[str]]:
    workflow = create_workflow(id="away").then(RemoteStep("away")).commit()
    app = AppOn(store, workflows=[workflow], world=SystemWorld())
    async with app, asker(http.app(app)) as ask:
        return app, await _lived(app, ask)


@in_loop
async def test_no_file_of_a_store_has_one(tmp_path: Path) -> None:
    workflow = create_workflow(id="away").then(RemoteStep("away")).commit()
    async with Cloche(tmp_path / "runs.db", workflows=[workflow]) as app, asker(http.app(app)) as ask:
        secrets = await _lived(app, ask)
        while_open = {file.name: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    closed = {file.name: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert b"away" in closed["runs.db"]
    assert any(name.endswith("-wal") for name in while_open)
    assert all(len(part) >= 16 for secret in secrets for part in _forms(secret))
    for files in (while_open, closed):
        for name, data in files.items():
            assert [secret[:8] for secret in secrets for part in _forms(secret) if part in data] == [], name


@in_loop
async def test_no_dump_of_a_database_has_one() -> None:
    from cloche.store.postgres import PostgresStore

    require()
    require("pg_dump")
    with shared_schemas().lend() as url:
        store = await PostgresStore.open(url)
        _, secrets = await _secrets_of(store)
        await store.close()
        dump = subprocess.run(["pg_dump", "--inserts", url.partition("?")[0]], capture_output=True, check=True).stdout
    assert b"away" in dump
    assert [secret[:8] for secret in secrets for part in _forms(secret) if part in dump] == []
