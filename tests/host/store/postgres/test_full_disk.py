"""The disk of the server is full: runs wait, whoever asks is told, and everything goes on by itself when there is room."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.apps import in_loop, until
from support.postgres import Server, own_server
from support.stores import Log, key

from cloche import Cloche, create_step, create_workflow
from cloche.errors import StoreFull
from cloche.history import Kind
from cloche.store import all_records
from cloche.store.postgres import PostgresStore

SIZE_MB = 48  # an empty database has about 8
noise = create_step(id="noise", execute=lambda data: os.urandom(300_000).hex())
workflow = create_workflow(id="noisy", input_schema=int).then(noise).commit()


@contextmanager
def small_disk(server: Server) -> Iterator[Path]:
    """The folder of a disk of its own, on which the database `small` lies. The log of the server lies elsewhere: without it,
    a server ends."""
    folder = Path(tempfile.mkdtemp(prefix="cloche-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m,mode=0777", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        folder.rmdir()
        pytest.skip("a disk of some MB needs a root that may mount a tmpfs")
    try:
        server.psql(f"CREATE TABLESPACE small LOCATION '{_given(folder / 'tables', server)}'")
        server.psql("CREATE DATABASE small TABLESPACE small TEMPLATE template0 ENCODING 'UTF8'")
        yield folder
    finally:
        server.stop()
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


def _given(folder: Path, server: Server) -> Path:
    folder.mkdir()
    os.chown(folder, server.as_user["user"], server.as_user["group"])
    return folder


def fill(folder: Path) -> Path:
    """A file that takes all the room that is left."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            return ballast


@in_loop
async def test_an_append_without_room_is_not_written_and_says_so() -> None:
    with own_server() as server, small_disk(server) as folder:
        store = await PostgresStore.open(server.url(database="small"))
        log = Log(key())
        assert await store.commit([log.begin()]) == [None]
        ballast = fill(folder)
        with pytest.raises(StoreFull, match=r"the disk of the store .* is full: make room; runs wait and go on"):
            await append_until_it_is_full(store, log)
        row = await store.run(log.key)  # what there is can be read
        assert row is not None
        before = row.head_seq
        assert before == len(log.records) - 1
        ballast.unlink()
        assert await store.commit([Log(key("r2")).begin()]) == [None]
        assert await all_records(store, log.key) == log.records[:before]
        assert await store.audit() == []
        await store.close()


async def append_until_it_is_full(store: PostgresStore, log: Log) -> None:
    while True:
        assert await store.commit([log.append(Kind.STEP_COMPLETED, body=os.urandom(400_000))]) == [None]


@in_loop
async def test_runs_wait_for_room_and_go_on() -> None:
    with own_server() as server, small_disk(server) as folder:
        async with Cloche(server.url(database="small"), workflows=[workflow]) as app:
            assert (await (await app.start(workflow, 1)).result()).result
            runs = []
            ballast = fill(folder)
            try:
                for number in range(50):
                    runs.append(await asyncio.wait_for(app.start(workflow, number, run_id=f"r{number}"), 10))
            except StoreFull:
                pass
            log = server.folder / "log"
            await until(lambda: "No space left on device" in log.read_text())
            ballast.unlink()
            results = await asyncio.gather(*(run.result() for run in runs))
            assert [len(result.unwrap()) for result in results] == [600_000] * len(runs)
            assert (await app.verify()).findings == []
