"""The SQLite store: what the database itself refuses, what it opens, and several handles on one file."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import pytest
from support.apps import in_loop
from support.histories import at
from support.stores import Log, begun, closed_after, key

from cloche.errors import BrokenChain, DamagedStore, ForeignStore, SeqConflict, StoreError, StoreUnavailable
from cloche.history import Kind, Seq
from cloche.history import Path as StepPath
from cloche.history.ids import TenantId
from cloche.status import RunStatus
from cloche.store import Finding, Outcome, SqliteStore, all_records, blob_digest, record_pages
from cloche.store.sqlite import database
from cloche.store.sqlite.database import VERSION


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(path)
    yield opened
    asyncio.run(opened.close())


async def filled(store: SqliteStore, steps: int = 1, run: str = "r1") -> Log:
    log, append = begun(run)
    assert await store.commit([append, *[log.step(f"add[{n}]") for n in range(steps)]]) == [None] * (steps + 1)
    return log


def other_program(path: Path, *statements: str) -> None:
    """Another program that opens the file: it knows none of cloche's manners."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


# ---- the database's own word ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "answer"),
    [
        ("UPDATE records SET record = x'00' WHERE seq = 1", "records are never changed"),
        ("UPDATE records SET seq = seq + 100", "records are never changed"),
        ("UPDATE OR REPLACE records SET seq = 1 WHERE seq = 2", "records are never changed"),
        ("DELETE FROM records WHERE seq = 5", "records are only deleted with their whole run"),
        ("DELETE FROM records", "records are only deleted with their whole run"),
        ("REPLACE INTO records SELECT run_id, 1, 3, NULL, record, hash, NULL FROM records", "records are never replaced"),
        ("INSERT OR IGNORE INTO records SELECT * FROM records", "records are never replaced"),
        ("UPDATE blobs SET data = x'00'", "blobs are never changed"),
    ],
)  # fmt: skip
@in_loop
async def test_the_database_itself_refuses_to_change_the_log(
    store: SqliteStore, path: Path, statement: str, answer: str
) -> None:
    log = await filled(store)
    await store.put_blob(blob_digest(b"code"), b"code")
    with pytest.raises(sqlite3.IntegrityError, match=answer):
        other_program(path, statement)
    assert (await all_records(store, key()), list(await store.audit())) == (log.records, [])


def test_every_commit_is_synced_and_goes_through_the_write_ahead_log(store: SqliteStore) -> None:
    settings = {
        name: store._database.connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("synchronous", "journal_mode")
    }
    assert settings == {"synchronous": 2, "journal_mode": "wal"}


@in_loop
async def test_a_weaker_setting_of_another_program_does_not_stay(path: Path) -> None:
    await SqliteStore(path).close()
    other_program(path, "PRAGMA journal_mode = DELETE")
    async with closed_after(SqliteStore(path)) as store:
        assert store._database.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@in_loop
async def test_a_store_that_was_closed_is_one_file(path: Path) -> None:
    async with closed_after(SqliteStore(path)) as store:
        log = await filled(store)
    assert sorted(file.name for file in path.parent.iterdir()) == ["runs.db", "runs.db.lock"]  # the lock holds no data
    async with closed_after(SqliteStore(path)) as store:
        assert await all_records(store, key()) == log.records


@in_loop
async def test_what_a_worker_asks_again_and_again_is_answered_from_an_index(store: SqliteStore) -> None:
    asked: list[str] = []
    store._database.read = store._database.look  # type: ignore[method-assign]  # what is long has a connection of its own
    await store.post(key(), "event", b"", "token", at(1), name="go")
    store._database.connection.set_trace_callback(asked.append)
    await store.leases.due_tenants(at(9))
    await store.leases.next_due()
    await store.runs(status=RunStatus.BLOCKED)
    await store.new_requests("w", None)
    await store.result(key(), StepPath("add"))
    await store.waiting_for(TenantId("t"), "go")
    store._database.connection.set_trace_callback(None)
    plans = [
        " ".join(row[3] for row in store._database.connection.execute(f"EXPLAIN QUERY PLAN {query}")) for query in asked
    ]
    new = ["SEARCH inbox", "COVERING INDEX inbox_waiting", "i USING COVERING INDEX inbox_waiting"]
    indexes = ["runs_free_of_tenant", "runs_free", "runs_listed", *new, "records_results", "awaited_by_name"]
    assert [index in plan for index, plan in zip(indexes, plans, strict=True)] == [True] * 8, plans
    assert not any("SCAN runs" in plan and "USING COVERING INDEX" not in plan for plan in plans), plans


