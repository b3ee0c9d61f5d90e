"""Applications on stores that outlive them, and clocks that a test moves.

What a file is to processes, a store object is to the apps here: one is thrown away as `kill -9` would, the next one opens the
same store. Everything else is the real thing: guest, scheduler, machine and store.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from cloche import Cloche, Run, Step, StepContext, create_step
from cloche.errors import StoreUnavailable
from cloche.history import Kind, RunId, RunKey, TenantId, TimeMs
from cloche.run.clock import LoopWaits
from cloche.store import Append, Checkpoints, Lease, MemoryStore, Outcome, RunRow, Store
from cloche.testing import TestApp
from cloche.testing.clock import START

P = ParamSpec("P")
T = TypeVar("T")
PATIENCE_S = 60.0
KEY = RunKey(TenantId("default"), RunId("r1"))


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """An async test as a plain one, on a loop of its own. One that hangs fails."""

    @functools.wraps(test)
    def run(*args: P.args, **options: P.kwargs) -> None:
        run_in_loop(asyncio.wait_for(test(*args, **options), PATIENCE_S))

    return run


def run_in_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """What `coroutine` gives, on the loop of `one_loop`, or on one of its own."""
    return asyncio.run(coroutine) if _Runner.shared is None else _Runner.shared.run(coroutine)


@contextmanager
def one_loop() -> Iterator[None]:
    """What `run_in_loop` and `in_loop` run meanwhile is on one loop, to which connections to a server belong."""
    with asyncio.Runner() as runner:
        _Runner.shared = runner
        try:
            yield
        finally:
            _Runner.shared = None


class _Runner:
    shared: asyncio.Runner | None = None


async def until(
    ask: Callable[[], Any], holds: Callable[[Any], Any] = bool, *, patience_s: float = PATIENCE_S / 2
) -> None:
    """Wait until the answer to `ask`, awaited if it has to be, is as it should be; fail if it never is."""
    deadline = time.monotonic() + patience_s
    while not holds(await answer if inspect.isawaitable(answer := ask()) else answer):
        assert time.monotonic() < deadline, "this never came true"
        await asyncio.sleep(0.002)


class ManualWorld(LoopWaits):
    """A clock that stands still until a test moves it; ids and seeds that are always the same."""

    def __init__(self, workers: str = "worker") -> None:
        self.time_ms = int(START)
        self._ids = 0
        self._name, self._workers = workers, 0

    def now(self) -> TimeMs:
        return TimeMs(self.time_ms)

    def run_id(self) -> RunId:
        self._ids += 1
        return RunId(f"run-{self._ids}")

    def seed(self) -> bytes:
        return bytes(16)

    def monotonic(self) -> float:
        return self.time_ms / 1000

    def worker_id(self) -> str:
        self._workers += 1
        return f"{self._name}-{self._workers}"

    def move(self, seconds: float, *apps: Cloche) -> None:
        """Let time pass; `apps` look at the clock at once, as they would if it had been the real one."""
        self.time_ms += int(seconds * 1000)
        for app in apps:
            app._running.services.timers.fire_due()


class AppOn(TestApp):
    """A `TestApp`, with its workflows by name."""

    def __init__(self, store: Store, checkpoints: Checkpoints | None = None, **options: Any) -> None:
        workflows = options.pop("workflows", ())
        super().__init__(*workflows, on=store, checkpoints=checkpoints, **{"handle_sigterm": True, **options})


class Journal:
    """Makes steps, and knows which calls began, in order: by path, and by run and path."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.calls: list[tuple[str, str]] = []

    def step(self, id: str, function: Callable[[Any], Any] = lambda data: data, **options: Any) -> Step:
        """A step that returns `function(data)`."""
        return self.acts(id, lambda data, ctx: function(data), **options)

    def acts(self, id: str, function: Callable[[Any, StepContext], Any], **options: Any) -> Step:
        """A step that returns `function(data, ctx)`, awaited if it has to be."""

        async def execute(data: Any, ctx: StepContext) -> Any:
            self.began.append(ctx.path)
            self.calls.append((ctx.run_id, ctx.path))
            result = function(data, ctx)
            return await result if inspect.isawaitable(result) else result

        return create_step(id=id, execute=execute, **options)

    def inc(self) -> Step:
        return self.step("inc", lambda data: {"v": data["v"] + 1})

    def dbl(self) -> Step:
        return self.step("dbl", lambda data: {"v": data["v"] * 2})

    def take(self) -> Step:
        return self.step("take")

    def boom(self, message: str = "boom") -> Step:
        return self.step("boom", functools.partial(_raise, message))

    def ask(self, id: str = "ask", **options: Any) -> Step:
        """Suspends with its id and what came in, and adds what it is resumed with."""

        def add(data: Any, ctx: StepContext) -> Any:
            if ctx.resume_data is None:
                ctx.suspend({"ask": id, "at": data["v"]})
            return {"v": data["v"] + ctx.resume_data["add"]}

        return self.acts(id, add, **options)


