"""What events cost that nobody waits for, and what those cost that somebody does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.apps import KEY, AppOn, in_loop, until
from support.guests import needs_python

from cloche import Client, Policy, create_workflow, wait_for_event, workflow
from cloche.errors import InboxFull
from cloche.history.values import encode
from cloche.store import MemoryStore, SqliteStore, Store
from cloche.store.memory import MemoryLeases

# PostgreSQL's bounds and figures are in the suite of stores: `conformance/test_events.py`, `postgres/test_plans.py`.
MAKERS: dict[str, Callable[[Path], Store]] = {
    "memory": lambda folder: MemoryStore(),
    "sqlite": lambda folder: SqliteStore(folder / "runs.db"),
}
waits = create_workflow(id="w").wait_for_event("go").commit()


@workflow(id="many")
async def many(count: int) -> int:
    total = 0
    for _ in range(count):
        total += await wait_for_event("go")
    return total


@pytest.mark.parametrize(
    ("limit", "value", "runs", "fits"),
    [
        ("waiting_events", 2, ["r1"], 2),
        ("waiting_event_bytes", 100, ["r1"], 2),
        ("tenant_waiting_events", 3, ["r1", "r2"], 3),
        ("tenant_waiting_event_bytes", 150, ["r1", "r2"], 3),
    ],
)
@pytest.mark.parametrize("kind", MAKERS)
@in_loop
async def test_more_events_than_may_wait_are_refused_to_their_sender(
    kind: str, limit: str, value: int, runs: list[str], fits: int, tmp_path: Path
) -> None:
    async with AppOn(MAKERS[kind](tmp_path), workflows=[waits], policy=Policy.model_validate({limit: value})) as app:
        for run in runs:
            await app.start("w", None, run_id=run)
        for number in range(fits):
            await app.send_event(runs[number % len(runs)], "other", "x" * 30)
        whose = "run r1" if len(runs) == 1 else "all runs of tenant default"
        with pytest.raises(InboxFull, match=f"wait for {whose} already") as refused:
            await app.send_event("r1", "other", "x" * 30)
        error = refused.value
        assert (error.limit, error.value, error.retryable) == (limit, value, True)
        assert error.asked == fits + 1 or ("bytes" in limit and error.asked > value)
        assert limit in error.message
        assert len(await app.store.requests()) == fits
        assert await (await app.get("r1")).status() == "waiting"


class Statements:
    """Counts what SQLite is asked, and how much work that is: steps of its machine, in hundreds."""

    def __init__(self, store: Any) -> None:
        self.asked: list[str] = []
        self.work = 0
        store._database.connection.set_trace_callback(self.asked.append)
        store._database.connection.set_progress_handler(self._count, 100)

    def _count(self) -> int:
        self.work += 1
        return 0

    def take(self) -> tuple[int, int]:
        found = len(self.asked), self.work
        self.asked.clear()
        self.work = 0
        return found


async def cost_of_one(app: Any, statements: Statements, run_id: str) -> tuple[int, int]:
    """Of a run that waits for its event and gets it."""
    run = await app.start("w", None, run_id=run_id)
    await until(lambda: run._key not in app._running.drivers)
    statements.take()
    await app.send_event(run_id, "go", 1)
    assert (await asyncio.wait_for(run.result(final=True), 10)).result == 1
    return statements.take()


@in_loop
async def test_events_that_nobody_waits_for_slow_nobody(tmp_path: Path) -> None:
    """Twenty thousand of them, for a tenant's runs that do not wait for that name."""
    store = SqliteStore(tmp_path / "runs.db")
    async with AppOn(store, workflows=[waits]) as app:
        statements = Statements(app._running.store)
        await cost_of_one(app, statements, "warm")
        before = await cost_of_one(app, statements, "before")
        await app.start("w", None, run_id="r1")

        def post(db: Any) -> None:
            rows = ((f"t{number}", b"\x82\x65other" + bytes(500)) for number in range(20_000))
            db.executemany(
                "INSERT INTO inbox (tenant, run, kind, body, token, posted_at, name) "
                "VALUES ('default', 'r1', 'event', ?2, ?1, 1, 'other')",
                rows,
            )

        await store._database.write(post)
        await app._running.inbox.look()
        await cost_of_one(app, statements, "warm-2")
        after = await cost_of_one(app, statements, "after")
        assert before[0] > 5
        assert after[0] <= 2 * before[0]  # a heartbeat may be among them
        assert after[1] <= 2 * before[1] + 20