# ---- files ---------------------------------------------------------------------------------------------------------------


def refusal(path: Path, *, must_exist: bool = False) -> tuple[type[StoreError], str]:
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(StoreError) as raised:
        SqliteStore(path, must_exist=must_exist)
    if path.is_file():
        assert path.read_bytes() == before  # a file that is not ours is left as it is
    return type(raised.value), raised.value.message


@pytest.mark.parametrize("content", [b"xy", b"Dear diary,\n", b"SQLite format 4\0" + bytes(4080), os.urandom(9000)])
def test_a_file_that_is_not_sqlite_is_foreign(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert refusal(path) == (ForeignStore, f"{path} is not a cloche store: it is not a SQLite file")


@pytest.mark.parametrize("statement", ["CREATE TABLE t (x)", "PRAGMA application_id = 7"])
def test_the_file_of_another_program_is_foreign(path: Path, statement: str) -> None:
    other_program(path, statement, "PRAGMA user_version = 1")
    assert refusal(path) == (ForeignStore, f"{path} is a SQLite file of another program, not a cloche store")


@in_loop
async def test_the_file_of_a_newer_cloche_asks_for_a_newer_cloche(path: Path) -> None:
    await SqliteStore(path).close()
    other_program(path, "PRAGMA user_version = 99")
    assert refusal(path) == (
        ForeignStore,
        f"{path} was written by a newer cloche (store version 99, this one knows {VERSION}): upgrade cloche to open it",
    )


@pytest.mark.parametrize("version", [0, -5])
@in_loop
async def test_a_store_of_a_version_that_never_was_is_damaged(path: Path, version: int) -> None:
    await SqliteStore(path).close()
    other_program(path, f"PRAGMA user_version = {version}")
    assert refusal(path) == (
        DamagedStore,
        f"{path} is damaged (it says that it has store version {version}): keep a copy of the file, then run "
        "'cloche verify' on it",
    )


def test_a_store_that_must_be_there_is_not_made(path: Path) -> None:
    assert refusal(path, must_exist=True) == (
        StoreUnavailable,
        f"there is no store at {path}: name another with --store",
    )
    assert not path.exists()


@in_loop
async def test_an_empty_file_is_a_new_store_and_no_store_that_was_there(path: Path) -> None:
    path.touch()
    assert refusal(path, must_exist=True) == (ForeignStore, f"{path} is an empty file, not a cloche store")
    path.write_bytes(b"x")  # what SQLite would take for an empty file
    assert refusal(path) == (ForeignStore, f"{path} is an empty file, not a cloche store")
    path.write_bytes(b"")
    await SqliteStore(path).close()
    await SqliteStore(path, must_exist=True).close()


def test_a_place_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    folder = tmp_path / "none" / "runs.db"
    answer = (StoreUnavailable, f"the store {folder} did not take or give data: unable to open database file")
    assert refusal(folder) == answer
    assert refusal(tmp_path)[0] is StoreUnavailable


@in_loop
async def test_a_store_half_made_by_a_process_that_died_is_made_whole(path: Path) -> None:
    other_program(path, "PRAGMA journal_mode = WAL")
    async with closed_after(SqliteStore(path)) as store:
        assert await all_records(store, key()) == []
        await filled(store)


@in_loop
async def test_many_processes_may_make_one_store_at_once(path: Path) -> None:
    barrier = Barrier(8)

    async def opened(number: int) -> list[Outcome]:
        barrier.wait()
        async with closed_after(SqliteStore(path)) as store:
            return await store.commit([begun(f"r{number}")[1]])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda number: asyncio.run(opened(number)), range(8))) == [[None]] * 8
    async with closed_after(SqliteStore(path)) as store:
        assert (len(await store.runs()), list(await store.audit())) == (8, [])


