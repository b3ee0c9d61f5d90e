"""Two workers on one store, either of them killed with `kill -9` at random moments, again and again.

`PYTHONPATH=tests python -m support.two_workers KILLS SEED` is the long form of what the test suite does for a moment.
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
from collections import defaultdict
from pathlib import Path

from support import crash_workload

from cloche.history import Kind
from cloche.operations import replay
from cloche.run.attempts import REDISPATCHES_MAX
from cloche.store import SqliteStore, all_records

PATIENCE_S = 60.0
WORKLOAD = Path(crash_workload.__file__)
GAP_S = (0.05, 0.6)  # between two kills


async def torture(folder: Path, kills: int, seed: int) -> int:
    """Two processes start the same runs on one store and share the work; the number of kills that met a working one.

    Raises:
        AssertionError: a run went wrong, a step was completed twice, or a chain is broken.
    """
    moments = random.Random(seed)
    places = {"CRASH_STORE": str(folder / "crash.db"), "CRASH_JOURNAL": str(folder / "journal.txt")}
    environment = {**os.environ, **places, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    def begun() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, str(WORKLOAD)], env=environment)

    workers, killed, tried = [begun(), begun()], 0, 0
    while killed < kills and tried < 4 * kills:
        time.sleep(moments.uniform(*GAP_S))
        victim = moments.randrange(2)
        workers[victim].send_signal(signal.SIGKILL)
        killed += workers[victim].wait(PATIENCE_S) == -signal.SIGKILL
        tried += 1
        workers[victim] = begun()
    for worker in workers:
        assert worker.wait(PATIENCE_S) == 0
    await prove(folder)
    return killed


async def prove(folder: Path, runs_min: int = crash_workload.RUNS) -> None:
    """There are so many runs, and every one ended well with the right value; each step is completed once, none began later.

    Or it failed by name, because one and the same step was met by every kill: not before it was begun six times.
    """
    store, journal = SqliteStore(folder / "crash.db"), folder / "journal.txt"
    began: dict[str, list[int]] = defaultdict(list)
    for line in journal.read_text().splitlines():
        run, path, at_ns = line.split(" ")
        began[f"{run} {path}"].append(int(at_ns))
    rows = await store.runs()
    assert len(rows) >= runs_min
    for row in rows:
        number = int(row.key.run.removeprefix("run-"))
        result = await replay.result_of(store, row.key)
        records = await all_records(store, row.key)
        completed = [record for record in records if record.kind is Kind.STEP_COMPLETED]
        paths = [str(record.path) for record in completed]
        if result.error is not None and result.error.name == "RedispatchedTooOften":
            # By the log: that it is begun again is durable before it is, and a kill may come between. The first time is not.
            again = [record for record in records if record.kind is Kind.ATTEMPT_STARTED]
            assert max(record.content().get("redispatched", 0) for record in again) == REDISPATCHES_MAX
            assert len(set(paths)) == len(paths)
        else:
            assert result.result == {"v": number + 3 + number + 1 + 1}
            assert sorted(paths) == ["a", "b", "c", "d", "e", "f"]
        for record in completed:
            late = [at for at in began[f"{row.key.run} {record.path}"] if at // 1_000_000 > record.time]
            assert late == []
    assert (await replay.verify(store, None)).findings == []
    await store.close()


if __name__ == "__main__":
    count, first_seed = int(sys.argv[1]), int(sys.argv[2])
    done = 0
    while done < count:  # a store is finished after a while: each round has its own
        with tempfile.TemporaryDirectory(prefix="cloche-two-") as name:
            print(f"seed {first_seed + done}", flush=True)
            done += asyncio.run(torture(Path(name), min(8, count - done), first_seed + done)) or 1
    print(f"{done} kills, nothing lost and nothing twice")
