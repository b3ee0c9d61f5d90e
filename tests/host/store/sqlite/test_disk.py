"""Disks that are full, small, or do not confirm what they were given; and that each commit is synced, by count."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from support.apps import in_loop
from support.disk import Disk
from support.stores import Log, closed_after, key

from cloche.engines import SandboxEngine
from cloche.operations import replay
from cloche.store import SqliteStore, all_records

COMMITTER = """
import asyncio, sys
from cloche.errors import StoreError
from cloche.store import SqliteStore, all_records
from support.stores import Log, key

async def main():
    store = SqliteStore(sys.argv[1])
    log = Log(key(), await all_records(store, key()))
    for line in sys.stdin:
        size, before = int(line), list(log.records)
        append = log.step(value="x" * size) if log.records else log.begin()
        try:
            print(await store.commit([append]), log.head, flush=True)
        except StoreError as error:
            log.records = before
            print(error.code, error.retryable, flush=True)
    await store.close()

asyncio.run(main())
"""

FLOW = """
import asyncio, os, sys
from pathlib import Path
from cloche import Cloche, create_step, create_workflow
import resource

def began(data):
    with Path(sys.argv[2]).open("a") as journal:
        journal.write(f"{data['n']}\\n")
    return {"n": data["n"] + 1, "text": os.urandom(4000).hex()}

workflow = create_workflow(id="w").dountil(create_step(id="s", execute=began), "inputData.n >= 40").commit()

async def main():
    async with Cloche(sys.argv[1], workflows=[workflow]) as app:
        if len(sys.argv) > 3:
            limit = int(sys.argv[3])
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        run = await app.start("w", {"n": 0}, run_id="r1")
        waits = asyncio.create_task(run.result(final=True))
        while not waits.done():
            problem = app._running.blocks.last_error(run._key)
            print(problem.code if problem else "-", flush=True)
            if problem and len(sys.argv) > 3:
                print("no room:", problem.message, flush=True)
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            await asyncio.sleep(0.02)
        print((await waits).status, flush=True)

asyncio.run(main())
"""


class Committer:
    """A process that commits what it is asked for, one after another."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def commit(self, size: int = 10) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{size}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@contextmanager
def committer(store: Path, disk: Disk) -> Iterator[Committer]:
    command = [sys.executable, "-c", COMMITTER, str(store)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=disk.environment
    ) as process:
        yield Committer(process)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


async def records(store: Path) -> int:
    async with closed_after(SqliteStore(store)) as opened:
        assert list(await opened.audit()) == []
        log = Log(key(), await all_records(opened, key()))
        return log.head


def test_every_commit_is_synced_once(tmp_path: Path, disk: Disk) -> None:
    """By the count of calls that the process makes to the kernel, not by what a setting says."""
    with committer(tmp_path / "runs.db", disk) as process:
        process.commit()
        process.commit()
        counts = []
        for _ in range(50):
            before = disk.syncs
            process.commit()
            counts.append(disk.syncs - before)
    assert counts == [1] * 50


@in_loop
async def test_a_full_disk_is_said_so_and_nothing_is_half_written(tmp_path: Path, disk: Disk) -> None:
    store = tmp_path / "runs.db"
    with committer(store, disk) as process:
        assert process.commit() == "[None] 2"
        disk.fill()
        assert [process.commit(size) for size in (10, 100_000, 10)] == ["store-full True"] * 3
        disk.make_room()
        assert process.commit() == "[None] 5"
    assert await records(store) == 5


@in_loop
async def test_a_sync_that_fails_ends_the_handle(tmp_path: Path, disk: Disk) -> None:
    """Trying again could succeed without having written anything: the kernel forgets what a failed sync was about."""
    store = tmp_path / "runs.db"
    with committer(store, disk) as process:
        assert [process.commit(), process.commit()] == ["[None] 2", "[None] 5"]
        disk.fail()
        assert process.commit() == "store-failed False"
        disk.recover()
        assert process.commit() == "store-failed False"
    assert (tmp_path / "runs.db-wal").exists()  # not written back by the handle that could not sync it
    assert await records(store) in (5, 8)


def flow(folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", FLOW, str(folder / "runs.db"), str(folder / "journal"), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def read_until_full(said: IO[str]) -> None:
    for line in said:
        assert "success" not in line
        if "store-full" in line:
            return
    pytest.fail("the process ended, and its disk was never full")


def size_of_guest() -> int:
    """A store keeps the guest of its runs: by far the largest thing in it, and not as large in each version."""
    return len(SandboxEngine().guest()[1])


async def has_gone_on_rightly(folder: Path) -> None:
    async with closed_after(SqliteStore(folder / "runs.db")) as store:
        assert (await replay.verify(store, None)).findings == []
        assert [row.status for row in await store.runs()] == ["success"]
    assert (folder / "journal").read_text().split() == [str(n) for n in range(40)]  # no step ran twice


@in_loop
async def test_a_run_waits_for_room_and_goes_on(tmp_path: Path, disk: Disk) -> None:
    with flow(tmp_path, disk.environment) as process:
        assert process.stdout is not None
        while not (tmp_path / "journal").exists():
            time.sleep(0.002)
        disk.fill()
        read_until_full(process.stdout)
        disk.make_room()
        assert process.stdout.read().split()[-1] == "success"
    await has_gone_on_rightly(tmp_path)


@in_loop
async def test_a_run_that_meets_the_limit_of_a_file_goes_on_when_it_is_raised(tmp_path: Path) -> None:
    with flow(tmp_path, {**os.environ}, str(size_of_guest() + 500_000)) as process:
        assert process.stdout is not None
        said = process.stdout.read()
    assert "no room:" in said
    assert said.split()[-1] == "success"
    await has_gone_on_rightly(tmp_path)


@in_loop
async def test_a_run_meets_a_disk_that_is_full_in_earnest(tmp_path: Path) -> None:
    """A file system of 8 MiB, most of it taken by another file, which goes away."""
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)], capture_output=True).returncode:
        pytest.skip("this user may not mount a small file system")
    try:
        ballast = small / "ballast"
        ballast.write_bytes(bytes(8 * 1024 * 1024 - size_of_guest() - 900_000))
        with flow(small, {**os.environ}) as process:
            assert process.stdout is not None
            read_until_full(process.stdout)
            ballast.unlink()
            assert process.stdout.read().split()[-1] == "success"
        await has_gone_on_rightly(small)
    finally:
        subprocess.run(["umount", str(small)], check=True)
