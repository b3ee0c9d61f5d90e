"""cloche's workflows on Temporal's real server."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.foreign_flows import (
    EXTRA,
    FLOWS,
    LOOP,
    Flow,
    asks,
    by_cloche,
    essence,
    increment,
    native_cleans_up,
    plus,
    wf,
)
from support.foreign_servers import Temporal, marks_in, temporal, until_marked, worker
from support.foreign_worker import STEPS
from support.guests import needs_python

from cloche import RunResult, create_step, create_workflow, path
from cloche.errors import Divergence, RunFailed
from cloche.foreign.report import from_text
from cloche.foreign.runs import REPORT

pytest.importorskip("temporalio", reason="temporalio is not installed: make engines")

from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, Worker

from cloche.foreign.temporal import Options, TemporalExecutionEngine

QUEUE = "q"
WORKFLOWS = [*(flow.workflow for flow in FLOWS.values()), LOOP, native_cleans_up]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Temporal]:
    needs_python()
    with temporal(tmp_path_factory.mktemp("temporal")) as running:
        yield running


@pytest.fixture(scope="module")
def engine() -> TemporalExecutionEngine:
    return TemporalExecutionEngine(WORKFLOWS, steps=EXTRA)


async def connected(server: Temporal) -> Client:
    for _ in range(200):
        try:
            return await Client.connect(server.address)
        except (RuntimeError, RPCError):
            await asyncio.sleep(0.1)
    raise TimeoutError("Temporal's server does not answer")


async def started(client: Client, flow: Flow) -> WorkflowHandle[Any, Any]:
    options = {"state": flow.state or {}, "context": flow.context or {}, "report": True}
    args = [flow.input, options]
    handle: WorkflowHandle[Any, Any]
    handle = await client.start_workflow(flow.workflow.id, args=args, id=uuid.uuid4().hex, task_queue=QUEUE)
    for kind, name, payload in flow.messages:
        if kind == "event":
            await handle.signal("event", args=[name, payload])
        else:
            await handle.signal("resume", {kind: name, "data": payload})
    return handle


async def result_of(handle: WorkflowHandle[Any, Any]) -> RunResult:
    return from_text((await asyncio.wait_for(handle.result(), 60))[REPORT])


async def replay(engine: TemporalExecutionEngine, handle: WorkflowHandle[Any, Any]) -> None:
    """Temporal's own check that the workflow is led the same way again."""
    replayer = Replayer(workflows=engine.worker["workflows"], workflow_runner=UnsandboxedWorkflowRunner())
    await replayer.replay_workflow(await handle.fetch_history())


@pytest.mark.parametrize("local", [False, True], ids=["activities", "local activities"])
def test_every_flow_is_as_on_cloche_and_replays(server: Temporal, local: bool) -> None:
    engine = TemporalExecutionEngine(WORKFLOWS, steps=EXTRA, options=Options(local=local))

    async def one(client: Client, flow: Flow) -> tuple[RunResult, RunResult]:
        handle = await started(client, flow)
        theirs = await result_of(handle)
        await replay(engine, handle)
        return await by_cloche(flow), theirs

    async def all_of_them() -> list[tuple[RunResult, RunResult]]:
        client = await connected(server)
        async with Worker(client, task_queue=QUEUE, **engine.worker):
            return await asyncio.gather(*(one(client, flow) for flow in FLOWS.values()))

    for flow, (mine, theirs) in zip(FLOWS.values(), asyncio.run(all_of_them()), strict=True):
        if flow.is_any_order:
            assert theirs.status == mine.status
        else:
            assert essence(theirs) == essence(mine), flow.workflow.id


def on_temporal(
    server: Temporal, engine: TemporalExecutionEngine, test: Callable[[Client], Awaitable[Any]], **options: Any
) -> Any:
    async def run() -> Any:
        client = await connected(server)
        async with Worker(client, task_queue=QUEUE, **engine.worker, **options):
            return await test(client)

    return asyncio.run(run())


async def value_of(client: Client, name: str, input: Any) -> Any:
    return await client.execute_workflow(name, input, id=uuid.uuid4().hex, task_queue=QUEUE)


def test_a_workflow_gives_its_value_to_clients(server: Temporal, engine: TemporalExecutionEngine) -> None:
    assert on_temporal(server, engine, lambda client: value_of(client, "then", {"x": 5})) == {"x": 20}


def test_what_a_step_writes_goes_to_the_log(
    server: Temporal, engine: TemporalExecutionEngine, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "temporalio.activity"):
        on_temporal(server, engine, lambda client: value_of(client, "writes", {"x": 5}))
    assert "step 'tells' wrote {'half': 2.5}" in caplog.text


def test_nothing_is_kept_between_two_tasks(server: Temporal, engine: TemporalExecutionEngine) -> None:
    """Every task leads a new cell through the whole history."""
    got = on_temporal(server, engine, lambda client: value_of(client, "loop", {"x": 185}), max_cached_workflows=0)
    assert got == {"x": 200}


