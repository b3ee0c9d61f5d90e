"""cloche's workflows on the real SDK of Inngest, driven by an executor that is made from its SDK specification."""

from __future__ import annotations

import asyncio
import cProfile
import logging
import random
import warnings
from typing import Any

import pytest
from support.foreign_engine import name_of
from support.foreign_flows import (
    EXTRA,
    FLOWS,
    LOOP,
    Flow,
    by_cloche,
    essence,
    increment,
    native_cleans_up,
    plus,
    square,
    wf,
)
from support.guests import needs_python

from benchmarks.engine_servers import free_port, wait_for_port
from cloche import RunResult, create_step, create_workflow
from cloche.engines import SandboxEngine
from cloche.foreign.kept import BYTES_MAX
from cloche.foreign.report import from_text
from cloche.foreign.runs import REPORT

with warnings.catch_warnings():  # the SDK's own, as it is imported
    warnings.simplefilter("ignore")
    for name in ("inngest.fast_api", "inngest.experimental.mocked", "fastapi", "hypercorn"):
        pytest.importorskip(name, reason=f"{name} is not installed: make engines")

import fastapi
import hypercorn.asyncio
import hypercorn.config
import inngest
import inngest.fast_api
from inngest.experimental import mocked
from support.inngest_executor import Executor, Run

from cloche.foreign.inngest import MESSAGE, InngestExecutionEngine
from cloche.foreign.memos import Memos

APP = "cloche"
SEEDS = 30
DUPLICATES = 0.2
WORKFLOWS = [*(flow.workflow for flow in FLOWS.values()), LOOP]
EXPECTED: dict[str, RunResult] = {}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def client() -> inngest.Inngest:
    quiet = logging.getLogger("quiet")
    quiet.setLevel(logging.CRITICAL + 1)
    return inngest.Inngest(app_id=APP, is_production=False, logger=quiet)


class Served:
    """An engine behind the SDK's own HTTP handler."""

    def __init__(self, *workflows: Any, **options: Any) -> None:
        own = client()
        self.engine = InngestExecutionEngine(own, workflows, steps=EXTRA, **options)
        self.app: Any = fastapi.FastAPI()
        inngest.fast_api.serve(self.app, own, self.engine.functions)
        self.retries = {
            hosted.id: max((hosted.retries(step).retries for step in hosted.steps.values()), default=0)
            for hosted in self.engine.hosting
        }

    def executor(self, seed: int = 0, duplicates: float = 0.0) -> Executor:
        return Executor(self.app, APP, self.retries, seed=seed, duplicates=duplicates)


@pytest.fixture(scope="module")
def served() -> Served:
    needs_python()
    return Served(*WORKFLOWS)


@pytest.fixture(scope="module")
def forgetful() -> Served:
    """A process that keeps no cell between two requests."""
    needs_python()
    return Served(*WORKFLOWS, kept_bytes_max=0)


def either(one: Served, other: Served, seed: int) -> Executor:
    """Two processes behind one address: each request comes to one of them, by chance."""
    choice = random.Random(seed)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await choice.choice((one, other)).app(scope, receive, send)

    return Executor(app, APP, one.retries, seed=seed, duplicates=DUPLICATES)


async def expected(flow: Flow) -> RunResult:
    if flow.workflow.id not in EXPECTED:
        EXPECTED[flow.workflow.id] = await by_cloche(flow)
    return EXPECTED[flow.workflow.id]


async def run_flow(executor: Executor, flow: Flow, *, report: bool = True) -> Run:
    data = {"input": flow.input, "state": flow.state, "context": flow.context, "report": report}
    run = executor.start(flow.workflow.id, data)
    for message in flow.messages:
        while run.status == "Running":
            await executor.until(run, is_waiting=True)
            if executor.send(MESSAGE, {"run": run.id, "to": name_of(message), "payload": message[2]}):
                break
            await executor.until_next_time(run)
    await executor.until(run)
    return run


