"""Two workers on one store with schedules, killed with `kill -9` at random moments: each instant begins one run.

`PYTHONPATH=tests python -m support.schedule_kills INSTANTS SEED [URL]` is the long form of what the test suite does.
As a script with SCHEDULES_STORE set it is one of the workers.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

from cloche import Client, Cloche, create_step, create_workflow
from cloche.errors import StoreUnavailable

SCHEDULES, WORKERS = 20, 2
GAP_S = (0.3, 1.5)  # between two kills
PATIENCE_S = 120.0

tick = create_workflow(id="tick").then(create_step(id="note", execute=lambda data: data)).commit()


async def campaign(store: str, instants: int, seed: int) -> int:
    """Let `instants` come, in all schedules together, one each second, while workers are killed. How often they were.

    Raises:
        AssertionError: an instant began no run, or two.
    """
    chance, killed = random.Random(seed), 0
    workers = [_worker(store) for _ in range(WORKERS)]
    try:
        async with Client(store) as client:
            first = await _put(client)
            ends = {id: at + (instants // SCHEDULES - 1) * 1_000 for id, at in first.items()}
            while not await _is_over(client, ends):
                await asyncio.sleep(chance.uniform(*GAP_S))
                victim = chance.randrange(WORKERS)
                workers[victim].send_signal(signal.SIGKILL)
                killed += await asyncio.to_thread(workers[victim].wait) == -signal.SIGKILL
                workers[victim] = _worker(store)
            for id in ends:
                await client.schedules.pause(id)
            await asyncio.wait_for(_prove(client, first, ends), PATIENCE_S)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    return killed


def _worker(store: str) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "SCHEDULES_STORE": store, "PYTHONPATH": path}
    return subprocess.Popen([sys.executable, __file__], env=environment, stderr=subprocess.DEVNULL)


async def _put(client: Client) -> dict[str, int]:
    """The first instant of each schedule."""
    first = {}
    for number in range(SCHEDULES):
        info = await client.schedules.put(
            f"s{number}", tick, every=1, overlap="allow", catch_up="all", catch_up_max=1_000, input=number
        )
        assert info.next_at is not None
        first[info.id] = info.next_at
    return first


async def _is_over(client: Client, ends: dict[str, int]) -> bool:
    """Whether all instants that count have come, and were seen to."""
    for _ in range(100):
        with suppress(StoreUnavailable):
            found = {one.id: one.next_at for one in await client.schedules.list()}
            return all((found[id] or 0) > end for id, end in ends.items())
    return False


async def _prove(client: Client, first: dict[str, int], ends: dict[str, int]) -> None:
    expected = {f"{id}\x1ft{at}" for id, begin in first.items() for at in range(begin, ends[id] + 1, 1_000)}
    for run in sorted(expected):
        while True:
            with suppress(StoreUnavailable):
                result = await (await client.get(run)).result()
                assert result.status == "success", (run, result.error)
                break
    rows = await client.list(limit=None)
    inside = [
        row.key.run for row in rows if int(row.key.run.rpartition("t")[2]) <= ends[row.key.run.partition("\x1f")[0]]
    ]
    assert sorted(inside) == sorted(expected)
    for id in first:
        page = [one for one in await client.schedules.firings(id, limit=1_000) if one.instant <= ends[id]]
        assert {one.outcome for one in page} == {"fired"}
        assert max(Counter(one.instant for one in page).values()) == 1


async def _work() -> None:
    while True:  # as whatever starts services does
        with suppress(StoreUnavailable):
            async with Cloche(os.environ["SCHEDULES_STORE"], workflows=[tick]):
                await asyncio.Event().wait()
        await asyncio.sleep(0.1)


def main(instants: int, seed: int, url: str | None = None) -> None:
    with tempfile.TemporaryDirectory(prefix="cloche-schedules-") as name:
        killed = asyncio.run(campaign(url or str(Path(name, "runs.db")), instants, seed))
    print(f"{instants} instants, {killed} kills: {instants} runs, none twice")


if __name__ == "__main__":
    if "SCHEDULES_STORE" in os.environ:
        asyncio.run(_work())
    else:
        main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
