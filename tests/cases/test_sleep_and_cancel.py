"""K. Sleeping, aborting and canceling."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.cases import Case, everywhere, failure, outcome, statuses, uncut

from cloche import StepContext, code, create_workflow, path
from cloche.errors import NotSuspended
from cloche.history import Kind


@everywhere
async def test_a_sleep_passes_its_input_through(case: Case) -> None:
    workflow = (
        create_workflow(id="w")
        .then(case.journal.inc())
        .sleep(0.015, id="z")
        .sleep("inputData.v / 400", id="five_ms")
        .sleep(-50, id="negative")
        .sleep_until(datetime(2020, 1, 1, tzinfo=UTC), id="past")
        .then(case.journal.dbl())
    )
    began = case.world.now()
    result = await case.start(workflow, {"v": 1})
    assert (outcome(result), case.world.now() - began) == (("success", {"v": 4}), 20)
    sleeps = ["z", "five_ms", "negative", "past"]
    assert [(step.status, step.payload, step.output) for id, step in result.steps.items() if id in sleeps] == [
        ("success", {"v": 2}, {"v": 2})
    ] * 4
    assert result.step_execution_path == ["inc", *sleeps, "dbl"]


@everywhere
async def test_a_run_that_sleeps_is_waiting(case: Case) -> None:
    workflow = create_workflow(id="w").sleep(timedelta(days=30), id="z").then(case.journal.inc())
    result = await case.start(workflow, {"v": 1}, still=True)
    assert (result.status, statuses(result)) == ("waiting", {"z": "waiting"})
    assert outcome(await case.end()) == ("success", {"v": 2})


@everywhere
async def test_sleeping_until_an_instant_that_is_computed(case: Case) -> None:
    until = datetime(2026, 2, 1, tzinfo=UTC)
    workflow = create_workflow(id="w").sleep_until(path("inputData.at")).then(case.journal.take())
    result = await case.start(workflow, {"at": until})
    assert (result.status, case.world.now()) == ("success", int(until.timestamp() * 1000))


@pytest.mark.parametrize("duration", ["'soon'", "(() => { throw new Error('d') })()"])
@everywhere
async def test_a_duration_that_is_none_fails_the_run(case: Case, duration: str) -> None:
    """Mastra raises out of `start`."""
    workflow = create_workflow(id="w").sleep(code(duration), id="z").then(case.journal.inc())
    name, message = failure(await case.start(workflow, {"v": 1}))
    assert (name, '"z"' in message, case.journal.began) == ("ExpressionError", True, [])


@everywhere
async def test_sleeps_side_by_side_take_as_long_as_the_longest(case: Case) -> None:
    naps = [create_workflow(id=f"nap{n}").sleep(n * 100).commit() for n in (1, 2)]
    began = case.world.now()
    result = await case.start(create_workflow(id="w").parallel(naps), 7)
    assert (outcome(result), case.world.now() - began) == (("success", {"nap1": 7, "nap2": 7}), 200_000)


@everywhere
async def test_abort_from_inside_a_step(case: Case) -> None:
    def act(_: Any, ctx: StepContext) -> dict[str, int]:
        ctx.abort()
        return {"v": 1}

    workflow = create_workflow(id="w").then(case.journal.acts("a", act)).then(case.journal.inc())
    result = await case.start(workflow, {"v": 1})
    assert (outcome(result), statuses(result)) == (("canceled", None), {"a": "success"})
    assert (result.steps["a"].output, "inc" in case.journal.began) == ({"v": 1}, False)


@uncut
async def test_a_step_that_ignores_the_signal_is_recorded(case: Case) -> None:
    go_on = asyncio.Event()

    async def slow(_: Any, ctx: StepContext) -> bool:
        await go_on.wait()
        return ctx.abort_signal.aborted

    workflow = create_workflow(id="w").then(case.journal.acts("slow", slow)).then(case.journal.inc())
    await case.begin(workflow, {"v": 1})
    await case.until(lambda: case.journal.began)
    await case.app.cancel("r1")
    await case.until(lambda: case.records(Kind.CANCEL_REQUESTED))
    assert (await case.look()).status == "running"
    go_on.set()
    result = await case.end()
    assert (outcome(result), statuses(result), result.steps["slow"].output) == (
        ("canceled", None),
        {"slow": "success"},
        True,
    )


@uncut
async def test_a_step_that_raises_because_of_the_signal_does_not_fail_the_run(case: Case) -> None:
    async def slow(_: Any, ctx: StepContext) -> None:
        await ctx.abort_signal.wait()
        raise RuntimeError("interrupted")

    await case.begin(create_workflow(id="w", retry_config={"attempts": 3}).then(case.journal.acts("slow", slow)))
    await case.until(lambda: case.journal.began)
    await case.app.cancel("r1")
    result = await case.end()
    assert (outcome(result), statuses(result), case.journal.began) == (
        ("canceled", None),
        {"slow": "failed"},
        ["slow"],
    )


@everywhere
async def test_a_sleep_ends_at_once_when_the_run_is_canceled(case: Case) -> None:
    workflow = create_workflow(id="w").sleep(3600, id="z").then(case.journal.inc())
    await case.start(workflow, {"v": 1}, still=True)
    began = case.world.now()
    result = await case.cancel()
    assert (outcome(result), case.world.now() - began, case.journal.began) == (("canceled", None), 0, [])


@everywhere
async def test_a_nested_workflow_is_canceled_with_its_run(case: Case) -> None:
    inner = create_workflow(id="W").then(case.journal.inc()).sleep(60).then(case.journal.dbl()).commit()
    await case.start(create_workflow(id="w").then(inner), {"v": 1}, still=True)
    result = await case.cancel()
    assert (outcome(result), case.journal.began) == (("canceled", None), ["W/inc"])


@everywhere
async def test_canceled_beats_failed_and_suspended(case: Case) -> None:
    def act(_: Any, ctx: StepContext) -> None:
        ctx.abort()
        raise RuntimeError("and failed")

    arms = [case.journal.acts("s", lambda _, ctx: ctx.suspend()), case.journal.acts("a", act)]
    result = await case.start(create_workflow(id="w").parallel(arms))
    assert outcome(result) == ("canceled", None)
    with pytest.raises(NotSuspended):
        await case.resume({})


@everywhere
async def test_canceling_what_has_ended_changes_nothing(case: Case) -> None:
    await case.start(create_workflow(id="w").then(case.journal.inc()), {"v": 1})
    before = len(await case.records())
    await case.app.cancel("r1")
    await case.until(lambda: case.app.is_idle)
    assert (outcome(await case.look()), len(await case.records())) == (("success", {"v": 2}), before)
