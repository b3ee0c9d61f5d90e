"""Stores of every version so far: they open, are brought to the current version, verify, replay, and go on."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from support import golden
from support.apps import ManualWorld, in_loop
from support.stores import closed_after

from cloche import Cloche
from cloche.engines import SandboxEngine
from cloche.history import DEFAULT_TENANT, Kind, Note, RunId, RunKey
from cloche.history.messages import COMMANDS, Event
from cloche.history.reading import message_of
from cloche.history.values import encode
from cloche.operations import replay
from cloche.status import RunStatus
from cloche.store import Finding, SqliteStore, all_records
from cloche.store.sqlite.database import VERSION

VERSIONS = sorted(int(file.name.split(".")[0].removeprefix("store-")) for file in golden.HISTORIES.glob("store-*"))
STATUSES = {
    "plain": "success",
    "nested": "success",
    "failing": "failed",
    "talking": "success",
    "asking": "suspended",
    "answered": "success",
    "canceled": "canceled",
    "sleeping": "waiting",
    "hearing": "waiting",
}


@pytest.fixture(params=VERSIONS)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return golden.unpack(request.param, tmp_path / "store.db")


def test_there_is_a_golden_store_of_every_version() -> None:
    assert list(range(1, VERSION + 1)) == VERSIONS


@in_loop
async def test_it_opens_and_is_of_the_current_version(file: Path) -> None:
    async with closed_after(SqliteStore(file, must_exist=True)) as store:
        assert {row.key.run: row.status for row in await store.runs()} == STATUSES
        assert (await replay.verify(store, None)).findings == []
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)


@pytest.mark.parametrize("run", STATUSES)
@in_loop
async def test_every_run_replays(file: Path, run: str) -> None:
    async with closed_after(SqliteStore(file)) as store:
        (row,) = (row for row in await store.runs() if row.key.run == run)
        report = await replay.replay(store, row.key, SandboxEngine())
        assert (report.ok, report.events) == (
            True,
            sum(r.kind in (2, 6, 7, 9, 19, 20, 23) for r in await all_records(store, row.key)),
        )


@pytest.mark.parametrize("status", ["gone", "", "cleaning", "run\x00ning", b"\xff"])
@in_loop
async def test_a_status_that_there_is_not_is_found(tmp_path: Path, status: str | bytes) -> None:
    async with closed_after(SqliteStore(golden.unpack(VERSION, tmp_path / "store.db"))) as store:
        key = RunKey(DEFAULT_TENANT, RunId("plain"))
        await store._database.change("UPDATE runs SET status = CAST(? AS TEXT) WHERE run = 'plain'", (status,))
        (finding,) = (await replay.verify(store, None)).findings
        assert (finding, (await replay.verify(store, key)).findings) == (
            Finding("plain", None, "the entry of run plain is not as it was written"),
            [finding],
        )
        assert (await replay.row_of(store, key)).status == RunStatus.BLOCKED


@in_loop
async def test_what_its_records_hold_packs_to_the_same_bytes(file: Path) -> None:
    """Also the notes, made anew from their fields alone."""
    async with closed_after(SqliteStore(file)) as store:
        records = [record for row in await store.runs() for record in await all_records(store, row.key)]
    messages = [(record, message_of(record)) for record in records if record.kind not in COMMANDS]
    packed = [replace(message).pack() for _, message in messages if isinstance(message, Event | Note)]
    assert packed == [record.body for record, _ in messages]
    assert {record.kind for record, _ in messages} > {Kind.RUN_CREATED, Kind.ATTEMPT_STARTED, Kind.ATTEMPT_FAILED}


@in_loop
async def _goes_on(file: Path) -> None:
    world = ManualWorld()
    world.time_ms += 30 * 86_400_000
    async with Cloche(file, workflows=golden.WORKFLOWS, world=world) as app:
        assert (await (await app.get("sleeping")).result()).unwrap() == {"v": 4}
        assert (await app.resume("asking", resume_data={"add": 5})).unwrap() == {"v": 14}
        await app.send_event("hearing", "paid", 7)
        assert (await (await app.get("hearing")).result()).unwrap() == 7
        run = await app.start("talking", {"talk": []}, run_id="today")
        assert len((await run.result()).unwrap()["talk"]) == 12
        assert any(record.payload for record in await run.history())
        assert (await app.verify()).ok


def test_its_runs_go_on_and_new_ones_begin(file: Path) -> None:
    _goes_on(file)


def test_a_migration_that_fails_leaves_the_store_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = golden.unpack(1, tmp_path / "store.db")
    before = _schema(file)
    real = Path.read_text
    broken: Callable[..., str] = lambda self, *a, **o: real(self, *a, **o) + ";\n\nNOT SQL"  # noqa: E731
    monkeypatch.setattr(Path, "read_text", broken)
    with pytest.raises(Exception, match="NOT"):
        SqliteStore(file)
    monkeypatch.undo()
    assert _schema(file) == before
    asyncio.run(SqliteStore(file).close())
    assert _schema(file) != before


def _schema(file: Path) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(file)) as db:
        return [db.execute("PRAGMA user_version").fetchone(), *db.execute("SELECT sql FROM sqlite_schema").fetchall()]


@in_loop
async def test_records_of_the_first_version_are_as_they_were_written(tmp_path: Path) -> None:
    """Large bodies that are in their records stay there."""
    async with closed_after(SqliteStore(golden.unpack(1, tmp_path / "store.db"))) as store:
        (row,) = (row for row in await store.runs() if row.key.run == "talking")
        records = await all_records(store, row.key)
    completed = [len(record.inline) for record in records if record.kind is Kind.STEP_COMPLETED]
    assert max(completed) > 40_000
    assert not any(record.payload for record in records)


@in_loop
async def test_events_that_wait_keep_their_names(tmp_path: Path) -> None:
    """They had them in their bodies only, and runs may wait for any of them."""
    file = golden.unpack(6, tmp_path / "store.db")
    names = ["paid", "n" * 23, "n" * 24, "€" * 85, "€" * 200]
    post = "INSERT INTO inbox (tenant, run, kind, body, token, posted_at) VALUES ('default', ?, ?, ?, ?, 1)"
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        for name in names:
            db.execute(post, ("hearing", "event", encode([name, {"amount": 1}]), name))
        db.execute(post, ("asking", "cancel", encode("enough"), "c"))
    async with closed_after(SqliteStore(file)) as store:
        key = RunKey(DEFAULT_TENANT, RunId("hearing"))
        found = [(row.kind, row.name) for row in await store.requests()]
        assert found == [*(("event", name) for name in names), ("cancel", None)]
        assert {name for _, name in (await store.new_requests("w", None)).events} == set(names)
        assert [one.name for one in await store.first_events(key, ["paid"])] == ["paid"]
    async with Cloche(file, workflows=golden.WORKFLOWS) as app:
        result = await asyncio.wait_for((await app.get("hearing")).result(), 10)
        assert (result.status, result.result) == ("success", {"amount": 1})
