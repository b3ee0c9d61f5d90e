"""Runs that are conducted by a journal end as they do on cloche's own engine, whatever happens to their processes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from support.apps import in_loop
from support.foreign_engine import Journal, LocalPorts, lead, report_of, whole_run
from support.foreign_flows import (
    EXTRA,
    FLOWS,
    LOOP,
    Flow,
    boom,
    by_cloche,
    double,
    essence,
    increment,
    native_cleans_up,
    plus,
    square,
    wf,
)
from support.guests import needs_python

import cloche
from cloche import RunResult, create_step, path
from cloche.engines import Code
from cloche.errors import CheckpointRejected, Divergence
from cloche.foreign import Conductor, Hosted, Hosting, conduct
from cloche.foreign.conductor import RunCanceled
from cloche.foreign.report import Report, from_text, to_text
from cloche.history.messages import CompleteRun, FailRun

EXPECTED: dict[str, RunResult] = {}


async def expected(flow: Flow) -> dict[str, Any]:
    if flow.workflow.id not in EXPECTED:
        EXPECTED[flow.workflow.id] = await by_cloche(flow)
    return essence(EXPECTED[flow.workflow.id])


@pytest.fixture(scope="module")
def hosting() -> Hosting:
    needs_python()
    hosting = Hosting("Temporal", EXTRA)
    for flow in [*(one.workflow for one in FLOWS.values()), LOOP, native_cleans_up]:
        hosting.add(flow)
    return hosting


def compared(result: RunResult, flow: Flow) -> Any:
    if flow.is_any_order:
        return result.status
    return essence(result)


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("crash_every", [0, 1])
def test_a_conducted_run_is_as_on_cloche(hosting: Hosting, name: str, crash_every: int) -> None:
    async def both() -> tuple[Any, Any]:
        flow = FLOWS[name]
        mine = await expected(flow)
        theirs = await whole_run(hosting, flow, crash_every=crash_every)
        return compared(theirs, flow), mine["status"] if flow.is_any_order else mine

    theirs, mine = asyncio.run(both())
    assert theirs == mine


@pytest.mark.parametrize("name", FLOWS)
def test_a_run_goes_on_in_a_new_history(hosting: Hosting, name: str) -> None:
    """From the frozen cell, after every event: nothing in the author's code."""

    async def both() -> tuple[Any, Any]:
        flow = FLOWS[name]
        mine = await expected(flow)
        theirs = await whole_run(hosting, flow, events_max=1)
        return compared(theirs, flow), mine["status"] if flow.is_any_order else mine

    theirs, mine = asyncio.run(both())
    assert theirs == mine


def test_what_is_carried_over_stays_small(hosting: Hosting) -> None:
    async def frozen_after(events: int) -> bytes:
        hosted = hosting["loop"]
        run = Conductor(hosted)
        run.begin("r", 1_000, {"x": 0})
        ports = LocalPorts(hosting, hosted, "r", Journal())
        assert await conduct(run, ports, lambda: run.events >= events) is None
        return run.freeze() or b""

    short, long = (len(asyncio.run(frozen_after(events))) for events in (10, 190))
    assert long < short + 500
    assert long < 64_000


def canceled_while_it_waits(hosting: Hosting, workflow: Any) -> tuple[Any, RunResult]:
    async def canceled() -> tuple[Any, RunResult]:
        hosted = hosting[workflow.id]
        ports = LocalPorts(hosting, hosted, "r", Journal())
        run = Conductor(hosted)
        run.report = Report(hosted, "r")
        run.begin("r", 1_000, {"x": 1})
        task = asyncio.create_task(conduct(run, ports))
        await asyncio.sleep(0.05)
        ports.cancel()
        outcome = await task
        return outcome, report_of(run)

    return asyncio.run(canceled())


def test_native_code_cleans_up_when_it_is_canceled(hosting: Hosting) -> None:
    outcome, report = canceled_while_it_waits(hosting, native_cleans_up)
    assert outcome == RunCanceled("asked")
    assert (report.status, report.steps["plus"].output) == ("canceled", {"x": 11})


def test_a_graph_is_over_when_it_is_canceled() -> None:
    workflow = wf("waits").wait_for_event("never").then(plus).commit()
    hosting = Hosting("Temporal")
    hosting.add(workflow)
    outcome, report = canceled_while_it_waits(hosting, workflow)
    assert outcome == RunCanceled("asked")
    assert (report.status, [step.status for step in report.steps.values()]) == ("canceled", ["waiting"])


def test_other_code_under_an_open_run_is_a_divergence() -> None:
    def changed(step: Any) -> Hosted:
        return Hosted.of(wf("changes").then(step).then(square).commit())

    async def led_by_the_other() -> None:
        before, after, journal = changed(plus), changed(increment), Journal()
        await lead(before, LocalPorts(Hosting("Temporal"), before, "r", journal), {"x": 1})
        await lead(after, LocalPorts(Hosting("Temporal"), after, "r", journal), {"x": 1})

    with pytest.raises(Divergence, match=r"has 'plus' here, but workflow 'changes' asked for 'increment'"):
        asyncio.run(led_by_the_other())


