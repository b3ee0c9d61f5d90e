"""`make demo`: 24 orders through a workflow, killed with `kill -9` half way, finished by a second process.

Everything that is claimed at the end is read from the log and from what the steps left on disk.
"""

import asyncio
import os
import shutil
import signal
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
AT_ONCE = 4


async def process_orders() -> None:
    """What a service would do: start a run for each order (the id makes it one run, however often), and wait."""
    from workflow import Line, orders

    from cloche import Cloche

    lines = (HERE / "orders.csv").read_text().splitlines()[1:]
    gate = asyncio.Semaphore(AT_ONCE)
    async with Cloche(STORE, workflows=[orders]) as app:

        async def process(line: str) -> None:
            async with gate:
                run = await app.start(orders, Line(text=line), run_id=line.split(",")[0])
                (await run.result()).unwrap()

        await asyncio.gather(*(process(line) for line in lines))


def main() -> int:
    from cloche.store import SqliteStore

    (OUT / "invoices").mkdir(parents=True, exist_ok=True)
    say("1. The workflow becomes this source, which runs under glass")
    cloche("codegen", f"{HERE / 'workflow.py'}:orders")

    say(f"2. 24 orders, {AT_ONCE} at a time; the process is killed with kill -9 half way")
    child = subprocess.Popen([sys.executable, __file__, "work"])
    killed_at = wait_for_half(child)
    child.send_signal(signal.SIGKILL)
    child.wait()
    before = (OUT / "began.txt").read_text().split("\n")[:-1]
    print(f"   killed: exit {child.returncode}; {killed_at} of 24 runs were finished, {len(before)} steps had begun")

    say("3. A new process takes the same store and finishes")
    subprocess.run([sys.executable, __file__, "work"], check=True)

    say("4. What the log proves")
    store = SqliteStore(STORE)
    failed = prove(store, before)
    cut = next(row.key for row in store.runs(workflow="orders") if interrupted(store, row.key))
    store.close()

    say(f"5. The timeline of run {cut.run}, which the kill cut in two")
    cloche("log", cut.run)
    say("6. Replay: the history to a fresh guest, every command compared; then all hash chains")
    cloche("replay", cut.run)
    cloche("verify")
    shutil.rmtree(OUT) if "CLOCHE_DEMO_KEEP" not in os.environ else print(f"   kept in {OUT}")
    return failed


def wait_for_half(child: subprocess.Popen[bytes]) -> int:
    """Poll what the child left on disk until half of the invoices are there; 60 seconds at most."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        if (done := len(list((OUT / "invoices").glob("*.txt")))) >= 12:
            return done
        time.sleep(0.005)
    raise SystemExit(f"the demo's worker did not get half way (exit {child.poll()})")


def prove(store, before: list[str]) -> int:  # type: ignore[no-untyped-def]
    """Count from the log and from the marks on disk; 1 if anything ran that should not have."""
    from cloche.history import Kind

    began = Counter((OUT / "began.txt").read_text().split("\n")[:-1])
    completed: Counter[str] = Counter()
    retried: Counter[str] = Counter()
    for row in store.runs(workflow="orders"):
        for record in store.records(row.key):
            if record.kind is Kind.STEP_COMPLETED:
                completed[f"{row.key.run} {record.path}"] += 1
            if record.kind is Kind.ATTEMPT_FAILED:
                retried[f"{row.key.run} {record.path or ''}".strip()] += 1
    twice = [name for name, count in completed.items() if count != 1]
    extra = sum(began.values()) - sum(completed.values()) - sum(retried.values())
    with sqlite3.connect(OUT / "books.db") as books:
        rows, total = books.execute("SELECT count(*), sum(total) FROM totals").fetchone()
    invoices = len(list((OUT / "invoices").glob("*.txt")))
    statuses = Counter(row.status for row in store.runs(workflow="orders"))
    print(f"   runs: {dict(statuses)}; invoices on disk: {invoices}; rows in the books: {rows}, {total:,.2f} EUR")
    print(f"   steps completed: {sum(completed.values())}; completed more than once: {len(twice)}")
    print(f"   attempts that failed by themselves and were retried: {sum(retried.values())}")
    print(f"   attempts that the kill cut off, and that were made again: {extra} (at most {AT_ONCE * 2})")
    good = statuses == {"success": 24} and not twice and invoices == rows == 24 and 0 <= extra <= AT_ONCE * 2
    print("   no completed step ran twice" if good else "   SOMETHING IS WRONG")
    return 0 if good else 1


def interrupted(store, key) -> bool:  # type: ignore[no-untyped-def]
    """Whether an attempt of this run was made again: more began than the log says ended, or began."""
    from cloche.history import Kind

    records = list(store.records(key))
    marks = [name for name in (OUT / "began.txt").read_text().splitlines() if name.startswith(f"{key.run} ")]
    ends = sum(record.kind in (Kind.STEP_COMPLETED, Kind.ATTEMPT_FAILED) for record in records)
    return len(marks) > ends


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
