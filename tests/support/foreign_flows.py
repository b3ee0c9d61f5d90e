"""Workflows that every foreign engine is tried with, and what cloche's own engine makes of them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import cloche
from cloche import Cloche, FatalError, RetryableError, RetryConfig, RunResult, StepContext, create_step, create_workflow
from cloche import path as at

Message = tuple[
    str, str, Any
]  # "event", a name, a payload; or "step" or "label", which one, the data to resume it with


class Declined(Exception):
    """An error of a step that a workflow catches."""


def ask(data: Any, ctx: StepContext) -> Any:
    if ctx.resume_data is None:
        ctx.suspend({"asks": data["x"]}, resume_label=f"ask-{data['x']}")
    return {"x": data["x"], "was": ctx.suspend_data, "ok": ctx.resume_data, "attempt": ctx.attempt}


def fail_twice(data: Any, ctx: StepContext) -> Any:
    if ctx.attempt < 3:
        raise ValueError("not yet")
    return {"x": ctx.attempt}


def ask_for_time(data: Any, ctx: StepContext) -> Any:
    if ctx.attempt < 2:
        raise RetryableError("later", retry_after=timedelta(milliseconds=20))
    return {"x": ctx.attempt}


def refuse(data: Any) -> Any:
    raise FatalError("no")


def decline(data: Any) -> Any:
    raise Declined("no money")


def count(data: Any, ctx: StepContext) -> Any:
    ctx.update_state(lambda state: {"n": state.get("n", 0) + 1})
    ctx.set_state(seen=dict(ctx.state))
    return data


def look_back(data: Any, ctx: StepContext) -> Any:
    return {
        "double": ctx.get_step_result("double"),
        "init": ctx.get_init_data(),
        "user": ctx.request_context.get("user"),
    }


def leave(data: Any, ctx: StepContext) -> Any:
    ctx.bail({"bailed": data["x"]})


def tell(data: Any, ctx: StepContext) -> Any:
    ctx.writer.write({"half": data["x"] / 2})
    return data


def give_up(data: Any, ctx: StepContext) -> Any:
    ctx.abort()
    return data


async def add_one(data: Any) -> Any:
    return {"x": data["x"] + 1}


double = create_step(id="double", execute=lambda data: {"x": data["x"] * 2})
plus = create_step(id="plus", execute=lambda data: {"x": data["x"] + 10})
boom = create_step(id="boom", execute=refuse)
asks = create_step(id="asks", execute=ask)
flaky = create_step(id="flaky", execute=fail_twice, retry_config=RetryConfig(attempts=3, delay_s=0.01))
later = create_step(id="later", execute=ask_for_time, retries=2)
square = create_step(id="square", execute=lambda n: n * n)
counts = create_step(id="counts", execute=count)
looks = create_step(id="looks", execute=look_back)
leaves = create_step(id="leaves", execute=leave)
tells = create_step(id="tells", execute=tell)
aborts = create_step(id="aborts", execute=give_up)
increment = create_step(id="increment", execute=add_one)
charge = create_step(id="charge", execute=decline)
slow = create_step(id="slow", execute=lambda data: data)
EXTRA = (double, plus, charge, boom, asks, increment)


def wf(id: str) -> Any:
    return create_workflow(id=id)


child = wf("child").then(double).commit()
broken = wf("broken").then(boom).commit()


class Colour(enum.Enum):
    RED = "red"


@cloche.workflow(id="native")
async def native(data: dict) -> dict:  # type: ignore[type-arg]
    def twice(x: int) -> int:
        return 2 * x

    a, b = await cloche.gather(double(data), plus(data))
    await cloche.sleep(seconds=0.03)
    total = 0
    for _ in range(3):
        total += (await plus({"x": total}))["x"]
    return {"a": twice(a["x"]), "b": b["x"], "total": total, "colour": Colour.RED.value}


@cloche.workflow(id="native-catches")
async def native_catches(data: dict) -> dict:  # type: ignore[type-arg]
    try:
        await charge(data)
    except Exception as error:
        return {"caught": type(error).__name__, "text": str(error)}
    return {}


@cloche.workflow(id="native-children")
async def native_children(data: dict) -> dict:  # type: ignore[type-arg]
    got = await child(data)
    try:
        await broken(data)
    except Exception as error:
        return {"got": got, "error": str(error)}
    return {}


@cloche.workflow(id="native-races")
async def native_races(data: dict) -> dict:  # type: ignore[type-arg]
    first = await cloche.race(cloche.wait_for_event("never"), cloche.sleep(seconds=0.02))
    second = await cloche.wait_for_event("paid")
    return {"first": first, "second": second}


@cloche.workflow(id="native-cleans-up")
async def native_cleans_up(data: dict) -> dict:  # type: ignore[type-arg]
    try:
        await cloche.wait_for_event("never")
    finally:
        await plus({"x": 1})
    return {}


@dataclass(frozen=True)
class Flow:
    """One case: a workflow, its input, what is sent to it from outside in order, and what is given beside the input."""

    workflow: Any
    input: Any = field(default_factory=lambda: {"x": 5})
    messages: tuple[Message, ...] = ()
    state: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    is_any_order: bool = False  # which steps come first is chance


def flows() -> dict[str, Flow]:
    numbers = [1, 2, 3, 4, 5]
    some = [
        Flow(wf("then").then(double).then(plus).commit()),
        Flow(wf("parallel").parallel([double, plus]).commit()),
        Flow(wf("limit").parallel([double, plus, increment], limit=1).commit()),
        Flow(wf("branch").branch([(lambda d: d.x > 3, double), (lambda d: d.x > 100, plus)]).commit()),
        Flow(wf("choose").choose([(at("inputData.x") > 100, double)], otherwise=plus).commit()),
        Flow(wf("dountil").dountil(plus, at("inputData.x") >= 40).commit()),
        Flow(wf("dowhile").dowhile(plus, at("inputData.x") < 40).commit()),
        Flow(wf("foreach").foreach(square, concurrency=2).commit(), numbers),
        Flow(wf("map").then(double).map({"y": at("inputData.x")}).commit()),
        Flow(wf("sleep").then(double).sleep(timedelta(milliseconds=50)).then(plus).commit()),
        Flow(wf("nested").parallel([child, plus]).commit()),
        Flow(wf("fails").then(double).then(boom).commit()),
        Flow(wf("settle").parallel([boom, plus], settle=True).commit()),
        Flow(wf("collect").foreach(boom, on_error="collect").commit(), [{"x": 1}, {"x": 2}]),
        Flow(wf("tolerates").parallel([boom, plus, double], tolerated_failures=1).commit()),
        Flow(wf("first-two").foreach(square, concurrency=3, min_successes=2).commit(), numbers, is_any_order=True),
        Flow(wf("retries").then(flaky).commit()),
        Flow(wf("retry-after").then(later).commit()),
        Flow(wf("event").wait_for_event("paid").then(plus).commit(), messages=(("event", "paid", {"x": 1}),)),
        Flow(wf("event-timeout").wait_for_event("paid", timeout=timedelta(milliseconds=20)).commit()),
        Flow(wf("suspend").parallel([asks, plus]).commit(), messages=(("step", "asks", "yes"),)),
        Flow(wf("label").then(asks).commit(), messages=(("label", "ask-5", "yes"),)),
        Flow(wf("state").then(counts).then(counts, id="again").commit(), state={"n": 3}),
        Flow(wf("looks-back").then(double).then(looks).commit(), context={"user": "ada"}),
        Flow(wf("bail").then(double).then(leaves).then(plus).commit()),
        Flow(wf("bail-nested").then(wf("inner").then(leaves).then(plus).commit()).commit()),
        Flow(wf("writes").then(tells).commit()),
        Flow(wf("aborts").then(aborts).then(plus).commit()),
        Flow(native),
        Flow(native_catches),
        Flow(native_children),
        Flow(native_races, messages=(("event", "paid", {"x": 2}),)),
    ]
    return {flow.workflow.id: flow for flow in some}


FLOWS = flows()
LOOP = wf("loop").dountil(increment, at("inputData.x") >= 200).commit()
LONG = wf("long").dountil(increment, at("inputData.x") >= 10_000).commit()
WIDE = wf("wide").foreach(square, concurrency=1_000).commit()


async def by_cloche(flow: Flow) -> RunResult:
    """What cloche's own engine makes of a flow."""
    async with Cloche(workflows=[flow.workflow], steps=EXTRA, handle_sigterm=False) as app:
        run = await app.start(flow.workflow, flow.input, initial_state=flow.state, request_context=flow.context)
        for kind, name, payload in flow.messages:
            if kind == "event":
                await app.send_event(run.id, name, payload)
                continue
            await run.result()
            step, label = (name, None) if kind == "step" else (None, name)
            await app.resume(run.id, step=step, label=label, resume_data=payload)
        return await run.result()


def essence(result: RunResult) -> dict[str, Any]:
    """What of a result is the same on every engine: all but ids, times and the order of what runs side by side."""
    error = result.error
    steps = {
        id: (step.status, step.payload, step.output, str(step.error), step.attempts, step.resume_payload)
        for id, step in sorted(result.steps.items())
    }
    return {
        "status": result.status,
        "result": result.result,
        "error": (error.name, error.message, error.step) if error is not None else None,
        "state": result.state,
        "steps": steps,
    }
