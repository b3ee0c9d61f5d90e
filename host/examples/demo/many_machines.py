"""`make demo-postgres`: three workers as processes on one PostgreSQL; one is killed, then the server is, and starts again.

1,000 orders of three steps each. Everything that is claimed at the end is read from the log. The server is the demo's own, in a
folder of its own; each process could as well be a machine.
"""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections import Counter

from benchmarks.engine_servers import NotInstalled
from benchmarks.postgres_server import Server, own_server
from cloche import Client, Cloche, create_workflow, step
from cloche.errors import StoreUnavailable
from cloche.history import Kind
from cloche.store import all_records, open_store

ORDERS = int(os.environ.get("CLOCHE_DEMO_ORDERS", "1000"))
AT_ONCE = 100
STEPS = 3
logging.getLogger("cloche").setLevel(logging.ERROR)  # workers say again and again that the server is away


@step(id="reserve")
async def reserve(order: int) -> int:
    await asyncio.sleep(0.02)
    return order


@step(id="charge", retries=2)
async def charge(order: int) -> int:
    await asyncio.sleep(0.02)
    return order * 3


@step(id="ship")
async def ship(total: int) -> int:
    await asyncio.sleep(0.02)
    return total + 1


orders = create_workflow(id="orders", input_schema=int).then(reserve).then(charge).then(ship).commit()


async def work(url: str) -> None:
    """One worker: it takes what there is until it is told to end."""
    async with Cloche(url, workflows=[orders]):
        print("ready", flush=True)
        await asyncio.Event().wait()


def main() -> int:
    try:
        with own_server() as server:
            return asyncio.run(demonstrate(server))
    except NotInstalled as missing:
        print(f"   {missing}")
        return 1


async def demonstrate(server: Server) -> int:
    url = server.url("demo")
    say("1. A PostgreSQL, and three workers as processes")
    workers = [worker(url) for _ in range(3)]
    try:
        say(f"2. {ORDERS:,} orders, {AT_ONCE} at a time; a worker is killed, then the server is, and starts again")
        async with Client(url) as client:
            ended = 0

            async def order(number: int, room: asyncio.Semaphore) -> None:
                nonlocal ended
                async with room:
                    run = await insist(lambda: client.start("orders", number, run_id=f"order-{number}"))
                    await insist(run.result)
                    ended += 1

            room = asyncio.Semaphore(AT_ONCE)
            all_orders = asyncio.gather(*(order(number, room) for number in range(ORDERS)))
            began = time.monotonic()
            for share, what, strike in (
                (0.3, "a worker is killed", workers[0].kill),
                (0.6, "the server is killed, and starts again", lambda: (server.kill(), server.start())),
            ):
                while ended < ORDERS * share and not all_orders.done():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                print(f"   {ended} orders have ended: {what}", flush=True)
                await asyncio.to_thread(strike)
            await all_orders
            print(f"   all orders have ended, {ORDERS / (time.monotonic() - began):.0f} a second")
    finally:
        for one in workers:
            one.send_signal(signal.SIGTERM)
        for one in workers:
            one.wait()
    say("3. What the log proves")
    return await prove(url)


async def insist(ask):
    """Ask again while the store is away: the id of a run makes it one run, however often it is started."""
    while True:
        try:
            return await ask()
        except StoreUnavailable:
            await asyncio.sleep(0.1)


async def prove(url: str) -> int:
    """Count from the log; 1 if anything was lost, or happened twice."""
    store = await open_store(url, must_exist=True)
    completed: Counter[str] = Counter()
    rows = await store.runs(workflow="orders")
    for row in rows:
        for record in await all_records(store, row.key):
            if record.kind is Kind.STEP_COMPLETED:
                completed[f"{row.key.run} {record.path}"] += 1
    findings = await store.audit()
    await store.close()
    statuses = Counter(str(row.status) for row in rows)
    twice = sum(count != 1 for count in completed.values())
    good = statuses == {"success": ORDERS} and len(completed) == ORDERS * STEPS and not twice and not findings
    print(
        f"   runs: {dict(statuses)}; steps completed: {len(completed):,}, more than once: {twice}; findings: {len(findings)}"
    )
    print("   nothing was lost, and no completed step ran twice" if good else "   SOMETHING IS WRONG")
    return 0 if good else 1


def worker(url: str) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, __file__, "work", url], stdout=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    return process


def say(text: str) -> None:
    print(f"\n{text}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        asyncio.run(work(sys.argv[2]))
    else:
        sys.exit(main())