@pytest.mark.parametrize("kind", MAKERS)
@in_loop
async def test_an_event_costs_the_same_however_many_wait(kind: str, tmp_path: Path) -> None:
    needs_python()
    counted: list[int] = []
    for size in (20, 80):
        folder = tmp_path / str(size)
        folder.mkdir()
        store = MAKERS[kind](folder)
        async with AppOn(store, workflows=[many]) as app:
            calls = Counted(app._running.store)
            run = await app.start("many", size, run_id="r1")
            for _ in range(size):
                await app.send_event("r1", "go", 1)
            assert (await asyncio.wait_for(run.result(final=True), 30)).result == size
            assert await store.requests() == []
        counted.append(calls.of("first_events") + calls.of("body"))
    assert counted[0] >= 40
    assert counted[1] <= 4 * counted[0] + 8


@in_loop
async def test_many_events_of_one_run_cost_sqlite_the_same_each(tmp_path: Path) -> None:
    """They wait before their run takes the first: what SQLite does for the last is what it does for the first."""
    needs_python()
    counted: list[tuple[int, int]] = []
    for size in (25, 100):
        folder = tmp_path / str(size)
        folder.mkdir()
        store = SqliteStore(folder / "runs.db")
        async with AppOn(store, workflows=[many]) as app:
            statements = Statements(app._running.store)

            def post(db: Any, size: int = size) -> None:
                body = encode(["go", 1])
                db.executemany(
                    "INSERT INTO inbox (tenant, run, kind, body, token, posted_at, name) "
                    "VALUES ('default', 'r1', 'event', ?2, ?1, 1, 'go')",
                    ((f"t{number}", body) for number in range(size)),
                )

            await store._database.write(post)
            statements.take()
            run = await app.start("many", size, run_id="r1")
            assert (await run.result(final=True)).result == size
            assert await store.requests() == []
            counted.append(statements.take())
    (few, little), (more, much) = counted
    assert few > 25
    assert more <= 5 * few
    assert much <= 5 * little + 50


class Counted:
    """How often a store was asked what."""

    def __init__(self, store: Store) -> None:
        self._counts: dict[str, int] = {}
        for name in ("first_events", "body"):
            setattr(store, name, self._counting(name, getattr(store, name)))

    def _counting(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any, **options: Any) -> Any:
            self._counts[name] = self._counts.get(name, 0) + 1
            return await method(*args, **options)

        return call

    def of(self, name: str) -> int:
        return self._counts.get(name, 0)


@in_loop
async def test_an_event_of_a_run_that_is_parked_reaches_it_from_a_client() -> None:
    store = MemoryStore()
    async with AppOn(store, workflows=[waits]) as app:
        run = await app.start("w", None, run_id="r1")
        await until(lambda: KEY not in app._running.drivers)
        async with Client(await store.connect()) as client:
            await client.send_event("r1", "go", 5)
        assert (await asyncio.wait_for(run.result(final=True), 5)).result == 5


@in_loop
async def test_an_event_is_not_given_to_a_driver_that_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that waits lets the loop go on while a run that was parked is let go; what comes then is for the next driver."""
    releasing, goes_on = asyncio.Event(), asyncio.Event()
    release = MemoryLeases.release

    async def slow(leases: MemoryLeases, *which: Any) -> None:
        releasing.set()
        await goes_on.wait()
        await release(leases, *which)

    monkeypatch.setattr(MemoryLeases, "release", slow)
    twice = create_workflow(id="twice").wait_for_event("go", id="first").wait_for_event("go", id="second").commit()
    async with AppOn(MemoryStore(), workflows=[twice]) as app:
        run = await app.start("twice", None, run_id="r1")
        await app.send_event("r1", "go", 1)
        await releasing.wait()
        await app.send_event("r1", "go", 2)
        await asyncio.sleep(0.05)
        goes_on.set()
        assert (await run.result()).status == "success"
