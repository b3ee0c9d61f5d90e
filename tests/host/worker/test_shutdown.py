"""SIGTERM in a real process: running steps end and are recorded, nothing new starts, and the process ends by the signal."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from support.apps import in_loop

from cloche.history import RunKey
from cloche.history.ids import RunId, TenantId
from cloche.store import SqliteStore, all_records

PATIENCE_S = 60.0

TWO_APPS = """
import asyncio, sys
from cloche import Cloche, create_workflow, step

@step
async def slow(data):
    print("began", flush=True)
    await asyncio.sleep(0.3)
    return data

@step
async def next_one(data):
    print("next", flush=True)

workflow = create_workflow(id="w").then(slow).then(next_one).commit()

async def main():
    async with Cloche(sys.argv[1], workflows=[workflow]) as a, Cloche(sys.argv[2], workflows=[workflow]) as b:
        runs = [await app.start("w", 1, run_id="r1") for app in (a, b)]
        await asyncio.gather(*(run.result() for run in runs))
        print("over", flush=True)

asyncio.run(main())
"""

OWN_HANDLER = """
import asyncio, signal, sys
from cloche import Cloche, create_workflow, step

@step
async def slow(data):
    print("began", flush=True)
    await asyncio.sleep(0.1)
    return data

def mine(*_):
    print("mine", flush=True)

signal.signal(signal.SIGTERM, mine)
workflow = create_workflow(id="w").then(slow).commit()
print(Cloche.run_sync(workflow, 1, store=sys.argv[1], run_id="r1").status, flush=True)
"""


def terminated(script: str, stores: list[Path], began: int) -> tuple[int, list[str]]:
    """Run `script`, send SIGTERM when that many steps have begun; its exit code, and what it printed after."""
    child = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, stores)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert [child.stdout.readline() for _ in range(began)] == ["began\n"] * began
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=PATIENCE_S)
    assert err == ""
    return child.returncode, out.splitlines()


async def kinds(store: Path) -> list[str]:
    opened = SqliteStore(store)
    names = [record.kind.name for record in await all_records(opened, RunKey(TenantId("default"), RunId("r1")))]
    await opened.close()
    return names


@in_loop
async def test_sigterm_drains_every_app_and_then_ends_the_process(tmp_path: Path) -> None:
    stores = [tmp_path / "a.db", tmp_path / "b.db"]
    code, printed = terminated(TWO_APPS, stores, began=2)
    assert (code, printed) == (-signal.SIGTERM, [])
    for store in stores:
        assert (await kinds(store))[-2:] == ["STEP_COMPLETED", "STEP_CALLED"]
        assert not Path(f"{store}-wal").exists()  # closed, not just left


def test_a_program_with_a_handler_of_its_own_keeps_it(tmp_path: Path) -> None:
    code, printed = terminated(OWN_HANDLER, [tmp_path / "a.db"], began=1)
    assert (code, printed) == (0, ["mine", "success"])
