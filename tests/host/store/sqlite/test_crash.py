"""A process is killed while it appends: what it was told is durable is there, and the log is whole."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.apps import in_loop
from support.stores import Log, begun, closed_after, key

from cloche.history import Seq
from cloche.store import SqliteStore, all_records

TESTS = Path(__file__).parents[3]
WRITER = """
import asyncio, sys
from cloche.store import SqliteStore, all_records
from support.stores import Log, begun, key

async def main():
    store = SqliteStore(sys.argv[1])
    logs = [Log(key(run), await all_records(store, key(run))) for run in ("r1", "r2")]
    while True:
        appends = [log.step(value="x" * (log.head % 5000)) if log.records else log.begin() for log in logs]
        assert await store.commit(appends) == [None, None]
        print(logs[0].head, flush=True)  # acknowledged: from now on it must never be lost

asyncio.run(main())
"""


def acknowledged(store: Path, rounds: int) -> Iterator[int]:
    """Start a writer, kill it behind its `rounds`-th acknowledgement, and give every one that came out of it."""
    command = [sys.executable, "-c", WRITER, str(store)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for _ in range(rounds):
            yield int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        for line in process.stdout:  # what it had still said before it died
            if line.endswith("\\n"):
                yield int(line)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("seed", [1, 2, 3])
@in_loop
async def test_an_acknowledged_append_survives_kill_9(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    store, last = tmp_path / "runs.db", 0
    for _ in range(2):  # the second writer goes on where the first was stopped
        last = max(acknowledged(store, chance.randint(1, 60)))
        async with closed_after(SqliteStore(store)) as opened:
            logs = [Log(key(run), await all_records(opened, key(run))) for run in ("r1", "r2")]
            assert logs[0].head >= last
            assert logs[0].head == logs[1].head  # one commit is all or nothing, for all of its runs
            assert list(await opened.audit()) == []
            assert [row.head_seq for row in await opened.runs()] == [log.head for log in logs]


@in_loop
async def test_an_append_whose_commit_was_cut_short_is_not_there_at_all(tmp_path: Path) -> None:
    """The tail of the write-ahead log is torn at every byte of the last commit: the commit is there, or nothing of it is."""
    source = tmp_path / "runs.db"
    async with closed_after(SqliteStore(source)) as store:
        log, append = begun()
        await store.commit([append])
        before = (tmp_path / "runs.db-wal").stat().st_size
        await store.commit([log.step()])
        wal, main = (tmp_path / "runs.db-wal").read_bytes(), source.read_bytes()
    seen = set()
    for size in [*range(before, len(wal), 97), len(wal)]:
        torn = tmp_path / "torn.db"
        torn.write_bytes(main)
        (tmp_path / "torn.db-wal").write_bytes(wal[:size])
        async with closed_after(SqliteStore(torn)) as opened:
            assert list(await opened.audit()) == []
            seen.add(len(await all_records(opened, key(), Seq(0))))
    assert seen == {2, 5}