def test_a_failure_is_a_typed_error_of_temporal(server: Temporal, engine: TemporalExecutionEngine) -> None:
    with pytest.raises(WorkflowFailureError) as failed:
        on_temporal(server, engine, lambda client: value_of(client, "fails", {"x": 5}))
    cause = failed.value.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.type, cause.message, cause.details[0]["name"]) == ("FatalError", "FatalError: no", "FatalError")


def test_native_code_cleans_up_when_temporal_cancels(server: Temporal, engine: TemporalExecutionEngine) -> None:
    async def canceled(client: Client) -> tuple[Any, set[str]]:
        handle = await client.start_workflow("native-cleans-up", {}, id=uuid.uuid4().hex, task_queue=QUEUE)
        await asyncio.sleep(0.5)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        status = (await handle.describe()).status
        history = await handle.fetch_history()
        return status, {event.activity_task_scheduled_event_attributes.activity_type.name for event in history.events}

    status, activities = on_temporal(server, engine, canceled)
    assert status is WorkflowExecutionStatus.CANCELED
    assert "cloche.step" in activities


def test_a_long_run_goes_on_in_new_histories(server: Temporal) -> None:
    """With nothing in the author's code; what is carried over stays small."""
    engine = TemporalExecutionEngine([LOOP], options=Options(local=True, history_events_max=60))

    async def long(client: Client) -> tuple[Any, list[int], list[int]]:
        handle = await client.start_workflow("loop", {"x": 0}, id=uuid.uuid4().hex, task_queue=QUEUE)
        value, lengths, sizes, run_id = await handle.result(), list[int](), list[int](), handle.first_execution_run_id
        while run_id:
            history = await client.get_workflow_handle(handle.id, run_id=run_id).fetch_history()
            begun, last = history.events[0].workflow_execution_started_event_attributes, history.events[-1]
            lengths.append(len(history.events))
            sizes += [len(one.data) for one in begun.input.payloads]
            run_id = last.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
        return value, lengths, sizes

    value, lengths, sizes = on_temporal(server, engine, long)
    assert value == {"x": 200}
    assert len(lengths) > 2
    assert max(lengths) < 60 + 40
    assert max(sizes) < 16_000


def test_what_came_and_was_not_taken_is_carried_over(server: Temporal) -> None:
    workflow = wf("late").dountil(increment, path("inputData.x") >= 60).wait_for_event("paid").commit()
    engine = TemporalExecutionEngine([workflow], options=Options(local=True, history_events_max=30))

    async def sent_early(client: Client) -> Any:
        handle = await client.start_workflow("late", {"x": 0}, id=uuid.uuid4().hex, task_queue=QUEUE)
        await handle.signal("event", args=["paid", "early"])
        return await handle.result()

    assert on_temporal(server, engine, sent_early) == "early"


def test_what_is_too_large_for_temporal_is_said(server: Temporal) -> None:
    grow = create_step(id="grow", execute=lambda n: "x" * n)
    swallow = create_step(id="swallow", execute=lambda text: len(text))
    made = wf("grows").then(grow).then(swallow).commit()
    given = wf("given").map("'x'.repeat(inputData)").then(swallow).commit()
    engine = TemporalExecutionEngine([made, given])

    async def failing(client: Client, name: str) -> str:
        with pytest.raises(WorkflowFailureError) as failed:
            await value_of(client, name, 1_900_000)
        return str(failed.value.cause)

    assert "what step 'grow' ends with goes beyond payload_bytes" in on_temporal(
        server, engine, lambda c: failing(c, "grows")
    )
    assert "what step 'swallow' is given goes beyond payload_bytes" in on_temporal(
        server, engine, lambda c: failing(c, "given")
    )


def divergence(server: Temporal, before: Any, after: Any) -> str:
    """What a run says that began under one workflow and is led under another one of its id."""

    async def begun(client: Client) -> str:
        handle = await client.start_workflow(before.id, {"x": 1}, id=uuid.uuid4().hex, task_queue=QUEUE)
        await asyncio.sleep(1.0)
        return handle.id

    async def led(client: Client, id: str) -> str:
        handle = client.get_workflow_handle(id)
        await handle.signal("event", args=["go", None])
        with pytest.raises(WorkflowFailureError) as failed:
            await asyncio.wait_for(handle.result(), 30)
        cause = failed.value.cause
        assert isinstance(cause, ApplicationError)
        return f"{cause.type}: {cause.message}"

    id = on_temporal(server, TemporalExecutionEngine([before]), begun)
    return str(
        on_temporal(server, TemporalExecutionEngine([after]), lambda client: led(client, id), max_cached_workflows=0)
    )


def test_changed_code_under_an_open_run_is_an_error(server: Temporal) -> None:
    def changed(step: Any) -> Any:
        return wf("changed").then(step).wait_for_event("go").commit()

    text = divergence(server, changed(plus), changed(increment))
    assert text.startswith("Divergence: Divergence: the engine's history of this run has 'plus' here")
    sleeping = wf("changed").sleep(0.01).wait_for_event("go").commit()
    assert "ondeterminism" in divergence(server, changed(plus), sleeping)


