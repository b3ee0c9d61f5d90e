"""A guest of megabytes is kept a piece a commit: others commit between, and nobody sees it before it is whole."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from support.apps import in_loop
from support.stores import closed_after

from cloche.store import Finding, SqliteStore, blob_digest
from cloche.store.sqlite import pieces
from cloche.store.sqlite.pieces import PIECE_BYTES, SHORT_BLOB, piece_count, put_piece

DATA = bytes(range(251)) * (SHORT_BLOB // 251) + b"x" * PIECE_BYTES
DIGEST = blob_digest(DATA)
COUNT = "SELECT count(*) FROM blob_pieces"


def count(db: sqlite3.Connection) -> int:
    return int(db.execute(COUNT).fetchone()[0])


def kept(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT count(*) FROM blobs").fetchone()[0])


@in_loop
async def test_others_commit_while_a_large_blob_is_put(tmp_path: Path) -> None:
    async with closed_after(SqliteStore(tmp_path / "store.db")) as store:
        putting = asyncio.create_task(store.put_blob(DIGEST, DATA))
        seen = set[tuple[int, int]]()
        while not putting.done():
            await asyncio.sleep(0)
            seen.add(await store._database.write(lambda db: (count(db), kept(db))))
        await putting
        assert any(0 < there < piece_count(DATA) for there, _ in seen)
        assert all(there == piece_count(DATA) for there, whole in seen if whole)
        assert await store.blob(DIGEST) == DATA
        assert list(await store.audit()) == []


@in_loop
async def test_two_that_need_it_put_it_once(tmp_path: Path) -> None:
    async with closed_after(SqliteStore(tmp_path / "store.db")) as store:
        await asyncio.gather(store.put_blob(DIGEST, DATA), store.put_blob(DIGEST, DATA))
        assert await store._database.write(count) == piece_count(DATA)
        assert await store.blob(DIGEST) == DATA


@in_loop
async def test_pieces_that_were_collected_meanwhile_are_put_again(tmp_path: Path) -> None:
    """Nobody could know yet that a run was to need them."""
    async with closed_after(SqliteStore(tmp_path / "store.db")) as store:
        await store._database.write(lambda db: put_piece(db, DIGEST, DATA, 1))
        assert await store._database.write(count) == 1
        await store.collect(lambda _: ())
        assert await store._database.write(count) == 0
        await store._database.write(lambda db: pieces.keep(db, DIGEST, DATA))
        assert await store.blob(DIGEST) == DATA


@in_loop
async def test_one_that_ended_on_the_way_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with closed_after(SqliteStore(path)) as store:
        await store._database.write(lambda db: put_piece(db, DIGEST, DATA, 0))
        assert await store.blob(DIGEST) is None
    async with closed_after(SqliteStore(path)) as store:
        await store.put_blob(DIGEST, DATA)
        assert await store.blob(DIGEST) == DATA


@in_loop
async def test_its_pieces_go_with_it(tmp_path: Path) -> None:
    async with closed_after(SqliteStore(tmp_path / "store.db")) as store:
        await store.put_blob(DIGEST, DATA)
        assert (await store.collect(lambda _: ())).blobs == 1
        assert await store._database.write(count) == 0
        await store.put_blob(DIGEST, DATA)  # it is not taken for one that is there
        assert await store.blob(DIGEST) == DATA


@pytest.mark.parametrize("change", ["DELETE FROM blob_pieces WHERE number = 1", "UPDATE blob_pieces SET data = x'00'"])
@in_loop
async def test_a_damaged_piece_is_found(tmp_path: Path, change: str) -> None:
    async with closed_after(SqliteStore(tmp_path / "store.db")) as store:
        await store.put_blob(DIGEST, DATA)
        await store._database.change("DROP TRIGGER blob_pieces_are_not_changed", ())
        await store._database.change(change, ())
        assert list(await store.audit()) == [
            Finding(None, None, f"the stored code or guest {DIGEST[:12]} is not what its digest says")
        ]


@in_loop
async def test_a_piece_is_never_changed(tmp_path: Path) -> None:
    async with closed_after(SqliteStore(tmp_path / "store.db")) as store:
        await store.put_blob(DIGEST, DATA)
        with pytest.raises(Exception, match="blobs are never changed"):
            await store._database.change("UPDATE blob_pieces SET data = x'00'", ())


@in_loop
async def test_a_large_blob_of_an_older_version_is_one_row(tmp_path: Path) -> None:
    async with closed_after(SqliteStore(tmp_path / "store.db")) as store:
        insert = "INSERT INTO blobs (digest, data) VALUES (?, ?)"
        await store._database.change(insert, (DIGEST, DATA))
        await store.put_blob(DIGEST, DATA)
        assert await store._database.write(count) == 0
        assert await store.blob(DIGEST) == DATA
        assert list(await store.audit()) == []
