"""Applications on stores that outlive them, clocks that a test moves, and three ways to live through a run.

What a file is to processes, a store object is to the apps here: one is thrown away as `kill -9` would, the next one opens the
same store. Everything else is the real thing: guest, scheduler, machine and store.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ParamSpec, Protocol

from cloche import Cloche, Run, RunResult, Step, Workflow, create_step, load_workflow
from cloche.errors import StoreError, StoreUnavailable
from cloche.history import Kind, RunId, RunKey, TenantId, TimeMs
from cloche.runtime import sigterm
from cloche.runtime.scheduler import Scheduler
from cloche.store import Append, MemoryStore, Store

P = ParamSpec("P")
PATIENCE_S = 60.0
START = TimeMs(1_767_225_600_000)  # 2026-01-01T00:00:00Z


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """An async test as a plain one, on a loop of its own. One that hangs fails."""

    @functools.wraps(test)
    def run(*args: P.args, **options: P.kwargs) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **options), PATIENCE_S))

    return run


async def until(condition: Callable[[], Any], patience_s: float = PATIENCE_S / 2) -> None:
    """Wait until `condition` holds; fail if it never does."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "this never came true"
        await asyncio.sleep(0.002)


class ManualWorld:
    """A clock that stands still until a test moves it; ids and seeds that are always the same."""

    def __init__(self) -> None:
        self.time_ms = int(START)
        self._ids = 0

    def now(self) -> TimeMs:
        return TimeMs(self.time_ms)

    def run_id(self) -> RunId:
        self._ids += 1
        return RunId(f"run-{self._ids}")

    def seed(self) -> bytes:
        return bytes(16)

    def move(self, seconds: float, *apps: Cloche) -> None:
        """Let time pass; `apps` look at the clock at once, as they would if it had been the real one."""
        self.time_ms += int(seconds * 1000)
        for app in apps:
            app._running.timers.fire_due()


class AppOn(Cloche):
    """A `Cloche` on `store`, which stays open when it ends."""

    def __init__(self, store: Store, **options: Any) -> None:
        super().__init__(**options)
        self._given_store = store

    def _open_store(self) -> Store:
        return self._given_store

    def _close_store(self, store: Store) -> None:
        pass

    async def vanish(self) -> None:
        """The end that `kill -9` makes: nothing is drained and nothing recorded."""
        scheduler, self._scheduler = self._running, None
        sigterm.forget(self._drain)
        await _vanish(scheduler)


async def _vanish(scheduler: Scheduler) -> None:
    scheduler.timers.close()
    for driver in scheduler._drivers.values():
        driver.stop()
    tasks = [*scheduler._tasks, *([scheduler._watcher] if scheduler._watcher else [])]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    scheduler.step_pool.shutdown(wait=False, cancel_futures=True)
    scheduler.turn_pool.shutdown(wait=False, cancel_futures=True)


class Journal:
    """Makes steps, and knows which calls began, in order, by path."""

    def __init__(self) -> None:
        self.began: list[str] = []

    def step(self, id: str, function: Callable[[Any], Any] = lambda data: data, **options: Any) -> Step:
        """A step that returns `function(data)`."""

        async def execute(data: Any, ctx: Any) -> Any:
            self.began.append(ctx.path)
            return function(data)

        return create_step(id=id, execute=execute, **options)

    def inc(self) -> Step:
        return self.step("inc", lambda data: {"v": data["v"] + 1})

    def dbl(self) -> Step:
        return self.step("dbl", lambda data: {"v": data["v"] * 2})

    def take(self) -> Step:
        return self.step("take")

    def boom(self, message: str = "boom") -> Step:
        return self.step("boom", functools.partial(_raise, message))


def _raise(message: str, _: Any) -> Any:
    raise RuntimeError(message)


# ---- three ways to live through a run --------------------------------------------------------------------------------------


class Lived(Protocol):
    """Start a run of a workflow, and give its result when it has ended."""

    def __call__(self, workflow: Workflow, value: Any = None, *, journal: Journal, **given: Any) -> RunResult: ...


