"""cloche's workflows on Restate's real server."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
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
    native_cleans_up,
    plus,
    square,
    wf,
)
from support.foreign_servers import Restate, marks_in, restate, served_on, until_marked, worker
from support.foreign_worker import STEPS
from support.guests import needs_python

from benchmarks.engine_servers import free_port
from cloche import RunResult, create_workflow
from cloche.errors import RunFailed
from cloche.foreign.report import from_text
from cloche.foreign.runs import REPORT

pytest.importorskip("restate", reason="restate-sdk is not installed: make engines")
pytest.importorskip("hypercorn", reason="hypercorn is not installed: make engines")

import httpx
from restate import app as app_of

from cloche.foreign.restate import RestateExecutionEngine

WORKFLOWS = [*(flow.workflow for flow in FLOWS.values()), LOOP, native_cleans_up]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restate]:
    needs_python()
    with restate(tmp_path_factory.mktemp("restate")) as running:
        yield running


@pytest.fixture(scope="module")
def engine() -> RestateExecutionEngine:
    return RestateExecutionEngine(WORKFLOWS, steps=EXTRA)


@asynccontextmanager
async def served(server: Restate, engine: RestateExecutionEngine) -> AsyncIterator[httpx.AsyncClient]:
    """The engine's services behind the server, and a client of its ingress."""
    async with (
        served_on(app_of(engine.services)) as port,
        httpx.AsyncClient(base_url=server.ingress, timeout=20) as client,
    ):
        await deploy(server, client, port)
        yield client


async def deploy(server: Restate, client: httpx.AsyncClient, port: int) -> None:
    for _ in range(200):
        try:
            given = {"uri": f"http://127.0.0.1:{port}", "force": True}
            answer = await client.post(f"{server.admin}/deployments", json=given)
            if answer.status_code in (200, 201):
                return
        except httpx.HTTPError:
            pass
        await asyncio.sleep(0.1)
    raise TimeoutError(answer.text)


async def call(client: httpx.AsyncClient, name: str, id: str, handler: str, given: Any) -> Any:
    answer = await client.post(f"/{name}/{id}/{handler}", json=given)
    if answer.status_code != 200:
        return {"failed": answer.json()["message"], "status": answer.status_code}
    return answer.json() if answer.content else None


async def run_flow(client: httpx.AsyncClient, flow: Flow) -> RunResult:
    name, id = flow.workflow.id, uuid.uuid4().hex
    given = {"input": flow.input, "state": flow.state, "context": flow.context, "report": True}
    running = asyncio.create_task(call(client, name, id, "run", given))
    for kind, target, payload in flow.messages:
        if kind == "event":
            await call(client, name, id, "event", {"name": target, "payload": payload})
        else:
            await call(client, name, id, "resume", {kind: target, "data": payload})
    return from_text((await asyncio.wait_for(running, 60))[REPORT])


def on_restate(
    server: Restate, engine: RestateExecutionEngine, test: Callable[[httpx.AsyncClient], Awaitable[Any]]
) -> Any:
    async def run() -> Any:
        async with served(server, engine) as client:
            return await test(client)

    return asyncio.run(run())


@pytest.mark.parametrize("events_max", [2_000, 1], ids=["one journal", "a journal for every event"])
def test_every_flow_is_as_on_cloche(server: Restate, events_max: int) -> None:
    engine = RestateExecutionEngine(WORKFLOWS, steps=EXTRA, events_max=events_max)

    async def one(client: httpx.AsyncClient, flow: Flow) -> tuple[RunResult, RunResult]:
        return await by_cloche(flow), await run_flow(client, flow)

    async def all_of_them(client: httpx.AsyncClient) -> list[tuple[RunResult, RunResult]]:
        return await asyncio.gather(*(one(client, flow) for flow in FLOWS.values()))

    for flow, (mine, theirs) in zip(FLOWS.values(), on_restate(server, engine, all_of_them), strict=True):
        if flow.is_any_order:
            assert theirs.status == mine.status
        else:
            assert essence(theirs) == essence(mine), flow.workflow.id


def test_a_workflow_gives_its_value_to_clients(server: Restate, engine: RestateExecutionEngine) -> None:
    async def ended(client: httpx.AsyncClient) -> list[Any]:
        return [await call(client, name, uuid.uuid4().hex, "run", {"input": {"x": 5}}) for name in ("then", "fails")]

    assert on_restate(server, engine, ended) == [{"x": 20}, {"failed": "FatalError: no", "status": 500}]


def test_what_a_step_writes_goes_to_the_log(
    server: Restate, engine: RestateExecutionEngine, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "cloche.foreign.restate"):
        on_restate(server, engine, lambda client: call(client, "writes", "writes-1", "run", {"input": {"x": 5}}))
    assert "step 'tells' of run writes-1 wrote {'half': 2.5}" in caplog.text


