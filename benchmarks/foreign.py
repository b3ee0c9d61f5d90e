"""cloche's workflows on engines that exist, each beside a plain handler of that engine in the same run."""

from __future__ import annotations

import asyncio
import json
import logging
import statistics
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from benchmarks import engine_servers as servers
from benchmarks.figures import Figure, Scale
from cloche import create_step, create_workflow, path

ROUNDS, STEPS, RUNS, MEMOS = 5, 50, 200, 100


async def add_one(data: Any) -> Any:
    return {"x": data["x"] + 1}


async def square(number: int) -> int:
    return number * number


increment = create_step(id="increment", execute=add_one)
squared = create_step(id="squared", execute=square)
LOOP = create_workflow(id="loop").dountil(increment, path("inputData.x") >= 0).commit()  # from minus as many steps
WIDE = create_workflow(id="wide").foreach(squared, concurrency=1_000).commit()
ONE = create_workflow(id="one").then(increment).commit()


async def median_ms(work: Callable[[], Awaitable[object]], parts: int, rounds: int = ROUNDS) -> float:
    """The median of the rounds, in milliseconds for one of so many parts."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        await work()
        times.append((time.perf_counter() - begin) * 1000 / parts)
    return statistics.median(times)


async def pairs(run: Callable[[str, Any], Awaitable[Any]], scale: Scale) -> dict[str, float]:
    """A step, and many runs at once, of cloche's workflows and of the engine's own ones (`plain-…`), in turns."""
    runs, steps = min(RUNS, scale.most), min(STEPS, scale.most)
    found: dict[str, float] = {}
    for name in ("loop", "plain-loop", "loop", "plain-loop"):  # the first time warms up
        found[name] = await median_ms(lambda name=name: run(name, {"x": -steps}), steps)  # type: ignore[misc]

    async def together(name: str) -> None:
        await asyncio.gather(*(run(name, {"x": 1}) for _ in range(runs)))

    for name in ("one", "plain-one"):
        found[name] = await median_ms(lambda name=name: together(name), runs, 2)  # type: ignore[misc]
    return found


def temporal(scale: Scale) -> Iterator[Figure]:
    """On Temporal's own server: a step as an activity and as a local one, many runs, and a run of 10,000 steps."""
    with tempfile.TemporaryDirectory() as folder, servers.temporal(Path(folder)) as server:
        plain, local, long = asyncio.run(_on_temporal(server, scale))
    goal = plain["plain-loop"] * 1.15
    yield Figure("Temporal: a step, an activity", plain["loop"], "ms", "a plain one", plain["plain-loop"], goal)
    yield Figure("Temporal: a step, a local activity", local["loop"], "ms", "a plain one", local["plain-loop"])
    yield Figure(f"Temporal: a run of one step, {RUNS} at once", plain["one"], "ms", "a plain one", plain["plain-one"])
    steps, step_ms, longest, carried = long
    yield Figure(f"Temporal: a step of {steps:,}, local", step_ms, "ms", "a plain local one", local["plain-loop"])
    yield Figure(
        f"Temporal: the longest history of {steps:,} steps", longest, "events", "Temporal's warning", 10_240, 3_500
    )
    yield Figure(f"Temporal: carried over, {steps:,} steps", carried / 1000, "kB", "Temporal's bound", 2_000, 64)


async def _on_temporal(server: servers.Temporal, scale: Scale) -> tuple[Any, Any, Any]:
    from temporalio.client import Client
    from temporalio.worker import Worker

    from benchmarks.plain_temporal import PlainLoop, PlainOne, perform
    from cloche.foreign.temporal import Options, TemporalExecutionEngine

    client = await Client.connect(server.address)

    def worker(queue: str, options: Options) -> Worker:
        given = TemporalExecutionEngine([LOOP, WIDE, ONE], options=options).worker
        given["workflows"] += [PlainLoop, PlainOne]
        given["activities"] += [perform]
        return Worker(client, task_queue=queue, **given)

    async def run(queue: str, name: str, input: Any) -> Any:
        given = input if not name.startswith("plain") else {**input, "local": queue == "local"}
        return await client.execute_workflow(name, given, id=uuid.uuid4().hex, task_queue=queue)

    async with worker("plain", Options()), worker("local", Options(local=True)):
        plain = await pairs(lambda name, input: run("plain", name, input), scale)
        local = await pairs(lambda name, input: run("local", name, input), Scale(min(scale.most, STEPS)))
        steps = min(10_000, scale.most)
        handle = await client.start_workflow("loop", {"x": -steps}, id=uuid.uuid4().hex, task_queue="local")
        begin = time.perf_counter()
        await handle.result()
        step_ms = (time.perf_counter() - begin) * 1000 / steps
        longest, carried, run_id = 0, 0, handle.first_execution_run_id
        while run_id:
            history = await client.get_workflow_handle(handle.id, run_id=run_id).fetch_history()
            begun, end = history.events[0].workflow_execution_started_event_attributes, history.events[-1]
            longest = max(longest, len(history.events))
            carried = max([carried, *(len(payload.data) for payload in begun.input.payloads)])
            run_id = end.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
        return plain, local, (steps, step_ms, longest, carried)