@pytest.mark.parametrize("name", FLOWS)
def test_every_flow_is_as_on_cloche_in_any_order(served: Served, forgetful: Served, name: str) -> None:
    """30 orders in which steps end, and a fifth of the requests comes twice, to a process that may have the run's cell."""

    async def all_orders() -> None:
        flow = FLOWS[name]
        mine = await expected(flow)
        for seed in range(SEEDS):
            run = await run_flow(either(served, forgetful, seed), flow)
            assert run.status == "Completed", run.output
            theirs = from_text(run.output[REPORT])
            if flow.is_any_order:
                assert theirs.status == mine.status
            else:
                assert essence(theirs) == essence(mine), seed

    asyncio.run(all_orders())


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("seed", range(3))
def test_a_run_without_a_report_has_the_same_value(served: Served, forgetful: Served, name: str, seed: int) -> None:
    """Such a run is led through its memos in one crossing."""

    async def values() -> tuple[Any, Any]:
        mine = await expected(FLOWS[name])
        run = await run_flow(either(served, forgetful, seed), FLOWS[name], report=False)
        if mine.status == "success":
            return ("Completed", run.output if not FLOWS[name].is_any_order else 0), (
                run.status,
                mine.result if not FLOWS[name].is_any_order else 0,
            )
        said = str(mine.error) if mine.error is not None else "Canceled"
        return (run.status, said in run.output["message"]), ("Failed", True)

    got, wanted = asyncio.run(values())
    assert got == wanted


def test_a_graph_of_days_takes_no_time(served: Served) -> None:
    workflow = wf("days").then(plus).sleep(3 * 86_400).then(increment).commit()
    executor = Served(workflow).executor()
    run = executor.start("days", {"input": {"x": 5}})
    begun = executor.now
    asyncio.run(executor.until(run))
    assert (run.status, run.output) == ("Completed", {"x": 16})
    assert executor.now - begun >= 3 * 86_400_000


@pytest.mark.parametrize("name", ["then", "parallel", "dountil", "foreach", "map", "sleep", "nested"])
def test_the_mock_of_the_sdk_runs_a_workflow(served: Served, name: str) -> None:
    needs_python()
    flow = FLOWS[name]
    function = next(one for one in served.engine.functions if one.id == f"{APP}-{name}")
    event = inngest.Event(name=f"cloche/{name}.start", data={"input": flow.input})
    loop = asyncio.new_event_loop()  # the mock takes the one that is set
    asyncio.set_event_loop(loop)
    try:
        result = mocked.trigger(function, event, mocked.Inngest(app_id=APP))
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    assert result.status is mocked.Status.COMPLETED
    assert result.output == asyncio.run(expected(flow)).result


def test_the_sdk_still_has_the_order_of_completion(served: Served) -> None:
    """What the SDK does not show and the adapter reads: if this moves, `Memos` has to follow."""
    seen: list[Memos] = []
    own = client()

    @own.create_function(fn_id="looks", trigger=inngest.TriggerEvent(event="cloche/looks.start"))
    async def looks(ctx: inngest.Context) -> None:
        seen.append(Memos(ctx))

    app = fastapi.FastAPI()
    inngest.fast_api.serve(app, own, [looks])
    executor = Executor(app, APP, {"looks": 0})
    run = executor.start("looks", {})
    run.steps = {
        "b": {"data": 2},
        "a": {"data": 1},
        "c": None,
        "d": {"error": {"name": "E", "message": "m", "stack": ""}},
    }
    run.stack = ["a", "c", "e", "b", "d"]  # of one that is not in the request nothing is known
    asyncio.run(executor.call(run, "step", 0))
    [memos] = seen
    assert memos.order == ["a", "c", "e", "b", "d"]
    assert memos.entries() == [("a", 1), ("c", None), ("b", 2), ("d", None)]
    assert str(memos.error("d")) == "E: m"
    assert memos.target is None


def test_native_code_cleans_up_when_it_is_canceled() -> None:
    needs_python()

    async def canceled() -> RunResult:
        executor = Served(native_cleans_up).executor()
        run = executor.start("native-cleans-up", {"input": {}, "run_id": "r", "report": True})
        await executor.until(run, is_waiting=True)
        assert executor.send(MESSAGE, {"run": "r", "to": "cancel"}) == 1
        await executor.until(run)
        return from_text(run.output[REPORT])

    result = asyncio.run(canceled())
    assert (result.status, result.steps["plus"].output) == ("canceled", {"x": 11})


