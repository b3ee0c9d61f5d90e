"""A run that is crashed everywhere: once before and once after each of its commits, and finished by the next process."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeAlias, cast

from cloche.client.runs import Run
from cloche.client.workflows import Workflow
from cloche.errors import StoreUnavailable, UsageError
from cloche.history import DEFAULT_TENANT, Kind, RunKey
from cloche.history.ids import history_key, history_number, run_key
from cloche.run.results import RunResult
from cloche.status import RunStatus
from cloche.store import Append, MemoryStore, Outcome, SqliteStore, Store, all_records
from cloche.store.histories import newest
from cloche.testing.apps import TestApp
from cloche.testing.clock import VirtualTime, VirtualWorld
from cloche.testing.doubles import StepDouble
from cloche.testing.histories import check_run_replays

RUN = "crashed-everywhere"
KEY = run_key(RUN, DEFAULT_TENANT)


class _Crashing:
    """What a store is mixed with that loses its power."""

    _power: _Power

    @property
    def commits(self) -> int:
        return self._power.commits

    @property
    def went_out(self) -> asyncio.Event:
        return self._power.went_out

    def restore_power(self) -> None:
        self._power.went_out = asyncio.Event()

    async def commit(self, appends: Sequence[Append]) -> list[Outcome]:
        self._need_power()
        power, store = self._power, cast("Store", super())
        power.commits += 1
        if self.commits != power.at_commit and (not power.every or self.commits % power.every):
            return await store.commit(appends)
        if power.is_kept:
            await store.commit(appends)
        self.went_out.set()
        raise StoreUnavailable("the power went out")

    async def set_problem(self, key: RunKey, problem: str | None, *more: Any) -> None:
        self._need_power()
        await cast("Store", super()).set_problem(key, problem, *more)

    def _need_power(self) -> None:
        if self.went_out.is_set():
            raise StoreUnavailable("there is no power")


class CrashingStore(_Crashing, MemoryStore):
    """Loses its power at one commit: before it is made, or after it has become durable (`is_kept`) and before the caller knows.
    With `every` after each n-th commit, one life after another.

    Until `restore_power` nothing can be written. `commits` counts those that were tried.
    """

    def __init__(self, at_commit: int = 0, *, is_kept: bool = False, every: int = 0) -> None:
        super().__init__()
        self._power = _Power(at_commit, is_kept or every > 0, every)


class CrashingSqliteStore(_Crashing, SqliteStore):
    """The same on a file."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        at_commit: int = 0,
        *,
        is_kept: bool = False,
        every: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(Path(path), **options)
        self._power = _Power(at_commit, is_kept or every > 0, every)

    async def connect(self) -> Self:
        made = await super().connect()
        made._power = self._power
        return made


AnyCrashing: TypeAlias = CrashingStore | CrashingSqliteStore


@dataclass
class _Power:
    """One for all connections to a store."""

    at_commit: int
    is_kept: bool
    every: int
    commits: int = 0
    went_out: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class CrashReport:
    """What `crash_everywhere` saw: how the run ends, and how many crashes it was put through."""

    result: RunResult
    crashes: int


@dataclass(frozen=True, slots=True)
class _Case:
    workflow: Workflow
    input_data: Any
    answers: Mapping[str, Any]
    events: Mapping[str, Any]
    doubles: Callable[[], Iterable[StepDouble]]
    options: Mapping[str, Any]
    cancel_after_s: float | None
    more: tuple[Workflow, ...]


@dataclass(frozen=True, slots=True)
class Several:
    """Answers for one path or label, one after another; the last one for all that follow."""

    answers: tuple[Any, ...]


def several(*answers: Any) -> Several:
    """Answers for a step that suspends several times: `answers={"ask": several("no", "yes")}`."""
    return Several(answers)


def crash_everywhere(
    workflow: Workflow,
    input_data: Any = None,
    *,
    answers: Mapping[str, Any] | None = None,
    events: Mapping[str, Any] | None = None,
    doubles: Callable[[], Iterable[StepDouble]] = tuple,
    cancel_after_s: float | None = None,
    children: Iterable[Workflow] = (),
    sqlite: str | os.PathLike[str] | None = None,
    **options: Any,
) -> CrashReport:
    """Run `workflow` once in peace, then once for each point where its process can die, and compare how it ends.

    Each run is in virtual time, on a store of its own, and is finished by a second app. Status, result, state and the
    completed steps must be those of the run in peace (NaN is NaN), no step may complete twice, chains must verify and histories
    replay. One run more dies after every second commit.

    Args:
        workflow, input_data: what is run. Its steps may run more than once: that is what a crash does.
        answers: resume data for steps that suspend, by their paths or labels; `several(…)` of them one after another.
        events: what the events carry that it waits for, by their names; an exception is sent as a failure in its place.
        doubles: makes the doubles of one run's steps.
        cancel_after_s: when the run is canceled, in seconds of virtual time from its start.
        children: further workflows that it starts by their ids.
        sqlite: a folder, for a store on a file in place of one in memory. It is filled with a file for each run.
        options: those of `Cloche.start`.

    Raises:
        AssertionError: a crash changed something; the text says which crash, and what.
        RuntimeError: an event loop runs in this thread: call it from a plain test function.
        UsageError: `doubles` is no function.
    """
    if not callable(doubles):
        raise UsageError("doubles= takes a function that makes them, for each run anew: doubles=lambda: [double(…)]")
    case = _Case(workflow, input_data, answers or {}, events or {}, doubles, options, cancel_after_s, tuple(children))
    calm = _store(sqlite, 0)
    expected = VirtualTime().run(_lived(case, calm))
    points = [(number, is_kept) for number in range(1, calm.commits + 1) for is_kept in (False, True)]
    for crashes, (number, is_kept) in enumerate(points, 1):
        moment = f"a crash {'after' if is_kept else 'before'} commit {number} of {calm.commits}"
        _crashed(case, expected, moment, _store(sqlite, crashes, at_commit=number, is_kept=is_kept))
    _crashed(case, expected, "a crash after every second commit", _store(sqlite, len(points) + 1, every=2))
    return CrashReport(expected, len(points))


