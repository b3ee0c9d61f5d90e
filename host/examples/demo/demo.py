"""`make demo`: 24 orders through a workflow, killed with `kill -9` half way, finished by a second process.

The kill waits for a step that is known to be under way: half way, one attempt reports itself and waits (`workflow.held`).
Everything that is claimed at the end is read from the log and from what the steps left on disk.
"""

import asyncio
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
OUT = Path(os.environ.get("CLOCHE_DEMO_OUT") or tempfile.mkdtemp(prefix="cloche-demo-"))
os.environ["CLOCHE_DEMO_OUT"] = str(OUT)
STORE = OUT / "orders.db"
ORDERS, AT_ONCE = 24, 4
CUT_OFF_MAX = AT_ONCE * 2  # no run has more than two steps under way
NEXT = """\
   CLOCHE_DEMO_KEEP=1 make demo     keeps the store; then, with --store FILE:
   .venv/bin/cloche runs            every run; `show RUN` says why one waits
   .venv/bin/cloche graph host/examples/demo/workflow.py:orders
   .venv/bin/python host/examples/01_first_workflow.py
                                    a whole program; 02 to 07 stand beside it
   .venv/bin/python host/examples/06_native.py
                                    a workflow that is a plain async function
   README.md                        a first workflow of your own"""


async def process_orders() -> None:
    """What a service would do: start a run for each order (the id makes it one run, however often), and wait."""
    from workflow import Line, orders

    from cloche import Cloche

    logging.basicConfig(format="   %(message)s", stream=sys.stdout)
    logging.getLogger("cloche.sandbox").setLevel(logging.INFO)  # says when the guest has to be compiled first
    lines = (HERE / "orders.csv").read_text().splitlines()[1:]
    gate = asyncio.Semaphore(AT_ONCE)
    async with Cloche(STORE, workflows=[orders]) as app:

        async def process(line: str) -> None:
            async with gate:
                run = await app.start(orders, Line(text=line), run_id=line.split(",")[0])
                (await run.result()).unwrap()

        await asyncio.gather(*(process(line) for line in lines))


def main() -> int:
    (OUT / "invoices").mkdir(parents=True, exist_ok=True)
    say("1. The workflow becomes this source, which runs under glass")
    cloche("codegen", f"{HERE / 'workflow.py'}:orders")

    say(f"2. {ORDERS} orders, {AT_ONCE} at a time; the process is killed with kill -9 half way")
    cut_run = kill_half_way()

    say("3. A new process takes the same store and finishes")
    subprocess.run([sys.executable, __file__, "work"], check=True)
    print("   finished")

    say("4. What the log proves")
    failed = asyncio.run(prove())

    say(f"5. The timeline of run {cut_run}, which the kill cut in two")
    cloche("log", cut_run, "--width", str(shutil.get_terminal_size().columns))
    say("6. Replay: the history to a fresh guest, every command compared; then all hash chains")
    cloche("replay", cut_run)
    cloche("verify")
    shutil.rmtree(OUT) if "CLOCHE_DEMO_KEEP" not in os.environ else print(f"   kept in {OUT}")
    say("7. What to try next")
    print(NEXT)
    return failed


def kill_half_way() -> str:
    """Start a worker and kill it while a step is under way: the run of that step."""
    worker = subprocess.Popen([sys.executable, __file__, "work"], env={**os.environ, "CLOCHE_DEMO_HOLD": "1"})
    try:
        run, path = wait_for_the_held_step(worker)
    finally:
        worker.kill()
        worker.wait()
    finished = len(list((OUT / "invoices").glob("*.txt")))
    began = len((OUT / "began.txt").read_text().splitlines())
    print(f"   killed: exit {worker.returncode}, while step {path} of run {run} was under way;")
    print(f"   {finished} of {ORDERS} invoices were written, {began} steps had begun")
    return run


def wait_for_the_held_step(worker: subprocess.Popen[bytes]) -> tuple[str, str]:
    """Run and path of the step that the worker holds half way. No deadline: a slow machine compiles for a minute first."""
    shown = 0
    while worker.poll() is None:
        if (OUT / "held.txt").exists():
            run, path = (OUT / "held.txt").read_text().split()
            return run, path
        if (written := len(list((OUT / "invoices").glob("*.txt")))) >= shown + 4:
            shown = written
            print(f"   {written} of {ORDERS} invoices are written", flush=True)
        time.sleep(0.005)
    raise SystemExit(f"the worker ended before the demo could kill it (exit {worker.returncode})")


async def prove() -> int:
    """Count from the log and from the marks on disk; 1 if anything ran that should not have."""
    from cloche.history import Kind
    from cloche.store import all_records, open_store

    store = await open_store(STORE, must_exist=True)
    began = Counter((OUT / "began.txt").read_text().split("\n")[:-1])
    completed: Counter[str] = Counter()
    retried: Counter[str] = Counter()
    rows_of_orders = await store.runs(workflow="orders")
    for row in rows_of_orders:
        for record in await all_records(store, row.key):
            if record.kind is Kind.STEP_COMPLETED:
                completed[f"{row.key.run} {record.path}"] += 1
            if record.kind is Kind.ATTEMPT_FAILED:
                retried[f"{row.key.run} {record.path or ''}".strip()] += 1
    twice = [name for name, count in completed.items() if count != 1]
    extra = sum(began.values()) - sum(completed.values()) - sum(retried.values())
    with sqlite3.connect(OUT / "books.db") as books:
        rows, total = books.execute("SELECT count(*), sum(total) FROM totals").fetchone()
    invoices = len(list((OUT / "invoices").glob("*.txt")))
    statuses = Counter(str(row.status) for row in rows_of_orders)
    await store.close()
    print(f"   runs: {dict(statuses)}; invoices on disk: {invoices}; rows in the books: {rows}, {total:,.2f} EUR")
    print(f"   steps completed: {sum(completed.values())}; completed more than once: {len(twice)}")
    print(f"   attempts that failed by themselves and were retried: {sum(retried.values())}")
    print(f"   attempts that the kill cut off, and that were made again: {extra} (at most {CUT_OFF_MAX})")
    whole = statuses == {"success": ORDERS} and invoices == rows == ORDERS
    good = whole and not twice and 1 <= extra <= CUT_OFF_MAX
    print("   no completed step ran twice" if good else "   SOMETHING IS WRONG")
    return 0 if good else 1


def cloche(*arguments: str) -> None:
    store = [] if arguments[0] == "codegen" else ["--store", str(STORE)]
    subprocess.run([sys.executable, "-m", "cloche.cli", *arguments, *store], check=True)


def say(text: str) -> None:
    print(f"\n── {text}\n", flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["work"]:
        asyncio.run(process_orders())
    else:
        sys.exit(main())
