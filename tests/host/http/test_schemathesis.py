"""What `/openapi.json` says is so: schemathesis asks a real server as an outsider does, with all of its checks.

`.ci/schemathesis.toml` has what it is told beside the document.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from support.flows import math

from cloche import Cloche, http
from cloche.http.server import Server
from cloche.operations import tokens

ROOT = Path(__file__).parents[3]
PATIENCE_S = 300.0
CONFIG = ["--config-file", ".ci/schemathesis.toml"]
COMMAND = [str(Path(sys.executable).with_name("schemathesis")), *CONFIG, "run", "--checks", "all"]
SAME = ["--generation-deterministic", "--continue-on-failure", "--no-color", "--rate-limit", "100000/s"]


class Counted(http.App):
    """An app that counts its answers, and ends each stream when it has begun: what those hold has tests of its own."""

    answered: Counter[tuple[str, int]]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        is_stream, has_begun = scope["path"].endswith(("/feed", "/events")), asyncio.Event()

        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.answered[scope["method"] + scope["path"][:6], message["status"]] += 1
            elif is_stream:
                has_begun.set()
                message = {**message, "more_body": False}
            await send(message)

        async def received() -> Any:
            if is_stream:
                await has_begun.wait()
                return {"type": "http.disconnect"}
            return await receive()

        await super().__call__(scope, received, sent)


async def _serve(folder: Path, told: SimpleQueue[Any]) -> None:
    """Until it is told to end; it takes as many requests as there are."""
    async with Cloche(str(folder / "runs.db"), workflows=[math]) as client:
        store, now = client.connection.store, client.connection.world.now()
        token = await tokens.create(store, tenant=None, role="admin", label="", now=now, lasts_s=None, by="")
        for number in range(3):
            await (await client.start("math", {"x": number}, run_id=f"r{number}")).result()
        app: Any = http.app(client, requests_per_s=1e6, burst=10**6)
        app.__class__, app.answered = Counted, Counter()
        server, loop = Server("127.0.0.1", 0), asyncio.get_running_loop()
        told.put((server.url, token.text, app, lambda: loop.call_soon_threadsafe(server.end)))
        await server.run(app)


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, str, Counted]]:
    """Where it serves, a token, and the app."""
    told: SimpleQueue[Any] = SimpleQueue()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(folder, told)))
    thread.start()
    url, token, app, end = told.get(timeout=PATIENCE_S)
    try:
        yield url, token, app
    finally:
        end()
        thread.join(PATIENCE_S)


@pytest.mark.parametrize(
    ("phases", "more", "least"),
    [
        ("examples,coverage", [], 3_000),
        ("examples,fuzzing", ["--max-examples", "6"], 400),
        ("stateful", ["--max-examples", "20"], 100),
    ],
)
def test_what_the_document_says_is_so(tmp_path: Path, phases: str, more: list[str], least: int) -> None:
    with serving(tmp_path) as (url, token, app):
        asked = [*COMMAND, f"{url}/openapi.json", "-H", f"Authorization: Bearer {token}", "--phases", phases]
        found = subprocess.run([*asked, *SAME, *more], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
        assert found.returncode == 0, found.stdout
        operations = sum(len(methods) for methods in app.openapi()["paths"].values())
        assert f"{operations} selected / {operations} total" in found.stdout
    statuses = {status for _, status in app.answered}
    assert sum(app.answered.values()) > least
    assert not statuses & {429, 500, 503}
    assert {200, 404, 422} <= statuses
