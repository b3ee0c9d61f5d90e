"""Another process holds the file: the event loop goes on, and nothing is lost or changes its order."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from support.apps import Journal, ended, in_loop
from support.histories import at
from support.stores import Log, begun, closed_after, committed, key, names

from cloche import Cloche, create_workflow
from cloche.history import TenantId
from cloche.history.ids import Path as StepPath
from cloche.store import SqliteStore, all_records

HELD_S = 4.0
PAUSE_S_MAX = 1.0  # a loop that waits for the lock stands still for all of `HELD_S`; a quiet machine pauses for 20 ms
HOLDER = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
db.execute("COMMIT")
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "runs.db")
    yield made
    asyncio.run(made.close())


@asynccontextmanager
async def held_by_another_process(store: Path) -> AsyncIterator[None]:
    command = [sys.executable, "-c", HOLDER, str(store), str(HELD_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert await asyncio.to_thread(holder.stdout.readline) == "held\n"
        yield


class Watch:
    """Ticks while it is entered: how often, and the longest time between two ticks, in seconds."""

    def __init__(self) -> None:
        self.ticks, self.longest_s = 0, 0.0

    async def __aenter__(self) -> Watch:
        self._task = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._task.cancel()

    async def _tick(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.005)
            now = time.monotonic()
            self.ticks, self.longest_s, last = self.ticks + 1, max(self.longest_s, now - last), now


@in_loop
async def test_the_loop_goes_on_while_another_process_holds_the_file(tmp_path: Path, journal: Journal) -> None:
    workflow = create_workflow(id="w").then(journal.inc()).then(journal.dbl()).commit()
    file = tmp_path / "runs.db"
    async with Cloche(file, workflows=[workflow]) as app, Cloche(workflows=[workflow]) as other:
        await app.prewarm()
        await other.prewarm()
        async with held_by_another_process(file), Watch() as watch:
            starts = [asyncio.create_task(app.start("w", {"v": n}, run_id=f"r{n}")) for n in range(20)]
            assert await ended(await other.start("w", {"v": 1})) == ("success", {"v": 4})
            assert await app.list() == []  # a reader waits for nobody
            assert not any(start.done() for start in starts)
            runs = [await start for start in starts]
            results = [await ended(run) for run in runs]
        assert results == [("success", {"v": 2 * (n + 1)}) for n in range(20)]
        assert (await app.verify()).ok
    assert len(journal.began) == 2 * 21  # none twice
    print(f"longest pause {watch.longest_s * 1000:.0f} ms, {watch.ticks} ticks")
    assert watch.longest_s < PAUSE_S_MAX


@in_loop
async def test_transactions_that_wait_keep_their_order(store: SqliteStore) -> None:
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        log = Log(key("r0"))
        writes: list[asyncio.Task[Any]] = [asyncio.create_task(store.commit([log.begin()]))]
        for n in range(1, 10):
            writes.append(asyncio.create_task(store.commit([begun(f"r{n}")[1]])))
            writes.append(asyncio.create_task(store.commit([log.step(f"s{n}")])))
            writes.append(asyncio.create_task(store.post(key("x"), "event", b"", f"{n}", at(1))))
        await asyncio.sleep(0.02)
        assert (await store.runs(), await store.run(key("r0"))) == ([], None)
        assert not any(write.done() for write in writes)
        other.execute("COMMIT")
        last = asyncio.create_task(store.commit([log.step("last")]))  # the file is free, and others came first
        assert [await write for write in writes] == [[None], *[[None], [None], None] * 9]
        assert await last == [None]
    assert names(await store.runs()) == [f"r{n}" for n in range(9, -1, -1)]
    assert await all_records(store, key("r0")) == log.records
    assert await store.commit([log.step("after")]) == [None]
    assert store._database._in_thread == 0


@in_loop
async def test_a_caller_who_gives_up_changes_nothing(store: SqliteStore) -> None:
    log, append = begun()
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        write = asyncio.create_task(store.commit([append]))
        await asyncio.sleep(0.02)
        write.cancel()
        other.execute("COMMIT")
    assert await store.commit([log.step()]) == [None]  # after the one that nobody waits for any more
    assert await all_records(store, key()) == log.records


LONG: dict[str, Callable[[SqliteStore], Awaitable[object]]] = {
    "a page of records": lambda store: store.records(key()),
    "a page of rows": lambda store: store.rows(key()),
    "a listing": lambda store: store.runs(),
    "an audit": lambda store: store.audit(),
    "a sum": lambda store: store.usage(),
    "a guest": lambda store: store.blob("x"),
}
SHORT: dict[str, Callable[[SqliteStore], Awaitable[object]]] = {
    "a run": lambda store: store.run(key()),
    "the beginning of a run": lambda store: store.records(key(), limit=16),
    "a result": lambda store: store.result(key(), StepPath("add")),
    "what waits": lambda store: store.first_events(key(), ["paid"]),
    "a count": lambda store: store.queued(TenantId("default")),
}


@pytest.mark.parametrize("what", LONG | SHORT)
@in_loop
async def test_what_is_long_is_read_beside_the_loop(store: SqliteStore, what: str) -> None:
    await committed(store, "r1")
    asked: list[str] = []
    store._database.connection.set_trace_callback(asked.append)
    await (LONG | SHORT)[what](store)
    assert (asked == []) is (what in LONG)


@in_loop
async def test_a_store_that_is_closed_waits_for_what_was_begun(tmp_path: Path) -> None:
    log, append = begun()
    store = SqliteStore(tmp_path / "runs.db")
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        write = asyncio.create_task(store.commit([append]))
        await asyncio.sleep(0.02)
        close = asyncio.create_task(store.close())
        await asyncio.sleep(0.02)
        other.execute("COMMIT")
        await close
    assert await write == [None]
    async with closed_after(SqliteStore(tmp_path / "runs.db")) as again:
        assert await all_records(again, key()) == log.records
