"""Every byte of a store of real runs, flipped and cut off: a typed error, a finding, or the right answer. Nothing else.

The places are taken in an order drawn from CLOCHE_SEED, for CLOCHE_TORTURE_S seconds each way: a slice in `make test`, all of
them in `make torture`.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import golden
from support.apps import in_loop
from support.stores import closed_after, key, unsynced_file

from cloche.errors import ClocheError
from cloche.history import Record, RunMachine, Seq
from cloche.operations import replay
from cloche.store import Append, NewRun, SqliteStore, all_records
from cloche.store.sqlite.database import VERSION

SEED = int(os.environ.get("CLOCHE_SEED", "20261123"))
BUDGET_S = float(os.environ.get("CLOCHE_TORTURE_S", "2"))
RUNS = {"plain": 99, "failing": 99, "asking": 99, "talking": 9}  # and how many of their records
RECORDS_A_COMMIT = 3

Answer = dict[
    str, tuple[list[Record], str, str, object]
]  # of a run: its records, its status, workflow and time of waking


@dataclass(frozen=True)
class Store:
    """The bytes of a store, its right answer, and those that it may give if its last commits never reached the disk."""

    main: bytes
    wal: bytes
    answers: list[Answer]
    file: Path

    async def outcome(self, main: bytes, wal: bytes) -> str:
        """What comes of such files: "error", "finding" or "right"; fails for anything else."""
        Path(f"{self.file}-shm").unlink(missing_ok=True)
        self.file.write_bytes(main)
        Path(f"{self.file}-wal").write_bytes(wal)
        try:
            async with closed_after(SqliteStore(self.file, must_exist=True)) as store:
                if (await replay.verify(store, None)).findings:
                    for run in RUNS:  # what can still be read is right, or refused
                        await _read_one(store, run, self.answers[-1])
                    return "finding"
                found = await _answer(store)
        except ClocheError:
            return "error"
        assert found in self.answers, "a store that is not what was written says that all is well"
        return "right" if found == self.answers[-1] else "older"


async def _answer(store: SqliteStore) -> Answer:
    return {
        row.key.run: (await all_records(store, row.key), row.status, row.workflow, row.wake_at)
        for row in await store.runs()
    }


async def _read_one(store: SqliteStore, run: str, right: Answer) -> None:
    """Read a run of a store that is known to be damaged: what comes out without an error is its beginning, as written."""
    try:
        records = await all_records(store, key(run))
    except ClocheError:
        return
    assert records == right[run][0][: len(records)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("torture")
    copy, answers = folder / "copy.db", [Answer()]
    main, wal = asyncio.run(_lived(folder, copy, answers))
    with unsynced_file() as file:
        yield Store(main, wal, answers, file)


async def _lived(folder: Path, copy: Path, answers: list[Answer]) -> tuple[bytes, bytes]:
    """The store's file and its write-ahead log, after all commits; the answers grow with each."""
    await SqliteStore(copy).close()
    async with (
        closed_after(SqliteStore(golden.unpack(VERSION, folder / "golden.db"))) as source,
        closed_after(SqliteStore(copy)) as target,
    ):
        for run, count in RUNS.items():
            async for append in _appends(source, run, count):
                assert await target.commit([append]) == [None]
                answers.append(await _answer(target))
        return copy.read_bytes(), Path(f"{copy}-wal").read_bytes()


async def _appends(source: SqliteStore, run: str, count: int) -> AsyncIterator[Append]:
    """The records of a run as they may have been written, some at a time."""
    row, machine = await source.run(key(run)), RunMachine(key(run))
    assert row is not None
    code = await source.blob(row.code)
    assert code is not None
    new: NewRun | None = NewRun(row.workflow, row.code, {row.code: code})
    records = (await all_records(source, row.key))[:count]
    for start in range(0, len(records), RECORDS_A_COMMIT):
        some = records[start : start + RECORDS_A_COMMIT]
        for record in some:
            machine.absorb(record)
        yield Append(row.key, Seq(start), some, machine.status, machine.wake_at, some[-1].time, new)
        new = None


def _places(size: int, chance: random.Random) -> Iterator[int]:
    """All places in some order, for as long as there is time."""
    end = time.monotonic() + BUDGET_S
    for count, at in enumerate(chance.sample(range(size), size), 1):
        yield at
        if time.monotonic() > end:
            print(f"CLOCHE_SEED={SEED}: {count} of {size} places")
            return


def _flipped(data: bytes, at: int, chance: random.Random) -> bytes:
    return data[:at] + bytes([data[at] ^ chance.choice((0xFF, 1 << chance.randrange(8)))]) + data[at + 1 :]


async def _closed(store: Store) -> bytes:
    """The same store in one file, as it is left by a process that ends in order."""
    assert await store.outcome(store.main, store.wal) == "right"
    return store.file.read_bytes()


@in_loop
async def test_the_store_is_whole_and_large_enough_to_mean_something(store: Store) -> None:
    assert await store.outcome(store.main, store.wal) == "right"
    assert await store.outcome(await _closed(store), b"") == "right"
    assert len(store.wal) > 30 * 4096
    assert any(record.payload for record in store.answers[-1]["talking"][0])


@in_loop
async def test_a_flipped_byte_of_the_file_is_never_a_wrong_answer(store: Store) -> None:
    chance, main = random.Random(SEED), await _closed(store)
    seen = {await store.outcome(_flipped(main, at, chance), b"") for at in _places(len(main), chance)}
    assert "older" not in seen  # nothing is lost without a word


@in_loop
async def test_a_flipped_byte_of_the_write_ahead_log_is_never_a_wrong_answer(store: Store) -> None:
    """In the last frame it may be a torn write, and then the commit before it is the right answer."""
    chance = random.Random(SEED + 1)
    last = len(store.wal) - 4096 - 24
    for at in _places(len(store.wal), chance):
        outcome = await store.outcome(store.main, _flipped(store.wal, at, chance))
        assert outcome == "error" or (outcome == "older" and at >= last), at


@in_loop
async def test_a_file_that_was_cut_off_is_never_a_wrong_answer(store: Store) -> None:
    chance, main = random.Random(SEED + 2), await _closed(store)
    seen = {await store.outcome(main[:size], b"") for size in _places(len(main), chance)}
    assert seen <= {"error", "finding"}


@in_loop
async def test_a_write_ahead_log_that_was_cut_off_gives_what_was_committed_before(store: Store) -> None:
    chance = random.Random(SEED + 3)
    seen = {await store.outcome(store.main, store.wal[:size]) for size in _places(len(store.wal), chance)}
    assert seen == {"older"}
