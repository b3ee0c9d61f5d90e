"""`create_workflow(execution_engine=…)`: a run is started, reached and canceled on the engine that keeps it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from support.foreign_engine import Journal, LocalPorts
from support.foreign_flows import asks, boom, double

import cloche
from cloche import Cloche, RunResult, create_workflow
from cloche.errors import ClocheError, Divergence, InvalidInput, RunFailed, UsageError
from cloche.foreign import ExecutionEngine, Hosting, conduct
from cloche.foreign.report import from_text
from cloche.foreign.runs import REPORT, begun, ended_by_engine, failure_in, report_of
from cloche.status import RunStatus


class JournalEngine:
    """Runs kept by the smallest engine of the tests."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.started = 0

    async def run(
        self, workflow: Any, input: Any, *, run_id: str, state: Mapping[str, Any], context: Mapping[str, Any]
    ) -> RunResult:
        self.started += 1
        hosting, self._journal = Hosting("Temporal"), Journal()
        hosting.add(workflow)
        hosted = hosting[workflow.id]
        options = {"state": state, "context": context, "report": True}
        self._run = begun(hosted, run_id=run_id, identity=run_id, now=1_000, input=input, options=options)
        ports = LocalPorts(hosting, hosted, run_id, self._journal)
        self._leading = asyncio.create_task(conduct(self._run, ports))
        return await self._stop(workflow)

    async def resume(self, workflow: Any, run_id: str, name: str, payload: Any) -> RunResult:
        before = self._run.events
        self._journal.messages.setdefault(name, []).append(payload)
        while self._run.events == before:  # noqa: ASYNC110 - another task leads the run
            await asyncio.sleep(0.001)
        return await self._stop(workflow)

    async def send(self, workflow: str, run_id: str, name: str, payload: Any) -> None:
        self.sent.append((workflow, run_id, name, payload))

    async def cancel(self, workflow: str, run_id: str) -> None:
        self.sent.append((workflow, run_id, "cancel"))

    async def _stop(self, workflow: Any) -> RunResult:
        report = self._run.report
        assert report is not None
        while not self._leading.done() and report.status is not RunStatus.SUSPENDED:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        return from_text(report_of(self._run)[REPORT], workflow)


def made(engine: ExecutionEngine, *steps: Any, **callbacks: Any) -> Any:
    workflow = create_workflow(id="w", input_schema=dict[str, int], execution_engine=engine, **callbacks)
    for step in steps or (double, asks):
        workflow = workflow.then(step)
    return workflow.commit()


async def suspended_and_resumed(workflow: Any) -> tuple[RunResult, RunResult]:
    run: Any = await workflow.create_run("order-17")
    return await run.start(input_data={"x": 5}), await run.resume(step=asks, resume_data="yes")


def test_a_run_goes_to_its_engine() -> None:
    waits, result = asyncio.run(suspended_and_resumed(made(JournalEngine())))
    assert (waits.status, waits.suspended, waits.suspend_payload) == ("suspended", [["asks"]], {"asks": {"asks": 10}})
    assert waits.resume_labels == {"ask-10": {"step": "asks", "path": "asks"}}
    assert (result.status, result.result["ok"]) == ("success", "yes")
    assert {id: step.status for id, step in result.steps.items()} == {"double": "success", "asks": "success"}
    assert (result.suspended, result.suspend_payload, result.resume_labels) == ([], {}, {})
    assert Cloche.run_sync(made(JournalEngine(), double), {"x": 5}).result["x"] == 10


def test_callbacks_are_called_round_a_foreign_run(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Any] = []

    async def finish(result: RunResult) -> None:
        told.append(("finish", result.status))

    def error(result: RunResult) -> None:
        told.append(("error", str(result.error)))
        raise ValueError("of the callback")

    callbacks: dict[str, Any] = {"on_start": told.append, "on_finish": finish, "on_error": error}
    asyncio.run(suspended_and_resumed(made(JournalEngine(), **callbacks)))
    assert told == [
        {"run_id": "order-17", "workflow_id": "w", "input": {"x": 5}},
        ("finish", "suspended"),
        ("finish", "success"),
    ]
    told.clear()
    failed = Cloche.run_sync(made(JournalEngine(), boom, **callbacks), {"x": 5})
    assert (failed.status, told[1:]) == ("failed", [("finish", "failed"), ("error", "FatalError: no")])
    assert "a callback of run" in caplog.text


def test_on_start_refuses_a_foreign_run() -> None:
    def refuse(_: Any) -> None:
        raise PermissionError("not today")

    engine = JournalEngine()
    with pytest.raises(PermissionError, match="not today"):
        Cloche.run_sync(made(engine, on_start=refuse), {"x": 5})
    assert engine.started == 0


def test_what_is_sent_to_a_run_goes_there() -> None:
    engine = JournalEngine()

    async def send() -> None:
        run: Any = await made(engine).create_run("order-17")
        await run.send_event("paid", {"x": 1})
        await run.send_resume(step="asks", data="yes")
        await run.send_resume(label="ask-5", data="no")
        await run.cancel()

    asyncio.run(send())
    assert engine.sent == [
        ("w", "order-17", "event/paid", {"x": 1}),
        ("w", "order-17", "resume/asks", "yes"),
        ("w", "order-17", "label/ask-5", "no"),
        ("w", "order-17", "cancel"),
    ]


def test_what_needs_a_history_of_its_own_says_so() -> None:
    async def refused() -> None:
        run = await made(JournalEngine()).create_run()
        with pytest.raises(InvalidInput):
            await run.start(input_data={"x": "five"})
        with pytest.raises(UsageError, match="is kept by JournalEngine"):
            await run.history()
        with pytest.raises(UsageError, match="per_step"):
            await run.start(input_data={"x": 5}, per_step=True)
        with pytest.raises(UsageError, match="idempotency_key"):
            await run.resume(step="asks", idempotency_key="k")

    asyncio.run(refused())


def test_what_an_engine_ends_itself_is_a_typed_error() -> None:
    def said(message: str, status: str = "failed") -> ClocheError:
        return ended_by_engine("Restate", "r", failure_in(message, "HttpError"), status)

    divergence, killed = said("Divergence: it has 'a' here"), said("killed", "canceled")
    assert isinstance(divergence, Divergence)
    assert str(divergence) == "it has 'a' here"
    assert isinstance(killed, RunFailed)
    assert (str(killed), killed.status) == ("Restate ended run r: HttpError: killed", "canceled")


def test_engines_have_the_names_of_mastra() -> None:
    assert cloche.DefaultExecutionEngine is cloche.DirectEngine
    assert cloche.WorkflowExecutionEngine is cloche.SandboxEngine