def test_inngest_is_told_which_message_cancels_a_graph(served: Served) -> None:
    configs = {one.id: one.get_config("http://sdk").main for one in served.engine.functions}
    [cancel] = configs[f"{APP}-then"].cancel or []
    assert (cancel.event, cancel.if_exp) == (
        MESSAGE,
        "async.data.run == event.data.run_id && async.data.to == 'cancel'",
    )


def test_what_was_given_up_in_a_batch_is_led_one_by_one() -> None:
    """Three answers are in, and the first two were enough: the cell must not be given the third."""
    workflow = (
        wf("enough").foreach(square, concurrency=3, min_successes=2).then(create_step(id="n", execute=len)).commit()
    )
    served = Served(workflow)

    async def run() -> list[Any]:
        outputs = []
        for seed in range(10):
            executor = served.executor(seed)
            run = executor.start("enough", {"input": [1, 2, 3, 4]})
            await executor.until(run)
            outputs.append((run.status, run.output))
        return outputs

    assert asyncio.run(run()) == [("Completed", 2)] * 10


def test_changed_code_under_an_open_run_is_an_error() -> None:
    async def diverged() -> Run:
        before, after = (Served(wf("changed").then(step).wait_for_event("go").commit()) for step in (plus, increment))
        executor = before.executor()
        run = executor.start("changed", {"input": {"x": 1}})
        await executor.until(run, is_waiting=True)
        changed = after.executor()
        changed.runs.append(run)
        changed.send(MESSAGE, {"run": run.id, "to": "event/go", "payload": 1})
        await changed.until(run)
        return run

    run = asyncio.run(diverged())
    assert run.status == "Failed"
    assert (
        "Divergence: the engine's history of this run has 'plus' here, but workflow 'changed'" in run.output["message"]
    )


def test_a_step_that_the_process_lacks_fails_by_name() -> None:
    """Inngest gives it up after its retries, and the workflow is told."""

    async def failed() -> Run:
        served = Served(wf("lacks").then(plus).commit())
        hosted = served.engine.hosting["lacks"]
        hosted.steps.clear()  # type: ignore[attr-defined]
        executor = served.executor()
        run = executor.start("lacks", {"input": {"x": 1}})
        await executor.until(run)
        return run

    run = asyncio.run(failed())
    assert (run.status, "step 'plus', which this process does not have" in run.output["message"]) == ("Failed", True)


@pytest.mark.parametrize("kept_bytes_max", [BYTES_MAX, 0], ids=["its cell is there", "a fresh cell"])
def test_requests_grow_with_the_memos_and_no_faster(kept_bytes_max: int) -> None:
    """The calls that a request makes, not its time: a memo costs the same, however many there are."""
    served = Served(LOOP, kept_bytes_max=kept_bytes_max)

    def calls(memos: int) -> int:
        async def counted() -> int:
            executor = served.executor()
            run = executor.start("loop", {"input": {"x": 0}})
            while len(run.stack) < memos:
                await executor.call(run, "step", 0)
            counts = []
            for _ in range(4):  # the fewest: one that is collected within a request is of an earlier one
                profiler = cProfile.Profile()
                profiler.enable()
                await executor.call(run, "step", 0)
                profiler.disable()
                counts.append(sum(one.callcount for one in profiler.getstats()))
            return min(counts)

        return asyncio.run(counted())

    short, middle, long = calls(20), calls(70), calls(120)
    assert long - middle == pytest.approx(middle - short, rel=0.1)


class Counting(SandboxEngine):
    """Counts the cells that are begun."""

    opened = 0

    def open(self, *given: Any) -> Any:
        self.opened += 1
        return super().open(*given)