def test_a_frozen_run_goes_on_under_its_own_code_only(hosting: Hosting) -> None:
    run = Conductor(hosting["loop"])
    run.begin("r", 1_000, {"x": 0})
    frozen = run.freeze()
    assert frozen is not None
    assert Conductor.thaw(hosting["loop"], frozen).open.keys() == run.open.keys()
    other = Hosted.of(wf("loop").dountil(increment, path("inputData.x") >= 7).commit())
    with pytest.raises(Divergence, match="checkpoint of other code"):
        Conductor.thaw(other, frozen)
    with pytest.raises(CheckpointRejected):
        Conductor.thaw(hosting["loop"], frozen[:1] + b"\x02" + frozen[2:])


def test_a_change_of_state_that_is_out_of_date_fails_its_step() -> None:
    """One that the check of the code does not see: its name is made at run time."""

    async def count(data: Any, ctx: Any) -> Any:
        change = getattr(ctx, "update_" + "state")
        change(lambda state: {"n": state.get("n", 0) + 1})
        await asyncio.sleep(0.02)
        return data

    arms = [create_step(id=id, execute=count) for id in ("a", "b")]
    hosted = Hosted.of(wf("w").parallel(arms).commit())
    outcome = asyncio.run(lead(hosted, LocalPorts(Hosting("Temporal"), hosted, "r", Journal()), 1))
    assert isinstance(outcome, FailRun)
    assert outcome.failure.name == "StateConflict"


def test_what_a_step_writes_goes_to_the_engine(hosting: Hosting) -> None:
    ports = LocalPorts(hosting, hosting["writes"], "r", Journal())
    asyncio.run(lead(hosting["writes"], ports, {"x": 5}))
    assert ports.written == [("tells", {"half": 2.5})]


def test_native_javascript_is_conducted_as_any_code() -> None:
    """Code that no graph was made of: two steps beside each other, a loop, and a failure that it catches."""
    source = """
        const step = globalThis[Symbol.for("WORKFLOW_USE_STEP")];
        const [double, plus, boom] = ["double", "plus", "boom"].map((id) => step(id));
        export default async (data) => {
            const [a, b] = await Promise.all([double(data), plus(data)]);
            let x = 0;
            while (x < 25) x = (await plus({ x })).x;
            try { await boom(data); } catch (error) { return { a: a.x, b: b.x, x, caught: error.message }; }
        };
    """
    made = Hosted.of(wf("javascript").parallel([double, plus, boom]).commit())
    hosted = replace(made, code=Code("javascript", made.code.guest, source, {}, ""))
    journal = Journal()
    outcome = asyncio.run(lead(hosted, LocalPorts(Hosting("Temporal"), hosted, "r", journal), {"x": 5}))
    assert outcome == CompleteRun({"a": 10, "b": 15, "x": 30, "caught": "no"})
    again = asyncio.run(lead(hosted, LocalPorts(Hosting("Temporal"), hosted, "r", journal), {"x": 5}))
    assert again == outcome


def test_what_is_too_large_for_the_engine_fails_its_step() -> None:
    workflow = wf("w").then(create_step(id="big", execute=lambda n: "x" * n)).commit()
    hosted = Hosted.of(workflow)
    outcome = asyncio.run(lead(hosted, LocalPorts(Hosting("Temporal"), hosted, "r", Journal()), 1_000_001))
    assert isinstance(outcome, FailRun)
    assert "1,000,000" in outcome.failure.message
    assert "payload_bytes" in outcome.failure.message


@cloche.workflow(id="waits-for-itself")
async def waits_for_itself(data: dict) -> dict:  # type: ignore[type-arg]
    async def other() -> None:
        await both

    both = cloche.gather(other())
    await both
    return {}


def test_a_workflow_that_waits_for_nothing_is_a_deadlock() -> None:
    needs_python()
    hosted = Hosted.of(waits_for_itself)
    outcome = asyncio.run(lead(hosted, LocalPorts(Hosting("Temporal"), hosted, "r", Journal()), 1))
    assert isinstance(outcome, FailRun)
    assert outcome.failure.name == "Deadlock"


def test_a_report_crosses_an_engine_with_its_types(hosting: Hosting) -> None:
    result = asyncio.run(whole_run(hosting, FLOWS["settle"]))
    assert result.steps["boom"].started_at is not None
    assert from_text(to_text(result)) == result


def test_a_run_is_its_events_and_nothing_else(hosting: Hosting) -> None:
    def once() -> Any:
        run = Conductor(hosting["native"])
        run.begin("r", 1_000, {"x": 1})
        return run.freeze()

    assert once() == once()
    outcome = asyncio.run(lead(hosting["then"], LocalPorts(hosting, hosting["then"], "r", Journal()), {"x": 5}))
    assert outcome == CompleteRun({"x": 20})


@pytest.mark.parametrize("checked", [True, False])
@in_loop
async def test_a_result_of_another_type_is_a_failure(checked: bool) -> None:
    some = create_step(id="some", execute=lambda data: {"summe": 3})
    made = (
        cloche.create_workflow(id="typed", output_schema=dict[str, str], validate_outputs=checked).then(some).commit()
    )
    hosting = Hosting("Temporal")
    hosting.add(made)
    ports = LocalPorts(hosting, hosting["typed"], "r1", Journal())
    outcome = await lead(hosting["typed"], ports, 1)
    if checked:
        assert isinstance(outcome, FailRun)
        assert outcome.failure.name == "InvalidResult"
        assert outcome.failure.message.startswith("the result of workflow 'typed' does not fit its schema: summe")
    else:
        assert outcome == CompleteRun({"summe": 3})
