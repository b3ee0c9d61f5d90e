"""How long runs are kept, and that the rows of runs follow from their records."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support import golden
from support.apps import ManualWorld, in_loop
from support.stores import key

from cloche import Cloche
from cloche.errors import HistoryError
from cloche.history import TimeMs
from cloche.operations import prune, replay
from cloche.status import RunStatus
from cloche.store import Finding, SqliteStore
from cloche.store.sqlite.database import VERSION
from cloche.testing.clock import START

LATER = TimeMs(START + 10**9)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(golden.unpack(VERSION, tmp_path / "store.db"))
    yield opened
    asyncio.run(opened.close())


async def runs(
    store: SqliteStore, before: TimeMs, *, status: RunStatus | None = None, workflow: str | None = None
) -> list[str]:
    return [
        found.run for found in await prune.prunable(store, before, tenant="default", status=status, workflow=workflow)
    ]


@in_loop
async def test_runs_are_chosen_by_their_end(store: SqliteStore) -> None:
    assert await runs(store, START) == []
    assert sorted(await runs(store, LATER)) == ["answered", "canceled", "failing", "nested", "plain", "talking"]
    assert await runs(store, TimeMs(START + 1)) == ["plain"]
    assert await runs(store, LATER, status=RunStatus.FAILED) == ["failing"]
    assert await runs(store, LATER, workflow="asking") == ["canceled", "answered"]


@in_loop
async def test_what_is_deleted_takes_along_what_nobody_else_needs(store: SqliteStore) -> None:
    codes = {row.code for row in await store.runs()}
    keys = await prune.prunable(store, LATER, tenant="default")
    assert [deleted async for some in prune.delete(store, keys, LATER) for deleted in some] == keys
    collected = await prune.collect(store, LATER)
    assert collected.parts > 0
    open_codes = {row.code for row in await store.runs()}
    assert collected.blobs == len(codes - open_codes)
    assert {row.key.run for row in await store.runs()} == {"asking", "sleeping", "hearing"}
    assert (await replay.verify(store, None)).findings == []
    assert all([await store.blob(code) is not None for code in open_codes])


@in_loop
async def test_damaged_code_keeps_everything(store: SqliteStore) -> None:
    with closing(sqlite3.connect(store.path, isolation_level=None)) as db:
        db.execute("DROP TRIGGER blobs_are_not_changed")
        db.execute("UPDATE blobs SET data = x'00' WHERE length(data) < 100000")
    await store.delete([key("talking")], LATER)
    with pytest.raises(HistoryError, match="cloche verify"):
        await prune.collect(store, LATER)
    assert await store._database.select("SELECT count(*) FROM parts", ()) != [(0,)]


@in_loop
async def test_an_app_prunes_and_its_runs_go_on(tmp_path: Path) -> None:
    world = ManualWorld()
    async with Cloche(tmp_path / "runs.db", workflows=golden.WORKFLOWS, world=world) as app:
        await golden.fill(app, world)
        world.time_ms += 86_400_000 // 2
        assert (await app.prune(older_than_s=86_400)).runs == []
        would = await app.prune(older_than_s=60, status="success", dry_run=True)
        assert (sorted(would.runs), would.dry_run) == (["answered", "nested", "plain", "talking"], True)
        assert len(await app.list()) == 9
        done = await app.prune(older_than_s=60, status="success")
        assert (sorted(done.runs), done.parts > 0, done.blobs > 0) == (sorted(would.runs), True, True)
        assert (await app.prune()).runs == []
        again = await app.start("plain", {"v": 1}, run_id="again")  # its code was collected, and comes again
        assert (await again.result()).status == "success"
        assert (await app.resume("asking", resume_data={"add": 1})).status == "success"
        assert (await app.verify()).findings == []
        assert (await app.replay("again")).ok


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("status = 'failed', wake_at = NULL", "status 'failed', and its records make it 'success'"),
        ("workflow = 'other'", "workflow 'other', and its records make it 'plain'"),
        ("wake_at = 5", "wake_at 5, and its records make it None"),
        ("updated_at = 5", f"updated_at 5, and its records make it {int(START)}"),
        ("code = 'c0de'", "the code c0de that the run is pinned to is not in the store"),
        ("status = 'running'", "status 'running', and its records make it 'success'"),
    ],
)
@in_loop
async def test_a_row_that_does_not_follow_from_its_records_is_found(
    store: SqliteStore, change: str, problem: str
) -> None:
    with closing(sqlite3.connect(store.path, isolation_level=None)) as db:
        db.execute(f"UPDATE runs SET {change} WHERE run = 'plain'")
    (finding,) = (await replay.verify(store, None)).findings
    assert (finding.run, finding.problem.removeprefix("the row of the run has ")) == ("plain", problem)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("DELETE FROM awaited WHERE run = 'hearing'", "the run waits for event paid, and no worker would find that"),
        (
            "INSERT INTO awaited VALUES ('default', 'hearing', 'more')",
            "event more is waited for by the entry of the run, and not by its records",
        ),
        (
            "INSERT INTO awaited VALUES ('default', 'plain', 'go')",
            "event go is waited for by the entry of the run, and not by its records",
        ),
    ],
)
@in_loop
async def test_what_a_run_waits_for_that_does_not_follow_is_found(
    store: SqliteStore, change: str, problem: str
) -> None:
    assert (await replay.verify(store, None)).findings == []
    with closing(sqlite3.connect(store.path, isolation_level=None)) as db:
        db.execute(change)
    (finding,) = (await replay.verify(store, None)).findings
    assert problem in finding.problem


@pytest.mark.parametrize(
    ("change", "run", "problem"),
    [
        (
            "UPDATE waiting_events SET events = 7 WHERE run = 'hearing'",
            "hearing",
            "1 events of 6 bytes wait for the run, and 7 of 6 are counted",
        ),
        (
            "UPDATE waiting_events SET bytes = 0 WHERE run = ''",
            None,
            "1 events of 6 bytes wait for tenant default, and 1 of 0 are counted",
        ),
        (
            "DELETE FROM waiting_events WHERE run = 'hearing'",
            "hearing",
            "1 events of 6 bytes wait for the run, and 0 of 0 are counted",
        ),
    ],
)
@in_loop
async def test_what_is_counted_of_events_that_wait_is_checked(
    store: SqliteStore, change: str, run: str | None, problem: str
) -> None:
    await store.post(key("hearing"), "event", b"so big", "t", TimeMs(1), name="other")
    assert (await replay.verify(store, None)).findings == []
    with closing(sqlite3.connect(store.path, isolation_level=None)) as db:
        db.execute(change)
    assert (await replay.verify(store, None)).findings == [Finding(run, None, problem)]


@in_loop
async def test_a_suspended_or_sleeping_run_has_the_row_that_it_should(store: SqliteStore) -> None:
    with closing(sqlite3.connect(store.path, isolation_level=None)) as db:
        db.execute("UPDATE runs SET status = 'waiting', wake_at = 1 WHERE run = 'asking'")
        db.execute("UPDATE runs SET wake_at = wake_at + 1 WHERE run = 'sleeping'")
    found = (await replay.verify(store, None)).findings
    assert all(isinstance(finding, Finding) for finding in found)
    assert sorted({str(finding.run) for finding in found}) == ["asking", "sleeping"]
