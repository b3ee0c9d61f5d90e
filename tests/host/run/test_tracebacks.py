"""What people see of where a failure comes from, and what no guest does."""

from __future__ import annotations

import logging
import traceback
from typing import Any

import pytest
from support.apps import in_loop
from support.guests import needs_python

from cloche import Cloche, RunFailed, Workflow, create_workflow, step, workflow
from cloche.history.messages import StepFailed
from cloche.history.reading import message_of
from cloche.run.results import RunResult


class Declined(Exception):
    pass


@step(retries=0)
def fails(data: Any) -> Any:
    raise Declined("card \x1b[31m")


async def ended(made: Workflow, data: Any = None) -> tuple[RunResult, list[Any]]:
    async with Cloche("memory:", workflows=[made], handle_sigterm=False) as app:
        run = await app.start(made, data, run_id="r1")
        return await run.result(), await run.history()


BUILT = create_workflow(id="built").then(fails).commit()


@in_loop
async def test_a_person_sees_the_traceback_of_the_step(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "cloche.run"):
        result, _ = await ended(BUILT)
    assert result.error is not None
    assert result.steps["fails"].error is not None
    with pytest.raises(RunFailed) as raised:
        result.unwrap()
    assert raised.value.__cause__ is result.error
    [line] = [record.getMessage() for record in caplog.records if record.name == "cloche.run"]
    for text in (
        result.error.traceback,
        result.steps["fails"].error.traceback,
        "".join(traceback.format_exception(raised.value)),
        line,
    ):
        assert text is not None
        assert "test_tracebacks.py" in text
        assert "raise Declined(" in text
        assert "Declined: card \\x1b[31m" in text
        assert "\x1b" not in text


@in_loop
async def test_no_traceback_enters_the_glass() -> None:
    _, records = await ended(BUILT)
    [told] = [record.body for record in records if isinstance(message_of(record), StepFailed)]
    assert b"Traceback" not in told
    assert b"test_tracebacks.py" not in told


@workflow
async def passes_on(data: Any) -> Any:
    return await inner(data)


async def inner(data: Any) -> Any:
    return await fails(data)


@workflow
async def breaks(data: Any) -> Any:
    raise Declined("of its own")


@in_loop
async def test_a_native_workflow_says_where_in_its_authors_file_it_failed() -> None:
    needs_python()
    error = (await ended(passes_on))[0].error
    assert error is not None
    assert error.traceback is not None
    step_part, own_part = error.traceback.split("direct cause of the following exception")
    assert "raise Declined(" in step_part
    line = inner.__code__.co_firstlineno + 1
    assert f'File "test_tracebacks.py", line {line}, in inner\n    return await fails(data)' in own_part
    own = (await ended(breaks))[0].error
    assert own is not None
    assert own.traceback is not None
    assert 'in breaks\n    raise Declined("of its own")\nDeclined: of its own' in own.traceback
