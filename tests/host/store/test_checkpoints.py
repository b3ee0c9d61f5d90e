"""Where checkpoints are kept: one suite, both places; and a file that may be damaged, deleted, locked or full at any time."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support.apps import in_loop
from support.stores import closed_after, key

from cloche.history import Seq
from cloche.store import Checkpoints
from cloche.store.checkpoints import CheckpointFile


@in_loop
async def test_there_is_none_at_first(kept: Checkpoints) -> None:
    assert await kept.get(key()) is None


@in_loop
async def test_the_newest_one_counts_in_whatever_order_they_come(kept: Checkpoints) -> None:
    await kept.put(key(), Seq(5), b"five")
    await kept.put(key(), Seq(9), b"nine")
    await kept.put(key(), Seq(7), b"seven")
    await kept.put(key("other"), Seq(1), b"one")
    assert (await kept.get(key()), await kept.get(key("other"))) == (b"nine", b"one")


@in_loop
async def test_a_rejected_one_is_never_given_again_but_a_newer_one_is(kept: Checkpoints) -> None:
    await kept.put(key(), Seq(5), b"five")
    await kept.reject(key())
    await kept.put(key(), Seq(5), b"five")
    assert await kept.get(key()) is None
    await kept.put(key(), Seq(6), b"six")
    assert await kept.get(key()) == b"six"


@in_loop
async def test_what_is_forgotten_is_gone(kept: Checkpoints) -> None:
    await kept.put(key(), Seq(5), b"five")
    await kept.forget(key())
    assert await kept.get(key()) is None


@in_loop
async def test_rejecting_and_forgetting_nothing_is_no_fault(kept: Checkpoints) -> None:
    await kept.reject(key())
    await kept.forget(key())


@in_loop
async def test_it_is_there_for_the_next_process(tmp_path: Path) -> None:
    async with closed_after(CheckpointFile(tmp_path / "c")) as first:
        await first.put(key(), Seq(5), b"five")
    async with closed_after(CheckpointFile(tmp_path / "c")) as second:
        assert await second.get(key()) == b"five"


@in_loop
async def test_two_processes_may_use_one_file(tmp_path: Path) -> None:
    async with (
        closed_after(CheckpointFile(tmp_path / "c")) as one,
        closed_after(CheckpointFile(tmp_path / "c")) as other,
    ):
        await one.put(key(), Seq(5), b"five")
        await other.put(key(), Seq(4), b"four")
        assert await other.get(key()) == b"five"


@pytest.mark.parametrize("damage", [b"", b"no database at all", b"\0" * 5000])
@in_loop
async def test_a_file_that_is_none_is_begun_anew(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "c").write_bytes(damage)
    async with closed_after(CheckpointFile(tmp_path / "c")) as made:
        assert await made.get(key()) is None
        await made.put(key(), Seq(5), b"five")
        assert await made.get(key()) == b"five"


@in_loop
async def test_a_file_that_is_damaged_while_it_is_used_is_begun_anew(tmp_path: Path) -> None:
    async with closed_after(CheckpointFile(tmp_path / "c")) as made:
        for number in range(200):
            await made.put(key(f"r{number}"), Seq(5), bytes(4000))
    data = bytearray((tmp_path / "c").read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    (tmp_path / "c").write_bytes(data)
    async with closed_after(CheckpointFile(tmp_path / "c")) as made:
        assert [await made.get(key(f"r{number}")) for number in range(200)] == [None] * 200
        await made.put(key(), Seq(6), b"six")
        assert await made.get(key()) == b"six"


@in_loop
async def test_a_file_of_a_newer_version_is_not_read(tmp_path: Path) -> None:
    async with closed_after(CheckpointFile(tmp_path / "c")) as made:
        await made.put(key(), Seq(5), b"five")
    with closing(sqlite3.connect(tmp_path / "c")) as db:
        db.execute("PRAGMA user_version = 99")
    async with closed_after(CheckpointFile(tmp_path / "c")) as made:
        assert await made.get(key()) is None


@in_loop
async def test_where_no_file_can_be_made_nothing_is_kept(tmp_path: Path) -> None:
    async with closed_after(CheckpointFile(tmp_path / "missing" / "c")) as made:
        await made.put(key(), Seq(5), b"five")
        await made.reject(key())
        await made.forget(key())
        assert await made.get(key()) is None


@in_loop
async def test_one_that_others_keep_locked_loses_what_it_cannot_write(tmp_path: Path) -> None:
    async with closed_after(CheckpointFile(tmp_path / "c")) as made:
        await made.put(key(), Seq(5), b"five")
        with closing(sqlite3.connect(tmp_path / "c")) as other:
            other.execute("BEGIN IMMEDIATE")
            await made.put(key(), Seq(6), b"six")
        assert await made.get(key()) == b"five"
