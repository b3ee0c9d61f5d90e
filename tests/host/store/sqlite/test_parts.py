"""Large bodies in SQLite: stored once, collected with the last run that needs them, watched like everything else."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.apps import in_loop
from support.golden import zstd
from support.histories import at
from support.stores import Log, begun, key

from cloche.errors import BrokenChain
from cloche.history import Kind, Seq, TimeMs
from cloche.store import Finding, SqliteStore, all_records
from cloche.store.packing import unpacked

BODY = random.Random(4).randbytes(300_000)
TEXT = b"a sentence that is said again and again; " * 3000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "runs.db")
    yield opened
    asyncio.run(opened.close())


async def holding(store: SqliteStore, run: str, *bodies: bytes) -> Log:
    log, append = begun(run)
    more = [log.append(Kind.STEP_COMPLETED, path=f"s{n}", body=body) for n, body in enumerate(bodies)]
    end = log.append(Kind.RUN_COMPLETED, status="success")
    assert await store.commit([append, *more, end]) == [None] * (len(bodies) + 2)
    return log


def stored(store: SqliteStore) -> int:
    [[size]] = store._database.connection.execute("SELECT coalesce(sum(length(data)), 0) FROM parts").fetchall()
    return int(size)


def changed(store: SqliteStore, *statements: str) -> None:
    with closing(sqlite3.connect(store.path, isolation_level=None)) as db:
        db.execute("DROP TRIGGER parts_are_not_changed")
        db.execute("DROP TRIGGER parts_in_use_are_not_deleted")
        for statement in statements:
            db.execute(statement)


@in_loop
async def test_a_body_that_many_records_of_many_runs_pass_on_is_stored_once(store: SqliteStore) -> None:
    await holding(store, "a", BODY)
    once = stored(store)
    assert once < len(BODY) * 1.02
    await holding(store, "b", *[BODY] * 5), await holding(store, "c", b"\x01" + BODY)
    assert stored(store) < once + 30_000


@in_loop
async def test_text_is_compressed(store: SqliteStore) -> None:
    log = await holding(store, "a", TEXT)
    assert stored(store) < len(TEXT) / 5
    assert await all_records(store, key("a")) == log.records


@in_loop
async def test_parts_go_with_the_last_run_that_needs_them(store: SqliteStore) -> None:
    await holding(store, "a", BODY), await holding(store, "b", BODY + b"more", TEXT)
    before = stored(store)
    await store.delete([key("a")], log_end())
    assert ((await store.collect(lambda _: [])).parts > 0, stored(store) < before) == (True, True)
    assert [record.body for record in await all_records(store, key("b"), Seq(2))][:2] == [BODY + b"more", TEXT]
    assert list(await store.audit()) == []
    await store.delete([key("b")], log_end())
    await store.collect(lambda _: [])
    assert stored(store) == 0


def log_end() -> TimeMs:

    return at(99)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("UPDATE parts SET data = zeroblob(length(data)) WHERE depth = 0", "not what was written|cannot be unpacked"),
        ("UPDATE parts SET data = x'' WHERE depth = 1", "not what was written"),
        ("UPDATE parts SET form = 7", "not stored as one"),
        ("UPDATE parts SET form = 1 - form", "not what was written|cannot be unpacked"),
        ("DELETE FROM parts WHERE depth = 0", "not in the store"),
        ("DELETE FROM parts WHERE depth > 0", "not in the store"),
    ],
)
@in_loop
async def test_damage_in_a_part_is_found_with_its_record(store: SqliteStore, damage: str, problem: str) -> None:
    await holding(store, "a", BODY), await holding(store, "b")
    changed(store, damage)
    with pytest.raises(BrokenChain, match=f"run a, record 3: a part of its payload.*({problem})") as raised:
        await all_records(store, key("a"))
    assert (raised.value.run_id, raised.value.seq) == ("a", 3)
    assert ("a", 3) in [(finding.run, finding.seq) for finding in await store.audit()]
    assert {finding.run for finding in await store.audit(key("b"))} == set()


@in_loop
async def test_a_record_that_names_another_root_beside_itself_is_found(store: SqliteStore) -> None:
    await holding(store, "a", BODY)
    with closing(sqlite3.connect(store.path, isolation_level=None)) as db:
        db.execute("DROP TRIGGER records_are_not_changed")
        db.execute("UPDATE records SET payload = NULL WHERE seq = 3")
    assert list(await store.audit()) == [Finding("a", 3, "the index of record 3 does not agree with the record")]


@pytest.mark.parametrize(
    ("statement", "answer"),
    [
        ("UPDATE parts SET data = x'00'", "parts are never changed"),
        ("DELETE FROM parts", "parts are only deleted when no record needs them"),
        ("INSERT INTO records SELECT run_id, 9, kind, NULL, record, hash, x'77' FROM records LIMIT 1", "before it"),
    ],
)
@in_loop
async def test_the_database_itself_watches_parts(store: SqliteStore, statement: str, answer: str) -> None:
    log = await holding(store, "a", BODY)
    with closing(sqlite3.connect(store.path)) as db, pytest.raises(sqlite3.IntegrityError, match=answer):
        db.execute(statement)
    assert await all_records(store, key("a")) == log.records


@in_loop
async def test_a_part_that_unpacks_to_too_much_is_refused(store: SqliteStore) -> None:
    """The size of a part is bounded before it is unpacked, so a damaged or hostile one cannot fill the memory."""
    bomb = zstd.compress(bytes(100 << 20), 19)
    assert len(unpacked(1, bomb)) <= 16385
    await holding(store, "a", BODY)
    with closing(sqlite3.connect(store.path)) as db:
        db.execute("DROP TRIGGER parts_are_not_changed")
        db.execute("UPDATE parts SET data = ?, form = 1 WHERE depth = 0", (bomb,))
        db.commit()
    with pytest.raises(BrokenChain):
        await all_records(store, key("a"))