def straight_through(workflow: Workflow, value: Any = None, *, journal: Journal, **given: Any) -> RunResult:
    """No accident; time passes as fast as the run wants."""

    async def whole() -> RunResult:
        world = ManualWorld()
        async with AppOn(MemoryStore(), workflows=[workflow], world=world) as app:
            run = await app.start(workflow, value, **given)
            result = asyncio.create_task(run.result())
            while not result.done():
                await asyncio.wait({result}, timeout=0.01)
                world.move(3600, app)
            return result.result()

    return asyncio.run(whole())


def from_its_stored_graph(workflow: Workflow, value: Any = None, *, journal: Journal, **given: Any) -> RunResult:
    """The workflow that runs is the one made of the JSON text of the graph."""
    stored = load_workflow(workflow.graph.to_json(), steps=workflow.steps)
    return straight_through(stored, value, journal=journal, **given)


def through_power_cuts(workflow: Workflow, value: Any = None, *, journal: Journal, **given: Any) -> RunResult:
    """After every commit the process is gone before it hears of it; the next one opens what is in the store.

    A call whose completion is in the log does not begin again, and nobody misses what was never recorded.
    """

    async def whole() -> RunResult:
        store, world = CutStore(), ManualWorld()
        while True:
            store.restore_power()
            completed, count = _completed_paths(store), len(journal.began)
            result = await _one_life(store, world, workflow, value, given)
            assert not completed.intersection(journal.began[count:])
            if result is not None:
                assert store.cuts >= 1
                return result
            world.move(3600)

    return asyncio.run(asyncio.wait_for(whole(), PATIENCE_S))


WAYS: Sequence[Lived] = (straight_through, from_its_stored_graph, through_power_cuts)
KEY = RunKey(TenantId("default"), RunId("r1"))


async def _one_life(
    store: CutStore, world: ManualWorld, workflow: Workflow, value: Any, given: dict[str, Any]
) -> RunResult | None:
    app = AppOn(store, workflows=[workflow], world=world)
    await app.__aenter__()

    async def go_on() -> RunResult:
        run = await app.start(workflow, value, run_id=KEY.run, **given)
        return await run.result()

    living, cut = asyncio.create_task(go_on()), asyncio.create_task(store.went_out.wait())
    await asyncio.wait({living, cut}, return_when=asyncio.FIRST_COMPLETED)
    result = None if store.went_out.is_set() else living.result()
    living.cancel()
    cut.cancel()
    await asyncio.gather(living, cut, return_exceptions=True)
    await app.vanish()
    return result


def _completed_paths(store: Store) -> set[str]:
    if store.run(KEY) is None:
        return set()
    return {str(record.path) for record in store.records(KEY) if record.kind is Kind.STEP_COMPLETED}


class CutStore(MemoryStore):
    """Loses its power right after each commit has become durable: the writer hears of an error, and of nothing more."""

    def __init__(self) -> None:
        super().__init__()
        self.cuts = 0
        self.restore_power()

    def restore_power(self) -> None:
        self.went_out = asyncio.Event()

    def commit(self, appends: Sequence[Append]) -> list[StoreError | None]:
        self._need_power()
        super().commit(appends)
        self.cuts += 1
        self.went_out.set()
        raise StoreUnavailable("the power went out")

    def set_problem(self, key: RunKey, problem: str | None) -> None:
        self._need_power()
        super().set_problem(key, problem)

    def _need_power(self) -> None:
        if self.went_out.is_set():
            raise StoreUnavailable("there is no power")


class FlakyStore(MemoryStore):
    """Counts its commits; refuses the next `refusals` of them, or takes the next `lies` of them and says it did not."""

    def __init__(self, refusals: int = 0, lies: int = 0) -> None:
        super().__init__()
        self.refusals = refusals
        self.lies = lies
        self.commits = 0

    def commit(self, appends: Sequence[Append]) -> list[StoreError | None]:
        if self.refusals:
            self.refusals -= 1
            raise StoreUnavailable("the disk is full")
        outcomes = super().commit(appends)
        self.commits += 1
        if self.lies:
            self.lies -= 1
            raise StoreUnavailable("the answer got lost")
        return outcomes


async def ended(run: Run) -> tuple[str, Any]:
    """Status and result of a run that is waited for."""
    result = await run.result()
    return result.status, result.result
