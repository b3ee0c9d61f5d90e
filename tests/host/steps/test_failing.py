"""What of a failed attempt is told and kept, and whether another follows: groups, sizes, and steps that ask to be retried."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.apps import AppOn, in_loop

from cloche import Cloche, FatalError, RetryableError, StepContext, create_step, create_workflow
from cloche.errors import HistoryError
from cloche.history import Failure, Kind, Seq
from cloche.history import Path as CallPath
from cloche.history.failures import MEMBERS_MAX, PARTS_MAX, TRACEBACK_CHARS_MAX, traceback_of
from cloche.history.ids import TimeMs, run_key
from cloche.history.payloads import SIZE_MAX
from cloche.history.records import genesis, make_record
from cloche.history.retry import RetryPolicy
from cloche.run.results import RunResult
from cloche.steps.failing import FAILURE_BYTES_MAX, failure_of, next_delay_ms
from cloche.store import MemoryStore

MEGABYTE = 1 << 20


async def ended(execute: Callable[..., Any], **options: Any) -> RunResult:
    """How a run of one step ends."""
    one = create_step(id="one", execute=execute, **options)
    async with AppOn(MemoryStore(), workflows=[create_workflow(id="w").then(one).commit()]) as app:
        return await asyncio.wait_for((await app.start("w", 1)).result(), 10)


def _group(*raised: Exception) -> ExceptionGroup[Exception]:
    return ExceptionGroup("two calls failed", raised)


# ---- groups ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nested", [False, True])
@in_loop
async def test_a_fatal_error_in_a_group_is_final(nested: bool) -> None:
    tries = []

    async def fan_out(data: Any) -> None:
        tries.append(1)

        async def refuse() -> None:
            raise _group(ValueError("x"), _group(FatalError("card refused"))) if nested else FatalError("card refused")

        async with asyncio.TaskGroup() as group:
            group.create_task(refuse())

    result = await ended(fan_out, retries=3)
    assert (result.status, len(tries)) == ("failed", 1)


def test_a_group_is_told_with_its_members() -> None:
    failure = Failure.from_exception(_group(ValueError("bad sku"), _group(KeyError("price"))))
    assert failure.message == "two calls failed (2 sub-exceptions): ValueError: bad sku; KeyError: 'price'"
    first, inner = failure.members
    assert (first, inner.members) == (
        Failure("ValueError", "bad sku"),
        (Failure("KeyError", "'price'", {"args": ["price"]}),),
    )


def test_a_group_of_groups_has_a_bound() -> None:
    group: Exception = ValueError("x")
    for _ in range(6):
        group = _group(*[group] * 10)
    assert _parts(failure_of(group)) <= PARTS_MAX


def _parts(failure: Failure) -> int:
    return 1 + sum(map(_parts, failure.members))


def test_of_a_large_group_some_members_are_told() -> None:
    failure = Failure.from_exception(_group(*[ValueError(str(n)) for n in range(100)]))
    assert len(failure.members) == MEMBERS_MAX
    assert failure.message.endswith("ValueError: 15; …")


@pytest.mark.parametrize(
    ("raised", "delay"),
    [
        (_group(ConnectionError(), ConnectionError()), 1_000),
        (_group(ConnectionError(), ValueError()), None),
        (_group(RetryableError(retry_after=7), RetryableError(retry_after=30)), None),
    ],
)
def test_a_group_is_tried_again_if_all_in_it_are(raised: Exception, delay: int | None) -> None:
    policy = RetryPolicy(retries=1, delay_ms=1_000, retry_on=("ConnectionError",))
    assert next_delay_ms(policy, raised, 1, "call") == delay


def test_the_longest_wait_asked_for_in_a_group_counts() -> None:
    raised = _group(RetryableError(retry_after=7), _group(RetryableError(retry_after=30)))
    assert next_delay_ms(RetryPolicy(retries=1), raised, 1, "call") == 30_000


@in_loop
async def test_a_step_may_suspend_in_a_task_group() -> None:
    async def ask(data: Any, ctx: StepContext) -> None:
        async def inner() -> None:
            ctx.suspend({"sum": 5})

        async with asyncio.TaskGroup() as group:
            group.create_task(inner())

    result = await ended(ask)
    assert (result.status, result.suspend_payload) == ("suspended", {"one": {"sum": 5}})


# ---- sizes -----------------------------------------------------------------------------------------------------------


class Answered(Exception):
    def __init__(self, message: str, **attributes: Any) -> None:
        super().__init__(message)
        self.__dict__.update(attributes)


def _noted(error: Exception, note: str) -> Exception:
    error.add_note(note)
    return error


HUGE: dict[str, Callable[[], Exception]] = {
    "message": lambda: ConnectionError("500 " + "x" * (12 * MEGABYTE)),
    "message longer than a record": lambda: ConnectionError("500 " + "x" * SIZE_MAX),
    "text in an attribute": lambda: Answered("no", page="x" * (5 * MEGABYTE)),
    "rows in an attribute": lambda: Answered("no", rows=list(range(200_000))),
    "note": lambda: _noted(ConnectionError("no"), "x" * (5 * MEGABYTE)),
    "group": lambda: _group(*[Answered("x" * MEGABYTE, page="x" * MEGABYTE) for _ in range(100)]),
}


@pytest.mark.parametrize("what", HUGE)
@in_loop
async def test_a_failure_of_any_size_takes_little_of_the_log(what: str, tmp_path: Path) -> None:
    def fetch(data: Any) -> None:
        raise HUGE[what]()

    workflow = create_workflow(id="w").then(create_step(id="fetch", execute=fetch)).commit()
    async with Cloche(tmp_path / "s.db", workflows=[workflow]) as app:
        run = await app.start("w", 1)
        assert (await asyncio.wait_for(run.result(), 30)).status == "failed"
        assert max(len(record.body) for record in await run.history()) < MEGABYTE
        assert (await app.verify()).findings == []


def test_what_fits_of_an_exception_is_kept() -> None:
    failure = failure_of(Answered("no", code=402, page="x" * MEGABYTE, rows=list(range(200_000))))
    assert (failure.data["code"], len(failure.data["page"]), "rows" in failure.data) == (402, 8_192, False)


def test_a_failure_with_too_many_causes_is_told_without_them() -> None:
    error: BaseException = ValueError("root")
    for _ in range(8):
        outer = Answered("é" * 8_000, **{f"a{n}": "é" * 8_000 for n in range(4)})
        outer.__cause__ = error
        error = outer
    assert failure_of(error, 100_000) == Failure("Answered", "é" * 8_000)
    assert FAILURE_BYTES_MAX > 100_000


def test_of_a_long_traceback_both_ends_are_kept() -> None:
    text = traceback_of(_noted(ValueError("x" * 200_000), "the end"))
    assert text.startswith("ValueError: xxx")
    assert text.endswith("the end\n")
    assert len(text) < TRACEBACK_CHARS_MAX + 100


def test_no_record_is_made_that_no_reader_takes() -> None:
    with pytest.raises(HistoryError, match="record 1 would hold 268435457 bytes, and no reader takes more"):
        make_record(
            genesis(run_key("r", "t")), Seq(1), Kind.STEP_WROTE, TimeMs(0), None, CallPath("a"), bytes(SIZE_MAX + 1)
        )


@in_loop
async def test_what_a_step_writes_is_bounded() -> None:
    def pour(data: Any, ctx: StepContext) -> None:
        ctx.writer.write("x" * (9 * MEGABYTE))

    error = (await ended(pour)).error
    assert error is not None
    assert (error.name, error.data["limit"]) == ("LimitExceeded", "payload_bytes")


@in_loop
async def test_what_a_step_writes_may_nest_as_deep_as_a_value() -> None:
    def pour(data: Any, ctx: StepContext) -> str:
        deep: Any = 1
        for _ in range(64):
            deep = [deep]
        ctx.writer.write(deep)
        return "written"

    assert (await ended(pour)).result == "written"


# ---- steps that ask to be tried again --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "tries"), [({}, 3), ({"retries": 0}, 1), ({"retries": 4}, 5), ({"at_most_once": True}, 1)]
)
@in_loop
async def test_a_step_that_asks_is_tried_three_times(options: dict[str, Any], tries: int) -> None:
    began = []

    async def busy(data: Any) -> None:
        began.append(1)
        raise RetryableError("busy")

    assert ((await ended(busy, **options)).status, len(began)) == ("failed", tries)


@in_loop
async def test_other_errors_of_a_step_that_says_nothing_are_final() -> None:
    began = []

    async def fails(data: Any) -> None:
        began.append(1)
        raise OSError("no")

    assert ((await ended(fails)).status, len(began)) == ("failed", 1)
