"""Conformance cases: one workflow, lived through on every engine and in every way, and the log of it checked at the end.

    @everywhere
    async def test_one_step(case: Case) -> None:
        result = await case.start(create_workflow(id="w").then(case.journal.inc()), {"v": 1})
        assert (result.status, result.result) == ("success", {"v": 2})

The ways: straight through; with the process thrown away and everything rebuilt from the store after every commit; as the
workflow that the stored text of its graph makes. Time is the test's own: it stands still while anything is at work, and
then jumps to the next thing that is due.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from enum import StrEnum
from functools import cache
from typing import Any

import pytest
from support.apps import KEY, AppOn, CutStore, Journal, ManualWorld
from support.folds import check_fold
from support.guests import needs_python
from support.replay_paths import check_replay_paths

from cloche import Cloche, Run, RunResult, Workflow, load_workflow
from cloche.engines import CellSource, DirectEngine, Language, ProcessEngine, SandboxEngine
from cloche.history import Kind, Record, RunId, RunKey, TenantId
from cloche.history.values import decode
from cloche.operations import replay
from cloche.operations.fork import SAME
from cloche.status import RESTING
from cloche.store import MemoryStore, all_records
from cloche_codegen.languages import misplaced


def key_of(run_id: str) -> RunKey:
    return RunKey(TenantId("default"), RunId(run_id))


class Way(StrEnum):
    STRAIGHT = "straight through"
    CUTS = "through power cuts"
    STORED = "from its stored graph"


ENGINES: tuple[type[SandboxEngine] | type[DirectEngine], ...] = (SandboxEngine, DirectEngine)
RUNNERS: tuple[tuple[type[SandboxEngine] | type[DirectEngine], Language], ...] = (
    (SandboxEngine, "javascript"),
    (DirectEngine, "javascript"),
    (SandboxEngine, "python"),
)
REPLAY_PATHS_MAX = 10  # runs of one case that are replayed in all ways: many runs of a case are one like the other
CASE_PATIENCE_S = 20.0  # a case takes hundredths of a second; one that hangs has failed
Test = Callable[..., Coroutine[Any, Any, None]]


def everywhere(test: Test) -> Callable[..., None]:
    """A test of a `case`, on each engine and guest and in each way."""
    return _parametrized(test, tuple(Way))


def uncut(test: Test) -> Callable[..., None]:
    """As `everywhere`, where the process must live on: the test looks at what happens inside it at one time."""
    return _parametrized(test, (Way.STRAIGHT, Way.STORED))


def _parametrized(test: Test, ways: tuple[Way, ...]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*, case: tuple[Callable[[], CellSource], Way, Language], **given: Any) -> None:
        if case[2] == "python":
            needs_python()
        asyncio.run(asyncio.wait_for(_lived(test, Case(*case), given), CASE_PATIENCE_S))

    params = [
        pytest.param((engine, way, language), id=f"{engine.name}{' of Python' * (language == 'python')}, {way}")
        for engine, language in RUNNERS
        for way in ways
        if language == "javascript" or way is not Way.STORED  # a stored graph is the same for every guest
    ]
    way = Way.CUTS if Way.CUTS in ways else Way.STRAIGHT  # the glass is the same: what differs is how cells come and go
    params.append(pytest.param((_processes, way, "javascript"), id=f"{ProcessEngine.name}, {way}"))
    marked: Callable[..., None] = pytest.mark.parametrize("case", params)(run)
    return marked


@cache
def _processes() -> ProcessEngine:
    """One for all cases, whose process lives on."""
    return ProcessEngine()


async def _lived(test: Test, case: Case, given: dict[str, Any]) -> None:
    try:
        await test(case=case, **given)
        await case.check()
    finally:
        await case.vanish()


class Case:
    """A store, a clock and the process that executes there. The run of a test is `r1`, unless it says another id."""

    def __init__(
        self,
        engine: Callable[[], CellSource],
        way: Way,
        language: Language = "javascript",
        *,
        commits_a_life: int = 1,
    ) -> None:
        self.way = way
        self.language = language
        self.journal = Journal()
        self.world = ManualWorld()
        self.store: MemoryStore = CutStore(commits_a_life) if way is Way.CUTS else MemoryStore()
        self._engine = engine
        self._workflows: list[Workflow] = []
        self._app: AppOn | None = None
        self._ended: set[tuple[str, str]] = set()  # calls that had ended when this process began,
        self._began = 0  # and how many had begun

    @property
    def app(self) -> Cloche:
        assert self._app is not None
        return self._app

    # ---- what a test does ----

    async def start(
        self, workflow: Workflow, value: Any = None, *, still: bool = False, run_id: str = KEY.run, **given: Any
    ) -> RunResult:
        """Start a run and wait until it stops; `still`: with the clock standing still."""
        await self.begin(workflow, value, run_id=run_id, **given)
        return await self.rest(run_id) if still else await self.end(run_id)

    async def begin(self, workflow: Workflow, value: Any = None, *, run_id: str = KEY.run, **given: Any) -> None:
        """Start a run and wait until that is durable."""
        known = next((one for one in self._workflows if one.id == workflow.id), None) or self._as_lived(workflow)
        if self._app is None or known not in self._workflows:
            self._workflows.append(known)
            await self.reopen()
        await self._do(run_id, lambda: self.app.start(known, value, run_id=run_id, **given))

    async def resume(self, data: Any = None, *, run_id: str = KEY.run, still: bool = False, **named: Any) -> RunResult:
        await self._do(run_id, lambda: self.app.resume(run_id, resume_data=data, **named))
        return await self.rest(run_id) if still else await self.end(run_id)

    async def fork(self, at: str, new_id: str, *, run_id: str = KEY.run, value: Any = SAME) -> RunResult:
        await self._do(new_id, lambda: self.app.fork(run_id, at=at, input_data=value, new_run_id=new_id))
        return await self.end(new_id)

    async def cancel(self, run_id: str = KEY.run) -> RunResult:
        """Cancel a run, which has not ended."""
        asked = await self._count(Kind.CANCEL_REQUESTED, run_id)

        async def durably() -> None:
            await self.app.cancel(run_id)

            async def is_asked() -> bool:
                return await self._count(Kind.CANCEL_REQUESTED, run_id) > asked

            await _turns_until(is_asked)

        await self._do(run_id, durably)
        return await self.end(run_id)

    async def send(self, name: str, payload: Any = None, *, run_id: str = KEY.run, **given: Any) -> None:
        """Send an event, and wait until the run has it if it waits for it now."""
        await self.app.send_event(run_id, name, payload, **given)
        await self.until(lambda: self._has_mail(run_id), lambda has_mail: not has_mail)

    async def until(self, ask: Callable[[], Any], holds: Callable[[Any], Any] = bool) -> None:
        """Wait, through whatever happens to the process, until the answer to `ask` is as it should be."""
        while not holds(await answer if inspect.isawaitable(answer := ask()) else answer):
            await self._live()
        await self._live()

    async def rest(self, run_id: str = KEY.run) -> RunResult:
        """Wait until nothing moves unless somebody outside does something, or time passes."""
        await self.until(lambda: self._is_at_rest(run_id))
        return await self.look(run_id)

    async def end(self, run_id: str = KEY.run) -> RunResult:
        """Let time pass until the run stops, or waits for an event without a time."""
        while True:
            await self.until(lambda: self._is_at_rest(run_id))
            row = await replay.row_of(self.store, key_of(run_id))
            if row.status in RESTING or row.wake_at is None:
                return await self.look(run_id)
            self.world.move((row.wake_at - self.world.now()) / 1000, self.app)

    async def look(self, run_id: str = KEY.run) -> RunResult:
        """The run as it stands."""
        run = await self.app.get(run_id)
        await self.app._running.drivers.callbacks.done(key_of(run_id))
        return await run._folded(await run.row())

    async def reopen(self) -> None:
        """This process is gone; the next one opens what is in the store."""
        await self.vanish()
        if isinstance(self.store, CutStore):
            self.store.restore_power()
        self._ended, self._began = await self._ended_calls(), len(self.journal.calls)
        app = AppOn(self.store, workflows=self._workflows, world=self.world, engine=self._engine())
        await app.__aenter__()
        self._app = app

    async def vanish(self) -> None:
        if self._app is not None:
            app, self._app = self._app, None
            await app.vanish()
            again = self._ended.intersection(self.journal.calls[self._began :])
            assert not again, f"what had ended began again: {again}"

    # ---- what a test looks at ----

    async def records(self, *kinds: Kind, run_id: str = KEY.run) -> list[Record]:
        """The records of some kinds, or all."""
        return [record for record in await all_records(self.store, key_of(run_id)) if not kinds or record.kind in kinds]

    async def paths(self, *kinds: Kind, run_id: str = KEY.run) -> list[str]:
        return [str(record.path) for record in await self.records(*kinds, run_id=run_id)]

    async def run(self, run_id: str = KEY.run) -> Run:
        return await self.app.get(run_id)

    async def check(self) -> None:
        """Every log is a chain, a fresh cell of either engine asks for the same again, and so does one from a checkpoint."""
        report = await replay.verify(self.store, None)
        assert report.ok, report.findings
        for number, row in enumerate(await self.store.runs()):
            if row.head_seq:
                if number < REPLAY_PATHS_MAX:
                    await check_fold(self.store, row)
                for engine in ENGINES:
                    replayed = await replay.replay(self.store, row.key, engine())
                    assert replayed.ok, f"{engine.name}: {replayed.divergence}"
                if self.way is Way.STRAIGHT and self._engine is SandboxEngine and number < REPLAY_PATHS_MAX:
                    await check_replay_paths(self.store, row)

    # ---- inside ----

    def _as_lived(self, workflow: Workflow) -> Workflow:
        """What runs. A graph says nothing of the embedder's own choices: whoever loads it makes them again."""
        workflow.commit()
        if self.language == "python":
            workflow = _in_python(workflow)
        if self.way is not Way.STORED:
            return workflow
        stored = load_workflow(workflow.graph.to_json(), steps=workflow.steps)
        for choice in ("validate_inputs", "validate_outputs", "on_start", "on_finish", "on_error"):
            setattr(stored, choice, getattr(workflow, choice))
        return stored

    async def _do(self, run_id: str, deed: Callable[[], Awaitable[Any]]) -> None:
        """Do it until it is in the run's log: after a power cut before that, once more. Whatever it raises comes out."""
        if await self.store.run(key_of(run_id)) is not None:
            await self.until(lambda: self._is_at_rest(run_id))
        before = await self._log_size(run_id)
        while await self._log_size(run_id) == before:
            task = asyncio.ensure_future(deed())

            async def is_over(task: asyncio.Future[Any] = task) -> bool:
                return task.done() or self._is_dark() or await self._log_size(run_id) > before

            await _turns_until(is_over)
            if task.done() and not self._is_dark():
                task.result()
                return
            task.cancel()  # what it would wait for now is time, which the test lets pass
            await asyncio.gather(task, return_exceptions=True)
            await self._live()

    async def _live(self) -> None:
        if self._is_dark():
            await self.reopen()
        else:
            await asyncio.sleep(0)

    def _is_dark(self) -> bool:
        return isinstance(self.store, CutStore) and self.store.went_out.is_set()

    async def _is_at_rest(self, run_id: str) -> bool:
        row = await self.store.run(key_of(run_id))
        if self._is_dark() or row is None:
            return False
        if await self._has_mail(run_id):
            return False
        if row.status == "waiting":
            return row.wake_at is None or row.wake_at > self.world.now()
        return row.status in RESTING

    async def _has_mail(self, run_id: str) -> bool:
        """Whether an event is there that the run waits for."""
        mail = [
            decode(row.body)[0] for row in await self.store.requests() if row.key.run == run_id and row.kind == "event"
        ]
        return bool(mail) and any(
            hook.name in mail for hook in (await replay.machine_of(self.store, key_of(run_id))).open.hooks()
        )

    async def _count(self, kind: Kind, run_id: str) -> int:
        return len(await self.records(kind, run_id=run_id))

    async def _log_size(self, run_id: str) -> int:
        row = await self.store.run(key_of(run_id))
        return row.head_seq if row is not None else 0

    async def _ended_calls(self) -> set[tuple[str, str]]:
        ends = (Kind.STEP_COMPLETED, Kind.STEP_FAILED, Kind.STEP_BAILED)
        keys = [row.key.run for row in await self.store.runs()]
        return {(key, path) for key in keys for path in await self.paths(*ends, run_id=key)}


def _in_python(workflow: Workflow) -> Workflow:
    """The same workflow for the Python guest, if that can have it."""
    graph = workflow.graph.model_copy(update={"guest": "python"})
    if problem := next(misplaced(graph), None):
        pytest.skip(str(problem))
    other = copy.copy(workflow)
    for made in ("tree", "_javascript", "_python"):
        vars(other).pop(made, None)
    other._graph = graph
    return other


async def _turns_until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Let everything else in the loop go on until `condition` holds: time stands still, so there is nothing to sleep for."""
    while not await condition():  # noqa: ASYNC110
        await asyncio.sleep(0)


def outcome(result: RunResult) -> tuple[str, Any]:
    return result.status, result.result


def failure(result: RunResult) -> tuple[str, str]:
    """The name and the message of what a run failed with."""
    assert result.error is not None, result
    assert (result.status, result.result) == ("failed", None)
    return result.error.name, result.error.message


def statuses(result: RunResult) -> dict[str, str]:
    return {id: step.status for id, step in result.steps.items()}


def outputs(result: RunResult) -> dict[str, Any]:
    return {id: step.output for id, step in result.steps.items()}
