"""A cleanly closed store, and every byte of its records flipped: `audit` names the record, and never stumbles."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.apps import in_loop
from support.stores import Log, begun, closed_after, key, unsynced_file

from cloche.errors import BrokenChain, HistoryError, StoreError
from cloche.history import RunKey, RunMachine, Seq
from cloche.history.fast_replay import Transcript, follow
from cloche.operations.replay import verify
from cloche.store import Finding, SqliteStore, all_records, blob_digest


@dataclass(frozen=True)
class Sample:
    """The bytes of a store, and what was written into it."""

    data: bytes
    logs: list[Log]
    file: Path  # a place to write a damaged one

    async def damaged(self, data: bytes) -> list[Finding] | StoreError:
        """What comes of opening and checking a store with these bytes."""
        self.file.write_bytes(data)
        for rest in ("-wal", "-shm"):
            Path(f"{self.file}{rest}").unlink(missing_ok=True)
        try:
            async with closed_after(SqliteStore(self.file, must_exist=True)) as store:
                return list(await store.audit())
        except StoreError as error:
            return error


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    folder = tmp_path_factory.mktemp("damage")
    logs = asyncio.run(_written(folder / "runs.db"))
    with unsynced_file() as file:
        yield Sample((folder / "runs.db").read_bytes(), logs, file)


async def _written(file: Path) -> list[Log]:
    async with closed_after(SqliteStore(file)) as store:
        logs = []
        for run in ("r-first", "r-second"):
            log, append = begun(run)
            assert await store.commit([append, log.step(f"{run}/add"), log.step(f"{run}/é")]) == [None] * 3
            logs.append(log)
        await store.put_blob(blob_digest(b"code" * 20), b"code" * 20)
    return logs


def flipped(data: bytes, at: int, bits: int = 0xFF) -> bytes:
    return data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :]


def places(data: bytes, part: bytes) -> list[int]:
    """Where `part` begins, wherever it is stored."""
    found, at = [], data.find(part)
    while at >= 0:
        found.append(at)
        at = data.find(part, at + 1)
    return found


def names(outcome: list[Finding] | StoreError, run: str, seq: int) -> bool:
    return isinstance(outcome, list) and any((finding.run, finding.seq) == (run, seq) for finding in outcome)


@in_loop
async def test_the_sample_is_whole(sample: Sample) -> None:
    assert await sample.damaged(sample.data) == []
    assert [len(log.records) for log in sample.logs] == [8, 8]


@pytest.mark.parametrize("bits", [0x01, 0x80, 0xFF])
@in_loop
async def test_every_byte_of_every_record_is_watched_and_its_record_is_named(sample: Sample, bits: int) -> None:
    """The record, its hash and its path in the row: whatever is flipped, the finding names run and record."""
    missed = []
    for log in sample.logs:
        for record in log.records:
            stored = (record.path or "").encode() + record.packed + record.hash
            (start,) = places(sample.data, stored)  # SQLite stores the columns of a row one behind the other
            for at in range(start, start + len(stored)):
                if not names(await sample.damaged(flipped(sample.data, at, bits)), log.key.run, record.seq):
                    missed.append((log.key.run, record.seq, at - start))
    assert missed == []


@in_loop
async def test_every_copy_of_a_path_in_an_index_is_watched(sample: Sample) -> None:
    """The index of results holds paths of its own: damage there is damage of the structure, and found as such."""
    missed = []
    for path in {record.path.encode() for log in sample.logs for record in log.records if record.path}:
        for start in places(sample.data, path):
            missed += [
                at for at in range(start, start + len(path)) if await sample.damaged(flipped(sample.data, at)) == []
            ]
    assert missed == []


@in_loop
async def test_every_byte_of_a_blob_is_watched(sample: Sample) -> None:
    (start,) = places(sample.data, b"code" * 20)
    answers = [await sample.damaged(flipped(sample.data, at)) for at in range(start, start + 80)]
    digest = blob_digest(b"code" * 20)[:12]
    assert answers == [[Finding(None, None, f"the stored code or guest {digest} is not what its digest says")]] * 80


SHARES = 16  # each a test, which may take so long


@pytest.mark.parametrize("share", range(SHARES))
@in_loop
async def test_no_byte_of_the_file_makes_the_audit_stumble(sample: Sample, share: int) -> None:
    """Headers, schema, free space and all: an answer each time, findings or a typed error, and a whole store is never claimed
    when a record cannot be read back."""
    expected = [log.records for log in sample.logs]
    for at in range(share * 7, len(sample.data), SHARES * 7):
        if await sample.damaged(flipped(sample.data, at)) == []:
            async with closed_after(SqliteStore(sample.file)) as store:
                assert [await all_records(store, log.key) for log in sample.logs] == expected


@pytest.mark.parametrize("step", [512])
@in_loop
async def test_a_file_cut_off_anywhere_is_seen(sample: Sample, step: int) -> None:
    sizes = [*range(0, len(sample.data), step), 1, 15, 16, 99, 100, len(sample.data) - 1]
    assert [size for size in sizes if await sample.damaged(sample.data[:size]) == []] == []


@in_loop
async def test_a_run_that_is_damaged_leaves_the_others_readable(sample: Sample) -> None:
    first, second = sample.logs
    (at,) = places(sample.data, first.records[3].packed)
    await sample.damaged(flipped(sample.data, at))
    async with closed_after(SqliteStore(sample.file)) as store:
        assert await all_records(store, second.key) == second.records
        assert [finding.run for finding in await store.audit(second.key)] == []
        assert {finding.run for finding in await store.audit(key("r-first"))} == {"r-first"}


@pytest.mark.parametrize("column", ["record", "hash"])
@in_loop
async def test_a_record_without_its_bytes_is_damage_and_no_stumbling(tmp_path: Path, column: str) -> None:
    log, append = begun("r1")
    async with closed_after(SqliteStore(tmp_path / "runs.db")) as store:
        await store.commit([append, log.step("a")])
    _damage(
        tmp_path / "runs.db",
        "DROP TRIGGER records_are_not_changed",
        f"UPDATE sqlite_schema SET sql = replace(sql, '{column} BLOB NOT NULL', '{column} BLOB') WHERE name = 'records'",
        f"UPDATE records SET {column} = NULL WHERE seq = 2",
    )
    async with closed_after(SqliteStore(tmp_path / "runs.db")) as store:
        for after in (0, 1):
            with pytest.raises(BrokenChain):
                await all_records(store, log.key, Seq(after))
        with pytest.raises(HistoryError):
            await _followed(store, log.key)
        assert any((finding.run, finding.seq) == ("r1", 2) for finding in (await verify(store, None)).findings)


async def _followed(store: SqliteStore, key: RunKey) -> None:
    for seq in follow(RunMachine(key), await store.rows(key), Transcript()):
        await store.records(key, Seq(seq - 1), 1)


@in_loop
async def test_a_row_without_the_number_of_its_last_record_is_a_finding(tmp_path: Path) -> None:
    """No statement can do that, and a flipped bit can."""
    _, append = begun("r1")
    async with closed_after(SqliteStore(tmp_path / "runs.db")) as store:
        await store.commit([append])
    _damage(
        tmp_path / "runs.db",
        "UPDATE sqlite_schema SET sql = replace(sql, 'head_seq INTEGER NOT NULL', 'head_seq INTEGER')",
        "UPDATE runs SET head_seq = NULL",
    )
    async with closed_after(SqliteStore(tmp_path / "runs.db")) as store:
        report = await verify(store, None)
    assert (report.ok, report.runs, report.records) == (False, 1, 0)
    assert any(finding.run == "r1" for finding in report.findings)


def _damage(file: Path, *statements: str) -> None:
    """What no statement of a store's own can do: the schema is changed under it. A connection sees that when it opens."""
    for statement in statements:
        with closing(sqlite3.connect(file, isolation_level=None)) as db:
            db.execute("PRAGMA writable_schema = ON")
            db.execute(statement)