def _store(folder: str | os.PathLike[str] | None, number: int, **options: Any) -> AnyCrashing:
    if folder is None:
        return CrashingStore(**options)
    return CrashingSqliteStore(Path(folder) / f"crash-{number}.db", **options)


def _crashed(case: _Case, expected: RunResult, moment: str, store: AnyCrashing) -> None:
    """One run that dies, and what must be as in peace.

    Raises:
        AssertionError: it is not.
    """
    try:
        result = VirtualTime().run(_lived(case, store))
    except Exception as error:
        raise AssertionError(f"{moment}: the run could not be finished: {error!r}") from error
    _compare(moment, expected, result)
    VirtualTime().run(_prove(moment, case.workflow, store))


async def _lived(case: _Case, store: AnyCrashing) -> RunResult:
    """One run, to its end, by as many apps as it takes."""
    world = VirtualWorld()
    doubles = list(case.doubles())
    sent: set[str] = set()
    begun_s = asyncio.get_running_loop().time()
    while True:
        app = TestApp(case.workflow, *case.more, on=store, world=world, doubles=doubles)
        await app.__aenter__()
        life = asyncio.ensure_future(_life(case, app, sent, begun_s))
        outage = asyncio.ensure_future(store.went_out.wait())
        await asyncio.wait([life, outage], return_when=asyncio.FIRST_COMPLETED)
        outage.cancel()
        if not store.went_out.is_set():
            await app.__aexit__(None, None, None)
            return life.result()
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        await app.vanish()
        store.restore_power()


async def _life(case: _Case, app: TestApp, sent: set[str], begun_s: float) -> RunResult:
    run = await app.start(case.workflow, case.input_data, run_id=RUN, **case.options)
    for name, payload in case.events.items():
        if name not in sent:
            is_error = isinstance(payload, BaseException)
            await app.send_event(RUN, name, None if is_error else payload, error=payload if is_error else None)
            sent.add(name)
    if case.cancel_after_s is not None:
        await asyncio.sleep(max(0.0, begun_s + case.cancel_after_s - asyncio.get_running_loop().time()))
        await app.cancel(RUN)
        return await run.result(final=True)
    result = await run.result()
    while result.status in (RunStatus.SUSPENDED, RunStatus.PAUSED):
        named = {}
        if result.status == RunStatus.SUSPENDED:
            found = await _answer(case, run, result)
            if found is None:
                break
            named = found
        result = await app.resume(RUN, **named)
    return result


async def _answer(case: _Case, run: Run, result: RunResult) -> dict[str, Any] | None:
    """What is resumed, and with what; None if there is no answer for anything that is suspended.

    Which of several answers is next is asked of the history: a life does not know what the one before it gave.
    """
    paths = ["/".join(one) for one in result.suspended]
    known = next((one for one in paths if one in case.answers), None)
    label = next((one for one in result.resume_labels if one in case.answers), None) if known is None else None
    name = known or label
    if name is None:
        return None
    answer = case.answers[name]
    if isinstance(answer, Several):
        path = known or _path_of(result.resume_labels[name])
        resumed = [one for one in await run.history() if one.kind is Kind.STEP_RESUMED and one.path == path]
        answer = answer.answers[min(len(resumed), len(answer.answers) - 1)]
    return {"label" if known is None else "step": name, "resume_data": answer}


def _path_of(named: Any) -> str:
    """Of what a label names: a path, or a mapping that has it."""
    found = named.get("step", named.get("path", "")) if isinstance(named, Mapping) else named
    return "/".join(found) if isinstance(found, list) else str(found)


def _compare(moment: str, expected: RunResult, result: RunResult) -> None:
    before, after = _told(expected), _told(result)
    odd = [name for name in before if not _is_same(before[name], after[name])]
    differences = [f"{name} was {before[name]!r}, is {after[name]!r}" for name in odd]
    if differences:
        raise AssertionError(f"{moment} changed how the run ends: {'; '.join(differences)}")


def _is_same(one: Any, other: Any) -> bool:
    """Equality in which NaN is NaN, in containers too."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (one != one and other != other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and type(one) is type(other):
        return len(one) == len(other) and all(map(_is_same, one, other))
    if type(one) is type(other) and hasattr(one, "model_dump"):
        return _is_same(vars(one), vars(other))
    return bool(one == other)


def _told(result: RunResult) -> dict[str, Any]:
    """What a run says of itself that no crash may change: neither times nor attempts."""
    error = None if result.error is None else (result.error.name, result.error.message, result.error.data)
    steps = {path: (step.status, step.output) for path, step in result.steps.items()}
    return {"status": result.status, "result": result.result, "error": error, "state": result.state, "steps": steps}


async def _prove(moment: str, workflow: Workflow, store: AnyCrashing) -> None:
    for finding in await store.audit():
        raise AssertionError(f"{moment}: record {finding.seq}: {finding.problem}")
    for number in range(history_number(await newest(store, KEY)) + 1):
        key = history_key(KEY, number)
        ends = Counter(record.call for record in await all_records(store, key) if record.kind is Kind.STEP_COMPLETED)
        for call, count in ends.items():
            if count > 1:
                raise AssertionError(f"{moment}: the step that record {call} called is completed {count} times")
        await check_run_replays(store, key, workflow)