def test_an_input_that_does_not_fit_ends_the_run(server: Restate) -> None:
    engine = RestateExecutionEngine([create_workflow(id="typed", input_schema=int).then(square).commit()])
    answer = on_restate(
        server, engine, lambda client: call(client, "typed", uuid.uuid4().hex, "run", {"input": "five"})
    )
    assert "the input of workflow 'typed' does not fit" in answer["failed"]


def test_events_of_one_name_come_in_order(server: Restate) -> None:
    workflow = (
        wf("thrice").wait_for_event("go", id="a").wait_for_event("go", id="b").wait_for_event("go", id="c").commit()
    )

    async def sent_early(client: httpx.AsyncClient) -> RunResult:
        return await run_flow(client, Flow(workflow, messages=tuple(("event", "go", number) for number in range(3))))

    result = on_restate(server, RestateExecutionEngine([workflow], events_max=1), sent_early)
    assert [step.output for step in result.steps.values()] == [0, 1, 2]


async def canceled(client: httpx.AsyncClient, server: Restate, name: str) -> Any:
    id = uuid.uuid4().hex
    sent = await client.post(f"/{name}/{id}/run/send", json={"input": {"x": 1}, "report": True})
    invocation = sent.json()["invocationId"]
    await asyncio.sleep(0.5)
    answer = await client.patch(f"{server.admin}/invocations/{invocation}/cancel")
    assert answer.status_code in (200, 202), answer.text
    return (await client.get(f"/restate/workflow/{name}/{id}/attach")).json()


@pytest.mark.parametrize("events_max", [2_000, 1], ids=["in the first journal", "in a later one"])
def test_native_code_cleans_up_when_restate_cancels(server: Restate, events_max: int) -> None:
    engine = RestateExecutionEngine([native_cleans_up], events_max=events_max)
    report = on_restate(server, engine, lambda client: canceled(client, server, "native-cleans-up"))
    result = from_text(report[REPORT])
    assert (result.status, result.steps["plus"].output) == ("canceled", {"x": 11})


async def rows(client: httpx.AsyncClient, server: Restate, query: str) -> list[dict[str, Any]]:
    """What Restate's own tables say."""
    headers = {"accept": "application/json"}
    answer = await client.post(f"{server.admin}/query", json={"query": query}, headers=headers)
    found: list[dict[str, Any]] = answer.json()["rows"]
    return found


@pytest.mark.parametrize(
    ("other", "status", "said"),
    [
        (
            "after",
            500,
            "Divergence: the engine's history of this run has 'before' here, but workflow 'changed' asked for 'after'",
        ),
        ("sleep", 570, "Found a mismatch between the code paths"),
    ],
    ids=["another step", "a sleep for a step"],
)
def test_changed_code_ends_an_open_run(server: Restate, tmp_path: Path, other: str, status: int, said: str) -> None:
    """For good: it does not go on when the code that it began with is back."""
    port, marks, id = free_port(), tmp_path / "marks", uuid.uuid4().hex
    attach = f"/restate/workflow/changed/{id}/attach"

    async def diverged() -> list[Any]:
        async with httpx.AsyncClient(base_url=server.ingress, timeout=30) as client:
            with worker("restate", str(port), marks, STEP="before") as first:
                await deploy(server, client, port)
                await client.post(f"/changed/{id}/run/send", json={"input": {"x": 1}})
                await until_it_waits(client, server, id)
                first.kill()
            with worker("restate", str(port), marks, STEP=other):
                await call(client, "changed", id, "event", {"name": "go", "payload": 7})
                ended = await client.get(attach)
            with worker("restate", str(port), marks, STEP="before"):
                again = await client.get(attach)
            ends = "select completion_failure as failure from sys_invocation where target_handler_name = 'run'"
            return [ended, again, await rows(client, server, f"{ends} and target_service_key = '{id}'")]

    ended, again, [kept] = asyncio.run(diverged())
    assert (ended.status_code, ended.json()["message"].startswith(said)) == (status, True), ended.text
    assert again.json()["message"] == ended.json()["message"]
    assert "Traceback" not in ended.text
    assert kept["failure"].startswith(f"[{status}] {said}")


async def until_it_waits(client: httpx.AsyncClient, server: Restate, key: str) -> None:
    """Until the journal of the run with this key has asked for its event."""
    entries = (
        "select j.id from sys_journal j join sys_invocation i on i.id = j.id where j.entry_type like '%GetPromise%'"
    )
    for _ in range(200):
        if await rows(client, server, f"{entries} and i.target_service_key = '{key}'"):
            return
        await asyncio.sleep(0.05)
    raise TimeoutError("the run does not wait for its event")


async def marked_run(server: Restate, client: httpx.AsyncClient, port: int) -> Any:
    await deploy(server, client, port)
    id = uuid.uuid4().hex
    await client.post(f"/marked/{id}/run/send", json={"input": {"x": 0}})
    return id


async def marked_end(client: httpx.AsyncClient, id: str) -> Any:
    for _ in range(200):
        try:
            answer = await client.get(f"/restate/workflow/marked/{id}/attach")
            if answer.status_code == 200:
                return answer.json()
        except httpx.HTTPError:
            pass
        await asyncio.sleep(0.1)
    raise TimeoutError(answer.text)


