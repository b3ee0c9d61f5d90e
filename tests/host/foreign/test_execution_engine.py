"""`create_workflow(execution_engine=…)`: a run is started, reached and canceled on the engine that keeps it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from support.foreign_engine import whole_run
from support.foreign_flows import Flow, asks, double

import cloche
from cloche import Cloche, RunResult, create_workflow
from cloche.errors import InvalidInput, UsageError
from cloche.foreign import ExecutionEngine, Hosting


class JournalEngine:
    """Runs kept by the smallest engine of the tests."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    async def run(
        self, workflow: Any, input: Any, *, run_id: str, state: Mapping[str, Any], context: Mapping[str, Any]
    ) -> RunResult:
        hosting = Hosting("Temporal")
        hosting.add(workflow)
        messages = (("step", "asks", "yes"),)
        return await whole_run(hosting, Flow(workflow, input, messages, dict(state), dict(context)))

    async def send(self, workflow: str, run_id: str, name: str, payload: Any) -> None:
        self.sent.append((workflow, run_id, name, payload))

    async def cancel(self, workflow: str, run_id: str) -> None:
        self.sent.append((workflow, run_id, "cancel"))


def made(engine: ExecutionEngine) -> Any:
    workflow = create_workflow(id="w", input_schema=dict[str, int], execution_engine=engine)
    return workflow.then(double).then(asks).commit()


def test_a_run_goes_to_its_engine() -> None:
    async def run() -> RunResult:
        result: RunResult = await (await made(JournalEngine()).create_run("order-17")).start(input_data={"x": 5})
        return result

    result = asyncio.run(run())
    assert (result.status, result.result["ok"]) == ("success", "yes")
    assert {id: step.status for id, step in result.steps.items()} == {"double": "success", "asks": "success"}
    assert Cloche.run_sync(made(JournalEngine()), {"x": 5}).result["x"] == 10


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

    asyncio.run(refused())


def test_engines_have_the_names_of_mastra() -> None:
    assert cloche.DefaultExecutionEngine is cloche.DirectEngine
    assert cloche.WorkflowExecutionEngine is cloche.SandboxEngine
