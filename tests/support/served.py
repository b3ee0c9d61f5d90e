"""An app of `cloche.http` and who asks it: in this process, on the real store, worker and guest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from support.apps import AppOn, Journal

from cloche import Workflow, create_workflow, http
from cloche.http import App
from cloche.run.clock import SystemWorld
from cloche.store import MemoryStore


def adding(journal: Journal) -> Workflow:
    return create_workflow(id="adding").then(journal.inc()).commit()


def asking(journal: Journal) -> Workflow:
    return create_workflow(id="asking").then(journal.ask()).wait_for_event("paid").commit()


def asker(app: Any, **options: Any) -> httpx.AsyncClient:
    """A client that asks the app in this process. A fault of the app's is its answer, not an exception here."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4700", **options)


@asynccontextmanager
async def served(*workflows: Workflow, **options: Any) -> AsyncIterator[tuple[httpx.AsyncClient, App]]:
    """An app over a worker that has the workflows, and a client of it."""
    options.setdefault("auth", http.local)
    async with AppOn(MemoryStore(), workflows=workflows, world=SystemWorld()) as worker:
        made = http.app(worker, **options)
        async with asker(made) as ask:
            yield ask, made


async def started(ask: httpx.AsyncClient, workflow: str, value: Any, run_id: str, **headers: str) -> httpx.Response:
    """The answer to a start that waits for the run to come to rest."""
    body = {"input": value, "run_id": run_id}
    return await ask.post(f"/v1/workflows/{workflow}/runs", json=body, headers={"Prefer": "wait=20", **headers})


async def heard(app: Any, place: str, headers: dict[str, str], until: Any = lambda text: True) -> tuple[int, str]:
    """Status and text of a stream that has no end, read until the text is what is waited for; then the client goes away."""
    import asyncio

    path, _, query = place.partition("?")
    sent = [(b"host", b"127.0.0.1:4700"), *((name.lower().encode(), value.encode()) for name, value in headers.items())]
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": query.encode()}
    more = {"headers": sent, "http_version": "1.1", "scheme": "http", "root_path": "", "client": ("127.0.0.1", 1)}
    status, texts, is_enough = [0], list[str](), asyncio.Event()

    async def receive() -> dict[str, Any]:
        await is_enough.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        status[0] = message.get("status", status[0])
        texts.append(message.get("body", b"").decode())
        if status[0] != 200 or until("".join(texts)):
            is_enough.set()

    await asyncio.wait_for(app({**scope, **more}, receive, send), 60)
    return status[0], "".join(texts)
