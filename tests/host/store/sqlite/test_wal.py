"""The write-ahead log of a store that was not closed: a torn tail opens, damage before it does not."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import pytest
from support.apps import in_loop
from support.stores import Log, begun, closed_after, key

from cloche.errors import DamagedStore
from cloche.store import SqliteStore, all_records
from cloche.store.sqlite import wal

COMMITS = 6
FRAME = 24 + 4096


class Crashed:
    """The files of a store as a process leaves them that is killed: each commit in the WAL, none in the file."""

    def __init__(self, folder: Path) -> None:
        asyncio.run(self._live(folder / "live.db"))
        self.file = folder / "found.db"

    async def _live(self, source: Path) -> None:
        await SqliteStore(source).close()
        self.ends: list[int] = []  # bytes of the WAL behind each commit
        self.heads: list[int] = []
        async with closed_after(SqliteStore(source)) as store:
            log, append = begun()
            await store.commit([append])
            for _ in range(COMMITS):
                self.ends.append(Path(f"{source}-wal").stat().st_size)
                self.heads.append(log.head)
                await store.commit([log.step(value="x" * 2000)])
            self.ends.append(Path(f"{source}-wal").stat().st_size)
            self.heads.append(log.head)
            self.main, self.wal = source.read_bytes(), Path(f"{source}-wal").read_bytes()
        self.log: Log = log

    def left(self, data: bytes) -> Path:
        """A store with this WAL."""
        Path(f"{self.file}-shm").unlink(missing_ok=True)
        self.file.write_bytes(self.main)
        Path(f"{self.file}-wal").write_bytes(data)
        return self.file

    async def head(self, data: bytes) -> int | None:
        """The last record of the run in a store with this WAL; None if it is refused as damaged."""
        try:
            store = SqliteStore(self.left(data), must_exist=True)
        except DamagedStore as refusal:
            found = (f"{self.file.name}-wal" in refusal.message, Path(f"{self.file}-wal").read_bytes())
            assert found == (True, data)  # as it was found, for whoever looks
            return None
        async with closed_after(store):
            assert list(await store.audit()) == []
            return len(await all_records(store, key()))


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Crashed:
    return Crashed(tmp_path_factory.mktemp("wal"))


def flipped(data: bytes, at: int, bits: int = 0x10) -> bytes:
    return data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :]


@in_loop
async def test_a_whole_log_is_read_to_its_end(crashed: Crashed) -> None:
    assert await crashed.head(crashed.wal) == crashed.heads[-1]


@pytest.mark.parametrize("commit", range(1, COMMITS + 1))
@in_loop
async def test_a_log_that_ends_anywhere_in_a_commit_has_all_commits_before_it(crashed: Crashed, commit: int) -> None:
    start, end = crashed.ends[commit - 1], crashed.ends[commit]
    for size in (start, start + 1, start + 23, start + 24, start + 2000, end - 1):
        assert await crashed.head(crashed.wal[:size]) == crashed.heads[commit - 1]


@in_loop
async def test_damage_in_front_of_a_commit_is_refused_and_left_as_it_is(crashed: Crashed) -> None:
    """Every frame but the last commit's, in its head and in its page: SQLite alone would open, and forget what follows."""
    silent = []
    for at in range(32, crashed.ends[-2], 509):
        if await crashed.head(flipped(crashed.wal, at)) is not None:
            silent.append(at)
    assert silent == []


@in_loop
async def test_every_byte_of_the_first_frames_head_and_of_the_logs_head_is_watched(crashed: Crashed) -> None:
    """Magic, version, page size, count of checkpoints, salts, sums; page, size, salts, sums."""
    assert [at for at in range(32 + 24) if await crashed.head(flipped(crashed.wal, at)) is not None] == []


@in_loop
async def test_damage_within_the_last_commit_is_refused_while_its_end_is_whole(crashed: Crashed) -> None:
    start, end = crashed.ends[-2], crashed.ends[-1]
    assert end - start > FRAME
    places = [*range(start, end - FRAME, 97), *range(end - 2 * FRAME, end - 2 * FRAME + 24)]  # its sums as well
    assert [at for at in places if await crashed.head(flipped(crashed.wal, at)) is not None] == []