def _raise(message: str, _: Any) -> Any:
    raise RuntimeError(message)


@dataclass
class Power:
    """Of a `CutStore`: one for all connections to it."""

    commits: int = 0
    cuts: int = 0
    went_out: asyncio.Event = field(default_factory=asyncio.Event)


class CutStore(MemoryStore):
    """Loses its power right after a commit has become durable: the writer hears of an error, and of nothing more.

    `commits_a_life` is how many are made between two cuts.
    """

    def __init__(self, commits_a_life: int = 1) -> None:
        super().__init__()
        self.commits_a_life = commits_a_life
        self._power = Power()

    @property
    def cuts(self) -> int:
        return self._power.cuts

    @property
    def went_out(self) -> asyncio.Event:
        return self._power.went_out

    def restore_power(self) -> None:
        self._power.went_out = asyncio.Event()

    async def commit(self, appends: Sequence[Append]) -> list[Outcome]:
        self._need_power()
        outcomes = await super().commit(appends)
        begun = all(record.kind is Kind.ATTEMPT_STARTED for append in appends for record in append.records)
        if all(outcomes) or begun:  # nothing was written, or that a step begins again: it would never come to it
            return outcomes
        self._power.commits += 1
        if self._power.commits % self.commits_a_life:
            return outcomes
        self._power.cuts += 1
        self.went_out.set()
        raise StoreUnavailable("the power went out")

    async def set_problem(self, key: RunKey, problem: str | None, lease: Lease | None = None) -> None:
        self._need_power()
        await super().set_problem(key, problem, lease)

    def _need_power(self) -> None:
        if self.went_out.is_set():
            raise StoreUnavailable("there is no power")


@dataclass
class Faults:
    """What a `FlakyStore` does next, by any connection: refuse `refusals` commits, answer no question while it `is_away`, and
    take the next `lies` commits and say that it did not. `commits` is how many it took.
    """

    refusals: int = 0
    lies: int = 0
    is_away: bool = False
    commits: int = 0


class FlakyStore(MemoryStore):
    """Counts its commits, and has faults as `faults` says."""

    def __init__(self, refusals: int = 0, lies: int = 0) -> None:
        super().__init__()
        self.faults = Faults(refusals, lies)

    async def run(self, key: RunKey) -> RunRow | None:
        if self.faults.is_away:
            raise StoreUnavailable("nobody answers")
        return await super().run(key)

    async def commit(self, appends: Sequence[Append]) -> list[Outcome]:
        if self.faults.refusals:
            self.faults.refusals -= 1
            raise StoreUnavailable("the disk is full")
        outcomes = await super().commit(appends)
        self.faults.commits += 1
        if self.faults.lies:
            self.faults.lies -= 1
            raise StoreUnavailable("the answer got lost")
        return outcomes


async def ended(run: Run) -> tuple[str, Any]:
    """Status and result of a run that is waited for."""
    result = await run.result()
    return result.status, result.result