def test_a_run_stays_in_its_cell_between_requests() -> None:
    def opened(kept_bytes_max: int) -> int:
        cells = Counting()
        served = Served(LOOP, cells=cells, kept_bytes_max=kept_bytes_max)
        before, executor = cells.opened, served.executor()
        run = executor.start("loop", {"input": {"x": 190}})
        asyncio.run(executor.until(run))
        assert (run.status, run.output, len(served.engine.kept)) == ("Completed", {"x": 200}, 0)
        return cells.opened - before

    assert (opened(BYTES_MAX), opened(0)) == (1, 11)


def test_what_a_step_writes_goes_to_the_log(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    quiet = logging.getLogger("quiet")
    quiet.setLevel(logging.INFO)
    try:
        asyncio.run(run_flow(served.executor(), FLOWS["writes"]))
    finally:
        quiet.setLevel(logging.CRITICAL + 1)
    assert [one.getMessage() for one in caplog.records if "wrote" in one.msg] == ["step 'tells' wrote {'half': 2.5}"]


says = (
    wf("says")
    .map("(console.log('first'), inputData)", id="m1")
    .then(plus)
    .map("(console.log('second'), inputData)", id="m2")
    .then(increment)
    .map("(console.log('third'), inputData)", id="m3")
    .commit()
)


def test_a_workflow_logs_a_line_once(caplog: pytest.LogCaptureFixture) -> None:
    for served in (Served(says), Served(says, kept_bytes_max=0)):
        caplog.clear()
        executor = served.executor()
        with caplog.at_level(logging.INFO, "cloche.foreign.inngest"):
            asyncio.run(executor.until(executor.start("says", {"input": {"x": 1}, "run_id": "r"})))
        assert [one.message for one in caplog.records if one.name == "cloche.foreign.inngest"] == [
            "run r: first",
            "run r: second",
            "run r: third",
        ]


async def serve_events(executor: Executor, workflow: str, port: int, end: asyncio.Event) -> None:
    """Inngest's event API and the part of its REST API that says how runs ended, over the executor."""
    app = fastapi.FastAPI()

    @app.post("/e/{key}")
    async def take(key: str, request: fastapi.Request) -> dict[str, Any]:
        [event] = await request.json()
        if event["name"] == MESSAGE:
            executor.send(MESSAGE, event["data"])
        else:
            executor.start(workflow, event["data"])
        return {"ids": ["1"], "status": 200}

    @app.get("/v1/events/{id}/runs")
    async def runs(id: str) -> dict[str, Any]:
        [run] = executor.runs
        await executor.until(run, is_waiting=True)
        return {"data": [{"run_id": run.id, "status": run.status, "output": run.output}]}

    config = hypercorn.config.Config()
    config.bind = [f"127.0.0.1:{port}"]
    await hypercorn.asyncio.serve(app, config, shutdown_trigger=end.wait)  # type: ignore[arg-type]


def test_a_workflow_with_this_engine_runs_there() -> None:
    async def started_here() -> RunResult:
        port, end = free_port(), asyncio.Event()
        base = f"http://127.0.0.1:{port}"
        own = inngest.Inngest(app_id=APP, is_production=False, api_base_url=base, event_api_base_url=base)
        engine = InngestExecutionEngine(own)
        workflow = create_workflow(id="own", execution_engine=engine).wait_for_event("go").then(plus).commit()
        engine.add(workflow)
        app = fastapi.FastAPI()
        inngest.fast_api.serve(app, own, engine.functions)
        executor = Executor(app, APP, {"own": 0})
        serving = asyncio.create_task(serve_events(executor, "own", port, end))
        await asyncio.to_thread(wait_for_port, port)
        run: Any = await workflow.create_run()
        running = asyncio.create_task(run.start())
        while not (executor.runs and executor.runs[0].waits):  # noqa: ASYNC110 - it is driven by what asks for its end
            await asyncio.sleep(0.02)
        await run.send_event("go", {"x": 5})
        result: RunResult = await running
        end.set()
        await serving
        return result

    result = asyncio.run(started_here())
    assert (result.status, result.result, result.steps["plus"].output) == ("success", {"x": 15}, {"x": 15})
