"""Three workers on one store with limits, killed with `kill -9` at random moments: never more at once than a limit has.

Steps write when they begin and end to one file, whose lines are in the order of time. A process that was killed has ended all
that it began.

`PYTHONPATH=tests python -m support.limit_kills RUNS SEED [URL]` is the long form of what the test suite does.
As a script with LIMITS_STORE set it is one of the workers.
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
from typing import Any

from cloche import Client, Cloche, Concurrency, RateLimit, create_step, create_workflow
from cloche.errors import StoreUnavailable
from cloche.operations.limits import LimitState

WORKERS, AT_ONCE, CUSTOMERS, OF_CUSTOMER, OPEN_RUNS = 3, 3, 4, 1, 5
LINES_MAX = 12  # that are written between two kills, or it is killed after a moment in which none is
MOMENT_S = 5.0
PATIENCE_S = 240.0


def note(*words: object) -> None:
    """Append a line to the journal of all processes: one write, so that lines never mix."""
    line = " ".join(map(str, words)) + "\n"
    file = os.open(os.environ["LIMITS_JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)


async def call(data: dict[str, Any]) -> dict[str, Any]:
    name = f"{data['run']} {os.getpid()} c{data['customer']}"
    note("begin", name)
    await asyncio.sleep(0.4)
    if data["run"] % 7 == 0 and random.random() < 0.5:
        note("end", name)
        raise ValueError("tried again")
    note("end", name)
    return data


async def closing(data: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(0.01)
    return data


step = create_step(
    id="call",
    execute=call,
    retry_config={"attempts": 20},
    concurrency=[Concurrency("gpu", AT_ONCE), Concurrency("customer", OF_CUSTOMER, key="data.customer")],
)
rated = create_step(id="rated", execute=closing, rate_limit=RateLimit("mail", 20, per_s=0.5))
flow = create_workflow(id="limited", concurrency=Concurrency("limited", OPEN_RUNS)).then(step).then(rated).commit()


async def campaign(store: str, journal: Path, runs: int, seed: int) -> int:
    """Let `runs` runs go through their limits while workers are killed. How often they were.

    Raises:
        AssertionError: more were under way at once than a limit has, a run did not end, or a permit is left.
    """
    chance, killed = random.Random(seed), 0
    os.environ["LIMITS_JOURNAL"] = str(journal)
    workers = [_worker(store, journal) for _ in range(WORKERS)]
    try:
        async with Client(store) as client:
            for number in range(runs):
                await _insist(client, number)
            while not await _all_ended(client, runs):
                await _some_lines(journal, chance.randrange(1, LINES_MAX))
                victim = chance.randrange(WORKERS)
                pid = workers[victim].pid
                workers[victim].send_signal(signal.SIGKILL)
                killed += await asyncio.to_thread(workers[victim].wait) == -signal.SIGKILL
                note("killed", pid)
                workers[victim] = _worker(store, journal)
            await asyncio.wait_for(_nothing_is_left(client), PATIENCE_S)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    _prove(journal.read_text().splitlines(), runs)
    return killed


async def _some_lines(journal: Path, more: int) -> None:
    """Until so many more lines are in the journal, or nothing has moved for a moment."""
    begin = size = _lines(journal)
    left_s = MOMENT_S
    while size < begin + more and left_s > 0:
        await asyncio.sleep(0.05)
        before, size = size, _lines(journal)
        left_s = left_s - 0.05 if size == before else MOMENT_S


def _lines(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def _worker(store: str, journal: Path) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "LIMITS_STORE": store, "LIMITS_JOURNAL": str(journal), "PYTHONPATH": path}
    return subprocess.Popen([sys.executable, __file__], env=environment, stderr=subprocess.DEVNULL)


async def _insist(client: Client, number: int) -> None:
    while True:
        with suppress(StoreUnavailable):
            await client.start("limited", {"run": number, "customer": number % CUSTOMERS}, run_id=f"r{number}")
            return


async def _all_ended(client: Client, runs: int) -> bool:
    with suppress(StoreUnavailable):
        rows = await client.list(limit=None)
        assert {str(row.status) for row in rows} <= {"success", "running", "waiting", "pending"}, [
            (row.key.run, row.status, row.problem) for row in rows if row.status in ("failed", "blocked")
        ]
        return sum(row.status == "success" for row in rows) == runs
    return False


async def _nothing_is_left(client: Client) -> None:
    """Every permit is given back."""
    while True:
        with suppress(StoreUnavailable):
            if not any(map(_is_used, await client.limits())):
                return
        await asyncio.sleep(0.1)


def _is_used(one: LimitState) -> bool:
    return bool(one.holders or one.waiting)


def _prove(lines: list[str], runs: int) -> None:
    """Walk the journal: who is under way after each line."""
    under_way: dict[tuple[str, str], str] = {}  # run and process -> customer
    most, ended = 0, Counter[str]()
    for line in lines:
        what, *words = line.split()
        if what == "killed":
            under_way = {one: customer for one, customer in under_way.items() if one[1] != words[0]}
        elif what == "begin":
            under_way[words[0], words[1]] = words[2]
        else:
            under_way.pop((words[0], words[1]), None)
            ended[words[0]] += 1
        most = max(most, len(under_way))
        assert len(under_way) <= AT_ONCE, line
        assert max(Counter(under_way.values()).values(), default=0) <= OF_CUSTOMER, line
    assert set(ended) == {str(number) for number in range(runs)}
    assert most == AT_ONCE  # else nothing was put to the test


async def _work() -> None:
    while True:  # as whatever starts services does
        with suppress(StoreUnavailable):
            async with Cloche(os.environ["LIMITS_STORE"], workflows=[flow]):
                await asyncio.Event().wait()
        await asyncio.sleep(0.1)


def main(runs: int, seed: int, url: str | None = None) -> None:
    with tempfile.TemporaryDirectory(prefix="cloche-limits-") as name:
        journal = Path(name, "journal")
        killed = asyncio.run(campaign(url or str(Path(name, "runs.db")), journal, runs, seed))
    print(f"{runs} runs, {killed} kills: never more at once than the limits have")


if __name__ == "__main__":
    if "LIMITS_STORE" in os.environ:
        asyncio.run(_work())
    else:
        main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
