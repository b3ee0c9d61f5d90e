"""Starting runs and what comes back: the two ways to run, inputs, types, context, and what a step may know."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel
from support.apps import AppOn, Journal, ManualWorld, ended, in_loop

from cloche import Cloche, RunFailed, StepContext, create_step, create_workflow, step
from cloche.errors import InvalidInput, LimitExceeded, NotFound, UsageError
from cloche.store import MemoryStore


class Numbers(BaseModel):
    x: int


@step(id="double", retries=2)
async def double(data: Numbers) -> Numbers:
    return Numbers(x=data.x * 2)


async def plus(data: Numbers, ctx: StepContext) -> Numbers:
    return Numbers(x=data.x + 10)


add_ten = create_step(id="add-ten", input_schema=Numbers, output_schema=Numbers, execute=plus)
math = create_workflow(id="math", input_schema=Numbers, output_schema=Numbers).then(double).then(add_ten).commit()


@in_loop
async def test_a_workflow_runs_by_itself() -> None:
    result = await (await math.create_run()).start(input_data={"x": 5})
    assert (result.status, result.result) == ("success", Numbers(x=20))


@in_loop
async def test_an_app_runs_workflows_by_name() -> None:
    async with Cloche("memory:", workflows=[math]) as app:
        run = await app.start("math", {"x": 5}, run_id="order-17")
        result = await run.result()
        assert (run.id, result.status, result.unwrap()) == ("order-17", "success", Numbers(x=20))
        assert {id: done.output for id, done in result.steps.items()} == {
            "double": Numbers(x=10),
            "add-ten": Numbers(x=20),
        }


def test_a_script_needs_no_loop() -> None:
    assert Cloche.run_sync(math, Numbers(x=1)).unwrap() == Numbers(x=12)


@in_loop
async def test_run_sync_in_a_loop_says_what_to_write() -> None:
    with pytest.raises(UsageError, match=r"write 'run = await workflow.create_run\(\)' and 'result = await run.start"):
        Cloche.run_sync(math, Numbers(x=1))


@in_loop
async def test_a_workflow_that_the_app_was_not_given_can_be_started_by_itself() -> None:
    async with Cloche() as app:
        assert await ended(await app.start(math, {"x": 0})) == ("success", Numbers(x=10))
        with pytest.raises(NotFound, match="has deployed no workflow 'maths', and none is registered here"):
            await app.start("maths", {"x": 0})


@in_loop
async def test_an_input_that_does_not_fit_raises_and_stores_nothing() -> None:
    store = MemoryStore()
    async with AppOn(store, workflows=[math]) as app:
        with pytest.raises(InvalidInput, match=r"the input of workflow 'math' does not fit its schema: x: ") as raised:
            await app.start("math", {"x": "many"}, run_id="r1")
        assert len(raised.value.problems) == 1
        assert (await store.runs(), list(await app.list())) == ([], [])


@in_loop
async def test_an_input_that_cannot_cross_raises_and_stores_nothing(journal: Journal) -> None:
    workflow = create_workflow(id="w").then(journal.take()).commit()
    store = MemoryStore()
    async with AppOn(store, workflows=[workflow]) as app:
        for bad, place in (({"a": [object()]}, r"input\.a\[0\]"), ({1: 2}, r"input\[1\]")):
            with pytest.raises(InvalidInput, match=place):
                await app.start("w", bad)
        with pytest.raises(LimitExceeded, match="payload_bytes"):
            await app.start("w", "x" * (9 << 20))
        assert await store.runs() == []


@in_loop
async def test_defaults_are_filled_and_unknown_keys_dropped() -> None:
    class Given(BaseModel):
        v: int
        d: str = "dd"

    def see(data: Given) -> dict[str, Any]:
        return {**data.model_dump(), "extra": 1}

    workflow = (
        create_workflow(id="w", validate_outputs=False)
        .then(create_step(id="s", execute=see, output_schema=Numbers))
        .commit()
    )
    result = await (await workflow.create_run()).start(input_data={"v": 1, "unk": 2})
    assert (result.status, result.result) == ("success", {"v": 1, "d": "dd", "extra": 1})


@in_loop
async def test_validation_can_be_left_off() -> None:
    def see(data: Numbers) -> Any:
        return data

    loose = create_workflow(id="w", input_schema=Numbers, validate_inputs=False).then(create_step(id="s", execute=see))
    result = await (await loose.commit().create_run()).start(input_data={"x": "as is"})
    assert (result.status, result.result) == ("success", {"x": "as is"})


@in_loop
async def test_a_step_that_is_given_what_does_not_fit_fails_without_being_tried() -> None:
    calls = []

    @step(id="s", retries=5)
    async def see(data: Numbers) -> None:
        calls.append(data)

    workflow = create_workflow(id="w").then(create_step(id="text", execute=lambda _: {"x": "?"})).then(see).commit()
    result = await (await workflow.create_run()).start()
    assert result.error is not None
    assert (result.status, result.error.name, result.error.step, calls) == ("failed", "InvalidInput", "s", [])
    assert result.error.message.startswith("the input of step 's' does not fit its schema: x: Input should be a valid")


@in_loop
async def test_values_come_back_as_the_types_of_their_schemas() -> None:
    class Order(BaseModel):
        at: datetime
        price: Decimal
        tags: set[str]

    order = Order(at=datetime(2026, 1, 1, tzinfo=UTC), price=Decimal("4.90"), tags={"b", "a"})

    @step
    def keep(data: Order) -> Order:
        assert data == order
        return data

    workflow = create_workflow(id="w", input_schema=Order, output_schema=Order).then(keep).commit()
    result = await (await workflow.create_run()).start(input_data=order)
    assert (result.result, result.steps["keep"].output) == (order, order)


@in_loop
async def test_a_step_knows_its_place(journal: Journal) -> None:
    seen: list[StepContext] = []

    def look(data: Any, ctx: StepContext) -> Any:
        seen.append(ctx)
        return {
            "by_id": ctx.get_step_result("inc"),
            "by_obj": ctx.get_step_result(inc),
            "none": ctx.get_step_result("zzz"),
            "init": ctx.get_init_data(),
            "retry": ctx.retry_count,
            "aborted": ctx.abort_signal.aborted,
        }

    inc = journal.inc()
    workflow = create_workflow(id="w").then(inc).then(create_step(id="look", execute=look)).commit()
    async with Cloche(workflows=[workflow], tenant="acme", world=ManualWorld()) as app:
        given: dict[str, Any] = {"initial_state": {"k": [1]}, "request_context": {"user": "bob"}}
        run = await app.start("w", {"v": 1}, run_id="r1", **given)
        assert (await run.result()).result == {
            "by_id": {"v": 2},
            "by_obj": {"v": 2},
            "none": None,
            "init": {"v": 1},
            "retry": 0,
            "aborted": False,
        }
    ctx = seen[0]
    assert (ctx.run_id, ctx.workflow_id, ctx.step_id, ctx.tenant, ctx.path) == ("r1", "w", "look", "acme", "look")
    assert (ctx.input_data, dict(ctx.state), dict(ctx.request_context)) == ({"v": 2}, {"k": [1]}, {"user": "bob"})
    assert (ctx.attempt, ctx.idempotency_key) == (1, "acme:r1:2")


@in_loop
async def test_an_idempotency_key_stays_through_attempts_and_differs_between_calls() -> None:
    keys: list[tuple[str, int, str]] = []

    @step(retries=1)
    async def flaky(data: Any, ctx: StepContext) -> None:
        keys.append((ctx.run_id, ctx.attempt, ctx.idempotency_key))
        if ctx.attempt == 1:
            raise OSError("not now")

    workflow = create_workflow(id="w").then(flaky).commit()
    async with Cloche(workflows=[workflow], world=ManualWorld()) as app:
        await (await app.start("w", run_id="a")).result()
        await (await app.start("w", run_id="b")).result()
    assert keys == [("a", 1, "default:a:1"), ("a", 2, "default:a:1"), ("b", 1, "default:b:1"), ("b", 2, "default:b:1")]


@in_loop
async def test_state_and_context_are_given_at_the_start_and_shown_in_the_result(journal: Journal) -> None:
    workflow = create_workflow(id="w").map({"k": {"template": "${state.k}-${requestContext.u}"}}).commit()
    run = await workflow.create_run()
    result = await run.start(input_data={}, initial_state={"k": "K"}, request_context={"u": "U"})
    assert (result.result, result.state) == ({"k": "K-U"}, {"k": "K"})


@in_loop
async def test_unwrap_raises_what_the_run_failed_with(journal: Journal) -> None:
    workflow = create_workflow(id="w").then(journal.boom("no luck")).commit()
    result = await (await workflow.create_run(run_id="r1")).start()
    with pytest.raises(RunFailed, match="run r1 failed in step 'boom': RuntimeError: no luck") as raised:
        result.unwrap()
    assert (raised.value.status, raised.value.error) == ("failed", result.error)


@in_loop
async def test_a_failure_keeps_its_data_and_its_cause(journal: Journal) -> None:
    class Refused(Exception):
        def __init__(self, message: str, code: int) -> None:
            super().__init__(message)
            self.code = code
            self.socket = object()  # cannot cross: left out
            self._secret = "s"

    def refuse(_: Any) -> None:
        try:
            raise KeyError("iban")
        except KeyError as error:
            raise Refused("the bank said no", 51) from error

    result = await (await create_workflow(id="w").then(journal.step("pay", refuse)).commit().create_run()).start()
    error = result.error
    assert error is not None
    assert error.cause is not None
    assert (error.name, error.message, error.data, error.step) == ("Refused", "the bank said no", {"code": 51}, "pay")
    assert (error.cause.name, error.cause.message, error.cause.cause) == ("KeyError", "'iban'", None)


@in_loop
async def test_the_host_keeps_a_traceback_and_the_guest_never_sees_it(journal: Journal) -> None:
    workflow = create_workflow(id="w").parallel([journal.boom()], settle=True).commit()
    async with Cloche(workflows=[workflow]) as app:
        run = await app.start("w")
        result = await run.result()
        records = await run.history()
    [attempt] = [r.content() for r in records if r.kind.name == "ATTEMPT_FAILED"]
    assert "apps.py" in attempt["traceback"]
    error = result.steps["boom"].error
    assert error is not None
    assert "apps.py" in (error.traceback or "")
    [settled] = result.unwrap().values()
    assert (settled["status"], settled["error"]["message"]) == ("failed", "boom")
    assert "apps.py" not in repr(settled)
    assert all(b"apps.py" not in r.body for r in records if r.kind.name != "ATTEMPT_FAILED")


@in_loop
async def test_a_result_that_cannot_cross_fails_the_step(journal: Journal) -> None:
    workflow = create_workflow(id="w").then(journal.step("odd", lambda _: {"items": [object()]}, retries=3)).commit()
    result = await (await workflow.create_run()).start()
    assert result.error is not None
    assert (result.error.name, journal.began) == ("InvalidInput", ["odd"])
    assert result.error.message.startswith("result.items[0] is a builtins.object, which cannot cross the glass")


@in_loop
async def test_a_result_that_is_too_large_fails_the_step_and_nothing_else(journal: Journal) -> None:
    workflow = create_workflow(id="w").then(journal.step("big", lambda _: "x" * (9 << 20))).commit()
    result = await (await workflow.create_run()).start()
    assert result.error is not None
    assert (result.error.name, result.error.step) == ("LimitExceeded", "big")
    assert "pass a reference" in result.error.message


@in_loop
async def test_a_failure_that_is_too_large_loses_its_data_and_not_the_run(journal: Journal) -> None:
    def fail(_: Any) -> None:
        error = ValueError("a lot")
        error.dump = ["x" * 1_000] * 9_000  # type: ignore[attr-defined]
        raise error

    result = await (await create_workflow(id="w").then(journal.step("big", fail)).commit().create_run()).start()
    assert result.error is not None
    assert (result.status, result.error.message, result.error.data) == ("failed", "a lot", None)


@in_loop
async def test_what_a_step_raises_is_a_failure_whatever_it_is() -> None:
    class Odd(BaseException):
        pass

    for kind, name in ((SystemExit, "SystemExit"), (Odd, "Odd"), (asyncio.CancelledError, "CancelledError")):

        @step(id="s")
        async def leave(data: Any, kind: type[BaseException] = kind) -> None:
            raise kind("away")

        result = await (await create_workflow(id="w").then(leave).commit().create_run()).start()
        assert result.error is not None
        assert (result.status, result.error.name, result.error.message) == ("failed", name, "away")


@in_loop
async def test_a_closed_app_says_so(journal: Journal) -> None:
    workflow = create_workflow(id="w").then(journal.take()).commit()
    app = Cloche(workflows=[workflow])
    with pytest.raises(UsageError, match="this Cloche is not open"):
        await app.start("w")
    async with app:
        run = await app.start("w")
        await run.result()
    with pytest.raises(UsageError, match="this Cloche is not open"):
        await run.result()
