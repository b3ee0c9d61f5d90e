"""Where checkpoints are kept: one suite, both places; and a file that may be damaged, deleted, locked or full at any time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.stores import key

from cloche.history import Seq
from cloche.store import CheckpointFile, Checkpoints, MemoryCheckpoints


@pytest.fixture(params=["memory", "file"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Checkpoints]:
    made: Checkpoints = MemoryCheckpoints() if request.param == "memory" else CheckpointFile(tmp_path / "c")
    yield made
    made.close()


def test_there_is_none_at_first(kept: Checkpoints) -> None:
    assert kept.get(key()) is None


def test_the_newest_one_counts_in_whatever_order_they_come(kept: Checkpoints) -> None:
    kept.put(key(), Seq(5), b"five")
    kept.put(key(), Seq(9), b"nine")
    kept.put(key(), Seq(7), b"seven")
    kept.put(key("other"), Seq(1), b"one")
    assert (kept.get(key()), kept.get(key("other"))) == (b"nine", b"one")


def test_a_rejected_one_is_never_given_again_but_a_newer_one_is(kept: Checkpoints) -> None:
    kept.put(key(), Seq(5), b"five")
    kept.reject(key())
    kept.put(key(), Seq(5), b"five")
    assert kept.get(key()) is None
    kept.put(key(), Seq(6), b"six")
    assert kept.get(key()) == b"six"


def test_what_is_forgotten_is_gone(kept: Checkpoints) -> None:
    kept.put(key(), Seq(5), b"five")
    kept.forget(key())
    assert kept.get(key()) is None


def test_rejecting_and_forgetting_nothing_is_no_fault(kept: Checkpoints) -> None:
    kept.reject(key())
    kept.forget(key())


def test_it_is_there_for_the_next_process(tmp_path: Path) -> None:
    with closing(CheckpointFile(tmp_path / "c")) as first:
        first.put(key(), Seq(5), b"five")
    with closing(CheckpointFile(tmp_path / "c")) as second:
        assert second.get(key()) == b"five"


def test_two_processes_may_use_one_file(tmp_path: Path) -> None:
    with closing(CheckpointFile(tmp_path / "c")) as one, closing(CheckpointFile(tmp_path / "c")) as other:
        one.put(key(), Seq(5), b"five")
        other.put(key(), Seq(4), b"four")
        assert other.get(key()) == b"five"


@pytest.mark.parametrize("damage", [b"", b"no database at all", b"\0" * 5000])
def test_a_file_that_is_none_is_begun_anew(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "c").write_bytes(damage)
    with closing(CheckpointFile(tmp_path / "c")) as made:
        assert made.get(key()) is None
        made.put(key(), Seq(5), b"five")
        assert made.get(key()) == b"five"


def test_a_file_that_is_damaged_while_it_is_used_is_begun_anew(tmp_path: Path) -> None:
    with closing(CheckpointFile(tmp_path / "c")) as made:
        for number in range(200):
            made.put(key(f"r{number}"), Seq(5), bytes(4000))
    data = bytearray((tmp_path / "c").read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    (tmp_path / "c").write_bytes(data)
    with closing(CheckpointFile(tmp_path / "c")) as made:
        assert [made.get(key(f"r{number}")) for number in range(200)] == [None] * 200
        made.put(key(), Seq(6), b"six")
        assert made.get(key()) == b"six"


def test_a_file_of_a_newer_version_is_not_read(tmp_path: Path) -> None:
    with closing(CheckpointFile(tmp_path / "c")) as made:
        made.put(key(), Seq(5), b"five")
    with closing(sqlite3.connect(tmp_path / "c")) as db:
        db.execute("PRAGMA user_version = 99")
    with closing(CheckpointFile(tmp_path / "c")) as made:
        assert made.get(key()) is None


def test_where_no_file_can_be_made_nothing_is_kept(tmp_path: Path) -> None:
    with closing(CheckpointFile(tmp_path / "missing" / "c")) as made:
        made.put(key(), Seq(5), b"five")
        made.reject(key())
        made.forget(key())
        assert made.get(key()) is None


def test_one_that_others_keep_locked_loses_what_it_cannot_write(tmp_path: Path) -> None:
    with closing(CheckpointFile(tmp_path / "c")) as made, closing(sqlite3.connect(tmp_path / "c")) as other:
        made.put(key(), Seq(5), b"five")
        other.execute("BEGIN IMMEDIATE")
        made.put(key(), Seq(6), b"six")
        assert made.get(key()) == b"five"