def test_a_worker_is_killed_in_the_middle(server: Temporal, tmp_path: Path) -> None:
    """Another one goes on: what had completed is not run again."""
    marks = tmp_path / "marks"

    async def killed() -> Any:
        client = await connected(server)
        with worker("temporal", server.address, marks) as first:
            handle = await client.start_workflow("marked", {"x": 0}, id=uuid.uuid4().hex, task_queue="marked")
            await until_marked(marks, 10)
            first.kill()
        with worker("temporal", server.address, marks):
            return await asyncio.wait_for(handle.result(), 90)

    assert asyncio.run(killed()) == {"x": STEPS}
    ran = marks_in(marks)
    assert sorted(set(ran)) == list(range(STEPS))
    assert len(ran) <= STEPS + 1


def test_the_server_is_killed_in_the_middle(tmp_path: Path) -> None:
    marks = tmp_path / "marks"

    async def killed(server: Temporal) -> Any:
        client = await connected(server)
        with worker("temporal", server.address, marks):
            handle = await client.start_workflow("marked", {"x": 0}, id=uuid.uuid4().hex, task_queue="marked")
            await until_marked(marks, 10)
            server.restart()
            for _ in range(100):
                with suppress(RPCError):
                    return await asyncio.wait_for(handle.result(), 60)
                await asyncio.sleep(0.2)

    with temporal(tmp_path) as server:
        assert asyncio.run(killed(server)) == {"x": STEPS}
    assert sorted(set(marks_in(marks))) == list(range(STEPS))


def on_its_engine(server: Temporal, workflow: Any, test: Callable[[Any], Awaitable[Any]], **options: Any) -> Any:
    """A test with a run of a workflow whose `execution_engine` is Temporal's."""

    async def tested() -> Any:
        client = await connected(server)
        own = TemporalExecutionEngine(client=client, task_queue="own", options=Options(**options))
        workflow.execution_engine = own
        own.add(workflow)
        async with Worker(client, task_queue="own", **own.worker):
            return await asyncio.wait_for(test(await workflow.create_run()), 60)

    return asyncio.run(tested())


async def once_begun(call: Callable[[], Awaitable[None]]) -> None:
    """Make a call to a run that is being started: Temporal does not find it before."""
    for _ in range(200):
        with suppress(RPCError):
            return await call()
        await asyncio.sleep(0.05)
    raise TimeoutError("the run does not begin")


@pytest.mark.parametrize("history_events_max", [2_500, 10], ids=["one history", "many histories"])
def test_a_workflow_with_this_engine_runs_there(server: Temporal, history_events_max: int) -> None:
    workflow = create_workflow(id="own").then(asks).wait_for_event("go").then(plus).commit()

    async def started_here(run: Any) -> list[RunResult]:
        first = await run.start(input_data={"x": 1})
        resuming = asyncio.create_task(run.resume(step="asks", resume_data="yes"))
        await run.send_event("go", {"x": 5})
        return [first, await resuming]

    waits, result = on_its_engine(server, workflow, started_here, history_events_max=history_events_max)
    assert (waits.status, waits.suspended, waits.suspend_payload) == ("suspended", [["asks"]], {"asks": {"asks": 1}})
    assert (result.status, result.result, result.steps["plus"].output) == ("success", {"x": 15}, {"x": 15})
    assert (result.suspended, result.steps["asks"].output["ok"]) == ([], "yes")


def test_an_engine_cancels_a_run_that_cleans_up(server: Temporal) -> None:
    async def canceled(run: Any) -> RunResult:
        running = asyncio.create_task(run.start(input_data={"x": 1}))
        await once_begun(run.cancel)
        result: RunResult = await running
        return result

    result = on_its_engine(server, native_cleans_up, canceled)
    assert (result.status, result.steps["plus"].output) == ("canceled", {"x": 11})


def test_what_temporal_ends_itself_is_a_typed_error(server: Temporal) -> None:
    workflow = create_workflow(id="ended").wait_for_event("never").commit()

    async def terminated(run: Any) -> None:
        running = asyncio.create_task(run.start(input_data={"x": 1}))
        client = await connected(server)
        await once_begun(lambda: client.get_workflow_handle(run.id).terminate())
        with pytest.raises(RunFailed, match=r"Temporal ended run .*: TerminatedError: "):
            await running

    on_its_engine(server, workflow, terminated)


def test_changed_code_is_a_divergence_to_who_waits(server: Temporal) -> None:
    before = create_workflow(id="waited").then(plus).wait_for_event("go").commit()
    after = create_workflow(id="waited").then(increment).wait_for_event("go").commit()

    async def begun(run: Any) -> str:
        running = asyncio.create_task(run.start(input_data={"x": 1}))
        await asyncio.sleep(1.0)
        running.cancel()
        return str(run.id)

    async def led(run: Any) -> None:
        run._id = id
        running = asyncio.create_task(run.resume(step="nothing"))
        await run.send_event("go")
        with pytest.raises(Divergence, match="has 'plus' here, but workflow 'waited' asked for 'increment'"):
            await running

    id = on_its_engine(server, before, begun)
    on_its_engine(server, after, led)