@in_loop
async def test_the_last_frame_alone_may_be_torn(crashed: Crashed) -> None:
    """Nothing tells a flipped bit there from a write that was under way: it counts as not written."""
    for at in range(crashed.ends[-1] - FRAME, crashed.ends[-1], 97):
        assert await crashed.head(flipped(crashed.wal, at)) in (crashed.heads[-2], None)


@in_loop
async def test_frames_of_the_last_commit_that_never_reached_the_disk_are_a_torn_tail(crashed: Crashed) -> None:
    """A disk may write the frames of one commit in any order, and the power may go out in between."""
    start, end = crashed.ends[-2], crashed.ends[-1]
    frames = (end - start) // FRAME
    salt = struct.unpack(">I", crashed.wal[16:20])[0]
    older = struct.pack(">6I", 2, 1, salt - 1, 77, 5, 5) + bytes(4096)
    for missing in range(frames - 1):
        for instead in (bytes(FRAME), older):
            at = start + missing * FRAME
            assert await crashed.head(crashed.wal[:at] + instead + crashed.wal[at + FRAME :]) == crashed.heads[-2]


@in_loop
async def test_a_frame_that_was_never_written_in_front_of_two_commits_is_damage(crashed: Crashed) -> None:
    at = crashed.ends[-3]
    assert await crashed.head(crashed.wal[:at] + bytes(FRAME) + crashed.wal[at + FRAME :]) is None


@in_loop
async def test_what_a_longer_life_left_behind_is_no_damage(tmp_path: Path) -> None:
    """A WAL that began anew is written over the old one, whose frames still lie behind the new ones."""
    source = tmp_path / "runs.db"
    async with closed_after(SqliteStore(source)) as store:
        log, append = begun()
        await store.commit([append])
        for _ in range(20):
            await store.commit([log.step(value="x" * 3000)])
        store._database.connection.execute("PRAGMA wal_checkpoint(RESTART)")
        for _ in range(3):
            await store.commit([log.step()])
            for name in ("runs.db", "runs.db-wal"):
                shutil.copy(tmp_path / name, tmp_path / f"copy-{name}")
            async with closed_after(SqliteStore(tmp_path / "copy-runs.db")) as copy:
                assert len(await all_records(copy, key())) == log.head


@in_loop
async def test_a_store_that_is_written_meanwhile_is_opened(tmp_path: Path) -> None:
    source = tmp_path / "runs.db"
    async with closed_after(SqliteStore(source)) as store:
        log, append = begun()
        await store.commit([append])
        for turn in range(60):
            await store.commit([log.step(value="x" * 3000)])
            if turn % 20 == 10:
                store._database.connection.execute("PRAGMA wal_checkpoint(RESTART)")
            assert wal.damage(source) is None
            async with closed_after(SqliteStore(source)) as reader:
                assert len(await all_records(reader, key())) == log.head


@pytest.mark.parametrize("order", ["big", "little"])
def test_checksums_are_those_of_sqlite_in_either_order(tmp_path: Path, order: str) -> None:
    """SQLite writes the order of the machine; the other one is checked on a log that is summed up again here."""
    source = tmp_path / "runs.db"
    with closing(sqlite3.connect(source, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        for number in range(5):
            db.execute(f"CREATE TABLE t{number} (x)")
        data = bytearray(Path(f"{source}-wal").read_bytes())
    struct.pack_into(">I", data, 0, 0x377F0682 | (order == "big"))
    letter = ">" if order == "big" else "<"
    sums = wal._checksum(letter, bytes(data[:24]), 0, 0)
    struct.pack_into(">2I", data, 24, *sums)
    for at in range(32, len(data) - FRAME + 1, FRAME):
        sums = wal._checksum(letter, bytes(data[at : at + 8]), *sums)
        sums = wal._checksum(letter, bytes(data[at + 24 : at + FRAME]), *sums)
        struct.pack_into(">2I", data, at + 16, *sums)
    assert wal._damage(bytes(data)) is None
    assert wal._damage(flipped(bytes(data), 40)) is not None
