"""A run that is crashed everywhere: once before and once after each of its commits, and finished by the next process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cloche.client.workflows import Workflow
from cloche.errors import StoreUnavailable
from cloche.history import DEFAULT_TENANT, Kind, RunKey
from cloche.history.ids import run_key
from cloche.run.results import RunResult
from cloche.status import RunStatus
from cloche.store import Append, MemoryStore, Outcome, all_records
from cloche.testing.apps import TestApp
from cloche.testing.clock import VirtualTime, VirtualWorld
from cloche.testing.doubles import StepDouble
from cloche.testing.histories import check_run_replays

RUN = "crashed-everywhere"
KEY = run_key(RUN, DEFAULT_TENANT)


class CrashingStore(MemoryStore):
    """Loses its power at one commit: before it is made, or after it has become durable and before the caller knows.

    Until `restore_power` nothing can be written. `commits` counts those that were tried.
    """

    def __init__(self, at_commit: int = 0, *, is_kept: bool = False) -> None:
        super().__init__()
        self._power = _Power()
        self._at_commit = at_commit
        self._is_kept = is_kept

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
        self._power.commits += 1
        if self.commits != self._at_commit:
            return await super().commit(appends)
        if self._is_kept:
            await super().commit(appends)
        self.went_out.set()
        raise StoreUnavailable("the power went out")

    async def set_problem(self, key: RunKey, problem: str | None, *more: Any) -> None:
        self._need_power()
        await super().set_problem(key, problem, *more)

    def _need_power(self) -> None:
        if self.went_out.is_set():
            raise StoreUnavailable("there is no power")


@dataclass
class _Power:
    """One for all connections to a store."""

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


def crash_everywhere(
    workflow: Workflow,
    input_data: Any = None,
    *,
    answers: Mapping[str, Any] | None = None,
    events: Mapping[str, Any] | None = None,
    doubles: Callable[[], Iterable[StepDouble]] = tuple,
    **options: Any,
) -> CrashReport:
    """Run `workflow` once in peace, then once for each point where its process can die, and compare how it ends.

    Each run is in virtual time, on a store of its own, and is finished by a second app. Status, result, state and the
    completed steps must be those of the run in peace, no step may complete twice, chains must verify and histories replay.

    Args:
        workflow, input_data: what is run. Its steps may run more than once: that is what a crash does.
        answers: resume data for steps that suspend, by their paths.
        events: what the events carry that it waits for, by their names; an exception is sent as a failure in its place.
        doubles: makes the doubles of one run's steps.
        options: those of `Cloche.start`.

    Raises:
        AssertionError: a crash changed something; the text says which crash, and what.
        RuntimeError: an event loop runs in this thread: call it from a plain test function.
    """
    case = _Case(workflow, input_data, answers or {}, events or {}, doubles, options)
    calm = CrashingStore()
    expected = VirtualTime().run(_lived(case, calm))
    crashes = 0
    for number in range(1, calm.commits + 1):
        for is_kept in (False, True):
            store = CrashingStore(number, is_kept=is_kept)
            moment = f"a crash {'after' if is_kept else 'before'} commit {number} of {calm.commits}"
            try:
                result = VirtualTime().run(_lived(case, store))
            except Exception as error:
                raise AssertionError(f"{moment}: the run could not be finished: {error!r}") from error
            crashes += 1
            _compare(moment, expected, result)
            VirtualTime().run(_prove(moment, workflow, store))
    return CrashReport(expected, crashes)


async def _lived(case: _Case, store: CrashingStore) -> RunResult:
    """One run, to its end, by as many apps as it takes."""
    world = VirtualWorld()
    doubles = list(case.doubles())
    sent: set[str] = set()
    while True:
        app = TestApp(case.workflow, on=store, world=world, doubles=doubles)
        await app.__aenter__()
        life = asyncio.ensure_future(_life(case, app, sent))
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


async def _life(case: _Case, app: TestApp, sent: set[str]) -> RunResult:
    run = await app.start(case.workflow, case.input_data, run_id=RUN, **case.options)
    for name, payload in case.events.items():
        if name not in sent:
            is_error = isinstance(payload, BaseException)
            await app.send_event(RUN, name, None if is_error else payload, error=payload if is_error else None)
            sent.add(name)
    result = await run.result()
    while result.status in (RunStatus.SUSPENDED, RunStatus.PAUSED):
        answer = next((path for path in map("/".join, result.suspended) if path in case.answers), None)
        if result.status == RunStatus.SUSPENDED and answer is None:
            break
        named = {"step": answer, "resume_data": case.answers[answer]} if answer is not None else {}
        result = await app.resume(RUN, **named)
    return result


def _compare(moment: str, expected: RunResult, result: RunResult) -> None:
    before, after = _told(expected), _told(result)
    differences = [f"{name} was {before[name]!r}, is {after[name]!r}" for name in before if before[name] != after[name]]
    if differences:
        raise AssertionError(f"{moment} changed how the run ends: {'; '.join(differences)}")


def _told(result: RunResult) -> dict[str, Any]:
    """What a run says of itself that no crash may change: neither times nor attempts."""
    error = None if result.error is None else (result.error.name, result.error.message, result.error.data)
    steps = {path: (step.status, step.output) for path, step in result.steps.items()}
    return {"status": result.status, "result": result.result, "error": error, "state": result.state, "steps": steps}


async def _prove(moment: str, workflow: Workflow, store: MemoryStore) -> None:
    for finding in await store.audit():
        raise AssertionError(f"{moment}: record {finding.seq}: {finding.problem}")
    ends = Counter(record.call for record in await all_records(store, KEY) if record.kind is Kind.STEP_COMPLETED)
    for call, count in ends.items():
        if count > 1:
            raise AssertionError(f"{moment}: the step that record {call} called is completed {count} times")
    await check_run_replays(store, KEY, workflow)