def restate(scale: Scale) -> Iterator[Figure]:
    """On Restate's own server: a step, and many runs at once."""
    with tempfile.TemporaryDirectory() as folder, servers.restate(Path(folder)) as server:
        found = asyncio.run(_on_restate(server, scale))
    goal = found["plain-loop"] + 0.8
    yield Figure("Restate: a step", found["loop"], "ms", "a plain action", found["plain-loop"], goal)
    yield Figure(f"Restate: a run of one step, {RUNS} at once", found["one"], "ms", "a plain one", found["plain-one"])


async def _on_restate(server: servers.Restate, scale: Scale) -> dict[str, float]:
    import httpx
    import hypercorn.asyncio
    import hypercorn.config
    import restate as sdk

    from cloche.foreign.restate import RestateExecutionEngine

    loop, one = sdk.Workflow("plain-loop"), sdk.Workflow("plain-one")

    async def whole(ctx: Any, given: dict[str, Any]) -> Any:
        data = given["input"]
        while data["x"] < 0:
            data = await ctx.run_typed("increment", add_one, data=data)
        return data

    async def single(ctx: Any, given: dict[str, Any]) -> Any:
        return await ctx.run_typed("increment", add_one, data=given["input"])

    loop.main("run")(whole)
    one.main("run")(single)
    config, port, end = hypercorn.config.Config(), servers.free_port(), asyncio.Event()
    config.bind, config.h2_max_concurrent_streams, config.errorlog = [f"127.0.0.1:{port}"], 2**31 - 1, None
    app: Any = sdk.app([*RestateExecutionEngine([LOOP, WIDE, ONE]).services, loop, one])
    serving = asyncio.create_task(hypercorn.asyncio.serve(app, config, shutdown_trigger=end.wait))
    await asyncio.to_thread(servers.wait_for_port, port)
    async with httpx.AsyncClient(base_url=server.ingress, timeout=120) as client:

        async def run(name: str, input: Any) -> Any:
            answer = await client.post(f"/{name}/{uuid.uuid4().hex}/run", json={"input": input})
            return answer.raise_for_status().json()

        (await client.post(f"{server.admin}/deployments", json={"uri": f"http://127.0.0.1:{port}"})).raise_for_status()
        found = await pairs(run, scale)
    end.set()
    serving.cancel()
    await asyncio.wait([serving])
    return found


def inngest(scale: Scale) -> Iterator[Figure]:
    """A request of Inngest to the SDK's own handler, which leads a run through so many memos.

    To a process that has the run's cell from the request before, and to another one, which leads a fresh cell through them all.
    The goal is what the adapter adds: the SDK's own work on 100 memos takes longer than 2 ms on many a machine.
    """
    for memos in scale.sizes(10, MEMOS, 1_000):
        kept, fresh, plain = asyncio.run(_requests_ms(memos))
        goal = plain + 2.0 if memos == MEMOS else None
        for name, ours in (("its cell is there", kept), ("a fresh cell", fresh)):
            title = f"Inngest: a request at {memos} memos, {name}"
            yield Figure(title, ours, "ms", "a plain function", plain, goal, series=f"Inngest, {name}", size=memos)


async def _requests_ms(memos: int) -> tuple[float, float, float]:
    """The medians of three kinds of requests, which are made in turns: the machine's other load is the same for all."""
    import httpx

    async with AsyncExitStack() as stack:
        requests = []
        for function, options in (("loop", {}), ("loop", {"kept_bytes_max": 0}), ("plain-loop", {})):
            transport = httpx.ASGITransport(app=_inngest_app(**options))
            http = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://sdk"))
            requests.append(await _request_of(http, function, memos))
        times: list[list[float]] = [[], [], []]
        for _ in range(100):
            for request, found in zip(requests, times, strict=True):
                begin = time.perf_counter()
                await request()
                found.append((time.perf_counter() - begin) * 1000)
    kept, fresh, plain = map(statistics.median, times)
    return kept, fresh, plain


def _inngest_app(**options: Any) -> Any:
    import fastapi
    import inngest as sdk
    import inngest.fast_api

    from cloche.foreign.inngest import InngestExecutionEngine

    client = sdk.Inngest(app_id="bench", is_production=False, logger=logging.getLogger("quiet"))

    @client.create_function(fn_id="plain-loop", trigger=sdk.TriggerEvent(event="plain-loop"))
    async def plain(ctx: Any) -> Any:
        data: Any = ctx.event.data["input"]
        while data["x"] < 0:
            data = await ctx.step.run(f"increment {data['x']}", add_one, data)
        return data

    app = fastapi.FastAPI()
    inngest.fast_api.serve(app, client, [*InngestExecutionEngine(client, [LOOP], **options).functions, plain])
    return app


async def _request_of(http: Any, function: str, memos: int) -> Callable[[], Awaitable[Any]]:
    """A request that carries so many memos, which earlier requests have given."""
    steps, stack = dict[str, Any](), list[str]()
    event = {"id": "e", "name": function, "data": {"input": {"x": -10_000}}, "ts": 1_000}

    async def request() -> Any:
        ctx = {"run_id": "r", "attempt": 0, "disable_immediate_execution": False, "use_api": False}
        ctx["stack"] = {"stack": stack, "current": len(stack)}
        body = json.dumps({"event": event, "events": [event], "steps": steps, "use_api": False, "ctx": ctx})
        answer = await http.post("/api/inngest", params={"fnId": f"bench-{function}", "stepId": "step"}, content=body)
        return answer.json()

    while len(stack) < memos:
        [op] = await request()
        steps[op["id"]] = {"data": op["data"]}
        stack.append(op["id"])
    return request
