"""Copies of a store that is in use."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest
from support.stores import Log, begun, key

from cloche.errors import BrokenChain, StoreUnavailable
from cloche.history import Kind
from cloche.store import SqliteStore
from cloche.store.sqlite.backup import back_up


def test_a_backup_is_one_moment_of_a_store_that_is_written(tmp_path: Path) -> None:
    """Two runs are appended to in the same commits: in each copy they end at the same record."""
    source, stop, began = tmp_path / "runs.db", Event(), Event()
    SqliteStore(source).close()

    def write() -> list[Log]:
        with closing(SqliteStore(source)) as store:
            logs = []
            for run in ("a", "b"):
                log, append = begun(run)
                store.commit([append])
                logs.append(log)
            while not stop.is_set():
                assert store.commit([log.step(value="x" * 500) for log in logs]) == [None, None]
                began.set()
            return logs

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write)
        began.wait()
        try:
            with closing(SqliteStore(source)) as store:
                sizes = [back_up(store, tmp_path / f"copy{n}.db") for n in range(5)]
        finally:
            stop.set()
        logs = writer.result()
    for number, size in enumerate(sizes):
        file = tmp_path / f"copy{number}.db"
        assert file.stat().st_size == size
        with closing(SqliteStore(file, must_exist=True)) as copy:
            heads = [len(list(copy.records(log.key))) for log in logs]
            assert heads[0] == heads[1] > 2
            assert [list(copy.records(log.key)) for log in logs] == [log.records[: heads[0]] for log in logs]
    assert sorted(file.name for file in tmp_path.glob("*part*")) == []


def test_a_backup_has_what_is_only_in_the_write_ahead_log(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "runs.db")) as store:
        log, append = begun()
        store.commit([append, log.step()])
        back_up(store, tmp_path / "copy.db")
    with closing(SqliteStore(tmp_path / "copy.db", must_exist=True)) as copy:
        assert list(copy.records(key())) == log.records


def test_a_backup_takes_nobodys_place(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    with closing(SqliteStore(tmp_path / "runs.db")) as store:
        with pytest.raises(StoreUnavailable, match="there is a file at"):
            back_up(store, tmp_path / "taken")
        with pytest.raises(StoreUnavailable, match="cannot be written"):
            back_up(store, tmp_path / "nowhere" / "copy")
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_store_that_does_not_verify_is_not_kept_as_a_backup(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "runs.db")) as store:
        log, append = begun()
        store.commit([append, log.append(Kind.STEP_COMPLETED, path="big", body=bytes(100_000))])
        with closing(sqlite3.connect(store.path, isolation_level=None)) as db:
            db.execute("DROP TRIGGER parts_in_use_are_not_deleted")
            db.execute("DELETE FROM parts WHERE depth = 0")
        with pytest.raises(BrokenChain, match="does not verify"):
            back_up(store, tmp_path / "copy.db")
    assert [file.name for file in tmp_path.iterdir() if "copy" in file.name] == []
