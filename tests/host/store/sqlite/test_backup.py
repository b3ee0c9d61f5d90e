"""Copies of a store that is in use."""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest
from support.apps import in_loop
from support.stores import Log, begun, closed_after, key

from cloche.errors import BrokenChain, StoreUnavailable
from cloche.history import Kind
from cloche.store import SqliteStore, all_records


@in_loop
async def test_a_backup_is_one_moment_of_a_store_that_is_written(tmp_path: Path) -> None:
    """Two runs are appended to in the same commits: in each copy they end at the same record."""
    source, stop, began = tmp_path / "runs.db", Event(), Event()
    await SqliteStore(source).close()

    async def write() -> list[Log]:
        async with closed_after(SqliteStore(source)) as store:
            logs = []
            for run in ("a", "b"):
                log, append = begun(run)
                await store.commit([append])
                logs.append(log)
            while not stop.is_set():
                assert await store.commit([log.step(value="x" * 500) for log in logs]) == [None, None]
                began.set()
            return logs

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(asyncio.run, write())
        began.wait()
        try:
            async with closed_after(SqliteStore(source)) as store:
                sizes = [await store.back_up(tmp_path / f"copy{n}.db") for n in range(5)]
        finally:
            stop.set()
        logs = writer.result()
    for number, size in enumerate(sizes):
        file = tmp_path / f"copy{number}.db"
        assert file.stat().st_size == size
        async with closed_after(SqliteStore(file, must_exist=True)) as copy:
            heads = [len(await all_records(copy, log.key)) for log in logs]
            assert heads[0] == heads[1] > 2
            assert [await all_records(copy, log.key) for log in logs] == [log.records[: heads[0]] for log in logs]
    assert sorted(file.name for file in tmp_path.glob("*part*")) == []


@in_loop
async def test_a_backup_has_what_is_only_in_the_write_ahead_log(tmp_path: Path) -> None:
    async with closed_after(SqliteStore(tmp_path / "runs.db")) as store:
        log, append = begun()
        await store.commit([append, log.step()])
        await store.back_up(tmp_path / "copy.db")
    async with closed_after(SqliteStore(tmp_path / "copy.db", must_exist=True)) as copy:
        assert await all_records(copy, key()) == log.records


@in_loop
async def test_a_backup_takes_nobodys_place(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    async with closed_after(SqliteStore(tmp_path / "runs.db")) as store:
        with pytest.raises(StoreUnavailable, match="there is a file at"):
            await store.back_up(tmp_path / "taken")
        with pytest.raises(StoreUnavailable, match="cannot be written"):
            await store.back_up(tmp_path / "nowhere" / "copy")
    assert (tmp_path / "taken").read_text() == "mine"


@in_loop
async def test_a_store_that_does_not_verify_is_not_kept_as_a_backup(tmp_path: Path) -> None:
    async with closed_after(SqliteStore(tmp_path / "runs.db")) as store:
        log, append = begun()
        await store.commit([append, log.append(Kind.STEP_COMPLETED, path="big", body=bytes(100_000))])
        with closing(sqlite3.connect(store.path, isolation_level=None)) as db:
            db.execute("DROP TRIGGER parts_in_use_are_not_deleted")
            db.execute("DELETE FROM parts WHERE depth = 0")
        with pytest.raises(BrokenChain, match="does not verify"):
            await store.back_up(tmp_path / "copy.db")
    assert [file.name for file in tmp_path.iterdir() if "copy" in file.name] == []
