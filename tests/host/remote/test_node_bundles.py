"""Compiled step bundles over the protocol of remote steps: the steps of "use workflow" code on Node elsewhere."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from support.apps import in_loop
from support.node import NODE, needs_node

from cloche import Cloche, Grant, Policy, RemoteStep, create_workflow, http, step
from cloche.history import Kind
from cloche.http.server import Server
from cloche.remote import StepWorker
from cloche.steps.node import WORKER

pytestmark = needs_node
FOLDER = Path(__file__).parents[1] / "node"
SOURCE = (FOLDER / "flow.js").read_text()
REGISTERED = ["echo", "countTo", "readAll", "say", "untilAborted", "abortAfter", "writeOwn", "main/add"]  # by a bundle
EXPORTED = ["add", "fails"]  # functions of the file
IDS = [*EXPORTED, *(f"step//./flow//{name}" for name in REGISTERED)]
FILE = FOLDER / "steps.mjs"
Play = Callable[..., Awaitable[Any]]


@asynccontextmanager
async def served(**options: Any) -> AsyncIterator[tuple[Cloche, str]]:
    """A worker whose server performs no step itself, and the server's URL."""
    async with Cloche("memory:", policy=Policy(), **options) as app:
        server = Server("127.0.0.1", 0)
        serving = asyncio.ensure_future(server.run(http.app(app, auth=http.local)))
        try:
            yield app, server.url
        finally:
            server.end()
            await serving


@asynccontextmanager
async def on_node(url: str, file: Path = FILE) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(str(NODE), str(WORKER), str(file), url, env={**os.environ})
    try:
        yield
    finally:
        process.terminate()
        assert await process.wait() == 0


@asynccontextmanager
async def playing() -> AsyncIterator[Play]:
    async with served(steps=[RemoteStep(id, retries=3) for id in IDS]) as (app, url), on_node(url):

        async def play(name: str, *args: Any) -> Any:
            await app.deploy("acme", SOURCE, workflow=name, language="javascript")
            run = await app.tenant("acme").start(name, list(args))
            value = (await run.result()).unwrap()
            assert (await app.tenant("acme").replay(run.id)).ok
            sent = [record for record in await run.history() if record.kind is Kind.ATTEMPT_SENT]
            assert sent or name in ("reading", "aborted by nobody")
            return value

        await app.deploy("acme", SOURCE, workflow="writing", language="javascript")
        yield play


@in_loop
async def test_steps_get_their_whole_call_and_values_come_back_as_they_were() -> None:
    async with playing() as play:
        assert await play("sums", 40, 2) == [43, 44]
        values = await play("values")
        assert (values["map"], values["none"], values["pattern"], values["floats"]) == (True, True, "/x/gi", [1, 2])
        assert await play("web") == [201, "body", "1", "text", "POST", "k=v"]


@in_loop
async def test_what_a_step_throws_is_known_in_the_workflow() -> None:
    async with playing() as play:
        failed = await play("failing")
        assert failed == ["FatalError", "too much", True, "RangeError", True, 3, "because"]


@in_loop
async def test_streams_are_written_and_read_over_the_protocol() -> None:
    async with playing() as play:
        assert await play("streams", 3) == [True, [2, 4, 6]]
        assert await play("reading", [{"line": 1}, "two"]) == [[{"line": 1}, "two"], []]


@in_loop
async def test_signals_are_aborted_by_the_workflow_and_by_steps() -> None:
    async with playing() as play:
        assert await play("aborts") == "aborted: enough"
        assert await play("aborted by a step") == ["aborted: enough", "enough", True]


@in_loop
async def test_a_workflow_of_the_builder_gets_plain_values() -> None:
    workflow = create_workflow(id="w").then(RemoteStep("kinds")).commit()
    async with served(workflows=[workflow]) as (app, url), on_node(url):
        made = (await (await app.start(workflow, None)).result()).unwrap()
        assert (made["map"], made["big"], made["none"], made["bytes"]) == ({"a": [1]}, 2**70, [None], b"\x01")


@in_loop
async def test_a_worker_in_python_gets_the_whole_call_too() -> None:
    @step(id="step//./flow//add")
    def add(a: int, b: int) -> int:
        return a + b

    async with served(steps=[RemoteStep(add.id)], policies={"acme": Policy.strict(steps=[Grant(step=add.id)])}) as (
        app,
        url,
    ):
        await app.deploy("acme", SOURCE, workflow="sums", language="javascript")
        async with StepWorker(url, [add]) as worker:
            running = asyncio.ensure_future(worker.run())
            run = await app.tenant("acme").start("sums", [40, 2])
            assert (await run.result()).unwrap() == [43, 44]
            worker.stop()
            await running
