"""A damaged run is set aside by name; the others of its store go on."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support import golden
from support.apps import ManualWorld, in_loop
from support.stores import closed_after, key

from cloche import Cloche
from cloche.store import SqliteStore, all_records
from cloche.store.sqlite.database import VERSION

MORE = 100_000_000  # ms: behind the time for which `sleeping` sleeps


def forged(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        for trigger in ("records_are_not_changed", "records_are_not_deleted", "blobs_are_not_changed"):
            db.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            db.execute(statement)


async def _others_go_on(file: Path, reason: str, message: str) -> None:
    world = ManualWorld()
    world.time_ms += MORE
    async with Cloche(file, workflows=golden.WORKFLOWS, world=world) as app:
        assert (await app.resume("asking", resume_data={"add": 5})).unwrap() == {"v": 14}
        await app.send_event("hearing", "paid", 7)
        assert (await (await app.get("hearing")).result()).unwrap() == 7
        stopped = app._running.listeners.stopped(key("sleeping"))
        if (await (await app.get("sleeping")).status()) != "blocked":
            await stopped
        assert [row.key.run for row in await app.list(status="blocked")] == ["sleeping"]
        assert "sleeping" in {finding.run for finding in (await app.verify()).findings}
    async with closed_after(SqliteStore(file)) as store:
        row = await store.run(key("sleeping"))
        assert row is not None
        assert row.problem is not None
        problem = json.loads(row.problem)
        assert (problem["reason"], message in problem["message"]) == (reason, True)
        assert "cloche verify" in problem["what_to_do"]


@pytest.mark.parametrize(
    ("damage", "reason", "message"),
    [
        ("UPDATE records SET record = x'00' WHERE run_id = {run} AND seq = 1", "broken-chain", "record 1"),
        ("UPDATE records SET hash = zeroblob(32) WHERE run_id = {run} AND seq = 4", "broken-chain", "record 4"),
        ("DELETE FROM records WHERE run_id = {run} AND seq = 3", "broken-chain", "ends with record 5"),
        ("DELETE FROM records WHERE run_id = {run}", "broken-chain", "ends with record 0"),
        ("UPDATE runs SET code = 'c0de' WHERE id = {run}", "history", "code c0de"),
    ],
)
@in_loop
async def test_a_damaged_run_is_set_aside_and_the_others_go_on(
    tmp_path: Path, damage: str, reason: str, message: str
) -> None:
    file = golden.unpack(VERSION, tmp_path / "store.db")
    await SqliteStore(file).close()
    with closing(sqlite3.connect(file)) as db:
        [run] = db.execute("SELECT id FROM runs WHERE run = 'sleeping'").fetchone()
    forged(file, damage.format(run=run))
    await _others_go_on(file, reason, message)


@in_loop
async def test_a_run_whose_records_sqlite_cannot_read_is_set_aside_too(tmp_path: Path) -> None:
    """A page of the records table that is damaged: SQLite refuses to go through it, for whichever run lies there."""
    file = golden.unpack(VERSION, tmp_path / "store.db")
    async with closed_after(SqliteStore(file)) as store:
        records = await all_records(store, key("sleeping"))
    data = bytearray(file.read_bytes())
    at = data.find(records[-1].packed)
    page = at - at % 4096
    data[page : page + 1] = b"\x77"  # the kind of the page: none that there is
    file.write_bytes(data)
    async with closed_after(SqliteStore(file)) as store:
        damaged = []
        for row in await store.runs():
            try:
                await all_records(store, row.key)
            except Exception as error:
                damaged.append((row.key.run, type(error).__name__))
        assert ("sleeping", "DamagedStore") in damaged
        assert len(damaged) < len(await store.runs())
    await _opens_without(file, {run for run, _ in damaged})


async def _opens_without(file: Path, damaged: set[str]) -> None:
    world = ManualWorld()
    world.time_ms += MORE
    async with Cloche(file, workflows=golden.WORKFLOWS, world=world) as app:
        sleeping = await app.get("sleeping")
        stopped = app._running.listeners.stopped(key("sleeping"))
        if (await sleeping.status()) != "blocked":
            await stopped
        assert (await sleeping.status()) == "blocked"
        readable = {row.key.run for row in await app.list()} - damaged
        assert "plain" in readable
        assert (await (await app.get("plain")).result()).unwrap() == {"v": 8}
