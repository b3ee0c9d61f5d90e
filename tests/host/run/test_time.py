"""Time as runs see it: sleeps of years, wake-ups that nobody was there for, clocks that are set, and very many timers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.apps import Journal
from support.stores import Log, key

from cloche import DirectEngine, RetryConfig, RunResult, Workflow, create_workflow
from cloche.errors import StoreUnavailable
from cloche.history import Kind
from cloche.store import MemoryStore, NewRun, News, SqliteStore, Store
from cloche.testing import TestApp, VirtualTime, double
from cloche.testing.clock import START

MINUTE_S, DAY_S = 60, 86_400
YEAR_S = 366 * DAY_S


def sleeping(seconds: float) -> Workflow:
    return create_workflow(id="sleeps").then(Journal().inc()).sleep(seconds).then(Journal().dbl()).commit()


class Process:
    """Apps, one after the other, on one store and in one virtual time."""

    def __init__(self, workflow: Workflow, store: Store | None = None, **options: Any) -> None:
        self.time = VirtualTime()
        self.store = store or MemoryStore()
        self._workflow = workflow
        self._options = options

    def app(self) -> TestApp:
        return TestApp(self._workflow, on=self.store, world=self.time.world, engine=DirectEngine(), **self._options)

    async def begun(self) -> TestApp:
        app = await self.app().__aenter__()
        await app.start(self._workflow, {"v": 1}, run_id="r1")
        await asyncio.sleep(MINUTE_S)
        return app

    @property
    def passed_s(self) -> float:
        """Of wall time, since the beginning."""
        return (self.time.now() - START) / 1000


async def ended(app: TestApp) -> RunResult:
    return await (await app.get("r1")).result()


@pytest.mark.parametrize("seconds", [0.005, 9.9, 10.1, 30 * DAY_S, 50 * YEAR_S])
def test_a_sleep_takes_what_it_says(seconds: float) -> None:
    process = Process(sleeping(seconds))

    async def main() -> None:
        async with process.app() as app:
            await app.start("sleeps", {"v": 1}, run_id="r1")
            assert (await ended(app)).unwrap() == {"v": 4}
            assert process.passed_s == pytest.approx(seconds, abs=0.2)

    process.time.run(main())


@pytest.mark.parametrize("kills", [False, True])
@pytest.mark.parametrize("away_s", [DAY_S, 40 * DAY_S])
def test_a_sleep_goes_on_while_no_worker_runs(kills: bool, away_s: float) -> None:
    process = Process(sleeping(30 * DAY_S))

    async def main() -> None:
        app = await process.begun()
        await (app.vanish() if kills else app.__aexit__(None, None, None))
        await asyncio.sleep(away_s)
        async with process.app() as other:
            assert (await ended(other)).unwrap() == {"v": 4}
        assert process.passed_s == pytest.approx(max(30 * DAY_S, away_s + MINUTE_S), abs=1)

    process.time.run(main())


def test_a_clock_that_jumps_forward_ends_what_is_due_by_it() -> None:
    process = Process(sleeping(30 * DAY_S))

    async def main() -> None:
        app = await process.begun()
        before = process.time.world.monotonic()
        process.time.set_clock(30 * DAY_S)
        assert (await ended(app)).unwrap() == {"v": 4}
        assert process.time.world.monotonic() - before < MINUTE_S
        await app.__aexit__(None, None, None)

    process.time.run(main())


@pytest.mark.parametrize("restarts", [False, True])
def test_a_clock_that_jumps_back_lets_sleeps_wait_until_it_shows_their_time(restarts: bool) -> None:
    process = Process(sleeping(DAY_S))

    async def main() -> None:
        app = await process.begun()
        process.time.set_clock(-10 * DAY_S)
        if restarts:
            await app.vanish()
            app = await process.app().__aenter__()
        assert (await ended(app)).unwrap() == {"v": 4}
        assert process.time.world.monotonic() == pytest.approx(11 * DAY_S, abs=MINUTE_S)
        assert process.passed_s == pytest.approx(DAY_S, abs=MINUTE_S)
        await app.__aexit__(None, None, None)

    process.time.run(main())


@pytest.mark.parametrize("jump_s", [-3_600, 3_600])
def test_a_retry_survives_a_jump_of_the_clock(jump_s: float) -> None:
    retries = RetryConfig(attempts=2, delay_s=5)
    workflow = create_workflow(id="tries", retry_config=retries).then(Journal().inc()).commit()
    process = Process(workflow, doubles=[double("inc", fails=1)])

    async def main() -> None:
        async with process.app() as app:
            await app.start("tries", {"v": 1}, run_id="r1")
            await asyncio.sleep(1)
            process.time.set_clock(jump_s)
            assert (await ended(app)).unwrap() == {"v": 2}
            assert process.time.world.monotonic() <= 5 + max(0, -jump_s) + 1

    process.time.run(main())


def test_records_of_a_run_stay_in_order_when_the_clock_is_set_back() -> None:
    process = Process(sleeping(MINUTE_S))

    async def main() -> None:
        app = await process.begun()
        process.time.set_clock(-DAY_S)
        await app.start("sleeps", {"v": 5}, run_id="later")
        await asyncio.sleep(2 * DAY_S)
        assert (await app.verify()).findings == []
        assert (await app.replay("r1")).divergence is None
        await app.__aexit__(None, None, None)

    process.time.run(main())


class Away(MemoryStore):
    """Does not answer while it is `away`, by any connection."""

    def __init__(self) -> None:
        super().__init__()
        self._is_away = [False]

    @property
    def away(self) -> bool:
        return self._is_away[0]

    @away.setter
    def away(self, is_away: bool) -> None:
        self._is_away[0] = is_away

    async def news(self, since: int | None) -> News:
        if self.away:
            raise StoreUnavailable("nobody answers")
        return await super().news(since)


def test_a_wake_up_that_the_store_does_not_answer_is_made_up_for() -> None:
    store = Away()
    process = Process(sleeping(DAY_S), store)

    async def main() -> None:
        app = await process.begun()
        store.away = True
        await asyncio.sleep(DAY_S + 10 * MINUTE_S)
        store.away = False
        assert (await ended(app)).unwrap() == {"v": 4}
        assert process.passed_s == pytest.approx(DAY_S + 11 * MINUTE_S, abs=2)
        await app.__aexit__(None, None, None)

    process.time.run(main())


TIMERS = 100_000
PAGE = 10_000


async def full_of_sleepers(store: Store, code: str, due: Callable[[int], int]) -> None:
    """`TIMERS` runs that sleep: copies of the first records of one, each in its own chain."""
    for first in range(0, TIMERS, PAGE):
        appends = []
        for number in range(first, first + PAGE):
            log = Log(key(f"s{number}"))
            new = NewRun("sleeps", code)
            appends.append(log.append(Kind.RUN_CREATED, status="waiting", wake_at=due(number), new=new))
        assert not any(await store.commit(appends))


def test_a_hundred_thousand_pending_timers_are_one_timer_of_a_worker(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "sleepers.db")
    process = Process(sleeping(DAY_S), store)

    async def main() -> None:
        app = await process.begun()
        row = await store.run(key("r1"))
        assert row is not None
        await full_of_sleepers(store, row.code, lambda number: START + (2 * DAY_S + number) * 1000)
        await asyncio.sleep(MINUTE_S)
        await app.vanish()
        async with process.app() as other:
            worker = other._running
            assert (len(worker.drivers), len(worker.services.timers._heap)) == (0, 1)
            assert (await ended(other)).unwrap() == {"v": 4}  # which is due before all of them
            assert process.passed_s == pytest.approx(DAY_S, abs=1)
            assert len(worker.services.timers._heap) < 10

    process.time.run(main())
    asyncio.run(store.close())
