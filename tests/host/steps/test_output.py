"""What steps print and log stands beside their attempt, and goes on to where it went."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any

import pytest
from support.apps import AppOn, in_loop

from cloche import Run, StepContext, create_step, create_workflow
from cloche.cli.logs import TextLines
from cloche.history import Kind
from cloche.history.notes import StepLogged, unpack_note
from cloche.steps.output import CHARS_MAX, LINES_MAX, SCOPE, Scope
from cloche.store import MemoryStore
from cloche.telemetry import JsonLines

log = logging.getLogger("shop")


async def run_of(step: Any, **options: Any) -> tuple[Run, list[Any]]:
    async with AppOn(MemoryStore()) as app:
        run = await app.start(create_workflow(id="w").then(step).commit(), {"v": 1}, run_id="r1")
        await run.result()
        return run, await run.history()


def lines_of(history: list[Any]) -> list[tuple[int, str]]:
    notes = [unpack_note(one) for one in history if one.kind is Kind.STEP_LOGGED]
    return [line for note in notes if isinstance(note, StepLogged) for line in note.lines]


@in_loop
async def test_what_a_step_says_stands_before_the_end_of_its_attempt(capsys: pytest.CaptureFixture[str]) -> None:
    def talk(data: Any, ctx: StepContext) -> Any:
        print("printed")
        ctx.log.info("logged %s", 1)
        log.warning("of a library")
        print("not ended", end="")
        return data

    _, history = await run_of(create_step(id="talk", execute=talk))
    assert lines_of(history) == [(2, "printed"), (2, "logged 1"), (3, "of a library"), (2, "not ended")]
    kinds = [one.kind for one in history]
    assert kinds.index(Kind.STEP_LOGGED) == kinds.index(Kind.STEP_COMPLETED) - 1
    assert "printed\n" in capsys.readouterr().out


@in_loop
async def test_lines_of_steps_that_run_beside_each_other_are_not_mixed() -> None:
    async def talk(data: Any, ctx: StepContext) -> Any:
        for _ in range(3):
            print(ctx.step_id)
            await asyncio.sleep(0)

    arms = [create_step(id=name, execute=talk) for name in "ab"]
    async with AppOn(MemoryStore()) as app:
        run = await app.start(create_workflow(id="w").parallel(arms).commit(), {"v": 1}, run_id="r1")
        await run.result()
        stories = {one.step: [line.text for line in one.lines] for one in await app.timing("r1")}
    assert stories == {"a": ["a"] * 3, "b": ["b"] * 3}


@in_loop
async def test_an_attempt_that_fails_keeps_what_it_said() -> None:
    def fail(data: Any, ctx: StepContext) -> Any:
        print(f"attempt {ctx.attempt}")
        raise ValueError("no")

    _, history = await run_of(create_step(id="fail", execute=fail, retries=1))
    assert [text for _, text in lines_of(history)] == ["attempt 1", "attempt 2"]


def test_lines_have_bounds_and_the_rest_is_counted() -> None:
    scope = Scope("t", "r", "step", 1, lambda: None)
    for _ in range(LINES_MAX + 3):
        scope.line(2, "x")
    lines, dropped = scope.take()
    assert (len(lines), dropped) == (LINES_MAX, 3)
    large = Scope("t", "r", "step", 1, lambda: None)
    for _ in range(CHARS_MAX // 1_000):
        large.line(2, "y" * 3_000)
    assert sum(len(text) for _, text in large.take()[0]) <= CHARS_MAX
    large.close()
    large.line(2, "late")
    assert large.take() == ([], 0)


@in_loop
async def test_everything_is_as_it_was_when_the_last_worker_has_ended() -> None:
    stream, factory = sys.stdout, logging.getLogRecordFactory()
    async with AppOn(MemoryStore()), AppOn(MemoryStore()):
        assert sys.stdout is not stream
    assert (sys.stdout, logging.getLogRecordFactory()) == (stream, factory)


def test_a_log_line_says_which_run_and_step_it_is_about() -> None:
    record = logging.LogRecord("shop", logging.WARNING, __file__, 1, "no %s", ("tea",), None)
    record.cloche = Scope("acme", "order-1", "charge", 2)
    line = json.loads(JsonLines().format(record))
    assert {
        "tenant": "acme",
        "run": "order-1",
        "step": "charge",
        "attempt": 2,
        "message": "no tea",
    }.items() <= line.items()
    assert TextLines(with_time=False).format(record) == "warning tenant acme run order-1 step charge: no tea"
    assert SCOPE.get() is None
