"""How steps are run: threads, timeouts, retries, and failures that are final."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from support.apps import AppOn, Journal, ManualWorld, in_loop, until

from cloche import (
    Cloche,
    FatalError,
    RetryableError,
    RetryConfig,
    Run,
    StepContext,
    clone_step,
    create_step,
    create_workflow,
    step,
)
from cloche.history import Kind
from cloche.store import MemoryStore
from cloche.testing.clock import START


@in_loop
async def test_sync_steps_run_in_threads_beside_each_other() -> None:
    both = threading.Barrier(2, timeout=20)  # neither step ends before the other has begun

    @step(id="a")
    def meet(data: Any) -> str:
        both.wait()
        return threading.current_thread().name.rpartition("_")[0]

    workflow = create_workflow(id="w").parallel([meet, clone_step(meet, id="b")]).commit()
    result = await (await workflow.create_run()).start()
    assert (result.status, result.result) == ("success", {"a": "cloche-step", "b": "cloche-step"})


@in_loop
async def test_steps_in_threads_may_look_up_results_while_others_are_written() -> None:
    """Look-ups come from up to 32 threads, commits from the loop: one connection, used by one at a time."""

    @step
    def first(data: int) -> int:
        return data

    @step
    def look(data: int, ctx: StepContext) -> int:
        return sum(int(ctx.get_step_result("first")) for _ in range(20))

    workflow = create_workflow(id="w").then(first).parallel([clone_step(look, id=f"l{i}") for i in range(4)]).commit()
    async with Cloche(workflows=[workflow]) as app:
        runs = [await app.start("w", n) for n in range(30)]
        results = [(await run.result()).unwrap() for run in runs]
    assert results == [{f"l{i}": 20 * n for i in range(4)} for n in range(30)]


@in_loop
async def test_a_step_is_tried_again_as_often_as_it_says() -> None:
    counts: list[int] = []

    @step(retries=3)
    async def flaky(data: Any, ctx: StepContext) -> str:
        counts.append(ctx.retry_count)
        if ctx.retry_count < 2:
            raise OSError("not now")
        return "done"

    result = await (await create_workflow(id="w").then(flaky).commit().create_run()).start()
    assert (result.status, result.result, counts, result.steps["flaky"].attempts) == ("success", "done", [0, 1, 2], 3)


@in_loop
async def test_when_all_tries_are_used_the_last_error_counts() -> None:
    counts: list[int] = []

    @step
    async def flaky(data: Any, ctx: StepContext) -> None:
        counts.append(ctx.retry_count)
        raise OSError(f"try {len(counts)}")

    workflow = create_workflow(id="w", retry_config=RetryConfig(attempts=1)).then(flaky).commit()
    result = await (await workflow.create_run()).start()
    assert result.error is not None
    assert (result.status, result.error.message, counts) == ("failed", "try 2", [0, 1])


@in_loop
async def test_nothing_is_tried_again_unless_asked_for(journal: Journal) -> None:
    result = await (await create_workflow(id="w").then(journal.boom()).commit().create_run()).start()
    assert (result.status, journal.began) == ("failed", ["boom"])


@in_loop
async def test_a_fatal_error_is_final(journal: Journal) -> None:
    def refuse(_: Any) -> None:
        raise FatalError("the account is closed")

    workflow = create_workflow(id="w").then(journal.step("pay", refuse, retries=5)).commit()
    result = await (await workflow.create_run()).start()
    assert result.error is not None
    assert (result.error.name, result.error.message) == ("FatalError", "the account is closed")
    assert journal.began == ["pay"]


@in_loop
async def test_waits_grow_between_tries_and_are_kept_by_the_clock(journal: Journal) -> None:
    config = RetryConfig(attempts=3, delay_s=2, factor=3, delay_s_max=15)
    workflow = create_workflow(id="w").then(journal.step("s", _fails, retry_config=config)).commit()
    world, store = ManualWorld(), MemoryStore()
    async with AppOn(store, workflows=[workflow], world=world) as app:
        run = await app.start("w")
        for tries, wait_s in ((1, 2), (2, 6), (3, 15)):
            await until(partial(_is_due, app, run, world.time_ms + wait_s * 1000))
            assert len(journal.began) == tries
            world.move(wait_s - 0.001, app)
            assert len(journal.began) == tries
            world.move(0.001, app)
        assert (await run.result()).status == "failed"
        times = [r.time for r in await run.history() if r.kind is Kind.ATTEMPT_FAILED]
    assert [t - START for t in times] == [0, 2000, 8000, 23000]


@in_loop
async def test_a_step_may_say_when_to_try_it_again(journal: Journal) -> None:
    @step(retries=1)
    async def busy(data: Any, ctx: StepContext) -> str:
        journal.began.append(ctx.path)
        if ctx.attempt == 1:
            raise RetryableError("busy", retry_after=7.5)
        return "ok"

    world = ManualWorld()
    async with AppOn(MemoryStore(), workflows=[create_workflow(id="w").then(busy).commit()], world=world) as app:
        run = await app.start("w")
        await until(lambda: len(journal.began) == 1)
        await until(partial(_is_due, app, run, START + 7500))
        world.move(7.5, app)
        assert (await run.result()).result == "ok"


@pytest.mark.parametrize("odd", [float("inf"), float("nan"), -5.0])
def test_a_wait_that_is_no_time_is_no_wait(odd: float) -> None:
    @in_loop
    async def tried() -> None:
        tries: list[int] = []

        @step(retries=1)
        async def busy(data: Any, ctx: StepContext) -> None:
            tries.append(ctx.attempt)
            raise RetryableError("busy", retry_after=odd)

        world = ManualWorld()
        async with AppOn(MemoryStore(), workflows=[create_workflow(id="w").then(busy).commit()], world=world) as app:
            run = await app.start("w")
            assert (await run.result()).status == "failed"
        assert tries == [1, 2]

    tried()


@in_loop
async def test_a_wait_between_tries_survives_a_restart(journal: Journal) -> None:
    config = RetryConfig(attempts=1, delay_s=3600)
    workflow = create_workflow(id="w").then(journal.step("s", _fails, retry_config=config)).commit()
    world, store = ManualWorld(), MemoryStore()
    async with AppOn(store, workflows=[workflow], world=world) as app:
        run = await app.start("w", run_id="r1")
        await until(partial(_is_due, app, run, START + 3_600_000))
    world.move(3599)
    async with AppOn(store, workflows=[workflow], world=world) as app:
        assert (await (await app.get("r1")).status(), journal.began) == ("waiting", ["s"])
        world.move(1, app)
        assert (await (await app.get("r1")).result()).status == "failed"
    assert journal.began == ["s", "s"]


@in_loop
async def test_a_long_wait_gives_up_the_cell_and_the_step_is_tried_once(journal: Journal) -> None:
    """The run is parked meanwhile; what was parked and what woke up must not both try the step."""
    config = RetryConfig(attempts=1, delay_s=3600)
    workflow = create_workflow(id="w").then(journal.step("s", _fails, retry_config=config)).commit()
    world = ManualWorld()
    async with AppOn(MemoryStore(), workflows=[workflow], world=world) as app:
        run = await app.start("w")
        await until(lambda: run._key not in app._running.drivers)
        world.move(3600, app)
        assert (await run.result()).status == "failed"
        assert journal.began == ["s", "s"]


@in_loop
async def test_an_attempt_that_takes_too_long_has_failed(journal: Journal) -> None:
    @step(timeout_s=0.02, retries=1)
    async def slow(data: Any, ctx: StepContext) -> None:
        journal.began.append(ctx.path)
        await ctx.abort_signal.wait()

    result = await (await create_workflow(id="w").then(slow).commit().create_run()).start()
    assert result.error is not None
    assert (result.error.name, result.error.message) == ("TimeoutError", "step 'slow' took longer than 0.02 s")
    assert journal.began == ["slow", "slow"]


@in_loop
async def test_a_timeout_that_a_step_raises_itself_is_its_own() -> None:
    @step(timeout_s=60)
    async def slow(data: Any) -> None:
        raise TimeoutError("the bank did not answer")

    result = await (await create_workflow(id="w").then(slow).commit().create_run()).start()
    assert result.error is not None
    assert (result.error.name, result.error.message) == ("TimeoutError", "the bank did not answer")


@in_loop
async def test_times_of_a_step_are_those_of_the_clock(journal: Journal) -> None:
    workflow = create_workflow(id="w").then(journal.take()).sleep(60, id="z").commit()
    world = ManualWorld()
    async with AppOn(MemoryStore(), workflows=[workflow], world=world) as app:
        run = await app.start("w")
        await until(lambda: run._key not in app._running.drivers)
        world.move(60, app)
        steps = (await run.result()).steps
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    assert [(s.started_at, s.ended_at) for s in steps.values()] == [
        (begin, begin),
        (begin, begin + timedelta(minutes=1)),
    ]


def _fails(_: Any) -> None:
    raise OSError("not now")


async def _is_due(app: Cloche, run: Run, at: int) -> bool:
    row = await app._running.store.run(run._key)
    return row is not None and row.wake_at == at


# ---- attempts that end in a way that nobody foresaw ------------------------------------------------------------------


class Unreadable(Exception):
    @property
    def __cause__(self) -> None:  # type: ignore[override]
        raise ValueError("do not look")


class Opaque:
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise ValueError("do not look")


class Holds(Exception):
    def __init__(self) -> None:
        super().__init__("holds")
        self.code = 7
        self.opaque = Opaque()


class AskedOddly(RetryableError):
    def __getattribute__(self, name: str) -> Any:
        if name == "retry_after":
            raise ValueError("do not look")
        return super().__getattribute__(name)


def _raises(error: BaseException) -> Any:
    raise error


async def _raises_later(error: BaseException) -> Any:
    raise error


def _suspends_oddly(data: Any, ctx: StepContext) -> Any:
    ctx.suspend(resume_label=[7])  # type: ignore[list-item]


def _bails_oddly(data: Any, ctx: StepContext) -> Any:
    ctx.set_state(x="x" * 3_000_000)
    ctx.bail("x" * 6_000_000)


def _updates_oddly(data: Any, ctx: StepContext) -> None:
    ctx.update_state(lambda state: _raises(GeneratorExit()))


class Exits(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


UNSEEN: dict[str, tuple[Any, str]] = {
    "StopIteration, in a thread": (lambda data: next(iter(())), "RuntimeError"),
    "StopIteration": (lambda data, ctx: _raises_later(StopIteration()), "RuntimeError"),
    "GeneratorExit, in a thread": (lambda data: _raises(GeneratorExit()), "GeneratorExit"),
    "GeneratorExit": (lambda data, ctx: _raises_later(GeneratorExit()), "GeneratorExit"),
    "SystemExit": (lambda data, ctx: _raises_later(SystemExit(3)), "SystemExit"),
    "a text that ends the process": (lambda data: _raises(Exits()), "Exits"),
    "a cause that cannot be read": (lambda data: _raises(Unreadable()), "Unreadable"),
    "an attribute that cannot be read": (lambda data: _raises(Holds()), "Holds"),
    "retry_after that cannot be read": (lambda data: _raises(AskedOddly("busy")), "TypeError"),
    "retry_after as text": (lambda data: _raises(RetryableError("busy", retry_after="0.1")), "TypeError"),  # type: ignore[arg-type]
    "a label that is no text": (_suspends_oddly, "AttributeError"),
    "bailing with too much": (_bails_oddly, "LimitExceeded"),
    "a state function that raises GeneratorExit": (_updates_oddly, "GeneratorExit"),
}


@pytest.mark.parametrize("timeout_s", [None, 60])
@pytest.mark.parametrize(("execute", "name"), UNSEEN.values(), ids=UNSEEN)
def test_an_attempt_that_ends_oddly_fails_its_step(execute: Any, name: str, timeout_s: float | None) -> None:
    @in_loop
    async def live() -> None:
        odd = create_step(id="odd", execute=execute, retries=1, timeout_s=timeout_s)
        async with AppOn(MemoryStore(), workflows=[create_workflow(id="w").then(odd).commit()]) as app:
            result = await asyncio.wait_for((await app.start("w", 1)).result(), 10)
            assert result.error is not None
            assert (result.status, result.error.name) == ("failed", name)

    live()


@pytest.mark.parametrize("what", ["StopIteration, in a thread", "StopIteration"])
@in_loop
async def test_a_run_whose_attempt_ended_oddly_can_be_canceled(what: str) -> None:
    execute, _ = UNSEEN[what]
    odd = create_step(id="odd", execute=execute, retry_config=RetryConfig(attempts=5, delay_s=3600))
    async with AppOn(MemoryStore(), workflows=[create_workflow(id="w").then(odd).commit()], world=ManualWorld()) as app:
        run = await app.start("w", 1)
        await until(run.history, lambda records: any(record.kind is Kind.ATTEMPT_FAILED for record in records))
        await run.cancel()
        assert (await run.result(final=True)).status == "canceled"


@in_loop
async def test_what_can_be_read_of_an_exception_is_kept() -> None:
    odd = create_step(id="odd", execute=lambda data: _raises(Holds()))
    async with AppOn(MemoryStore(), workflows=[create_workflow(id="w").then(odd).commit()]) as app:
        result = await asyncio.wait_for((await app.start("w", 1)).result(), 10)
    assert result.error is not None
    assert (result.error.message, result.error.data) == ("holds", {"code": 7})


@in_loop
async def test_a_step_may_say_when_to_try_again_as_a_timedelta() -> None:
    tries: list[int] = []

    @step(retries=1)
    async def busy(data: Any, ctx: StepContext) -> str:
        tries.append(ctx.attempt)
        if ctx.attempt == 1:
            raise RetryableError("busy", retry_after=timedelta(minutes=2))
        return "ok"

    world = ManualWorld()
    async with AppOn(MemoryStore(), workflows=[create_workflow(id="w").then(busy).commit()], world=world) as app:
        run = await app.start("w")
        await until(partial(_is_due, app, run, START + 120_000))
        world.move(120, app)
        assert ((await run.result()).result, tries) == ("ok", [1, 2])


@in_loop
async def test_a_wait_of_another_type_fails_its_step_at_once() -> None:
    tries: list[int] = []

    @step(retries=2)
    async def busy(data: Any, ctx: StepContext) -> None:
        tries.append(ctx.attempt)
        raise RetryableError("busy", retry_after="30")  # type: ignore[arg-type]

    async with AppOn(MemoryStore(), workflows=[create_workflow(id="w").then(busy).commit()]) as app:
        result = await asyncio.wait_for((await app.start("w")).result(), 10)
    assert result.error is not None
    assert (tries, result.error.message) == ([1], "retry_after is seconds (int or float) or a timedelta, not str")
    assert result.error.cause is not None
    assert (result.error.cause.name, result.error.cause.message) == ("RetryableError", "busy")


# ---- what an attempt sees is what was recorded -----------------------------------------------------------------------


@pytest.mark.parametrize("schema", [None, Any, dict], ids=["no schema", "any value", "a mapping"])
@in_loop
async def test_each_attempt_gets_its_input_as_it_was_recorded(schema: Any) -> None:
    seen: list[Any] = []

    async def consume(data):  # type: ignore[no-untyped-def] # an annotation would be a schema
        seen.append({"token": data["token"], "rows": list(data["rows"])})
        del data["token"]
        data["rows"].append("x")
        if len(seen) < 3:
            raise ConnectionError("again")

    one = create_step(id="consume", execute=consume, retries=2, input_schema=schema)
    async with AppOn(MemoryStore(), workflows=[create_workflow(id="w").then(one).commit()]) as app:
        result = await (await app.start("w", {"token": "t", "rows": []})).result()
    assert (result.status, seen) == ("success", [{"token": "t", "rows": []}] * 3)


@in_loop
async def test_what_a_step_changes_in_place_is_not_seen_by_the_next() -> None:
    seen: list[Any] = []

    async def careless(data: Any, ctx: StepContext) -> None:
        seen.append((len(ctx.get_init_data()["rows"]), len(ctx.state["rows"]), len(ctx.request_context["rows"])))
        for rows in (ctx.get_init_data(), ctx.state, ctx.request_context):
            rows["rows"].append("x")

    first, second = (create_step(id=id, execute=careless) for id in ("first", "second"))
    workflow = create_workflow(id="w").then(first).then(second).commit()
    async with AppOn(MemoryStore(), workflows=[workflow]) as app:
        given: dict[str, Any] = {"rows": []}
        run = await app.start("w", given, initial_state=given, request_context=given)
        assert (await run.result()).status == "success"
    assert seen == [(0, 0, 0), (0, 0, 0)]


@in_loop
async def test_what_is_cut_off_at_the_end_is_named(caplog: pytest.LogCaptureFixture) -> None:
    @step
    async def endless(data: Any) -> None:
        await asyncio.Event().wait()

    workflow = create_workflow(id="w").then(endless).commit()
    async with AppOn(MemoryStore(), workflows=[workflow], drain_timeout_s=0.01) as app:
        await app.start("w", 1, run_id="r1")
    assert "step 'endless' of run r1 did not end within 0.01 s and is cut off" in caplog.messages
