"""Three workers on one store, killed with `kill -9` at random moments, while clients start, send, resume and cancel.

`PYTHONPATH=tests python -m support.kills KILLS SEED` is the long form of what the test suite does for a moment.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from support import kill_workload
from support.kill_workload import EVENTS

from cloche import Client, Run
from cloche.errors import NotSuspended, RunFailed, StoreUnavailable
from cloche.history import Kind
from cloche.status import FINAL

T = TypeVar("T")

WORKERS = 3
ORDERS_AT_ONCE = 12
CANCELED_OF = 5  # every fifth order is canceled at some moment
GAP_S = (0.2, 1.2)  # between two kills
FAULTS_SHARE = 0.5  # of the kills, where there are faults of a server
PATIENCE_S = 120.0
WORKLOAD = Path(kill_workload.__file__)


@dataclass
class Campaign:
    """What was asked for, and acknowledged, on the store at `store`, of which a file lies in `folder`.

    `faults`: what may go wrong beside a worker that is killed; each counts as a kill, and is over when the call is.
    """

    folder: Path
    chance: random.Random
    store: str
    faults: Sequence[Callable[[], None]] = ()
    killed: int = 0
    canceled: set[str] = field(default_factory=set)
    orders: list[Run] = field(default_factory=list)

    def worker(self) -> subprocess.Popen[bytes]:
        places = {"KILL_STORE": self.store, "KILL_JOURNAL": str(self.folder / "journal.txt")}
        path = os.pathsep.join(filter(None, sys.path))
        log = (self.folder / "workers.log").open("ab")
        with log:
            return subprocess.Popen(
                [sys.executable, str(WORKLOAD)], env={**os.environ, **places, "PYTHONPATH": path}, stderr=log
            )


def campaign(
    folder: Path, kills: int, seed: int, store: str | None = None, faults: Sequence[Callable[[], None]] = ()
) -> Campaign:
    """Kill workers `kills` times, then let them finish what there is, and prove that it is right.

    `store`: a URL; a file in `folder` if it is not given.

    Raises:
        AssertionError: something that was acknowledged was lost, repeated or overtaken.
    """
    made = Campaign(folder, random.Random(seed), store or str(folder / "kill.db"), faults)
    done = asyncio.run(_campaign(made, kills))
    verify = [sys.executable, "-m", "cloche.cli", "verify", "--store", done.store]
    found = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return done


async def _campaign(all: Campaign, kills: int) -> Campaign:
    workers = [all.worker() for _ in range(WORKERS)]
    try:
        async with Client(all.store) as client:
            killing = asyncio.ensure_future(_kill(all, workers, kills))
            asking = [asyncio.ensure_future(_ask(all, client, lane, killing)) for lane in range(ORDERS_AT_ONCE)]
            await asyncio.wait_for(asyncio.gather(killing, *asking), PATIENCE_S + 3 * kills)
            await _prove(all, client)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    return all


async def _kill(all: Campaign, workers: list[subprocess.Popen[bytes]], kills: int) -> None:
    while all.killed < kills:
        await asyncio.sleep(all.chance.uniform(*GAP_S))
        if all.faults and all.chance.random() < FAULTS_SHARE:
            await asyncio.to_thread(all.chance.choice(all.faults))
            all.killed += 1
            continue
        victim = all.chance.randrange(WORKERS)
        workers[victim].send_signal(signal.SIGKILL)
        all.killed += await asyncio.to_thread(workers[victim].wait) == -signal.SIGKILL
        workers[victim] = all.worker()


async def _ask(all: Campaign, client: Client, lane: int, killing: asyncio.Future[None]) -> None:
    """One order after the other for as long as workers are killed; at least one."""
    number = lane
    while number == lane or not killing.done():
        await _order(all, client, number)
        number += ORDERS_AT_ONCE


async def _order(all: Campaign, client: Client, number: int) -> None:
    """Start an order and do all that it waits for; what is asked for with a key is asked for twice."""
    run = await _insist(lambda: client.start("order", number, run_id=f"order-{number}"))
    all.orders.append(run)
    is_canceled = number % CANCELED_OF == CANCELED_OF - 1
    for event in range(all.chance.randrange(EVENTS) if is_canceled else EVENTS):
        for _ in range(all.chance.choice((1, 2))):
            await _moment(all)
            with suppress(NotSuspended):  # the second time: it may have ended
                await _insist(
                    lambda: client.send_event(run.id, "paid", event, idempotency_key=f"{run.id} {event}")  # noqa: B023
                )
    if is_canceled:
        await _moment(all)
        await _insist(lambda: client.cancel(run.id))
        all.canceled.add(run.id)
    while (status := await _insist(run.status)) not in FINAL:
        if status == "suspended":
            with suppress(NotSuspended):  # the data is on its way
                await _insist(lambda: client.request_resume(run.id, resume_data=number * 10, idempotency_key=run.id))
        await _moment(all)


async def _insist(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until the store answers: it may be away, and what it was asked for may have been done. All have keys of their own."""
    while True:
        try:
            return await ask()
        except StoreUnavailable:
            await asyncio.sleep(0.05)


async def _moment(all: Campaign) -> None:
    await asyncio.sleep(all.chance.uniform(0, 0.1))


async def _prove(all: Campaign, client: Client) -> None:
    began = _began(all.folder / "journal.txt")
    parcels = Counter(row.key.run for row in await client.list(workflow="shipping", limit=None))
    succeeded = 0
    for run in all.orders:
        number = int(run.id.removeprefix("order-"))
        try:
            result = await run.result()
        except RunFailed:  # it was canceled before a worker began it
            assert run.id in all.canceled
            continue
        if result.status == "success":
            succeeded += 1
            parcel = {"first": number + 1, "heard": list(range(EVENTS)), "answer": number * 10, "parcel": number + 2}
            assert result.result == parcel, f"{run.id}: {result.result}"
        elif run.id in all.canceled:
            assert result.status == "canceled", f"{run.id}: {result.status} {result.error}"
        else:  # one and the same step was met by every kill
            assert "RedispatchedTooOften" in str(result.error), f"{run.id}: {result.error}"
        await _prove_once(run, began)
    assert len(parcels) >= succeeded > 0
    assert len(parcels) <= len(all.orders)


async def _prove_once(run: Run, began: dict[tuple[str, str], list[int]]) -> None:
    """No call has two results, and none was begun behind its own."""
    completed = [record for record in await run.history() if record.kind is Kind.STEP_COMPLETED]
    calls = Counter(record.call for record in completed)
    assert not calls or max(calls.values()) == 1, f"{run.id}: a step was completed twice"
    for record in completed:
        late = [at for at in began.get((run.id, str(record.path)), ()) if at // 1_000_000 > record.time]
        assert late == [], f"{run.id}: {record.path} was begun behind its end"


def _began(journal: Path) -> dict[tuple[str, str], list[int]]:
    found: dict[tuple[str, str], list[int]] = {}
    for line in journal.read_text().splitlines():
        run, path, at_ns = line.rsplit(" ", 2)
        found.setdefault((run, path), []).append(int(at_ns))
    return found


def main(kills: int, seed: int) -> None:
    done = 0
    while done < kills:  # a store of its own each time
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="cloche-kills-") as name:
            found = campaign(Path(name), min(50, kills - done), seed + done)
        done += found.killed
        print(
            f"seed {seed + done - found.killed}: {done} of {kills} kills, {len(found.orders)} orders, "
            f"{time.monotonic() - began:.0f} s",
            flush=True,
        )
    print(f"{done} kills: nothing lost, nothing twice, nothing overtaken")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