def test_a_service_is_killed_in_the_middle(server: Restate, tmp_path: Path) -> None:
    """It is called again: what had completed is not run again."""
    marks, port = tmp_path / "marks", free_port()

    async def killed() -> Any:
        async with httpx.AsyncClient(base_url=server.ingress, timeout=20) as client:
            with worker("restate", str(port), marks) as first:
                id = await marked_run(server, client, port)
                await until_marked(marks, 10)
                first.kill()
            with worker("restate", str(port), marks):
                return await marked_end(client, id)

    assert asyncio.run(killed()) == {"x": STEPS}
    ran = marks_in(marks)
    assert sorted(set(ran)) == list(range(STEPS))
    assert len(ran) <= STEPS + 1


def test_the_server_is_killed_in_the_middle(tmp_path: Path) -> None:
    marks, port = tmp_path / "marks", free_port()

    async def killed(server: Restate) -> Any:
        async with httpx.AsyncClient(base_url=server.ingress, timeout=20) as client:
            with worker("restate", str(port), marks):
                id = await marked_run(server, client, port)
                await until_marked(marks, 10)
                server.restart()
                return await marked_end(client, id)

    with restate(tmp_path) as server:
        assert asyncio.run(killed(server)) == {"x": STEPS}
    assert sorted(set(marks_in(marks))) == list(range(STEPS))


def on_its_engine(server: Restate, workflow: Any, test: Callable[[Any], Awaitable[Any]], **options: Any) -> Any:
    """A test with a run of a workflow whose `execution_engine` is Restate's."""
    own = RestateExecutionEngine(ingress=server.ingress, **options)
    workflow.execution_engine = own
    own.add(workflow)

    async def tested(client: httpx.AsyncClient) -> Any:
        return await asyncio.wait_for(test(await workflow.create_run()), 60)

    return on_restate(server, own, tested)


@pytest.mark.parametrize("events_max", [2_000, 1], ids=["one journal", "a journal for every event"])
def test_a_workflow_with_this_engine_runs_there(server: Restate, events_max: int) -> None:
    workflow = create_workflow(id="own").then(asks).wait_for_event("go").then(plus).commit()

    async def started_here(run: Any) -> list[RunResult]:
        first = await run.start(input_data={"x": 1})
        resuming = asyncio.create_task(run.resume(step="asks", resume_data="yes"))
        await run.send_event("go", {"x": 5})
        return [first, await resuming]

    waits, result = on_its_engine(server, workflow, started_here, events_max=events_max)
    assert (waits.status, waits.suspended, waits.suspend_payload) == ("suspended", [["asks"]], {"asks": {"asks": 1}})
    assert (result.status, result.result, result.steps["plus"].output) == ("success", {"x": 15}, {"x": 15})
    assert (result.suspended, result.steps["asks"].output["ok"]) == ([], "yes")


def test_a_run_that_suspends_again_stops_again(server: Restate) -> None:
    workflow = create_workflow(id="twice").then(asks).then(asks, id="more").commit()

    async def resumed(run: Any) -> list[RunResult]:
        stops = [await run.start(input_data={"x": 1})]
        stops.append(await run.resume(step="asks", resume_data="yes"))
        return [*stops, await run.resume(label="ask-1", resume_data="no")]

    stops = on_its_engine(server, workflow, resumed)
    assert [(one.status, one.suspended) for one in stops] == [
        ("suspended", [["asks"]]),
        ("suspended", [["more"]]),
        ("success", []),
    ]


def test_a_run_is_waited_for_as_long_as_it_takes(server: Restate) -> None:
    """Longer than a client of the ingress waits for an answer."""
    workflow = create_workflow(id="takes-time").sleep(6.0).then(plus).commit()
    result = on_its_engine(server, workflow, lambda run: run.start(input_data={"x": 1}))
    assert result.result == {"x": 11}


@pytest.mark.parametrize("events_max", [2_000, 1], ids=["in the first journal", "in a later one"])
def test_an_engine_cancels_a_run_that_cleans_up(server: Restate, events_max: int) -> None:
    async def canceled(run: Any) -> RunResult:
        running = asyncio.create_task(run.start(input_data={"x": 1}))
        await run.cancel()
        result: RunResult = await running
        return result

    result = on_its_engine(server, native_cleans_up, canceled, events_max=events_max)
    assert (result.status, result.steps["plus"].output) == ("canceled", {"x": 11})


def test_what_restate_refuses_is_said_by_name(server: Restate) -> None:
    workflow = create_workflow(id="refused").then(plus).commit()

    async def refused(run: Any) -> None:
        with pytest.raises(RunFailed, match="there is no run to cancel"):
            await run.cancel()

    on_its_engine(server, workflow, refused)
    unknown = RestateExecutionEngine([workflow], ingress=server.ingress)
    with pytest.raises(RunFailed, match="service 'nobody' not found"):
        asyncio.run(unknown.cancel("nobody", "r"))