# ---- several handles -----------------------------------------------------------------------------------------------------


@in_loop
async def test_the_second_of_two_writers_has_a_conflict(store: SqliteStore, path: Path) -> None:
    log = await filled(store)
    other = Log(key(), list(log.records))
    async with closed_after(SqliteStore(path)) as second:
        assert await second.commit([other.step("theirs")]) == [None]
        (outcome,) = await store.commit([log.step("mine")])
    assert isinstance(outcome, SeqConflict)
    assert await all_records(store, key()) == other.records


@in_loop
async def test_a_writer_waits_for_another_one(store: SqliteStore, path: Path) -> None:
    log = await filled(store)
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        outcome = asyncio.create_task(store.commit([log.step()]))
        await asyncio.sleep(0.01)
        assert not outcome.done()
        other.execute("COMMIT")
        assert await outcome == [None]


@in_loop
async def test_a_writer_that_waited_in_vain_has_written_nothing_and_may_try_again(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await filled(store)
    append = log.step()
    monkeypatch.setattr(database, "_PATIENT", "PRAGMA busy_timeout = 1")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable) as raised:
            await store.commit([append])
    assert raised.value.message == f"the store {path} did not take or give data: database is locked"
    assert (raised.value.retryable, await store.commit([append])) == (True, [None])


@in_loop
async def test_readers_read_while_another_writes(store: SqliteStore, path: Path) -> None:
    log = await filled(store)
    written = list(log.records)
    async with closed_after(SqliteStore(path)) as reader:
        pages = record_pages(reader, key())
        assert await anext(pages) == written  # what it began to read
        assert await store.commit([log.step()]) == [None]
        assert await anext(pages, None) is None
        assert await all_records(reader, key()) == log.records


@in_loop
async def test_it_is_news_when_another_connection_has_written(store: SqliteStore, path: Path) -> None:
    before = (await store.news(None)).mark
    await filled(store)
    assert not (await store.news(before)).is_any
    async with closed_after(SqliteStore(path)) as other:
        await other.post(key(), "cancel", b"", "t", at(0))
    assert (await store.news(before)).is_any


@in_loop
async def test_two_threads_that_commit_at_once_never_mix_within_a_run(path: Path) -> None:
    """Each has its own runs and both fight for one: who has a conflict takes over the other's end and goes on."""
    async with closed_after(SqliteStore(path)) as store:
        await filled(store, 0, "shared")
    barrier = Barrier(2)

    async def fight(name: str) -> list[int]:
        own, append = begun(name)
        won = []
        async with closed_after(SqliteStore(path)) as store:
            barrier.wait()
            await store.commit([append])
            for turn in range(60):
                shared = Log(key("shared"), await all_records(store, key("shared")))
                outcomes = await store.commit([own.step(), shared.append(Kind.LOG_LINE, body=name.encode())])
                assert outcomes[0] is None
                if outcomes[1] is None:
                    won.append(shared.head)
                assert turn < 60
            assert await all_records(store, own.key) == own.records
        return [int(seq) for seq in won]

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda name: asyncio.run(fight(name)), ("one", "two"))
    async with closed_after(SqliteStore(path)) as store:
        shared = await all_records(store, key("shared"))
        assert sorted(first + second) == list(range(3, len(shared) + 1))
        assert [record.seq for record in shared if record.body == b"one"] == first
        assert list(await store.audit()) == []


# ---- damage that reading meets -------------------------------------------------------------------------------------------


