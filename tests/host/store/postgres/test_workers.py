"""Workers on one PostgreSQL: taken over when one is killed or frozen, and going on when the server was away."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import kept_busy
from support.apps import in_loop
from support.kept_busy import RUNS, slowly
from support.postgres import Server, own_server

from benchmarks.proxy import proxy
from cloche import Cloche, Run
from cloche.history import Kind


@contextmanager
def victim(url: str, ttl_s: float, step_s: float) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose worker holds `RUNS` runs, each in a step of `step_s` seconds."""
    said = {"BUSY_STORE": url, "BUSY_TTL_S": str(ttl_s), "BUSY_STEP_S": str(step_s)}
    environment = {**os.environ, **said, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen([sys.executable, str(Path(kept_busy.__file__))], env=environment, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def ended(app: Cloche) -> list[int]:
    runs = [await app.get(f"busy-{number}") for number in range(RUNS)]
    return [(await run.result()).unwrap() for run in runs]


async def completions(run: Run) -> int:
    return sum(record.kind is Kind.STEP_COMPLETED for record in await run.history())


@in_loop
async def test_a_killed_worker_is_taken_over_at_once(server: Server) -> None:
    """Long before its lease of 15 s ends, and though nobody else writes."""
    url = server.url()
    with victim(url, ttl_s=600, step_s=60) as process:
        async with Cloche(url, workflows=[slowly], lease_ttl_s=8) as app:
            await asyncio.sleep(0.5)
            assert {row.status for row in await app.list()} == {"running"}
            process.kill()
            assert await asyncio.wait_for(ended(app), 20) == [number + 1 for number in range(RUNS)]
            assert (await app.verify()).findings == []


@in_loop
async def test_a_frozen_worker_has_lost_its_runs_when_it_wakes(server: Server) -> None:
    url = server.url()
    with victim(url, ttl_s=1.0, step_s=3) as process:
        process.send_signal(signal.SIGSTOP)
        async with Cloche(url, workflows=[slowly], lease_ttl_s=1.0) as app:
            assert await asyncio.wait_for(ended(app), 30) == [number + 1 for number in range(RUNS)]
            process.send_signal(signal.SIGCONT)  # its steps end now, and what it appends is refused
            await asyncio.sleep(1.5)
            runs = [await app.get(f"busy-{number}") for number in range(RUNS)]
            assert [await completions(run) for run in runs] == [1] * RUNS
            assert (await app.verify()).findings == []


@pytest.mark.parametrize("is_killed", [True, False])
@in_loop
async def test_runs_wait_while_the_server_is_away(is_killed: bool) -> None:
    loop = asyncio.get_running_loop()
    with own_server() as server:
        async with Cloche(server.url(), workflows=[slowly]) as app:
            runs = [await app.start(slowly, number) for number in range(RUNS)]
            await loop.run_in_executor(None, server.kill if is_killed else server.stop)
            turns = 0
            for _ in range(20):  # the loop goes on meanwhile
                await asyncio.sleep(0.01)
                turns += 1
            assert turns == 20
            await loop.run_in_executor(None, server.start)
            results = await asyncio.gather(*(run.result() for run in runs))
            assert [result.unwrap() for result in results] == [number + 1 for number in range(RUNS)]
            assert [await completions(run) for run in runs] == [1] * RUNS
            assert (await app.verify()).findings == []


@pytest.mark.parametrize("lost", ["lost_answers", "lost_requests"])
@in_loop
async def test_lost_commits_are_made_once(server: Server, lost: str) -> None:
    """Every commit of a hundred loses its connection once, before or after the server has done it."""
    with proxy(server.port) as way:
        url = server.url().replace(f":{server.port}/", f":{way.port}/")
        async with Cloche(url, workflows=[slowly]) as app:
            way.marked = b"busy-"
            runs = []
            for number in range(RUNS):
                run = await app.start(slowly, number, run_id=f"busy-{number}")
                setattr(way, lost, 1)
                runs.append(run)
                await run.result()
            results = [await run.result() for run in runs]
            assert [result.unwrap() for result in results] == [number + 1 for number in range(RUNS)]
            assert [await completions(run) for run in runs] == [1] * RUNS
            assert (await app.verify()).findings == []


@in_loop
async def test_two_workers_share_a_run_and_its_requests(server: Server) -> None:
    url = server.url()
    async with Cloche(url, workflows=[slowly]) as one, Cloche(url, workflows=[slowly]) as other:
        run = await one.start(slowly, 5, run_id="shared")
        seen = await other.get("shared")
        assert (await seen.result()).unwrap() == (await run.result()).unwrap() == 6
        assert [row.key.run for row in await other.list()] == ["shared"]
