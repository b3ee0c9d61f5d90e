"""`error.step` of a result: the step that the failure of the run comes from."""

from __future__ import annotations

from typing import Any

from support.apps import AppOn, Journal, in_loop
from support.guests import needs_python

from cloche import EventTimeout, create_workflow, step, wait_for_event, workflow
from cloche.run.results import RunResult
from cloche.store import MemoryStore


async def result_of(flow: Any) -> RunResult:
    async with AppOn(MemoryStore(), workflows=[flow]) as app:
        return await (await app.start(flow.id, 1)).result()


def fails(journal: Journal, id: str) -> Any:
    def fail(data: Any) -> Any:
        raise RuntimeError("no answer")

    return journal.step(id, fail)


@in_loop
async def test_a_failure_that_did_not_end_the_run_is_not_blamed(journal: Journal) -> None:
    flow = create_workflow(id="w").parallel([fails(journal, "first")], settle=True).then(fails(journal, "second"))
    error = (await result_of(flow.commit())).error
    assert error is not None
    assert error.step == "second"


@in_loop
async def test_of_a_block_the_first_arm_is_blamed(journal: Journal) -> None:
    flow = create_workflow(id="w").parallel([fails(journal, "one"), fails(journal, "two")]).commit()
    error = (await result_of(flow)).error
    assert error is not None
    assert error.step == "one"


@step
async def left(data: Any) -> Any:
    raise RuntimeError("no answer")


@step
async def right(data: Any) -> Any:
    raise RuntimeError("no answer")


@workflow
async def catches(data: Any) -> Any:
    try:
        await left(data)
    except RuntimeError:
        await right(data)


@in_loop
async def test_in_native_code_it_is_the_one_that_failed_last() -> None:
    needs_python()
    error = (await result_of(catches)).error
    assert error is not None
    assert error.step == "right"


@workflow
async def goes_on(data: Any) -> Any:
    try:
        await wait_for_event("go", timeout=0.01)
    except EventTimeout:
        await right(data)


@in_loop
async def test_an_event_that_did_not_come_is_not_told_of_another_failure() -> None:
    needs_python()
    result = await result_of(goes_on)
    assert result.error is not None
    assert (result.error.step, result.steps["go"].error) == ("right", None)