def forged(path: Path, *statements: str) -> None:
    """Someone who takes the triggers away first."""
    drop = (
        "records_are_not_changed",
        "records_are_not_deleted",
        "records_are_not_replaced",
        "blobs_are_not_changed",
        "parts_are_not_changed",
        "parts_in_use_are_not_deleted",
    )
    other_program(path, *[f"DROP TRIGGER {name}" for name in drop], *statements)


async def findings(path: Path) -> list[Finding]:
    async with closed_after(SqliteStore(path)) as store:
        return list(await store.audit())


@in_loop
async def test_a_record_that_was_changed_is_refused_when_it_is_read(store: SqliteStore, path: Path) -> None:
    await filled(store)
    forged(path, "UPDATE records SET record = x'00' WHERE seq = 4")
    with pytest.raises(BrokenChain) as raised:
        await all_records(store, key())
    assert (raised.value.message, raised.value.run_id, raised.value.seq) == (
        "run r1, record 4 is not the one that was written: its hash does not match",
        "r1",
        4,
    )
    assert len(await all_records(store, key(), Seq(4))) == 1


@pytest.mark.parametrize(
    ("forgery", "found"),
    [
        (
            "UPDATE records SET record = x'00' WHERE seq = 4",
            [Finding("r1", 4, "record 4 is not the one that was written: its hash does not match")],
        ),
        (
            "UPDATE records SET path = 'other' WHERE seq = 4",
            [Finding("r1", 4, "the index of record 4 does not agree with the record")],
        ),
        (
            "UPDATE records SET path = NULL, kind = 12 WHERE seq = 4",
            [Finding("r1", 4, "the index of record 4 does not agree with the record")],
        ),
        (
            "DELETE FROM records WHERE seq = 4",
            [Finding("r1", 4, "record 5 stands where record 4 should")],
        ),
        (
            "DELETE FROM records WHERE seq = 5",
            [Finding("r1", 4, "the run should end with record 5, and ends with record 4")],
        ),
        ("DELETE FROM records", [Finding("r1", None, "the run should end with record 5, and ends with record 0")]),
        (
            "UPDATE runs SET head_hash = x'00'",
            [Finding("r1", 5, "the run does not end with the hash of record 5")],
        ),
        (
            "UPDATE runs SET run = 'r2'",
            [Finding("r2", 1, "record 1 is not the one that was written: its hash does not match")],
        ),
        (
            "DELETE FROM runs",
            [Finding(None, None, f"record {seq} belongs to no run (run number 1)") for seq in range(1, 6)],
        ),
        (
            "UPDATE blobs SET data = x'00'",
            [Finding(None, None, f"the stored code or guest {blob_digest(b'code')[:12]} is not what its digest says")],
        ),
    ],
    ids=["record", "path", "kind", "left out", "cut", "all", "head", "renamed", "orphans", "blob"],
)  # fmt: skip
@in_loop
async def test_every_forgery_is_found_and_named(
    store: SqliteStore, path: Path, forgery: str, found: list[Finding]
) -> None:
    await filled(store)
    await store.put_blob(blob_digest(b"code"), b"code")
    forged(path, forgery)
    assert list(await store.audit()) == found


@in_loop
async def test_the_audit_of_one_run_is_about_that_run(store: SqliteStore, path: Path) -> None:
    await filled(store, 1, "r1"), await filled(store, 1, "r2")
    forged(path, "UPDATE records SET record = x'00' WHERE run_id = 1 AND seq = 2")
    assert [[finding.run for finding in await store.audit(key(run))] for run in ("r1", "r2", "r3")] == [["r1"], [], []]


@pytest.mark.parametrize("status", ["CAST(x'ff' AS TEXT)", "'suspendee'"])
@in_loop
async def test_an_entry_that_is_not_as_it_was_written_is_that_of_a_blocked_run(
    store: SqliteStore, path: Path, status: str
) -> None:
    await filled(store, 1, "r1"), await filled(store, 1, "r2")
    other_program(path, f"UPDATE runs SET status = {status} WHERE run = 'r1'")
    statuses = {row.key.run: row.status for row in await store.runs()}
    assert statuses == {"r1": "blocked", "r2": "running"}
